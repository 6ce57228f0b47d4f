"""From recipe to recipe while the live index serves: paths, backfills, switches, and what may go wrong on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import Worlds
from tests.acceptance.generations import Move, assert_same, clean, document, sentence, texts

from regen import UNRESTRICTED, Chunking, Document
from regen.core.results import SearchResult
from regen.embedders.hashing import HashingEmbedder
from regen.embedders.wordllama import WordLlamaEmbedder
from regen.engine import probes
from regen.engine.settings import Limits
from regen.errors import AliasMoved, BudgetExceeded, CollectionMissing, ModelChanged, NotFound, NotPromotable, StalePlan
from regen.index import Index
from regen.ports import Embedder, Vectors

SMALL, LARGE = Chunking("sentences", 16), Chunking("sentences", 32)
DOCUMENTS = tuple(document(number) for number in range(7))


@dataclass(frozen=True)
class Way:
    """A recipe and another one, and what the way between them must be."""

    path: str
    before: Embedder
    after: Embedder
    old: dict[str, Any] = field(default_factory=dict)
    new: dict[str, Any] = field(default_factory=dict)
    must: str = "not needed"
    tolerance: float = 1e-5


def hashing(dimensions: int = 32, seed: int = 0) -> HashingEmbedder:
    """A small model."""
    return HashingEmbedder(dimensions, seed)


WAYS = {
    "another model of equal dimensions": Way("embed", hashing(), hashing(seed=7), must="always"),
    "more dimensions": Way("embed", WordLlamaEmbedder(64), WordLlamaEmbedder(256), must="always"),
    "document prefix": Way(
        "embed", hashing(), hashing(), new={"embedding": {"document_prefix": "passage: "}}, must="always"
    ),
    "fewer dimensions": Way("derive", WordLlamaEmbedder(256), WordLlamaEmbedder(128)),
    "float16": Way("derive", hashing(), hashing(), new={"embedding": {"precision": "float16"}}, tolerance=1e-3),
    "int8": Way("derive", hashing(), hashing(), new={"embedding": {"precision": "int8"}}, tolerance=1.0),
    "binary": Way("derive", hashing(), hashing(), new={"embedding": {"precision": "binary"}}),
    "normalised": Way("derive", hashing(), hashing(), old={"embedding": {"normalize": False}}, new={"embedding": None}),
    "chunker": Way("rechunk", hashing(), hashing(), new={"chunking": LARGE}, must="always"),
    "template": Way("rechunk", hashing(), hashing(), new={"text": "{title}: {text}"}, must="always"),
    "metric": Way("copy", hashing(), hashing(), new={"metric": "dot"}),
    "index": Way("copy", hashing(), hashing(), new={"index": {"refine": 3}}),
    "fewer dimensions, other chunks": Way(
        "derive", WordLlamaEmbedder(256), WordLlamaEmbedder(64), new={"chunking": LARGE}, must="always"
    ),
}  # fmt: skip


def started(worlds: Worlds, way: Way, *documents: Document) -> Move:
    """A world that lives by the way's first recipe."""
    move = Move(worlds(*(documents or DOCUMENTS), embedder=way.before, **{"chunking": SMALL} | way.old))
    move.index.sync()
    return move


def aim(move: Move, way: Way, **settings: Any) -> Index:
    """Ask for the way's second recipe."""
    return move.to(way.after, **way.new, **settings)


def build_anew(worlds: Worlds, way: Way, *documents: Document) -> Any:
    """What a clean build by the second recipe makes of documents."""
    return clean(worlds, way.after, *documents, **{"chunking": SMALL} | way.old | way.new)


