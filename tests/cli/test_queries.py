"""A first judged collection from the command line: propose, review, write, evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import regen
from regen.config import parse_settings

if TYPE_CHECKING:
    from tests.cli.conftest import Project

TITLES = {"Reset a password", "Rechnung per Post", "Salaries of everybody"}


class Scribe:
    """Writes a query about any text that it is shown."""

    def write(self, instructions: str, text: str) -> str:
        """A question in other words."""
        assert instructions
        return f"where would somebody look for number {len(text)} in here"


def lines(project: Project) -> list[dict[str, Any]]:
    """The review file."""
    text = (project.root / "eval/review.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def accept(project: Project) -> None:
    """A person reads the file and accepts all of it."""
    text = "".join(json.dumps({**line, "state": "accepted"}) + "\n" for line in lines(project))
    (project.root / "eval/review.jsonl").write_text(text, encoding="utf-8")


def configured(project: Project, **evaluation: Any) -> None:
    """Add an evaluation block to regen.yaml."""
    config = yaml.safe_load(project.config)
    config["evaluation"] = evaluation
    (project.root / "regen.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture
def titled(project: Project) -> Project:
    """Documents whose titles say enough to be asked for, indexed."""
    project.write("invoice.md", "# Rechnung per Post\n\nEine Rechnung wird verschickt.\n")
    project.write("salary.md", "---\naccess: [team:people]\n---\n# Salaries of everybody\n\nWho earns how much.\n")
    project.json("sync")
    return project


def test_from_titles_to_an_evaluation(titled: Project) -> None:
    """Proposals are pending, the accepted ones become two files, and the lines shown make an evaluation run."""
    data = titled.json("queries", "--titles", "50")
    assert {line["query"] for line in lines(titled)} == TITLES
    assert data["states"] == {"pending": len(TITLES), "accepted": 0, "rejected": 0, "edited": 0}
    assert data["proposals"][0]["added"] == len(TITLES)
    accept(titled)
    assert titled.json("queries", "--write")["collection"]["count"] == len(TITLES)
    shown = titled.run("queries", "--write").out
    block = "\n".join(line[6:] for line in shown.splitlines() if line.startswith("      "))
    parse_settings(titled.config + block, root=titled.root)
    (titled.root / "regen.yaml").write_text(titled.config + block)
    found = titled.json("evaluate")
    assert found["candidate"]["measures"]["RR@10"] > 0.8


def test_nothing_is_asked_twice_or_lost(titled: Project) -> None:
    """A second run adds nothing, and keeps every byte of what somebody has decided."""
    titled.json("queries", "--titles", "50")
    accept(titled)
    before = (titled.root / "eval/review.jsonl").read_bytes()
    again = titled.json("queries", "--titles", "50")
    assert again["proposals"][0]["added"] == 0
    assert again["states"]["accepted"] == len(TITLES)
    assert (titled.root / "eval/review.jsonl").read_bytes() == before
    assert "nothing new" in titled.run("queries", "--titles", "50").out


def test_the_limit_holds(titled: Project) -> None:
    """At most as many are proposed as were asked for; what was passed over is counted."""
    data = titled.json("queries", "--titles", "1")
    assert (len(lines(titled)), data["proposals"][0]["added"]) == (1, 1)
    assert any("exceed the limit" in text for text in data["proposals"][0]["notes"])


def test_nothing_is_written_before_somebody_accepts(titled: Project) -> None:
    """Without an option it only tells how far one is; --write with nothing accepted is an error with a hint."""
    assert titled.json("queries")["states"]["pending"] == 0
    assert not (titled.root / "eval").exists()
    assert "regen queries --titles 100" in titled.run("queries").out
    titled.json("queries", "--titles", "50")
    error = titled.json("queries", "--write", code=1)["error"]
    assert "no query is accepted yet" in error["message"]
    assert not (titled.root / "eval/queries.jsonl").exists()


def test_a_model_writes(titled: Project) -> None:
    """--written asks the configured writer about documents; without one the error tells what to configure."""
    error = titled.json("queries", "--written", "2", code=1)["error"]
    assert "evaluation: {writer" in error["hint"]
    configured(titled, writer={"model": f"python:{__name__}:Scribe"})
    assert titled.json("queries", "--written", "2")["proposals"][0]["added"] == 2
    assert {line["origin"] for line in lines(titled)} == {"written"}


def test_what_users_clicked(titled: Project) -> None:
    """--clicked reads the query log that usage.keep_queries keeps; without one it says that there is nothing."""
    assert titled.json("queries", "--clicked", "9")["proposals"][0]["added"] == 0
    (titled.root / "regen.yaml").write_text(titled.config + "usage: {keep_queries: 30d}\n")
    with regen.open(titled.root / "regen.yaml") as index:
        for _ in range(2):
            asked = index.search("somebody forgot it")
            assert asked.query_id is not None
            index.feedback(asked.query_id, [asked.hits[0].doc_id])
    assert titled.json("queries", "--clicked", "9")["proposals"][0]["added"] == 1
    assert lines(titled)[0]["query"] == "somebody forgot it"


def test_documents_are_read_in_pages(titled: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the size of a page, every document is read once."""
    monkeypatch.setattr("regen.verbs.queries._PAGE", 1)
    titled.json("queries", "--titles", "50")
    assert {line["query"] for line in lines(titled)} == TITLES


def test_another_review_file(titled: Project, tmp_path: Path) -> None:
    """--review names it; the collection is written beside it."""
    where = tmp_path / "elsewhere/mine.jsonl"
    titled.json("queries", "--titles", "9", "--review", str(where))
    where.write_text(where.read_text().replace('"pending"', '"accepted"'))
    data = titled.json("queries", "--write", "--review", str(where))
    assert Path(data["collection"]["qrels"]) == tmp_path / "elsewhere/qrels.tsv"
