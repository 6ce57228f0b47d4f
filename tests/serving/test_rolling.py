"""One list while a generation is filled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving.filling import QUERIES, Filling, filling, plain, text

from regen import Document
from regen.serving.routes.priors import MOST, Priors
from regen.spaces.prior import CalibrationPrior

ALL = [f"d{n:03}" for n in range(60)]
ASKED: list[dict[str, Any]] = [
    {}, {"k": 3}, {"k": 150}, {"where": {"lang": "de"}}, {"principals": []}, {"principals": ["team"], "k": 25},
]  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Filling]:
    """Sixty documents, an empty second generation, and the route."""
    with filling(tmp_path) as world:
        world.create()
        world.start("rolling")
        yield world


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_nothing_is_migrated(world: Filling, asked: dict[str, Any]) -> None:
    """At 0 % the list is the old ranking: chunks, order and scores, for every k, filter and caller."""
    for query in QUERIES:
        found = world.search(query, **asked)
        assert plain(found) == world.pure(1, query, **asked) != []
        assert found.generation == 1


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_everything_is_migrated(world: Filling, asked: dict[str, Any]) -> None:
    """At 100 % it is the new one, though the live generation is still the old."""
    assert world.place(ALL) == 60
    for query in QUERIES:
        found = world.search(query, **asked)
        assert plain(found) == world.pure(2, query, **asked) != []
        assert (found.generation, found.space) == (1, world.generation(1).recipe.space)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_in_between(world: Filling, share: float) -> None:
    """Each document is answered by the generation that has it, each side in its own order, all on one falling scale."""
    migrated = set(ALL[:: round(1 / share)] if share < 0.9 else [doc for doc in ALL if not doc.endswith("7")])
    world.place(sorted(migrated))
    spaces = set()
    for query in QUERIES * 3:
        found = world.search(query, 20)
        spaces |= {hit.space for hit in found}
        assert {hit.doc_id for hit in found if hit.generation == 2} == {hit.doc_id for hit in found} & migrated
        scores = [hit.score for hit in found]
        assert scores == sorted(scores, reverse=True)
        for number in (1, 2):
            alone = [row[1] for row in world.pure(number, query, 200)]
            mine = [hit.chunk_id for hit in found if hit.generation == number]
            assert mine == [chunk for chunk in alone if chunk in set(mine)]
        new = {row[1]: row[2] for row in world.pure(2, query, 200)}
        assert all(hit.score == new[hit.chunk_id] for hit in found if hit.generation == 2)
    assert spaces == {world.generation(n).recipe.space for n in (1, 2)}


def test_a_filter_that_meets_nothing_migrated(world: Filling) -> None:
    """Then the list is the old one, scores included, whatever earlier searches have taught."""
    world.place(ALL[1::2])
    for query in QUERIES:
        world.search(query)
    for query in QUERIES:
        assert plain(world.search(query, where={"lang": "en"})) == world.pure(1, query, where={"lang": "en"}) != []
        assert plain(world.search(query, where={"lang": "de"})) == world.pure(2, query, where={"lang": "de"}) != []


def test_one_store_query_more(world: Filling) -> None:
    """One to each collection, whatever share is migrated."""
    world.place(ALL[:30])
    for query in QUERIES:
        world.store.asked.clear()
        world.search(query)
        assert sorted(world.store.asked) == sorted(world.generation(n).collection for n in (1, 2))


def test_an_edited_document_is_not_migrated(world: Filling) -> None:
    """Until its new revision is there the live generation answers it, with the new text; nothing shows the old one."""
    world.place(ALL)
    world.index.upsert([Document("d001", "River stone. River stone again.", {"lang": "de"})])
    hits = [hit for hit in world.search("river stone", 20) if hit.doc_id == "d001"]
    assert {hit.generation for hit in hits} == {1}
    assert {hit.text for hit in hits} == {row[3] for row in world.pure(1, "river stone", 200) if row[0] == "d001"}
    assert world.place(["d001"]) == 1
    hits = [hit for hit in world.search("river stone", 20) if hit.doc_id == "d001"]
    assert {hit.generation for hit in hits} == {2}
    assert all("iver stone" in hit.text for hit in hits)


def test_a_document_that_is_placed_while_it_is_searched_for(world: Filling) -> None:
    """Placed after the new store was asked and before the fence looked: the old generation still answers it."""
    world.place(ALL[1:])
    query = text(0)
    world.store.after[world.generation(2).collection] = lambda: world.place(["d000"])
    hits = [hit for hit in world.search(query, 20) if hit.doc_id == "d000"]
    assert hits
    assert {hit.generation for hit in hits} == {1}
    assert {hit.generation for hit in world.search(query, 20) if hit.doc_id == "d000"} == {2}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_document_that_is_edited_while_it_is_searched_for(world: Filling, when: str) -> None:
    """Edited around the new store's answer: it is shown once, of one revision, by one generation."""
    world.place(ALL)
    query, edited = text(0), Document("d000", text(0) + " Edited now.", {"lang": "en"}, ["team"])
    getattr(world.store, when)[world.generation(2).collection] = lambda: world.index.upsert([edited])
    hits = [hit for hit in world.search(query, 20) if hit.doc_id == "d000"]
    assert hits
    assert {hit.generation for hit in hits} == {1}
    assert len({hit.revision for hit in hits}) == 1
    assert not any("Edited" in hit.text for hit in hits)


