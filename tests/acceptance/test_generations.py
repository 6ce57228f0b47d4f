"""From recipe to recipe while the live index serves: paths, backfills, switches, and what may go wrong on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import Worlds
from tests.acceptance.generations import Move, assert_same, clean, document, sentence, texts, without_runs

from regen import UNRESTRICTED, Chunking, Document
from regen.core.results import SearchResult, SwitchResult
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
        "embed", hashing(), hashing(), new={"embedding": {"document_prefix": "passage: "}}, must="recommended"
    ),
    "fewer dimensions": Way("derive", WordLlamaEmbedder(256), WordLlamaEmbedder(128)),
    "float16": Way("derive", hashing(), hashing(), new={"embedding": {"precision": "float16"}}, tolerance=1e-3),
    "int8": Way("derive", hashing(), hashing(), new={"embedding": {"precision": "int8"}}, tolerance=1.0),
    "binary": Way("derive", hashing(), hashing(), new={"embedding": {"precision": "binary"}}),
    "normalised": Way("derive", hashing(), hashing(), old={"embedding": {"normalize": False}}, new={"embedding": None}),
    "chunker": Way("rechunk", hashing(), hashing(), new={"chunking": LARGE}, must="recommended"),
    "template": Way("rechunk", hashing(), hashing(), new={"text": "{title}: {text}"}, must="recommended"),
    "metric": Way("copy", hashing(), hashing(), new={"metric": "dot"}),
    "index": Way("copy", hashing(), hashing(), new={"index": {"refine": 3}}),
    "fewer dimensions, other chunks": Way(
        "derive", WordLlamaEmbedder(256), WordLlamaEmbedder(64), new={"chunking": LARGE}, must="recommended"
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
    assert plan.totals.documents == len(DOCUMENTS)
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
    plan, result = move.step()
    assert not plan.empty
    assert plan.steps == ()
    assert plan.amends is not None
    assert "query prefix '' -> 'ask: '" in plan.amends
    assert plan.decision is not None
    assert (plan.decision.path, plan.decision.must_embed) == ("query", "not needed")
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


def test_an_edit_at_the_very_end_of_a_build(worlds: Worlds) -> None:
    """A document that is logged after the last round, before the generation is called ready, is in it when it is."""
    way = WAYS["another model of equal dimensions"]
    move = started(worlds, way)
    aim(move, way)
    catalog, late = move.index._catalog, [document(50), document(51)]
    mark_ready = catalog.mark_ready

    def slow(generation: int, *, at: float) -> bool:
        if late:
            other = Index(
                embedder=way.before, store=move.index._store, catalog=catalog, chunking=SMALL, root=move.world.folder
            )
            other.upsert([late.pop()])
        ready = mark_ready(generation, at=at)
        assert ready == (catalog.counts(generation).pending == 0)
        return ready

    catalog.mark_ready = slow  # type: ignore[attr-defined, method-assign, unused-ignore]
    move.index.apply()
    assert move.states() == {1: "live", 2: "ready"}
    assert_both_are_clean(worlds, move, way, *DOCUMENTS, document(50), document(51))


@pytest.mark.parametrize("state", ["ready", "live", "retained"])
def test_two_who_build_the_same_make_one_generation(worlds: Worlds, state: str) -> None:
    """Who has decided to build finds, when it is its turn, what another process has built and perhaps switched to."""
    way = WAYS["another model of equal dimensions"]
    move = started(worlds, way)
    aim(move, way)
    index = move.index
    decided = index._desired()
    assert decided.to_build
    assert decided.fitting is None
    index.apply()
    if state != "ready":
        index.promote(force=True, reason="test")
    if state == "retained":
        index.rollback(reason="test")
    sent = len(move.sent())
    late = index._fill(decided, None)
    assert move.states() == {1: "retained" if state == "live" else "live", 2: state}
    assert (late.generation, late.revision, late.embedded_texts) == (2, index._catalog.head(), 0)
    assert len(move.sent()) == sent
    assert_both_are_clean(worlds, move, way, *DOCUMENTS)


# ── switching ──


def two(worlds: Worlds, name: str = "another model of equal dimensions", *documents: Document) -> Move:
    """A live generation and one that is ready."""
    move = started(worlds, WAYS[name], *documents)
    aim(move, WAYS[name])
    move.step()
    return move


def assert_both_are_clean(worlds: Worlds, move: Move, way: Way, *documents: Document) -> None:
    """Each generation equals a clean build of the present documents by its recipe."""
    assert_same(move.contents(1), clean(worlds, way.before, *documents, **{"chunking": SMALL} | way.old))
    assert_same(move.contents(2), build_anew(worlds, way, *documents), way.tolerance)


@pytest.mark.parametrize("name", ["another model of equal dimensions", "fewer dimensions", "chunker"])
def test_there_and_back_and_there_again(worlds: Worlds, name: str) -> None:
    """Promotion, rollback and roll forward with edits after each: no generation misses any of them (I7, I8)."""
    way, move = WAYS[name], two(worlds, name)
    now = {item.id: item for item in DOCUMENTS}
    switches: list[tuple[Callable[..., SwitchResult], int]] = [
        (move.index.promote, 2), (move.index.rollback, 1), (move.index.rollback, 2), (move.index.rollback, 1),
    ]  # fmt: skip
    for turn, (switch, live) in enumerate(switches):
        assert switch(reason=f"turn {turn}").live == live
        new = document(20 + turn)
        changed = Document(f"d{turn % 3}", " ".join([sentence(950 + turn), document(turn).text]), {"title": "Edited"})
        move.world.put(new, changed)
        gone = now.pop(f"d{6 - turn}").id
        del move.world.source.documents[gone]
        move.step()
        now |= {new.id: new, changed.id: changed}
        assert move.index.search("river").generation == live
        for number in (1, 2):
            assert found(move, generation=number) == now.keys()
        assert_both_are_clean(worlds, move, way, *now.values())
    told = [(switch.live, switch.previous, switch.reason) for switch in move.index.switches()]
    assert told[:4] == [(1, 2, "turn 3"), (2, 1, "turn 2"), (1, 2, "turn 1"), (2, 1, "turn 0")]
    assert all("@" in switch.actor for switch in move.index.switches()[:4])


def test_deletion_holds_in_every_generation(worlds: Worlds) -> None:
    """When a deletion or a revocation returns, no generation shows the document, switched to or not (I3)."""
    move = two(worlds)
    move.index.promote()
    move.index.delete(["d1"])
    move.index.upsert([Document("d2", document(2).text, {"title": "Title 2"}, ["ann"])])
    for _ in range(3):
        for number in (None, 1, 2):
            visible = {hit.doc_id for hit in move.index.search("river", 200, generation=number)}
            assert visible == {"d0", "d3", "d4", "d5", "d6"}
        move.index.rollback()


def test_searches_never_notice_a_switch(worlds: Worlds) -> None:
    """While the alias goes back and forth 200 times no search fails, and each is answered in one space (I7)."""
    move = two(worlds)
    move.index.promote()
    spaces = {number: move.generation(number).recipe.space for number in (1, 2)}
    wanted = {number: texts(move.contents(number)) for number in (1, 2)}
    stop, answers = threading.Event(), list[SearchResult]()

    def search() -> None:
        while not stop.is_set() or len(answers) < 10:
            answers.append(move.index.search("river stone", 200))

    with ThreadPoolExecutor(2) as pool:
        searching = [pool.submit(search) for _ in range(2)]
        for _ in range(200):
            move.index.rollback()
        stop.set()
        for one in searching:
            one.result()
    assert {answer.generation for answer in answers} == {1, 2}
    for answer in answers:
        assert answer.space == spaces[answer.generation]
        assert {(hit.generation, hit.space) for hit in answer} == {(answer.generation, answer.space)}
        assert {hit.text for hit in answer} == wanted[answer.generation]
    assert len(move.index.switches()) == 202


def test_what_cannot_be_promoted(worlds: Worlds) -> None:
    """An unfinished generation, the live one, a retired one, one that never was: each is refused, nothing moves."""
    way = WAYS["another model of equal dimensions"]
    move = half_built(worlds, way)
    with pytest.raises(NotPromotable, match=r"generation 2 is unfinished: \d documents are not in it yet"):
        move.index.promote(2)
    with pytest.raises(NotPromotable, match="no generation is ready; 2 is unfinished"):
        move.index.promote()
    with pytest.raises(NotPromotable, match="generation 1 is live already"):
        move.index.promote(1)
    with pytest.raises(NotPromotable, match="no previous generation"):
        move.index.rollback()
    with pytest.raises(NotFound, match=r"there is no generation 7(.|\n)*\[1, 2\]"):
        move.index.promote(7)
    move.index.retire(2)
    with pytest.raises(NotPromotable, match="generation 2 is aborted"):
        move.index.promote(2)
    assert move.states() == {1: "live", 2: "aborted"}
    assert len(move.index.switches()) == 1
    assert found(move) == {item.id for item in DOCUMENTS}


def test_two_promotions_at_once(worlds: Worlds) -> None:
    """Of many that promote at once on the same grounds one succeeds, the others learn that the alias has moved."""
    move = two(worlds)
    version = move.index.switches()[0].version
    barrier = threading.Barrier(4)

    def promote(number: int) -> str:
        barrier.wait()
        try:
            move.index.promote(2, reason=f"thread {number}", expected_version=version)
        except AliasMoved as error:
            return error.message
        return "done"

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(promote, range(4)))
    assert told.count("done") == 1
    assert move.states() == {1: "retained", 2: "live"}
    assert move.index.switches()[0].reason == f"thread {told.index('done')}"
    with pytest.raises(AliasMoved, match="version 2, not 1"):
        move.index.rollback(expected_version=version)


def test_retire_and_gc(worlds: Worlds) -> None:
    """Live is never retired; gc leaves what is retained until its time has come, or --now; its collection goes."""
    move = two(worlds)
    with pytest.raises(NotPromotable, match="generation 1 is live"):
        move.index.retire(1)
    move.index.promote()
    assert move.index.gc().retired == []
    assert move.states() == {1: "retained", 2: "live"}
    collection = move.generation(1).collection
    assert collection in move.index._store.collections()
    assert move.index.search("river", generation=1).generation == 1
    assert move.index.gc(now=True).retired == [1]
    assert move.states() == {1: "retired", 2: "live"}
    assert move.index._store.collections() == [move.generation(2).collection]
    with pytest.raises(NotFound, match=r"there is no generation 1(.|\n)*\[2\]"):
        move.index.search("river", generation=1)
    with pytest.raises(NotPromotable):
        move.index.rollback()
    assert move.index.gc(now=True).retired == []
    move.index.retire(1)
    assert found(move) == {item.id for item in DOCUMENTS}
    move.world.assert_sound()


def test_gc_retires_what_is_overdue(worlds: Worlds) -> None:
    """After ``retain`` seconds a former live generation is given up by the next gc, not a ready or building one."""
    move = two(worlds)
    move.index.promote()
    move.to(limits=Limits(retain=0.0))
    time.sleep(0.01)
    assert move.index.gc().retired == [1]
    assert move.states() == {1: "retired", 2: "live"}


def test_gc_with_a_half_built_generation(worlds: Worlds) -> None:
    """Collecting garbage leaves a build that was stopped, and the tombstones it needs, alone; it is completed after."""
    way = WAYS["another model of equal dimensions"]
    move = half_built(worlds, way)
    del move.world.source.documents["d0"]
    move.index.sync()
    move.index.gc(now=True)
    assert move.states() == {1: "live", 2: "building"}
    move.step()
    assert_both_are_clean(worlds, move, way, *DOCUMENTS[1:])


def test_another_process_retires_what_a_search_knows(worlds: Worlds) -> None:
    """An index that knew a generation finds the live one, or says that it is gone, when somebody else retired it."""
    move = two(worlds)
    other = Index(
        embedder=move.world.embedder, store=move.index._store, catalog="sqlite:///catalog.db", root=move.world.folder,
        chunking=SMALL, models=dict(move.models),
    )  # fmt: skip
    assert len(other.search("river")) > 0
    assert other.search("river", generation=1).generation == 1
    move.index.promote()
    move.index.retire(1)
    assert other.search("river").generation == 2
    with pytest.raises(NotFound, match="there is no generation 1"):
        other.search("river", generation=1)
    other._catalog.close()


def test_a_search_begins_while_the_alias_goes_there_and_back(worlds: Worlds) -> None:
    """The alias is read, then rolled back and what it pointed at given up: the generation that is live answers."""
    move = two(worlds)
    move.index.promote()
    other = Index(
        embedder=move.world.embedder, store=move.index._store, catalog="sqlite:///catalog.db", root=move.world.folder,
        chunking=SMALL, models=dict(move.models),
    )  # fmt: skip
    route, asked = other._catalog.route, []

    def late(alias: str) -> Any:
        seen = route(alias)
        asked.append(seen.live)
        if len(asked) == 1:
            move.index.rollback(reason="test")
            move.index.gc(now=True)
        return seen

    other._catalog.route = late  # type: ignore[attr-defined, method-assign, unused-ignore]
    assert other.search("river").generation == 1
    assert asked[0] == 2
    with pytest.raises(NotFound, match="there is no generation 2"):
        other.search("river", generation=2)
    other._catalog.close()


@pytest.mark.parametrize("call", ["before", "after"])
def test_a_search_outlives_its_generation(worlds: Worlds, call: str) -> None:
    """A search whose generation is replaced and retired while it is under way is answered by the new one."""
    move = two(worlds)
    store = move.index._store
    done = list[int]()
    search = store.search

    def slow(*arguments: Any, **options: Any) -> Any:
        found = search(*arguments, **options) if call == "after" else None
        if not done:
            done.append(1)
            move.index.promote()
            move.index.gc(now=True)
        return search(*arguments, **options) if found is None else found

    store.search = slow  # type: ignore[method-assign]
    answer = move.index.search("river", 200)
    assert (answer.generation, len(done)) == (2, 1)
    assert {hit.doc_id for hit in answer} == {item.id for item in DOCUMENTS}


# ── what may go wrong ──


class Drifting(HashingEmbedder):
    """A model that its provider changes behind its name."""

    changed = False

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """The old vectors, or those of another space."""
        vectors = super().embed_documents(texts)
        return np.roll(vectors, 1, axis=1) if self.changed else vectors


def test_a_model_that_changed_behind_its_name(worlds: Worlds) -> None:
    """A build that would take over vectors of the old model stops before it writes anything, and doctor says so."""
    model = Drifting(32)
    move = started(worlds, Way("copy", model, model))
    assert all(finding.passed for finding in move.index.doctor().findings)
    model.changed = True
    (finding,) = [finding for finding in move.index.doctor().findings if not finding.passed]
    assert finding.name == "probes"
    assert "gives other vectors than when generation 1 was built" in finding.detail
    before, collections = move.world.dump(), move.index._store.collections()
    for settings in ({"chunking": LARGE}, {"metric": "dot", "chunking": SMALL}, {"embedding": {"precision": "int8"}}):
        move.to(**settings)
        asked = len(move.sent())
        with pytest.raises(ModelChanged, match="gives other vectors than when generation 1 was built"):
            move.index.apply()
        assert without_runs(move.world.dump()) == without_runs(before)
        assert move.index._store.collections() == collections
        assert len(move.sent()) == asked
        move.to(metric="cosine", embedding=None, chunking=SMALL)
    assert len(move.index.search("river")) > 0


def test_a_model_that_changes_during_a_build(worlds: Worlds) -> None:
    """A build that is gone on with notices that its own model is another one now."""
    model = Drifting(32, 5)
    way = Way("embed", hashing(), model)
    move = half_built(worlds, way)
    held = move.contents(2)
    model.changed = True
    with pytest.raises(ModelChanged, match="when generation 2 was built"):
        move.index.apply()
    assert_same(move.contents(2), held, 0.0)
    assert move.states() == {1: "live", 2: "building"}
    model.changed = False
    move.step()
    assert_both_are_clean(worlds, move, way, *DOCUMENTS)


def test_a_plan_made_stale_by_a_build(worlds: Worlds) -> None:
    """A plan to build is refused once the build, a part of it, an edit, or a switch has happened (I9)."""
    way = WAYS["another model of equal dimensions"]
    move = started(worlds, way)
    aim(move, way)
    plan = move.index.plan()
    move.index.apply(plan)
    for _ in range(2):
        with pytest.raises(StalePlan, match="has been built, promoted or retired"):
            move.index.apply(plan)
        move.index.promote(2) if move.states()[2] == "ready" else None
    assert move.states() == {1: "retained", 2: "live"}
    move.to(chunking=LARGE)
    plan = move.index.plan()
    move.index.upsert([document(30)])
    with pytest.raises(StalePlan, match="at revision"):
        move.index.apply(plan)
    plan = move.index.plan()
    move.to(chunking=Chunking("whole"))
    with pytest.raises(StalePlan, match="recipe in the configuration"):
        move.index.apply(plan)


def test_a_plan_of_the_rest_of_a_build(worlds: Worlds) -> None:
    """A plan made after a stopped build counts what is missing, and to the text."""
    way = WAYS["another model of equal dimensions"]
    move = half_built(worlds, way)
    held, whole = move.contents(2), build_anew(worlds, way, *DOCUMENTS)
    plan, _ = move.step()
    assert "create_generation" not in {step.action for step in plan.steps}
    assert plan.to_generation == 2
    assert plan.totals.texts_to_embed == len(texts(whole) - texts(held)) > 0


def test_a_collection_dropped_behind_our_back(worlds: Worlds) -> None:
    """A retained or half-built generation whose collection is gone: a clear error, while the live one stays fresh."""
    move = two(worlds)
    move.index.promote()
    move.index._store.drop(move.generation(1).collection)
    with pytest.raises(CollectionMissing, match="_g1"):
        move.index.upsert([document(40)])
    assert move.index.search(sentence(4000), k=1)[0].doc_id == "d40"
    move.index.delete(["d40"])
    with pytest.raises(CollectionMissing, match="_g1"):
        move.index.search("river", generation=1)
    move.index.retire(1)
    move.index.upsert([document(41)])
    assert found(move) == {*(item.id for item in DOCUMENTS), "d41"}
    move.world.assert_sound()


def test_the_live_collection_dropped_behind_our_back(worlds: Worlds) -> None:
    """The live collection is gone: a rollback serves at once, and repair writes the points anew."""
    move = two(worlds, "fewer dimensions")
    move.index.promote()
    move.index._store.drop(move.generation(2).collection)
    with pytest.raises(CollectionMissing, match="_g2"):
        move.index.search("river")
    assert not next(item for item in move.index.doctor().findings if item.name == "store").passed
    move.index.rollback()
    assert found(move) == {item.id for item in DOCUMENTS}
    move.index.rollback()
    asked = len(move.sent())
    assert move.index.verify(repair=True).consistent
    assert len(move.sent()) == asked, "its vectors are derived from the other generation's"
    assert_both_are_clean(worlds, move, WAYS["fewer dimensions"], *DOCUMENTS)


def test_auto_promotes_what_apply_has_built(worlds: Worlds) -> None:
    """With ``promote="auto"`` the switch is a step of the plan, and done; also of what was ready before."""
    way = WAYS["fewer dimensions"]
    move = started(worlds, way)
    aim(move, way, promote="auto")
    plan, _ = move.step()
    assert plan.steps[-1].action == "promote"
    assert move.states() == {1: "retained", 2: "live"}
    move.to(promote="manual", chunking=LARGE)
    move.step()
    assert move.states()[3] == "ready"
    move.to(promote="auto")
    plan, _ = move.step()
    assert [step.action for step in plan.steps] == ["promote"]
    assert move.states() == {1: "retained", 2: "retained", 3: "live"}
    assert move.index.plan().empty
