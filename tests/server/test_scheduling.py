"""The service runs what regen.yaml asks for by the clock, and follows sources, and stops it gracefully."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.waiting import until

from regen import Index
from regen.errors import ConfigError
from regen.opening import open as open_index
from regen.server import create_app

CONFIG = "version: 1\nembedding: {model: hashing/64}\nstore: {url: 'memory://'}\n"


def configured(root: Path, *lines: str) -> Index:
    """An index of the folder docs, by a file with these lines."""
    (root / "docs").mkdir(exist_ok=True)
    (root / "docs/a.md").write_text("reset a password by the link in the mail")
    (root / "regen.yaml").write_text(CONFIG + "\n".join(lines) + "\n")
    return open_index(root / "regen.yaml")


def running() -> bool:
    """Whether this process runs a schedule."""
    return any(thread.name == "regen-schedule" for thread in threading.enumerate())


def found(client: TestClient, query: str) -> list[str]:
    """The documents that a search over HTTP returns, best first."""
    return [hit["doc_id"] for hit in client.post("/v1/search", json={"query": query, "k": 1}).json()["hits"]]


@pytest.mark.parametrize("refresh", ["cron: '* * * * * *'", "quiet_for: 1s"])
def test_a_served_index_is_refreshed(tmp_path: Path, refresh: str) -> None:
    """By the clock and as the source changes; when the server ends so does the schedule, and its lease is free."""
    source = f"source: {{kind: files, path: docs, refresh: {{{refresh}}}}}"
    with configured(tmp_path, source, "schedule: {gc: {cron: '* * * * * *'}}") as index:
        with TestClient(create_app(index)) as client:
            until(lambda: index.live is not None and found(client, "reset a password") == ["a.md"])
            (tmp_path / "docs/b.md").write_text("every night a copy of every disk is made")
            until(lambda: found(client, "a copy of every disk") == ["b.md"])
            until(lambda: all(job.succeeded_at for job in index.status().schedule.jobs))
            schedule = client.get("/v1/status").json()["schedule"]
            assert schedule["runner"] is not None
            assert {job["job"] for job in schedule["jobs"]} == {"sync files", "gc"}
        assert not running()
        assert index.status().schedule.runner is None


def test_nothing_runs_unless_it_is_asked_for(tmp_path: Path) -> None:
    """A file without any of it is served as before: nobody reads the source."""
    with configured(tmp_path, "source: {kind: files, path: docs}") as index, TestClient(create_app(index)):
        assert not running()
        assert index.background() is None


def test_a_source_with_an_expression_alone_is_not_followed(tmp_path: Path) -> None:
    """Its changes wait for the moment that it names."""
    source = "source: {kind: files, path: docs, refresh: {cron: '0 3 1 1 *'}}"
    with configured(tmp_path, source) as index, TestClient(create_app(index)):
        until(lambda: any(job.succeeded_at for job in index.status().schedule.jobs))
        assert [job.followed for job in index.status().schedule.jobs] == [False]


def test_what_cannot_work_is_told_before_it_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that should hold the webhook's address is named."""
    monkeypatch.delenv("NOT_SET", raising=False)
    lines = ("source: {kind: files, path: docs}", "alerts: {webhook_url_env: NOT_SET}")
    with configured(tmp_path, *lines) as index, pytest.raises(ConfigError, match="NOT_SET"):
        create_app(index)
