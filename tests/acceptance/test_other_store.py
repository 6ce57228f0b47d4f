"""Moving to another store: a copy beside the live generation, a switch, a way back, and upkeep of both stores."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.acceptance.conftest import Worlds
from tests.acceptance.generations import Move, assert_same, clean, document, sentence, texts

from regen import UNRESTRICTED, Chunking, Document
from regen.errors import CollectionMissing, NotFound, RegenError, StoreError
from regen.index import Index
from regen.ports import CollectionSpec, Store
from regen.ports.catalog import Generation

SMALL, LARGE = Chunking("sentences", 16), Chunking("sentences", 32)
DOCUMENTS = tuple(document(number) for number in range(7))


def other_store(move: Move, kind: str | None = None) -> str:
    """The URL of a second store, of the world's kind or of another."""
    return "lancedb://b" if (kind or move.world.store) == "lancedb" else f"memory://{move.world.folder}/b"


def live_in_a(worlds: Worlds, *documents: Document) -> Move:
    """A world whose first generation is live in its first store."""
    move = Move(worlds(*(documents or DOCUMENTS), chunking=SMALL))
    move.index.sync()
    return move


def moved(worlds: Worlds) -> Move:
    """A world that lives in its second store; the generation in the first one is retained."""
    move = live_in_a(worlds)
    move.to(store=other_store(move))
    move.step()
    move.index.promote(reason="the new store")
    return move


def store_of(move: Move, number: int) -> Store:
    """The store that a generation lies in."""
    return move.index._stores.of(move.generation(number))


def assert_fresh(worlds: Worlds, move: Move, *numbers: int) -> None:
    """The generations equal a clean build of what the source holds now."""
    wanted = clean(worlds, move.world.embedder.inner, *move.world.source.documents.values(), chunking=SMALL)
    for number in numbers:
        assert_same(move.contents(number), wanted)


def found(index: Index, **options: Any) -> set[str]:
    """The ids of all documents that a search finds."""
    return {hit.doc_id for hit in index.search("river", 200, principals=UNRESTRICTED, **options)}


def unplug(index: Index, words: str = "the server does not answer") -> None:
    """Let every store but the configured one be out of reach."""

    def fail(url: str) -> Store:
        raise StoreError(f"{url}: {words}")

    stores = index._stores
    stores.opened = {stores.name: stores.configured}
    stores.open_store = fail


@pytest.mark.parametrize("kind", ["same", "lancedb", "memory"])
def test_another_store_is_a_copy(worlds: Worlds, kind: str) -> None:
    """The plan says copy_vectors and 0 texts, apply does that beside the live one; the vectors are the same bits."""
    move = live_in_a(worlds)
    before, url = move.contents(1), other_store(move, None if kind == "same" else kind)
    move.to(store=url)
    assert "asks for another recipe" in move.index.status().notes[0]
    plan, result = move.step()
    assert plan.decision is not None
    assert (plan.decision.path, plan.decision.must_embed) == ("copy", "not needed")
    chunks = {step.action: step.chunks for step in plan.steps}
    assert chunks == {"create_generation": 0, "copy_vectors": len(before)}
    assert "store " in plan.steps[0].reason
    assert url in plan.steps[0].reason
    assert (result.embedded_texts, result.chunks.written, move.states()) == (0, len(before), {1: "live", 2: "ready"})
    assert_same(move.contents(2), before, 0.0)
    assert_same(move.contents(1), before, 0.0)
    for number in (1, 2):
        assert store_of(move, number).collections() == [move.generation(number).collection]
    assert move.index.search("river").generation == 1
    plan, result = move.step()
    assert plan.empty
    assert move.index.promote().live == 2
    assert move.index.search("river").generation == 2
    assert move.index.plan().empty
    assert move.index.status().notes == []


def test_nothing_moves_until_it_is_applied(worlds: Worlds) -> None:
    """A regen.yaml that names another store changes nothing by itself: syncs and searches stay where the index lies."""
    move = live_in_a(worlds)
    move.to(store=other_store(move))
    move.world.put(document(20))
    move.index.sync()
    assert "d20" in found(move.index)
    assert move.index._store.collections() == []
    assert_fresh(worlds, move, 1)
    assert move.index.verify().consistent
    assert all(finding.passed for finding in move.index.doctor().findings)


