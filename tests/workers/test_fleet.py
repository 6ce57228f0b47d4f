"""Many workers on one index: the same state as one run alone, each text embedded once, whoever dies (I4, I5)."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from tests.waiting import until
from tests.workers.fleet import (
    LANCE,
    SQLITE,
    Place,
    assert_as_clean,
    documents,
    events,
    fleet,
    log_only,
    stop_in_peace,
)

from regen.core.documents import Document
from regen.index import Index


@pytest.fixture(params=["sqlite+lancedb", "postgresql+lancedb", "postgresql+pgvector"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty index: catalog and store that several processes may write."""
    catalog, store = request.param.split("+")
    root = tmp_path / "index"
    root.mkdir()
    url = request.getfixturevalue("postgres_url") if catalog == "postgresql" else SQLITE
    return Place(root, url, url if store == "pgvector" else LANCE)


def test_many_workers_do_the_first_load(place: Place, tmp_path: Path) -> None:
    """They share it, each text is embedded once though many documents have it, and the generation goes live."""
    wanted = documents(300)
    with place.index() as index:
        log_only(index, *wanted)
    with fleet(place) as workers:
        for _ in range(3):
            workers.start()
        assert workers.end() == [0, 0, 0]
        done = [events(place, process)[-1] for process in workers.processes]
    assert sum(one["documents"] for one in done) >= 300
    counts = place.embedded()
    assert len(counts) == 300 + 7 + 1
    assert set(counts.values()) == {1}
    assert_as_clean(place, wanted, tmp_path)
    with place.index() as index:
        assert index.status().live == 1
        assert index.workers() == []


def test_each_worker_has_its_part(place: Place, tmp_path: Path) -> None:
    """While a model is slow all of them are at work; edits and deletions that come meanwhile are followed."""
    slow = Place(place.root, place.catalog, place.store, seconds=0.02)
    wanted = {item.id: item for item in documents(400)}
    with slow.index() as index:
        log_only(index, *wanted.values())
        with fleet(slow) as workers:
            for _ in range(3):
                workers.start(until_idle=False)
            until(lambda: len(slow.embedded()) > 60, "the workers are at work")
            assert {worker.alive for worker in index.workers()} == {True}
            chance = random.Random(1)
            for turn in range(10):
                edited = [
                    Document(key, f"Edited in turn {turn}, {key}.", {"number": turn})
                    for key in chance.sample(sorted(wanted), 3)
                ]
                gone = chance.sample(sorted(wanted.keys() - {item.id for item in edited}), 2)
                log_only(index, *edited, deleted=gone)
                wanted |= {item.id: item for item in edited}
                for key in gone:
                    del wanted[key]
                time.sleep(0.02)
            until(lambda: index.status().generations[0].pending == 0 and index.status().live == 1, "all is in step")
            for process in workers.processes:
                os.kill(process.pid or 0, signal.SIGTERM)
            assert workers.end() == [0, 0, 0]
            done = [events(slow, process)[-1] for process in workers.processes]
        assert all(one["documents"] > 0 for one in done), done
    assert_as_clean(slow, list(wanted.values()), tmp_path)


@pytest.mark.parametrize(
    "moment",
    ["after catalog.claim_range", "after catalog.reserve_texts", "before embedder.embed_documents",
     "after catalog.begin_write", "before store.insert", "after store.insert", "after catalog.commit_write",
     "before catalog.release", "after catalog.lay_out", "before catalog.set_fields"],
)  # fmt: skip
def test_a_worker_that_dies_at_a_step(tmp_path: Path, moment: str) -> None:
    """What it left is found by the next one at once, and each text that was embedded and placed stays so."""
    (tmp_path / "index").mkdir()
    place = Place(tmp_path / "index")
    wanted = documents(60)
    with place.index() as index:
        log_only(index, *wanted)
    with fleet(place) as workers:
        dying = workers.start(crash=(moment, 1))
        dying.join(30)
        assert dying.exitcode == -signal.SIGKILL
        heir = workers.start()
        heir.join(30)
        assert heir.exitcode == 0
    assert max(place.embedded().values()) <= 2  # what the dead one had not placed
    assert_as_clean(place, wanted, tmp_path)


def await_texts(place: Place, index: Index, count: int) -> None:
    """Wait until so many more texts were embedded, or all are."""
    before = len(place.embedded())
    until(lambda: len(place.embedded()) > before + count or index.status().live, "work goes on")


def test_workers_that_are_killed_at_random(place: Place, tmp_path: Path) -> None:
    """However many die, the others take their ranges over at once, and in the end all is as if none had."""
    slow = Place(place.root, place.catalog, place.store, seconds=0.01)
    wanted = documents(400)
    with slow.index() as index:
        log_only(index, *wanted)
        chance = random.Random(5)
        with fleet(slow) as workers:
            for _ in range(3):
                workers.start(until_idle=False)
            for _ in range(6):
                await_texts(slow, index, 15)
                victim = chance.choice([one for one in workers.processes if one.is_alive()])
                os.kill(victim.pid or 0, signal.SIGKILL)
                victim.join(30)
                workers.start(until_idle=False)
            last = workers.start(until_idle=True)
            last.join(60)
            assert last.exitcode == 0
            assert index.status().generations[0].pending == 0
    assert_as_clean(slow, wanted, tmp_path)


def test_all_who_live_wait_for_the_dead(place: Place, tmp_path: Path) -> None:
    """Each holds a range and waits for a text that a dead one was to embed: nobody is free to take its range over."""
    slow = Place(place.root, place.catalog, place.store, seconds=0.5)
    wanted = documents(40)  # one text is in all of them
    with slow.index() as index:
        log_only(index, *wanted)
        with fleet(slow) as workers:
            dying = workers.start(until_idle=False)
            until(lambda: len(slow.embedded()) > 0, "it is at work")
            stop_in_peace(slow, dying)
            log_only(index, *documents(40, 40))
            waiting = workers.start(until_idle=True)
            until(lambda: sum(bool(item.owner) for item in index._catalog.ranges(1)) == 2, "each has a range")
            time.sleep(0.5)
            os.kill(dying.pid or 0, signal.SIGKILL)
            dying.join(30)
            waiting.join(60)
            assert waiting.exitcode == 0
            assert index.status().generations[0].pending == 0
    assert_as_clean(slow, documents(80), tmp_path)


def test_a_stalled_worker_commits_nothing(place: Place, tmp_path: Path) -> None:
    """It is stopped past its lease, its range is taken over, and what it tries when it wakes up is refused."""
    slow = Place(place.root, place.catalog, place.store, seconds=0.05)
    wanted = documents(60)
    with slow.index() as index:
        log_only(index, *wanted)
        with fleet(slow) as workers:
            stalled = workers.start(until_idle=True, lease=2.0)
            until(lambda: len(slow.embedded()) > 8, "it is at work")
            stop_in_peace(slow, stalled)
            held = [item for item in index._catalog.ranges(1) if item.owner]
            assert held
            heir = workers.start(until_idle=True, lease=2.0)
            heir.join(60)
            assert heir.exitcode == 0
            assert index.status().generations[0].pending == 0
            before = index._catalog.placed(1, [item.id for item in wanted])
            os.kill(stalled.pid or 0, signal.SIGCONT)
            stalled.join(30)
            assert stalled.exitcode == 0
            assert events(slow, stalled)[-1]["lost"] == 1
            assert index._catalog.placed(1, [item.id for item in wanted]) == before
    assert_as_clean(slow, wanted, tmp_path)
