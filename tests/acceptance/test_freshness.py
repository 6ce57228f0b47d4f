"""From source to searchable: what readers had to wait for, not how long a backfill took that they never noticed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.conftest import Worlds
from tests.acceptance.generations import Move, document

from regen.embedders.hashing import HashingEmbedder
from regen.monitoring.freshness import FEWEST

DOCUMENTS = tuple(document(number, 1) for number in range(10))


@pytest.fixture
def move(tmp_path: Path) -> Iterator[Move]:
    """Ten documents, searchable 1 second after they were seen a day ago, and a generation built an hour ago."""
    worlds = Worlds(tmp_path, "memory")
    made = Move(worlds(*DOCUMENTS))
    made.index.sync()
    age(made, 1, seen=-86_400.0, placed=-86_399.0, complete=-86_399.0)
    made.to(HashingEmbedder(32, 7))
    made.step()
    made.index.promote()
    age(made, 2, placed=-3_600.0, complete=-3_600.0)
    yield made
    worlds.close()


def age(move: Move, number: int, *, placed: float, complete: float, seen: float | None = None) -> None:
    """Let all of a generation have happened before now, in seconds."""
    with sqlite3.connect(move.world.folder / "catalog.db") as catalog:
        if seen is not None:
            catalog.execute("UPDATE documents SET changed_at = unixepoch() + ?", [seen])
        catalog.execute("UPDATE placements SET applied_at = unixepoch() + ? WHERE generation = ?", [placed, number])
        catalog.execute("UPDATE generations SET completed_at = unixepoch() + ? WHERE number = ?", [complete, number])
        catalog.execute("UPDATE alias_history SET switched_at = unixepoch() + ? WHERE live = ?", [complete, number])
    catalog.close()


def seconds(move: Move) -> tuple[float | None, float | None]:
    """The median and the worst."""
    told = move.index.status().freshness.source_to_searchable_seconds
    return told.p50, told.p99


def test_a_backfill_does_not_count(move: Move) -> None:
    """After a promotion the time that filling took is nobody's waiting: the former generation's figures stand."""
    assert move.index.status().live == 2
    assert seconds(move) == pytest.approx((1.0, 1.0))


def test_changes_since_count_beside_the_former_ones(move: Move) -> None:
    """A few changes since then stand beside what was before."""
    move.index.upsert([document(number, 1, lang="en") for number in range(3)])
    p50, p99 = seconds(move)
    assert p50 == pytest.approx(1.0)
    assert p99 is not None
    assert p99 < 5.0


def test_enough_changes_speak_for_themselves(move: Move) -> None:
    """From twenty changes on what was before does not count."""
    move.index.upsert([document(100 + number, 1) for number in range(FEWEST)])
    p50, p99 = seconds(move)
    assert p99 is not None
    assert p99 < 0.9
    assert p50 is not None


def test_without_the_former_generation(move: Move) -> None:
    """When it is gone and nothing has changed since, nothing is known."""
    move.index.retire(1)
    assert seconds(move) == (None, None)
    move.index.upsert([document(50, 1)])
    assert seconds(move)[0] is not None


def test_after_a_rollback(move: Move) -> None:
    """The first generation's own figures, its first load included, as before."""
    move.index.rollback()
    assert seconds(move) == pytest.approx((1.0, 1.0))


def test_a_third_generation(move: Move) -> None:
    """Of the second, too, only what it brought to readers counts for its successor."""
    move.to(HashingEmbedder(32, 9))
    move.step()
    move.index.promote()
    age(move, 3, placed=-60.0, complete=-60.0)
    assert seconds(move) == (None, None)