def test_there_and_back_with_every_edit(worlds: Worlds) -> None:
    """Switches between the stores lose no edit, whichever is live; verify, doctor and replay reach both (I7, I8)."""
    move = moved(worlds)
    for turn, live in enumerate([1, 2, 1]):
        move.world.put(document(30 + turn), Document("d2", sentence(800 + turn), {"title": "Edited"}))
        del move.world.source.documents[f"d{4 + turn % 2}" if turn < 2 else "d6"]
        _, result = move.step()
        assert result.embedded_texts > 0
        assert move.index.rollback().live == live
        assert move.index.search("river").generation == live
        assert_fresh(worlds, move, 1, 2)
        for number in (1, 2):
            assert found(move.index, generation=number) == move.world.source.documents.keys()
    report = move.index.verify()
    assert (report.consistent, report.generations, report.generation) == (True, [1, 2], 1)
    assert report.points == len(move.contents(1)) + len(move.contents(2))
    assert all(finding.passed for finding in move.index.doctor().findings)
    tokens = {number: written(move, number) for number in (1, 2)}
    assert move.index.replay(time.time() - 3600).embedded_texts == 0
    assert all(written(move, number).isdisjoint(tokens[number]) for number in (1, 2)), "replay reaches both stores"
    assert_fresh(worlds, move, 1, 2)


def written(move: Move, number: int) -> set[tuple[str, int]]:
    """Chunks and the tokens under which they were written."""
    pages = store_of(move, number).scan(move.generation(number).collection)
    return {pair for page in pages for pair in zip(page.payload.chunk_id, page.payload.token, strict=True)}


def edit_text(move: Move) -> None:
    """One sentence more."""
    move.world.put(Document("d1", f"{document(1).text} {sentence(990)}", {"title": "Title 1"}))


def edit_metadata(move: Move) -> None:
    """Metadata that is not embedded."""
    move.world.put(Document("d1", document(1).text, {"title": "Other"}))


def edit_access(move: Move) -> None:
    """An access list."""
    move.world.put(Document("d1", document(1).text, {"title": "Title 1"}, ["ann"]))


def remove(move: Move) -> None:
    """One document less."""
    del move.world.source.documents["d1"]


def rename(move: Move) -> None:
    """The same text under another id."""
    old = move.world.source.documents.pop("d1")
    move.world.put(Document("e1", old.text, old.metadata))


FACETS: dict[str, Callable[[Move], None]] = {
    "text": edit_text, "metadata": edit_metadata, "access": edit_access, "delete": remove, "rename": rename,
}  # fmt: skip


@pytest.mark.parametrize("facet", FACETS)
@pytest.mark.parametrize("live", [1, 2])
def test_each_facet_in_both_stores(worlds: Worlds, facet: str, live: int) -> None:
    """An edit costs its new texts once, however many stores it goes to, and is the same in both."""
    move = moved(worlds)
    if live == 1:
        move.index.rollback()
    before = texts(move.contents(live))
    FACETS[facet](move)
    plan, result = move.step()
    fresh = texts(move.contents(live)) - before
    assert result.embedded_texts == plan.totals.texts_to_embed == len(fresh)
    assert (len(fresh) > 0) == (facet == "text")
    assert_fresh(worlds, move, 1, 2)
    assert move.index.verify().consistent
    assert move.index.plan(allow_mass_delete=True).totals.chunks == 0


def test_the_old_store_is_emptied_when_its_generation_goes(worlds: Worlds) -> None:
    """Retire and gc drop a collection in the store that it lies in, and touch nothing in the other."""
    move = moved(worlds)
    first, second = store_of(move, 1), store_of(move, 2)
    assert move.index.gc(now=True).retired == [1]
    assert (first.collections(), second.collections()) == ([], [move.generation(2).collection])
    with pytest.raises(NotFound):
        move.index.search("river", generation=1)
    assert found(move.index) == {item.id for item in DOCUMENTS}
    move.world.assert_sound()
    move.to(store=other_store(move, "memory") + "c")
    move.step()
    move.index.retire(2) if move.states()[2] != "live" else move.index.promote()
    move.index.retire(2)
    assert second.collections() == []
    assert_fresh(worlds, move, 3)


def test_another_store_and_another_recipe_at_once(worlds: Worlds) -> None:
    """With another chunker too, only the texts that are new are embedded, the others come from the old store."""
    move = live_in_a(worlds)
    old = texts(move.contents(1))
    wanted = clean(worlds, move.world.embedder.inner, *DOCUMENTS, chunking=LARGE)
    move.to(store=other_store(move), chunking=LARGE)
    _, result = move.step()
    assert result.embedded_texts == len(texts(wanted) - old) > 0
    assert_same(move.contents(2), wanted)


# ── the old store is out of reach ──