def new_texts(way: Way, old: Any, wanted: Any) -> int:
    """How many texts a way may cost, from what two clean builds hold."""
    if "text" in way.new:
        return len(wanted)  # the title is in each text, and in no other document's
    return len(texts(wanted) if way.path == "embed" else texts(wanted) - texts(old))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_path_equals_a_clean_build(worlds: Worlds, way: Way) -> None:
    """Each way costs exactly its texts, gives what a clean build gives, and leaves the old generation as it was."""
    move = started(worlds, way)
    old = move.contents(1)
    wanted = build_anew(worlds, way, *DOCUMENTS)
    aim(move, way)
    assert "asks for another recipe" in move.index.status().notes[0]
    plan, result = move.step()
    expected = new_texts(way, old, wanted)
    assert result.embedded_texts == expected
    assert (plan.from_generation, plan.to_generation, plan.strategy) == (1, 2, "rebuild")
    assert plan.decision is not None
    assert (plan.decision.path, plan.decision.must_embed) == (way.path, way.must)
    chunks = {step.action: step.chunks for step in plan.steps}
    assert sum(chunks.values()) == len(wanted) == result.chunks.written
    assert chunks.get("embed_chunks", 0) == (len(wanted) if way.path == "embed" else expected)
    assert_same(move.contents(2), wanted, way.tolerance)
    assert_same(move.contents(1), old, 0.0)
    assert move.states() == {1: "live", 2: "ready"}
    assert "promote" in result.notes[0]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_built_generation_is_not_built_again(worlds: Worlds, way: Way) -> None:
    """Once ready, plan and apply find nothing to do; promoted, the configuration is what is live."""
    move = started(worlds, way)
    aim(move, way)
    move.step()
    plan, result = move.step()
    assert plan.empty
    assert result.chunks.written == result.embedded_texts == 0
    switched = move.index.promote(reason="better")
    assert (switched.live, switched.previous) == (2, 1)
    assert move.states() == {1: "retained", 2: "live"}
    assert move.index.plan().empty
    assert move.index.status().notes == []
    doc_id, text = next((key[0], held[0]) for key, held in move.contents(2).items() if sentence(302) in held[0])
    hits = move.index.search(text, k=3)
    assert (hits[0].doc_id, hits[0].text, doc_id) == ("d3", text, "d3")
    assert {(hit.generation, hit.space) for hit in hits} == {(2, move.index.recipe.space)}


def test_a_query_prefix_takes_effect_with_no_generation(worlds: Worlds) -> None:
    """A new query prefix is used for queries once it is applied; documents, points and generations stay."""
    move = started(worlds, Way("query", hashing(), hashing()))
    before = move.contents(1)
    move.to(embedding={"query_prefix": "ask: "})
    move.index.search("river")
    assert move.world.embedder.calls[-1] == ("river",)
    _, result = move.step()
    assert result.embedded_texts == result.chunks.written == 0
    move.index.search("river")
    assert move.world.embedder.calls[-1] == ("ask: river",)
    assert_same(move.contents(1), before, 0.0)
    assert move.states() == {1: "live"}
    assert move.index.plan().empty


def test_spaces_of_equal_dimensions_stay_apart(worlds: Worlds) -> None:
    """A vector of the old model is refused by the new generation, though it would fit; each has its collection."""
    way = WAYS["another model of equal dimensions"]
    move = started(worlds, way)
    aim(move, way)
    move.step()
    first, second = move.generation(1), move.generation(2)
    assert first.collection != second.collection
    assert first.recipe.embedding.dimensions == second.recipe.embedding.dimensions
    vector = way.before.embed_query("river")
    assert len(move.index.search(vector, space=first.recipe.space)) > 0
    with pytest.raises(Exception, match="generation of space"):
        move.index.search(vector, space=first.recipe.space, generation=2)


# ── writes while a generation is being filled ──


EDITS = (
    document(1, 4),  # shorter
    document(2, lang="de"),  # metadata only
    Document("d3", " ".join([sentence(901), sentence(902)]), {"title": "Title 3"}),
    document(8),  # new
    Document("d4", document(4).text, {"title": "Title 4"}, ["ann"]),  # access only
)


def edited() -> tuple[Document, ...]:
    """The documents after the edits: d5 is gone too."""
    now = {item.id: item for item in (*DOCUMENTS, *EDITS) if item.id != "d5"}
    return tuple(now.values())


