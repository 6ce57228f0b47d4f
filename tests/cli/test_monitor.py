"""monitor and retry --document on a real project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from regen.cli import monitoring

if TYPE_CHECKING:
    import threading

    from tests.cli.conftest import Project


def know(project: Project, document: str) -> None:
    """Let a known query want a document."""
    query = {"query": "click the link in the mail to reset a password", "documents": [document], "within": 1}
    (project.root / "known.jsonl").write_text(json.dumps(query) + "\n")
    text = project.config + "evaluation: {known_queries: known.jsonl}\n"
    (project.root / "regen.yaml").write_text(text)


def test_no_alarm(synced: Project) -> None:
    """All is well: exit code 0, and the answer says so."""
    know(synced, "reset.md")
    data = synced.json("monitor")
    assert (data["generation"], data["alarms"], data["flagged"], data["reprocessed"]) == (1, [], 0, None)
    assert "no alarm" in synced.run("monitor").out


def test_an_alarm(synced: Project) -> None:
    """Exit code 3; the alarm names the document, which is flagged, and embedded anew when that is asked for."""
    know(synced, "backup.md")
    data = synced.json("monitor", code=3)
    assert [(alarm["kind"], alarm["subject"], alarm["documents"]) for alarm in data["alarms"]] == [
        ("check", "known_queries", ["backup.md"])
    ]
    assert data["flagged"] == 1
    assert synced.json("monitor", "--reprocess", code=3)["reprocessed"]["embedded_texts"] == 1
    out = synced.run("monitor", "--reprocess", code=3).out
    assert "1 alarm" in out
    assert "involves backup.md" in out
    assert "embedded anew: 1 text\n" in out


def test_rounds(synced: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --every it goes on, an object a line, until it is stopped; an alarm does not end it."""
    know(synced, "backup.md")
    waited: list[float] = []

    def wait(stop: threading.Event, seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            stop.set()

    monkeypatch.setattr(monitoring, "_wait", wait)
    lines = synced.run("monitor", "--every", "12h", "--json").out.splitlines()
    assert [len(json.loads(line)["alarms"]) for line in lines] == [1, 1, 1]
    assert waited == [43_200.0] * 3


@pytest.mark.parametrize("every", ["soon", "0s"])
def test_a_time_that_is_none(synced: Project, every: str) -> None:
    """It is refused, with an example."""
    assert "--every" in synced.run("monitor", "--every", every, code=2).err


def test_a_document_is_embedded_anew(synced: Project) -> None:
    """Just the named ones; an unknown one is refused before anything is done."""
    assert synced.json("retry", "--document", "backup.md", "-d", "reset.md")["embedded_texts"] == 2
    assert synced.json("retry")["embedded_texts"] == 0
    answer = synced.run("retry", "-d", "backup.md", "-d", "nowhere.md", "--json", code=1)
    assert answer.data["error"]["type"] == "NotFound"
