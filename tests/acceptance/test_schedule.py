"""Jobs by the clock and on changes, in real processes: killed and taken over, with failures, and pushes meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import until

from regen import Document, Index
from regen.core.cron import Cron
from regen.core.refresh import Leads, Policy, Ran, StandsBy
from regen.engine.schedule import Runner, Task
from regen.errors import ConfigError, SourceError
from regen.opening import open as open_index

PATIENCE = 240.0  # generous: what is claimed is that it comes, not how soon
CONFIG = """\
version: 1
sources:
  - {name: docs, kind: files, path: docs, refresh: {cron: "* * * * * *"}}
  - {name: api, kind: push}
freshness: {p99: 1h}
embedding: {model: hashing/32}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project of one file, refreshed every second."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text("alpha")
    (tmp_path / "regen.yaml").write_text(CONFIG)
    return tmp_path


class Process:
    """A ``regen sync`` that goes on, and what it says."""

    def __init__(self, root: Path, *options: str) -> None:
        command = [sys.executable, "-c", "from regen.cli import main; main()", "sync", *options, "--json"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
        )  # fmt: skip
        self.lines: list[dict[str, Any]] = []
        self.remarks: list[str] = []
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._listen)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            self.lines.extend(json.loads(line) for line in stream)

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            self.remarks.extend(stream)

    def says(self, words: str) -> bool:
        """Whether it has said this on standard error."""
        return any(words in line for line in list(self.remarks))

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        for thread in self._threads:
            thread.join(PATIENCE)
        return code


@pytest.fixture
def started(root: Path) -> Iterator[Callable[..., Process]]:
    """Starts processes, and leaves none behind."""
    made: list[Process] = []

    def start(*options: str) -> Process:
        made.append(Process(root, *options))
        return made[-1]

    yield start
    for process in made:
        process.end(signal.SIGKILL)


def test_one_runs_another_takes_over(root: Path, started: Callable[..., Process]) -> None:
    """Of two processes one runs the schedule; killed, the other goes on with it; ended by SIGTERM, all is in step."""
    first = started("--schedule")
    until(lambda: first.says("Running: sync docs"))
    second = started("--schedule")
    until(lambda: second.says("standing by"))
    with open_index(root / "regen.yaml") as index:
        until(lambda: index.status().documents == 1)
        found = index.status().schedule
        assert found.runner is not None
        assert f":{first.process.pid}:" in found.runner
        assert [job.job for job in found.jobs] == ["sync docs"]
        first.end(signal.SIGKILL)
        until(lambda: second.says("Running: sync docs"))
        (root / "docs/b.md").write_text("beta")
        until(lambda: index.status().documents == 2)
        index.upsert([Document(id="p", text="pushed")])
        assert index.search("pushed", k=1)[0].doc_id == "p"
        sources = {item.name: item for item in index.status().freshness.sources}
        assert sources["docs"].met
        assert sources["docs"].target == {"p99": 3600.0}
        until(lambda: (index.status().generations[0].searchable_until or 0) > time.time() - 30)
    assert second.end() == 0
    assert sum(line["documents"]["added"] for line in second.lines) == 1
    with open_index(root / "regen.yaml") as index:
        assert index.status().schedule.runner is None
        until(lambda: "no process runs" in index.status().schedule.jobs[0].late)
        assert index.sync().documents.changed == 0
        assert index.verify().consistent


def test_a_failing_source_is_retried_and_told(root: Path, started: Callable[..., Process]) -> None:
    """It is shown by status with its reason, pushes go on, and the error is gone when the source is back."""
    process = started("--schedule")
    with open_index(root / "regen.yaml") as index:
        until(lambda: index.status().documents == 1)
        (root / "docs").rename(root / "away")
        until(lambda: index.status().schedule.jobs[0].failures > 0)
        job = index.status().schedule.jobs[0]
        assert "docs" in job.error
        index.upsert([Document(id="p", text="pushed meanwhile")])
        assert index.search("pushed meanwhile", k=1)[0].doc_id == "p"
        (root / "away").rename(root / "docs")
        until(lambda: index.status().schedule.jobs[0].failures == 0)
        assert index.status().schedule.jobs[0].error == ""
        assert index.status().documents == 2
    assert process.end() == 0
    failed = [line for line in process.lines if "error" in line]
    assert failed[0]["error"]["type"] == "SourceError"