PRICED = {"price_per_million_tokens": 1_000.0}


def half_built(worlds: Worlds, way: Way, share: float = 0.5) -> Move:
    """A build that a budget has stopped when so much of its price was spent."""
    move = started(worlds, way)
    aim(move, way, embedding={**(way.new.get("embedding") or {}), **PRICED}, limits=Limits(batch_documents=2))
    price = move.index.plan().totals.cost_usd
    move.to(limits=Limits(batch_documents=2, budget_usd=price * share))
    with pytest.raises(BudgetExceeded):
        move.index.apply()
    assert move.states() == {1: "live", 2: "building"}
    assert 0 < len(move.contents(2)) < len(move.contents(1))
    move.to(limits=Limits(batch_documents=2))
    return move


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_writes_during_a_backfill(worlds: Worlds, share: float) -> None:
    """A build that a budget stops, edits of all kinds, then the rest: nothing paid twice, nothing resurrected."""
    way = WAYS["another model of equal dimensions"]
    move = half_built(worlds, way, share)
    move.world.put(*EDITS)
    del move.world.source.documents["d5"]
    followed = move.index.sync()
    assert followed.documents.deleted == 1
    assert move.states() == {1: "live", 2: "building"}
    assert_same(move.contents(1), clean(worlds, way.before, *edited(), chunking=SMALL))
    move.step()
    assert move.states() == {1: "live", 2: "ready"}
    assert_same(move.contents(2), build_anew(worlds, way, *edited()))
    assert "d5" not in found(move, generation=2)
    paid = [text for call in move.world.embedder.calls for text in call if text not in probes.TEXTS]
    assert len(paid) == len(set(paid))
    move.world.assert_sound()


def found(move: Move, **options: Any) -> set[str]:
    """The ids of all documents that a search finds."""
    return {hit.doc_id for hit in move.index.search("river", 200, principals=UNRESTRICTED, **options)}


def test_edits_and_a_migration_in_one_plan(worlds: Worlds) -> None:
    """A plan over changed documents and a new generation counts each text once, for all that apply does with it."""
    for name in ("chunker", "fewer dimensions", "another model of equal dimensions", "metric"):
        way = WAYS[name]
        move = started(worlds, way)
        move.world.put(*EDITS)
        del move.world.source.documents["d5"]
        aim(move, way)
        _, result = move.step()
        assert result.documents.deleted == 1
        assert_same(move.contents(2), build_anew(worlds, way, *edited()))
        assert_same(move.contents(1), clean(worlds, way.before, *edited(), **{"chunking": SMALL} | way.old))


@pytest.mark.parametrize("name", ["chunker", "fewer dimensions", "another model of equal dimensions", "metric", "int8"])
@pytest.mark.parametrize("live", [1, 2])
def test_two_generations_follow_every_edit(worlds: Worlds, name: str, live: int) -> None:
    """With a retained generation each new text is embedded once for each space that cannot be derived, as planned."""
    way = WAYS[name]
    move = started(worlds, way)
    aim(move, way)
    move.step()
    move.index.promote()
    if live == 1:
        move.index.rollback()
    before = move.contents(1), move.contents(2)
    move.world.put(*EDITS)
    del move.world.source.documents["d5"]
    _, result = move.step()
    after = move.contents(1), move.contents(2)
    assert_same(after[0], clean(worlds, way.before, *edited(), **{"chunking": SMALL} | way.old))
    assert_same(after[1], build_anew(worlds, way, *edited()), way.tolerance)
    fresh = [texts(now) - texts(then) for now, then in zip(after, before, strict=True)]
    if way.path == "embed":
        assert result.embedded_texts == len(fresh[0]) + len(fresh[1])
    else:
        assert result.embedded_texts == len((fresh[0] | fresh[1]) - texts(before[0]) - texts(before[1]))
    assert move.index.plan().empty
