"""Two complete generations answer together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Semaphore
from typing import Any

import pytest
from tests.serving.filling import QUERIES, Filling, filling

from regen import Document
from regen.errors import ConfigError, NotPromotable
from regen.evaluation.measures import rank_documents
from regen.ports.rollouts import RouteKind
from regen.serving.routes import context

METHODS = ("calibrated", "min_max", "z_score", "reciprocal_rank")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Filling]:
    """Two complete generations of sixty documents."""
    with filling(tmp_path) as world:
        world.index.apply()
        yield world


def ranked(world: Filling, generation: int, query: str, **more: Any) -> list[str]:
    """The documents of one generation's list, each once; equal scores by id, descending, as merges have them."""
    rows = world.pure(generation, query, 200, **more)
    return [doc for doc, _ in rank_documents((row[0], row[2]) for row in rows)]


@pytest.mark.parametrize("method", METHODS)
def test_both_answer(world: Filling, method: str) -> None:
    """Each document and each text once, best first, and whoever is high in both lists is there."""
    world.index.begin_rollout(2, route="dual", settings={"method": method})
    for query in QUERIES:
        found = world.search(query)
        assert len(found) == 10
        assert len({hit.doc_id for hit in found}) == len({hit.text for hit in found}) == 10
        scores = [hit.score for hit in found]
        assert scores == sorted(scores, reverse=True)
        both = set(ranked(world, 1, query)[:3]) & set(ranked(world, 2, query)[:3])
        assert both <= {hit.doc_id for hit in found}
        assert found.generation == 1


@pytest.mark.parametrize(("weight", "number"), [(0.0, 1), (1.0, 2)])
def test_all_the_weight_on_one_side(world: Filling, weight: float, number: int) -> None:
    """Then the list is that generation's, by document, and its chunks are shown."""
    world.index.begin_rollout(2, route="dual", settings={"weight": weight})
    for query in QUERIES:
        found = world.search(query, principals=["team"], where={"lang": "de"})
        alone = ranked(world, number, query, principals=["team"], where={"lang": "de"})
        assert [hit.doc_id for hit in found] == alone[:10]
        assert {hit.generation for hit in found} == {number}


def test_equal_texts_are_shown_once(world: Filling) -> None:
    """Two documents that say the same take one place."""
    said = "Harbour island summer paper mountain."
    world.index.upsert([Document("twin1", said), Document("twin2", said.upper())])
    world.index.begin_rollout(2, route="dual")
    shown = [hit.doc_id for hit in world.search(said, 20) if hit.doc_id.startswith("twin")]
    assert len(shown) == 1


@pytest.mark.parametrize("route", ["dual", "interleaved"])
def test_both_are_asked_at_once(world: Filling, route: RouteKind) -> None:
    """The slower of the two stores is all that a reader waits for."""
    world.start(route)
    meet = Barrier(2)
    world.store.before = {world.generation(number).collection: lambda: meet.wait(30) for number in (1, 2)}
    assert world.search(QUERIES[0]).explanation.fallback is None
    assert world.store.before == {}


def test_where_many_search_at_once(world: Filling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that find no room beside the others are answered the same, by one generation after the other."""
    world.index.begin_rollout(2, route="dual")
    usual = world.search(QUERIES[0]).hits
    monkeypatch.setattr(context, "_slots", Semaphore(0))
    assert world.search(QUERIES[0]).hits == usual


def test_a_candidate_that_fails(world: Filling) -> None:
    """The live generation answers, and the result says so (I10)."""
    world.index.begin_rollout(2, route="dual")
    world.store.failing = world.generation(2).collection
    found = world.search(QUERIES[0])
    assert [hit.chunk_id for hit in found] == [row[1] for row in world.pure(1, QUERIES[0])]
    assert "generation 2 failed" in (found.explanation.fallback or "")


@pytest.mark.parametrize(
    "settings",
    [{"method": "sum"}, {"weight": 2}, {"weight": "half"}, {"weight": True}, {"depth": 5}],
    ids=lambda given: next(iter(given)) + str(next(iter(given.values()))),
)
def test_settings_are_checked(world: Filling, settings: dict[str, Any]) -> None:
    """What cannot be merged by is refused when it is begun, not when somebody searches."""
    with pytest.raises(ConfigError, match="dual cannot merge"):
        world.index.begin_rollout(2, route="dual", settings=settings)
    with pytest.raises(ConfigError, match="canary has no settings"):
        world.index.begin_rollout(2, route="canary", settings={"weight": 0.5})


def test_nothing_is_judged(world: Filling) -> None:
    """It takes no steps: nothing to pause, nothing to advance; aborting ends it."""
    world.index.begin_rollout(2, route="dual")
    assert world.index.advance_rollout(force=True) is None
    with pytest.raises(NotPromotable, match="dual takes no steps"):
        world.index.pause_rollout("wait")
    with pytest.raises(NotPromotable, match="dual takes no steps"):
        world.index.resume_rollout()
    assert world.index.abort_rollout("enough").status == "aborted"
