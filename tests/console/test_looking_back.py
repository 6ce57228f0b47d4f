"""The verbs that look back tell what really is, on a real index."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from regen import Document, Index
from regen.errors import NotFound


def test_generations_are_told_from_beginning_to_end(migrating: Index) -> None:
    """State, size, cost and times of both, as status has them."""
    first, second = migrating.generations()
    told = {item.number: item for item in migrating.status().generations}
    assert (first.state, second.state) == ("live", "ready")
    for item in (first, second):
        assert item.documents == told[item.number].documents
        assert item.documents is not None
        assert item.documents > 150
        assert item.cost_usd > 0
        assert item.completed_at is not None
        assert item.created_at <= item.completed_at <= time.time()
    assert first.completed_at is not None
    assert first.completed_at <= second.created_at


def test_what_was_spent_adds_up(migrating: Index) -> None:
    """The entries since the beginning are what status says in all."""
    spent = migrating.spent_since(0.0)
    assert sum(item.usd for item in spent) == pytest.approx(migrating.status().cost_usd)
    assert {item.generation for item in spent} == {1, 2}
    assert migrating.spent_since(time.time() + 1) == []


def test_what_a_promotion_would_rest_on(migrating: Index) -> None:
    """The evaluation that was made of the candidate; none for the live generation, which nobody measured."""
    found = migrating.standing_evaluation(2)
    assert found is not None
    assert (found.generation, found.against) == (2, 1)
    assert migrating.evaluation(found.id).result == found.result
    assert migrating.standing_evaluation(1) is None
    with pytest.raises(NotFound, match="generation 9"):
        migrating.standing_evaluation(9)
    with pytest.raises(NotFound, match="evaluation 99"):
        migrating.evaluation(99)


def test_one_documents_letters(migrating: Index) -> None:
    """Of the document without a text, for each generation that lacks it."""
    found = migrating.dead_letters(doc_id="empty")
    assert found
    assert {item.doc_id for item in found} == {"empty"}
    assert migrating.dead_letters(doc_id="nobody") == []
    assert {item.doc_id for item in migrating.dead_letters()} == {"empty"}


def small(root: Path, model: str = "hashing/16") -> Index:
    """An index in memory, but for the catalog."""
    return Index(embedder=model, store=f"memory://{root.name}", catalog="sqlite:///c.db", alias="handbook", root=root)


def test_a_change_is_seen_as_it_becomes_searchable(tmp_path: Path) -> None:
    """Changes after the first load, each with the time from its source."""
    with small(tmp_path) as index:
        index.upsert([Document(f"d{n}", f"text {n}") for n in range(5)])
        began = time.time()
        assert index.searchable_since(began) == []
        index.upsert([Document("d1", "edited", updated_at=time.time() - 0.001)])
        [found] = index.searchable_since(began)
        assert found.at >= began
        assert 0 <= found.seconds < 60


def test_a_backfill_is_seen_wherever_it_runs(tmp_path: Path) -> None:
    """How much is in it and how much is not, its pause, and nothing once there is none."""
    with small(tmp_path) as index:
        index.upsert([Document(f"d{n}", f"text {n}") for n in range(5)])
        assert index.backfill() is None
    with small(tmp_path, "hashing/24") as index:
        index._writer.create(index.recipe)
        found = index.backfill()
        assert found is not None
        assert (found.generation, found.documents, found.pending, found.rate, found.seconds_left) == (
            2,
            0,
            5,
            0.0,
            None,
        )
        before = index.pulse()
        index.pause(reason="the provider is down")
        assert index.pulse() != before
        paused = index.backfill()
        assert paused is not None
        assert "the provider is down" in str(paused.paused)


def test_the_pulse_moves_with_what_happens(tmp_path: Path) -> None:
    """A value that stays while nothing happens, and differs after every kind of change."""
    with small(tmp_path) as index:
        seen = [index.pulse()]
        index.upsert([Document("a", "text")])
        seen.append(index.pulse())
        assert index.pulse() == seen[-1]
        index.delete(["a"])
        seen.append(index.pulse())
    assert len(set(seen)) == 3


def test_the_configuration_holds_no_secret(tmp_path: Path) -> None:
    """Neither a password of an address nor a key."""
    with Index(
        embedder="hashing/16",
        store="memory://user:hunter2@name",
        catalog="sqlite:///c.db",
        alias="handbook",
        root=tmp_path,
    ) as index:
        told = repr(index.configuration())
        assert "hunter2" not in told
        assert "'max_tokens': 256" in told
