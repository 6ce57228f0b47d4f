"""Store cases: collections, writing, deleting, and what must be refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from regen.core.documents import UNRESTRICTED
from regen.errors import CollectionMissing, SpaceMismatch, StoreError
from regen.ports import CollectionSpec, Points, Store
from regen.testing.store_cases import (
    COLLECTION,
    DIMENSIONS,
    HOSTILE_TEXTS,
    StoreHooks,
    ids_of,
    make_collection,
    make_points,
    numbered,
    random_vectors,
    scanned,
)

_CALLS: dict[str, Callable[[Store, str], object]] = {
    "upsert": lambda store, name: store.upsert(name, make_points(["a"])),
    "delete": lambda store, name: store.delete(name, ["a"]),
    "search": lambda store, name: store.search(name, random_vectors(1)[0], 3),
    "fetch": lambda store, name: store.fetch(name, ["a"]),
    "count": lambda store, name: store.count(name),
    "scan": lambda store, name: list(store.scan(name)),
}


class CollectionCases(StoreHooks):
    """Making, listing and dropping collections."""

    def test_create_is_idempotent(self, store: Store) -> None:
        """Creating a collection that exists keeps its points."""
        make_collection(store, make_points(["a", "b"]))
        make_collection(store)
        assert store.count(COLLECTION) == 2

    def test_create_refuses_other_dimensions(self, store: Store) -> None:
        """A collection cannot silently become one of another space."""
        make_collection(store)
        with pytest.raises(StoreError, match=rf"(?s){DIMENSIONS}.*{DIMENSIONS + 1}"):
            store.create(COLLECTION, CollectionSpec(dimensions=DIMENSIONS + 1))

    def test_collections_are_listed_sorted(self, store: Store) -> None:
        """All collections are listed, also when there are more than a first page of them."""
        names = [f"g{at}" for at in range(25)]
        for name in reversed(names):
            store.create(name, CollectionSpec(dimensions=2))
        assert store.collections() == sorted(names)

    def test_drop_removes_and_is_idempotent(self, store: Store) -> None:
        """A dropped collection is gone, and made again it is empty."""
        make_collection(store, make_points(["a"]))
        store.create("other", CollectionSpec(dimensions=2))
        for _ in range(2):
            store.drop(COLLECTION)
        assert store.collections() == ["other"]
        make_collection(store)
        assert store.count(COLLECTION) == 0

    @pytest.mark.parametrize("call", _CALLS)
    def test_a_missing_collection_is_named(self, store: Store, call: str) -> None:
        """Each call on a collection that never was, or was dropped, raises CollectionMissing with its name."""
        with pytest.raises(CollectionMissing, match="never_made"):
            _CALLS[call](store, "never_made")
        make_collection(store, make_points(["a"]))
        _CALLS[call](store, COLLECTION)
        store.drop(COLLECTION)
        with pytest.raises(CollectionMissing, match=COLLECTION):
            _CALLS[call](store, COLLECTION)

    def test_close_is_idempotent(self, store: Store) -> None:
        """Closing twice is no error."""
        store.close()
        store.close()


class WriteCases(StoreHooks):
    """Upsert and delete."""

    def test_a_write_is_read_at_once(self, store: Store) -> None:
        """What was written is found, counted, fetched and scanned as soon as the call has returned."""
        points = make_points(["a", "b", "c"])
        make_collection(store, points)
        assert store.count(COLLECTION) == 3
        assert ids_of(store.search(COLLECTION, points.vectors[1], 1)) == ["b"]
        assert sorted(store.fetch(COLLECTION, points.ids)[0]) == ["a", "b", "c"]
        assert sorted(scanned(store)) == ["a", "b", "c"]

    def test_the_same_batch_twice_is_one_batch(self, store: Store) -> None:
        """A write that is repeated after a crash leaves no duplicate (I6)."""
        points = make_points(numbered(700))
        make_collection(store, points)
        before = scanned(store)
        store.upsert(COLLECTION, points)
        assert store.count(COLLECTION) == 700
        assert scanned(store) == before

    def test_an_overlapping_batch_replaces_and_adds(self, store: Store) -> None:
        """Points of equal id are replaced in all they hold, others are added."""
        make_collection(store, make_points(["a", "b"], metadata=[{"lang": "en"}, {"lang": "de"}], access=[["x"], None]))
        later = make_points(["b", "c"], seed=9, texts=["new b", "new c"])
        store.upsert(COLLECTION, later)
        found = scanned(store)
        assert sorted(found) == ["a", "b", "c"]
        assert (found["b"]["text"], found["b"]["metadata"], found["a"]["access"]) == ("new b", {}, ["x"])
        _, vectors = store.fetch(COLLECTION, ["b"])
        assert np.array_equal(vectors[0], later.vectors[0])

    def test_of_equal_ids_in_one_batch_the_last_wins(self, store: Store) -> None:
        """A batch that names an id twice writes one point."""
        make_collection(store, make_points(["a", "b", "a"], texts=["first", "b", "last"]))
        assert {point_id: held["text"] for point_id, held in scanned(store).items()} == {"a": "last", "b": "b"}

    def test_an_empty_batch_changes_nothing(self, store: Store) -> None:
        """Writing or deleting nothing is allowed."""
        make_collection(store, make_points(["a"]))
        store.upsert(COLLECTION, make_points([]))
        store.delete(COLLECTION, [])
        assert store.count(COLLECTION) == 1

    def test_odd_ids_and_texts_survive(self, store: Store) -> None:
        """Ids and texts of any Unicode are written, fetched and deleted exactly."""
        ids = [f"{text}#{at}" for at, text in enumerate(HOSTILE_TEXTS)]
        make_collection(store, make_points([*ids, "keep"], texts=[*HOSTILE_TEXTS, "keep"]))
        held = {point_id: entry["text"] for point_id, entry in scanned(store).items()}
        assert held == {**dict(zip(ids, HOSTILE_TEXTS, strict=True)), "keep": "keep"}
        assert sorted(store.fetch(COLLECTION, ids)[0]) == sorted(ids)
        store.delete(COLLECTION, ids)
        assert list(scanned(store)) == ["keep"]

    def test_a_large_payload_survives(self, store: Store) -> None:
        """A text of four million characters, or the longest that the store takes, and a thousand principals stay."""
        text, access = "äbcd" * 1_000_000, [f"group:{at}" for at in range(1000)]
        if self.longest_text is not None:
            text = text[: self.longest_text // 5 * 4]
        make_collection(store, make_points(["big"], texts=[text], access=[access]))
        found = scanned(store)["big"]
        assert found["text"] == text
        assert found["access"] == access

    def test_a_text_that_is_too_long(self, store: Store) -> None:
        """Where texts may not be of any length, a longer one is refused by its bytes, with the whole batch."""
        if self.longest_text is None:
            pytest.skip(f"{type(self).__name__}: texts may be of any length")
        make_collection(store)
        texts = ["short", "ä" * (self.longest_text // 2 + 1)]
        with pytest.raises(StoreError, match=rf"{self.longest_text // 2 * 2 + 2:,}.*{self.longest_text:,}"):
            store.upsert(COLLECTION, make_points(["short", "long"], texts=texts))
        assert store.count(COLLECTION) == 0

    def test_revoked_access_is_gone(self, store: Store) -> None:
        """What a later write does not name is not kept: a principal that was taken away sees the point no more."""
        points = make_points(["a", "b"], access=[["x"], ["x"]], metadata=[{"lang": "en", "tags": ["t"]}] * 2)
        make_collection(store, points)
        for access in (["y"], []):
            store.upsert(COLLECTION, make_points(["a"], access=[access]))
            hits = store.search(COLLECTION, points.vectors[0], 9, principals=frozenset({"x"}))
            assert ids_of(hits) == ["b"]
            found = scanned(store)
            assert (found["a"]["access"], found["a"]["metadata"]) == (access, {})
        store.upsert(COLLECTION, make_points(["a"]))
        assert ids_of(store.search(COLLECTION, points.vectors[0], 9)) == ["a"]

    def test_ten_thousand_points(self, store: Store) -> None:
        """Ten thousand points, written in two batches, are all there, scanned alike twice, and deleted in one call."""
        points = make_points(numbered(10_000))
        make_collection(store)
        for start, end in ((0, 6000), (6000, 10_000)):
            store.upsert(COLLECTION, _part(points, start, end))
        assert store.count(COLLECTION) == 10_000
        once, again = scanned(store, batch=977), scanned(store, batch=977)
        assert sorted(once) == points.ids
        assert list(once) == list(again)
        for at in (0, 4999, 9999):
            best = store.search(COLLECTION, points.vectors[at], 1)
            assert ids_of(best) == [points.ids[at]]
        store.delete(COLLECTION, points.ids[1000:])
        assert store.count(COLLECTION) == 1000
        assert sorted(scanned(store)) == points.ids[:1000]

    def test_deleted_points_are_gone_at_once(self, store: Store) -> None:
        """After a delete no reader sees the point; ids that are not there are ignored."""
        points = make_points(["a", "b", "c"])
        make_collection(store, points)
        store.delete(COLLECTION, ["b", "never was"])
        hits = store.search(COLLECTION, points.vectors[1], 10, principals=UNRESTRICTED)
        assert sorted(ids_of(hits)) == ["a", "c"]
        assert store.fetch(COLLECTION, ["b"])[0] == []
        assert store.count(COLLECTION) == 2

    def test_a_deleted_point_can_be_written_again(self, store: Store) -> None:
        """A delete leaves nothing behind that would hide a later write."""
        points = make_points(["a", "b"])
        make_collection(store, points)
        store.delete(COLLECTION, ["a"])
        store.upsert(COLLECTION, points)
        assert sorted(scanned(store)) == ["a", "b"]

    def test_ten_threads_write_at_once(self, store: Store) -> None:
        """Ten threads writing points of their own, and some that all of them write, lose and double nothing."""
        make_collection(store)
        shared = make_points([f"shared {at}" for at in range(20)], seed=77)

        def write(worker: int) -> None:
            for step in range(3):
                store.upsert(COLLECTION, make_points([f"{worker} {step} {at}" for at in range(10)], seed=worker))
                store.upsert(COLLECTION, shared)

        with ThreadPoolExecutor(10) as pool:
            list(pool.map(write, range(10)))
        assert store.count(COLLECTION) == 10 * 3 * 10 + 20
        assert len(scanned(store)) == 320


class RefusalCases(StoreHooks):
    """What must raise, and must leave the collection as it was."""

    def test_other_dimensions_name_both(self, store: Store) -> None:
        """A vector of another space is an error that names both dimensions, never a result (I1)."""
        make_collection(store, make_points(["a"]))
        naming_both = rf"(?s)(5.*\b{DIMENSIONS}\b|\b{DIMENSIONS}\b.*5)"
        with pytest.raises(SpaceMismatch, match=naming_both):
            store.upsert(COLLECTION, make_points(["b"], dimensions=5))
        with pytest.raises(SpaceMismatch, match=naming_both):
            store.search(COLLECTION, random_vectors(1, dimensions=5)[0], 3)
        assert store.count(COLLECTION) == 1

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_vectors_that_are_not_finite(self, store: Store, bad: float) -> None:
        """A batch with NaN or infinity is refused as a whole."""
        make_collection(store, make_points(["a"]))
        points = make_points(["b", "c"])
        points.vectors[1, 3] = bad
        with pytest.raises(StoreError):
            store.upsert(COLLECTION, points)
        assert store.count(COLLECTION) == 1

    def test_columns_of_unequal_length(self, store: Store) -> None:
        """A payload column that is too short is refused by name, as is a vector matrix of another length."""
        make_collection(store, make_points(["a"]))
        points = make_points(["b", "c"])
        with pytest.raises(StoreError, match="revision"):
            store.upsert(COLLECTION, replace(points, payload=replace(points.payload, revision=[1])))
        with pytest.raises(StoreError, match="2 points"):
            store.upsert(COLLECTION, replace(points, vectors=points.vectors[:1]))
        assert store.count(COLLECTION) == 1


def _part(points: Points, start: int, end: int) -> Points:
    part = make_points(points.ids[start:end])
    return replace(part, vectors=points.vectors[start:end])
