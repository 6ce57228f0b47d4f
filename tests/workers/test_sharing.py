"""Sync, apply and upkeep beside workers: what is shared, what is not, and what is never done unasked."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import until
from tests.workers.fleet import Counting, Place, assert_as_clean, documents, events, fleet, log_only

from regen.engine.probes import TEXTS as PROBES


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An index with 120 documents, complete; its model takes its time from now on."""
    (tmp_path / "index").mkdir()
    with Place(tmp_path / "index").index() as index:
        index.upsert(documents(120))
    (tmp_path / "index" / "embedded.jsonl").unlink()
    return Place(tmp_path / "index", seconds=0.02)


def shares(place: Place, worker: BaseProcess) -> list[int]:
    """How many documents each range had that a worker has brought in step."""
    return [one["documents"] for one in events(place, worker) if one["event"] == "range"]


def test_a_sync_is_shared(place: Place, tmp_path: Path) -> None:
    """It returns when what it logged is in step, whoever did it; upkeep has the whole to itself meanwhile."""
    with place.index() as index, fleet(place) as workers:
        workers.start(until_idle=False)
        until(index.workers, "it is there")
        result = index.upsert(documents(300))
        assert result.documents.added == 180
        assert index.status().freshness.pending == 0
        assert index.verify().consistent
        os.kill(workers.processes[0].pid or 0, signal.SIGTERM)
        assert workers.end() == [0]
        theirs = events(place, workers.processes[0])[-1]
        assert result.embedded_texts + theirs["embedded_texts"] == 180
    assert set(place.embedded().values()) == {1}
    assert_as_clean(place, documents(300), tmp_path)


def test_workers_fill_what_apply_asks_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing before, though it is half built; then all of it together, each text once, and it is ready in the end."""
    came: list[bool] = []
    other, embed = Place(place.root, seconds=0.02, dimensions=16), Counting.embed_documents
    with other.index() as index, fleet(other) as workers:

        def after_the_worker(model: Counting, texts: Sequence[str]) -> Any:
            """Who applies goes on when the worker has its share, too: else it might do all alone."""
            if texts[0] not in PROBES and not came:
                pid = workers.processes[0].pid
                until(lambda: any(f":{pid}:" in one.owner for one in index._catalog.ranges(2)), "it has a range")
                came.append(True)
            return embed(model, texts)

        index._writer.create(index.recipe)
        workers.start(until_idle=False)
        until(index.workers, "it is there")
        time.sleep(1.5)
        assert other.embedded() == {}
        monkeypatch.setattr(Counting, "embed_documents", after_the_worker)
        result = index.apply()
        assert result.generation == 2
        assert {item.number: item.state for item in index.status().generations} == {1: "live", 2: "ready"}
        assert index.verify().consistent
        assert set(other.embedded().values()) == {1}
        assert len(other.embedded()) == 120 + 7 + 1
        until(lambda: shares(other, workers.processes[0]), "it tells what it did")
        assert 0 < sum(shares(other, workers.processes[0])) < 120


@pytest.mark.timeout(120)
def test_the_whole_of_a_dead_process_is_no_obstacle(place: Place) -> None:
    """Whoever shares goes on at once where a process of this host was killed that had the generation to itself."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with place.index() as index:
        whole = index._writer.right(index._catalog.generations()[0])
        owner = f"{socket.gethostname()}:{gone.pid}:x"
        index._catalog.acquire(whole, owner, at=time.time(), seconds=3_600.0)
        log_only(index, *documents(3, 500))
        assert index.work(until_idle=True).documents == 3


def test_a_paused_build_is_left_alone(place: Place) -> None:
    """By workers, too."""
    other = Place(place.root, dimensions=16)
    with other.index() as index:
        number = index._writer.create(index.recipe).number
        index._catalog.ask(number, at=time.time())
        index.pause(number, reason="no")
        assert index.work(until_idle=True).documents == 0
        assert other.embedded() == {}
        index.resume(number)
        assert index.work(until_idle=True).documents == 120
        assert index.status().generations[-1].state == "ready"


def test_an_index_that_nobody_has_begun(tmp_path: Path) -> None:
    """A worker makes no generation; once there is one it makes it live."""
    place = Place(tmp_path)
    with place.index() as index:
        done = index.work(until_idle=True)
        assert (done.documents, done.ranges, index.workers()) == (0, 0, [])
        assert index._catalog.generations() == []
        log_only(index, *documents(3))
        assert index.work(until_idle=True, lease=5.0, concurrency=2).documents == 3
        assert index.status().live == 1