def test_changes_are_collected(root: Path, started: Callable[..., Process]) -> None:
    """A followed source with ``quiet_for`` is refreshed once for a burst; pushes do not wait for it."""
    text = CONFIG.replace('cron: "* * * * * *"', "quiet_for: 2s")
    (root / "regen.yaml").write_text(text)
    process = started("--watch")
    until(lambda: len(process.lines) == 1)
    with open_index(root / "regen.yaml") as index:
        until(lambda: index.status().schedule.jobs[0].followed)
        for number in range(12):
            (root / f"docs/{number}.md").write_text(f"file {number}")
            time.sleep(0.1)
        index.upsert([Document(id="p", text="pushed")])
        assert index.search("pushed", k=1)[0].doc_id == "p"
        until(lambda: index.status().documents == 14)
        until(lambda: len(process.lines) == 2)
    assert process.end(signal.SIGINT) == 0
    assert [line["documents"]["added"] for line in process.lines] == [1, 12]
    assert [line["why"] for line in process.lines] == ["asked", "changed"]


def test_options_that_do_not_go_together(root: Path, started: Callable[..., Process]) -> None:
    """A usage error says what to do instead."""
    process = started("--schedule", "--source", "docs")
    assert process.process.wait(PATIENCE) == 2


def test_nothing_to_run(tmp_path: Path) -> None:
    """A configuration without a cron expression has no schedule."""
    index = Index(embedder="hashing/8", store="memory://", catalog="sqlite://", source={"kind": "push"}, root=tmp_path)
    with pytest.raises(ConfigError, match="nothing is to run by the clock"):
        index.scheduler(follow=False)


class Jobs:
    """A runner of made-up tasks on a real catalog, in a thread."""

    def __init__(self, root: Path, *tasks: Task) -> None:
        self.index = Index(embedder="hashing/8", store="memory://", catalog="sqlite:///c.db", root=root)
        self.events: list[Ran | Leads | StandsBy] = []
        self.failure: BaseException | None = None
        self.stop = threading.Event()
        self._runner = Runner("default", self.index._catalog, tasks)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._runner.run(self.stop, self.events.append)
        except BaseException as error:  # noqa: BLE001 - shown by the test's thread
            self.failure = error

    def ran(self, job: str) -> list[Ran]:
        """The runs of a job that have ended."""
        return [event for event in list(self.events) if isinstance(event, Ran) and event.job == job]

    def end(self) -> None:
        """Stop it."""
        self.stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self.index.close()


UTC_SECONDS = Policy(Cron("* * * * * *", UTC))


def test_a_long_job_holds_no_other_up(tmp_path: Path) -> None:
    """Each has its own thread; and stopping waits for what runs."""
    released, begun = threading.Event(), threading.Event()

    def long(_ids: object) -> str:
        begun.set()
        assert released.wait(PATIENCE)
        return "done"

    jobs = Jobs(tmp_path, Task("long", UTC_SECONDS, long), Task("short", UTC_SECONDS, lambda _ids: "done"))
    assert begun.wait(PATIENCE)
    until(lambda: len(jobs.ran("short")) >= 3)
    assert jobs.ran("long") == []
    jobs.stop.set()
    released.set()
    jobs.end()
    assert [event.result for event in jobs.ran("long")] == ["done"]


def test_what_cannot_be_followed_is_tried_again(tmp_path: Path) -> None:
    """The reason is told and shown; once it works everything is looked at, since changes may have been missed."""
    attempts: list[int] = []

    def follow(stop: Any) -> Iterator[set[str]]:
        attempts.append(len(attempts))
        if len(attempts) == 1:
            raise SourceError("too many folders")
        return _calls(stop)

    asked: list[object] = []
    jobs = Jobs(tmp_path, Task("sync x", Policy(at_once=False), asked.append, follow))
    until(lambda: len(asked) >= 2)
    jobs.end()
    assert isinstance(jobs.ran("sync x")[0].error, SourceError)
    assert asked[:2] == [None, ["x"]]


def _calls(stop: threading.Event) -> Iterator[set[str]]:
    time.sleep(0.5)
    yield {"x"}
    stop.wait(PATIENCE)