def test_deleted_and_revoked(world: Filling) -> None:
    """What is deleted or no longer to be seen is gone at once, on both sides (I3)."""
    world.place(ALL[:30])
    query = text(1)[:40] + text(40)[:40]
    gone = {"d001", "d040"}
    assert gone <= {hit.doc_id for hit in world.search(query, 40, principals=[])}
    world.index.delete(["d001"])
    world.index.upsert([Document("d040", text(40), {"lang": "en"}, ["team"])])
    assert not gone & {hit.doc_id for hit in world.search(query, 200, principals=[])}
    assert "d040" in {hit.doc_id for hit in world.search(query, 200, principals=["team"])}


def test_a_candidate_that_fails(world: Filling) -> None:
    """The live generation answers alone, as it would without a migration, and the result says so (I10)."""
    world.place(ALL)
    world.store.failing = world.generation(2).collection
    found = world.search("river stone")
    assert plain(found) == world.pure(1, "river stone")
    assert "generation 2 failed" in (found.explanation.fallback or "")


def test_what_is_known_of_relevance_moves_the_list(world: Filling) -> None:
    """Where judged relevant documents lie is read from the rollout's state, and the pending ones are lowered by it."""
    world.place(ALL[:30])
    before = world.search("river stone", 40)
    rollout = world.index.rollout()
    assert rollout is not None
    world.index._catalog.change_rollout(rollout, at=2.0, state={"relevant": {"pending": 0, "total": 400}})
    after = world.search("river stone", 40)
    old = {hit.chunk_id: hit.score for hit in before if hit.generation == 1}
    lowered = [(hit.score, old[hit.chunk_id]) for hit in after if hit.generation == 1 and hit.chunk_id in old]
    assert all(now < then for now, then in lowered)
    assert sum(hit.generation == 2 for hit in after) > sum(hit.generation == 2 for hit in before)


def test_priors_are_few() -> None:
    """What the oldest pair has taught is forgotten first; each pair has its own."""
    priors = Priors()
    taught = CalibrationPrior(queries=1.0)
    for number in range(MOST + 1):
        priors.put((number, number + 1), taught)
    assert priors.get((0, 1)) == CalibrationPrior()
    assert priors.get((1, 2)) == taught == priors.get((MOST, MOST + 1))


def test_searches_teach(world: Filling) -> None:
    """A search under the route leaves the pair's prior richer than it was."""
    world.place(ALL[:30])
    world.search("river stone")
    world.search("winter music")
    prior = world.index._reader.memory["priors"].get((1, 2))
    assert 1 < prior.queries <= 2