def test_the_old_store_is_out_of_reach(worlds: Worlds) -> None:
    """The live generation in the new store serves and syncs on; each verb says which generation is cut off."""
    move = moved(worlds)
    unplug(move.index)
    words = r"generation 1 \(retained in .*\) could not be brought in step; generation 2 \(live in .*\) is in step"
    with pytest.raises(StoreError, match=words + r"(.|\n)*does not answer(.|\n)*gc --retire 1"):
        move.index.upsert([document(40)])
    with pytest.raises(StoreError, match=words):
        move.index.delete(["d0"])
    assert found(move.index) == {*(item.id for item in DOCUMENTS[1:]), "d40"}
    with pytest.raises(StoreError, match="does not answer"):
        move.index.search("river", generation=1)
    report = move.index.verify()
    assert (report.consistent, report.generations, report.out_of_reach) == (False, [2], [1])
    assert "generation 1: " in report.details[-1]
    assert (report.missing, report.orphans, report.stale) == (0, 0, 0)
    (unwell,) = [finding for finding in move.index.doctor().findings if not finding.passed]
    assert unwell.name == "store"
    assert "generation 1 (retained in" in unwell.detail
    assert {item.number: item.pending for item in move.index.status().generations} == {1: 2, 2: 0}
    with pytest.raises(StoreError, match=words):
        move.index.gc()


def test_the_old_store_comes_back(worlds: Worlds) -> None:
    """What a store missed while it was out of reach reaches it with the next sync, and the way back is fresh."""
    move = moved(worlds)
    unplug(move.index)
    with pytest.raises(StoreError):
        move.index.upsert([document(40)])
    move.world.put(document(40))
    move.world.open()
    assert move.index.sync().embedded_texts == 0, "the live generation holds the new texts"
    assert_fresh(worlds, move, 1, 2)
    assert move.index.rollback().live == 1
    assert found(move.index) == move.world.source.documents.keys()


def test_the_old_store_never_comes_back(worlds: Worlds) -> None:
    """A generation in a lost store can be given up; gc says each time what it could not drop, and blocks nothing."""
    move = moved(worlds)
    left = move.generation(1).collection
    unplug(move.index)
    report = move.index.gc(now=True)
    assert report.retired == [1]
    assert report.notes[0].startswith(f"generation 1 is given up, but its collection {left} in ")
    assert move.states() == {1: "retired", 2: "live"}
    move.index.upsert([document(40)])
    assert move.index.verify().consistent
    assert len(move.index.gc().notes) == 1
    move.world.open()
    assert left in move.index._stores.open_store(move.generation(1).store).collections()
    assert move.index.gc().notes == []
    assert move.index._stores.of(move.generation(1)).collections() == []


def test_given_up_by_hand_in_a_lost_store(worlds: Worlds) -> None:
    """``retire`` gives it up in the catalog and says that the collection is still there."""
    move = moved(worlds)
    unplug(move.index)
    with pytest.raises(StoreError, match="generation 1 is given up, but its collection"):
        move.index.retire(1)
    assert move.states() == {1: "retired", 2: "live"}
    move.index.upsert([document(40)])


def test_a_store_that_fails_while_it_is_copied_from(worlds: Worlds) -> None:
    """A copy never turns into paying for texts: it stops, says what it lacks, and goes on when the store is back."""
    move = live_in_a(worlds)
    asked = len(move.sent())
    move.to(store=other_store(move))
    old = move.index._stores.of(move.generation(1))
    move.index._stores.opened[move.generation(1).store] = Unreadable(old)
    with pytest.raises(
        StoreError, match=r"generation 1 \(live in .*\) holds vectors that are wanted here(.|\n)*a tooth"
    ):
        move.index.apply()
    assert len(move.sent()) == asked
    assert move.states() == {1: "live", 2: "building"}
    assert found(move.index) == {item.id for item in DOCUMENTS}
    move.world.open()
    _, result = move.step()
    assert result.embedded_texts == 0
    assert_fresh(worlds, move, 1, 2)


class Unreadable:
    """A store that does everything but give vectors away."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def fetch(self, collection: str, ids: object) -> Any:
        """Fail."""
        raise StoreError(f"{collection}: a tooth of the comb is broken")


def test_a_text_that_only_the_lost_store_holds(worlds: Worlds) -> None:
    """A text that went and comes back is embedded again when only a store out of reach holds it, and that is told."""
    move = moved(worlds)
    unplug(move.index)
    former, asked = document(3), len(move.sent())
    once = texts(move.contents(2))
    for text in (sentence(700), former.text):
        move.world.put(Document("d3", text, former.metadata))
        with pytest.raises(StoreError) as caught:
            move.index.sync()
    again = set(move.sent()[asked:]) & once
    assert again == {text for text in once if text in former.text and text not in document(4).text}
    assert len(again) > 0
    assert "holds vectors that are wanted here, but cannot be read; texts that it holds are embedded" in str(
        caught.value
    )
    move.world.open()
    assert move.index.sync().embedded_texts == 0
    assert_fresh(worlds, move, 1, 2)


# ── a collection is dropped behind our back ──


@pytest.mark.parametrize("lost", [(2,), (1,), (1, 2)], ids=["live", "retained", "both"])
def test_lost_collections_are_healed(worlds: Worlds, lost: tuple[int, ...]) -> None:
    """Verify names each lost collection, doctor too; repair heals them by copies of the other, or by the model."""
    move = moved(worlds)
    whole, distinct = len(move.contents(1)), len(texts(move.contents(1)))
    for number in lost:
        store_of(move, number).drop(move.generation(number).collection)
    report = move.index.verify()
    assert (report.consistent, report.missing, report.generations) == (False, whole * len(lost), [1, 2])
    unwell = {finding.name: finding.detail for finding in move.index.doctor().findings if not finding.passed}
    for number in lost:
        collection = move.generation(number).collection
        assert f"generation {number}: collection {collection} is not in the store" in report.details
        assert f"collection {collection} of generation {number} (" in unwell["store"]
        with pytest.raises(CollectionMissing, match=collection):
            move.index.search("river", generation=number)
    for number in {1, 2} - set(lost):
        assert len(found(move.index, generation=number)) == len(DOCUMENTS)
    asked = len(move.sent())
    healed = move.index.verify(repair=True)
    alias = move.world.store == "memory" and 2 in lost  # an alias of the store's own goes with its collection
    assert (healed.consistent, healed.missing) == (True, 0)
    assert healed.repaired == len(DOCUMENTS) * len(lost) + alias
    assert healed.embedded_texts == len(move.sent()) - asked == (distinct if len(lost) == 2 else 0)
    assert_fresh(worlds, move, 1, 2)


def test_others_go_on_without_a_lost_collection(worlds: Worlds) -> None:
    """With a retained or ready collection gone, the live one takes edits; the error names who does not."""
    move = moved(worlds)
    store_of(move, 1).drop(move.generation(1).collection)
    with pytest.raises(CollectionMissing, match=r"generation 1 \(retained .*generation 2 \(live"):
        move.index.upsert([document(50)])
    move.index._stores.of(move.generation(1))
    assert "d50" in found(move.index)
    assert move.index.verify(repair=True).consistent
    move.world.put(document(50))
    assert_fresh(worlds, move, 1, 2)


def test_points_lost_in_the_retained_store(worlds: Worlds) -> None:
    """Differences in a generation that is not live are found, counted and named, and mended where they are."""
    move = moved(worlds)
    store, collection = store_of(move, 1), move.generation(1).collection
    (page, *_) = store.scan(collection)
    store.delete(collection, page.ids[:2])
    report = move.index.verify()
    assert (report.missing, report.consistent) == (2, False)
    assert all(detail.startswith("generation 1: missing") for detail in report.details)
    assert move.index.verify(repair=True).consistent
    assert_fresh(worlds, move, 1, 2)


def test_a_generation_that_is_being_built_is_not_looked_at(worlds: Worlds) -> None:
    """Verify has no opinion of a half-built generation."""
    move = live_in_a(worlds)
    move.to(store=other_store(move))
    old = move.index._stores.of(move.generation(1))
    move.index._stores.opened[move.generation(1).store] = Unreadable(old)
    with pytest.raises(RegenError):
        move.index.apply()
    report = move.index.verify()
    assert (report.consistent, report.generations) == (True, [1])


def test_a_store_that_another_index_of_this_alias_lives_in(worlds: Worlds) -> None:
    """Moving there is refused before anything is written: the two would clean up each other's collections."""
    move = live_in_a(worlds)
    url = other_store(move)
    move.to(store=url)
    other = Index(embedder=move.world.embedder, store=url, catalog="sqlite:///other.db", root=move.world.folder)
    for _ in range(2):
        other._catalog.create_generation("default", other.recipe, "regen_default", at=1.0, store=url)
    other._store.create("regen_default_g2", CollectionSpec(64))
    with pytest.raises(StoreError, match=r"holds regen_default_g2, which is of another index(.|\n)*another alias"):
        move.index.apply()
    assert move.states() == {1: "live"}
    assert found(move.index) == {item.id for item in DOCUMENTS}
    other.close()
    move.to(store=other_store(move))
    move.index._store.drop("regen_default_g2")
    assert move.step()[1].generation == 2


def test_a_store_url_is_told_without_its_password() -> None:
    """Who is named in an error is named without credentials."""
    generation = Generation(1, None, "c", "live", 0, {}, 0.0, None, store="pg://ann:secret@host/db?password=x")  # type: ignore[arg-type]
    assert generation.told == "generation 1 (live in pg://host/db)"
