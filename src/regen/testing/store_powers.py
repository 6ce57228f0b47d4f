"""Store cases for the optional powers: payload updates, new fields, upkeep, and several handles on the same data."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from regen.core.documents import UNRESTRICTED
from regen.errors import CollectionMissing, SpaceMismatch
from regen.ports import AliasStore, CollectionSpec, FieldStore, MaintainedStore, PayloadStore, Store
from regen.testing.store_cases import (
    COLLECTION,
    DIMENSIONS,
    StoreHooks,
    ids_of,
    make_collection,
    make_points,
    numbered,
    random_vectors,
    scanned,
    where,
)


class PayloadStoreCases(StoreHooks):
    """:class:`~regen.ports.PayloadStore`."""

    def updating(self, store: Store) -> PayloadStore:
        """Give back the store as one with this power, or skip the case."""
        return store if isinstance(store, PayloadStore) else self.lacks(store, "PayloadStore")

    def test_update_replaces_metadata_access_and_revision(self, store: Store) -> None:
        """An update replaces just these, for just these points, and leaves every vector bit-identical."""
        power = self.updating(store)
        ids = numbered(300)
        points = make_points(ids, metadata=[{"lang": "en", "year": 1, "tags": ["old"]}] * 300)
        make_collection(store, points)
        before = scanned(store)
        changed = make_points(
            ids[100:200], metadata=[{"lang": "de", "draft": True}] * 100, access=[["x"]] * 100, texts=["no"] * 100
        )
        changed.payload.revision = [999] * 100
        power.update_payload(COLLECTION, ids[100:200], changed.payload)
        for point_id in ids[100:200]:
            before[point_id] |= {"metadata": {"lang": "de", "draft": True}, "access": ["x"], "revision": 999}
        assert scanned(store) == before
        found, vectors = store.fetch(COLLECTION, ids)
        written = points.vectors[[int(point_id, 16) for point_id in found]]
        assert np.array_equal(vectors.view(np.int32), written.view(np.int32))

    def test_update_is_seen_by_search(self, store: Store) -> None:
        """Filters and access follow an update at once, odd values included."""
        power = self.updating(store)
        points = make_points(["a", "b", "c"], metadata=[{"lang": "en"}] * 3)
        make_collection(store, points)
        changed = make_points(["b", "a"], metadata=[{"lang": "de"}, {"lang": 5}], access=[None, ["x"]])
        power.update_payload(COLLECTION, ["b", "a"], changed.payload)
        query = random_vectors(1)[0]
        assert sorted(ids_of(store.search(COLLECTION, query, 9))) == ["b", "c"]
        assert "b" in ids_of(store.search(COLLECTION, query, 9, where=where(lang="de")))
        assert "a" in ids_of(store.search(COLLECTION, query, 9, where=where(lang=5), principals=UNRESTRICTED))
        assert ids_of(store.search(COLLECTION, query, 9, where=where(lang="en"))) == ["c"]

    def test_update_takes_access_away(self, store: Store) -> None:
        """A principal that an update does not name sees the point no more; public is everybody's."""
        power = self.updating(store)
        points = make_points(["a", "b"], access=[["x", "y"], ["x"]])
        make_collection(store, points)
        query = points.vectors[0]
        power.update_payload(COLLECTION, ["a"], make_points(["a"], access=[["y"]]).payload)
        assert ids_of(store.search(COLLECTION, query, 9, principals=frozenset({"x"}))) == ["b"]
        power.update_payload(COLLECTION, ["a", "b"], make_points(["a", "b"], access=[[], None]).payload)
        assert ids_of(store.search(COLLECTION, query, 9, principals=frozenset({"x", "y"}))) == ["b"]
        assert {point_id: held["access"] for point_id, held in scanned(store).items()} == {"a": [], "b": None}

    def test_update_creates_nothing(self, store: Store) -> None:
        """Points that are not there, or were deleted, are not brought to life."""
        power = self.updating(store)
        make_collection(store, make_points(["a", "b"]))
        store.delete(COLLECTION, ["b"])
        power.update_payload(COLLECTION, ["b", "c"], make_points(["b", "c"]).payload)
        assert list(scanned(store)) == ["a"]
        power.update_payload(COLLECTION, [], make_points([]).payload)
        assert store.count(COLLECTION) == 1

    def test_update_of_a_missing_collection(self, store: Store) -> None:
        """An update of a collection that is not there names it."""
        power = self.updating(store)
        with pytest.raises(CollectionMissing, match="never_made"):
            power.update_payload("never_made", ["a"], make_points(["a"]).payload)


class FieldStoreCases(StoreHooks):
    """:class:`~regen.ports.FieldStore`."""

    def growing(self, store: Store) -> FieldStore:
        """Give back the store as one with this power, or skip the case."""
        return store if isinstance(store, FieldStore) else self.lacks(store, "FieldStore")

    def test_new_fields_filter(self, store: Store) -> None:
        """A field added later holds nothing for old points until they are written or updated, and filters then."""
        power = self.growing(store)
        metadata = [{"lang": "en", "Team.Name": "red"}, {"lang": "en", "Team.Name": "blue"}]
        make_collection(store, make_points(["a", "b"], metadata=metadata))
        for _ in range(2):
            power.add_fields(COLLECTION, {"Team.Name": "string", "size": "number", "lang": "number"})
        assert all(held["metadata"] == {"lang": "en"} for held in scanned(store).values())
        store.upsert(COLLECTION, make_points(["b", "c"], metadata=[metadata[1], {"Team.Name": "blue", "size": 3}]))
        query = random_vectors(1)[0]
        assert sorted(ids_of(store.search(COLLECTION, query, 9, where=where(**{"Team.Name": "blue"})))) == ["b", "c"]
        assert ids_of(store.search(COLLECTION, query, 9, where=where(size={"gt": 2}))) == ["c"]
        assert sorted(ids_of(store.search(COLLECTION, query, 9, where=where(lang="en")))) == ["a", "b"]

    def test_new_fields_survive_in_scan(self, store: Store) -> None:
        """A scan delivers the new keys."""
        power = self.growing(store)
        make_collection(store, make_points(["a"]))
        power.add_fields(COLLECTION, {"size": "number"})
        store.upsert(COLLECTION, make_points(["a"], metadata=[{"size": 2.5}]))
        assert scanned(store)["a"]["metadata"] == {"size": 2.5}


class AliasStoreCases(StoreHooks):
    """:class:`~regen.ports.AliasStore`."""

    def aliasing(self, store: Store) -> AliasStore:
        """Give back the store as one with this power, or skip the case."""
        return store if isinstance(store, AliasStore) else self.lacks(store, "AliasStore")

    def test_an_alias_is_set_and_set_again(self, store: Store) -> None:
        """An alias points where it was set last; setting it twice is once; it is listed as no collection."""
        power = self.aliasing(store)
        store.create("first", CollectionSpec(4))
        store.create("second", CollectionSpec(8))
        assert power.alias_target("handbook") is None
        for collection in ("first", "first", "second", "first"):
            power.set_alias("handbook", collection)
            assert power.alias_target("handbook") == collection
        power.set_alias("other", "second")
        assert (power.alias_target("handbook"), power.alias_target("other")) == ("first", "second")
        assert store.collections() == ["first", "second"]

    def test_an_alias_survives_the_drop_of_another_collection(self, store: Store) -> None:
        """Dropping what it pointed at before leaves an alias alone; without its collection it points nowhere."""
        power = self.aliasing(store)
        for collection in ("first", "second"):
            store.create(collection, CollectionSpec(4))
            power.set_alias("handbook", collection)
        store.drop("first")
        assert power.alias_target("handbook") == "second"
        store.drop("second")
        assert power.alias_target("handbook") is None
        store.create("second", CollectionSpec(4))
        assert power.alias_target("handbook") is None
        power.set_alias("handbook", "second")
        assert power.alias_target("handbook") == "second"

    def test_an_alias_of_an_unknown_collection(self, store: Store) -> None:
        """An alias cannot point at what is not there; it stays where it was."""
        power = self.aliasing(store)
        store.create("first", CollectionSpec(4))
        power.set_alias("handbook", "first")
        for alias in ("handbook", "fresh"):
            with pytest.raises(CollectionMissing, match="never_made"):
                power.set_alias(alias, "never_made")
        assert (power.alias_target("handbook"), power.alias_target("fresh")) == ("first", None)

    def test_an_alias_is_seen_through_another_handle(self, store: Store, tmp_path: Path) -> None:
        """Where a store's data outlives a handle, so do its aliases."""
        power = self.aliasing(store)
        store.create("first", CollectionSpec(4))
        power.set_alias("handbook", "first")
        assert self.aliasing(self.second(tmp_path)).alias_target("handbook") == "first"

    def test_a_switch_under_readers(self, store: Store) -> None:
        """While an alias is switched fifty times, every answer through it is whole and of one collection."""
        power = self.aliasing(store)
        for collection in ("first", "second"):
            store.create(collection, CollectionSpec(DIMENSIONS))
            store.upsert(collection, make_points([f"{collection} {at}" for at in range(20)]))
        power.set_alias("handbook", "first")
        query, stop = random_vectors(1)[0], Event()
        if self.by_alias(store, "handbook", query, 5) is None:
            pytest.skip(f"{type(self).__name__}: the store is not asked by an alias")

        def read() -> set[str]:
            collections: set[str] = set()
            while not stop.is_set():
                found = self.by_alias(store, "handbook", query, 5) or []
                answered = {point_id.split()[0] for point_id in found}
                assert (len(found), len(answered)) == (5, 1), found
                collections |= answered
            return collections

        with ThreadPoolExecutor(3) as pool:
            readers = [pool.submit(read) for _ in range(3)]
            try:
                for at in range(50):
                    power.set_alias("handbook", ("second", "first")[at % 2])
            finally:
                stop.set()
            assert set().union(*(reader.result() for reader in readers)) <= {"first", "second"}


class MaintainedStoreCases(StoreHooks):
    """:class:`~regen.ports.MaintainedStore`."""

    def maintained(self, store: Store) -> MaintainedStore:
        """Give back the store as one with this power, or skip the case."""
        return store if isinstance(store, MaintainedStore) else self.lacks(store, "MaintainedStore")

    def test_upkeep_changes_no_answer(self, store: Store) -> None:
        """After many small writes, updates and deletes, upkeep leaves every point, payload and score as it was."""
        power = self.maintained(store)
        make_collection(store)
        for at in range(12):
            store.upsert(COLLECTION, make_points(numbered(12 * 25)[at * 25 : at * 25 + 25], seed=at))
        store.delete(COLLECTION, numbered(300)[::3])
        before, query = scanned(store), random_vectors(1)[0]
        hits = store.search(COLLECTION, query, 20)
        assert power.maintain(COLLECTION, force=True)
        power.maintain(COLLECTION)
        assert scanned(store) == before
        after = store.search(COLLECTION, query, 20)
        assert ids_of(after) == ids_of(hits)
        assert [hit.score for hit in after] == pytest.approx([hit.score for hit in hits], abs=1e-5)

    def test_upkeep_spares_a_reader(self, store: Store) -> None:
        """A scan that began before upkeep is delivered to its end."""
        power = self.maintained(store)
        make_collection(store)
        for at in range(10):
            store.upsert(COLLECTION, make_points(numbered(500)[at * 50 : at * 50 + 50]))
        pages = store.scan(COLLECTION, 20)
        seen = list(next(pages).ids)
        power.maintain(COLLECTION, force=True)
        seen += [point_id for page in pages for point_id in page.ids]
        assert sorted(seen) == numbered(500)


class HandleCases(StoreHooks):
    """Two handles on the same data, for stores whose data outlives one handle."""

    def test_reopened_data_is_all_there(self, store: Store, tmp_path: Path) -> None:
        """What was acknowledged is there after closing and opening again: points, fields, metric and dimensions."""
        points = make_points(["a", "b"], metadata=[{"lang": "en"}, {"lang": "de"}], access=[["x"], None])
        make_collection(store, points, metric="l2")
        before = scanned(store)
        hits = store.search(COLLECTION, points.vectors[0], 5, where=where(lang="en"), principals=frozenset({"x"}))
        store.close()
        again = self.second(tmp_path)
        assert again.collections() == [COLLECTION]
        assert scanned(again) == before
        assert ids_of(hits) == ["a"]
        assert (
            again.search(COLLECTION, points.vectors[0], 5, where=where(lang="en"), principals=frozenset({"x"})) == hits
        )
        with pytest.raises(SpaceMismatch):
            again.search(COLLECTION, random_vectors(1, dimensions=5)[0], 3)

    def test_one_handle_sees_what_the_other_does(self, store: Store, tmp_path: Path) -> None:
        """Writes, deletes and drops through one handle are seen by the other's next call."""
        points = make_points(["a", "b"])
        make_collection(store, points)
        other = self.second(tmp_path)
        assert other.count(COLLECTION) == 2
        store.upsert(COLLECTION, make_points(["c"], seed=4))
        assert sorted(ids_of(other.search(COLLECTION, points.vectors[0], 9))) == ["a", "b", "c"]
        other.delete(COLLECTION, ["a"])
        assert sorted(ids_of(store.search(COLLECTION, points.vectors[0], 9))) == ["b", "c"]
        store.drop(COLLECTION)
        with pytest.raises(CollectionMissing):
            other.search(COLLECTION, points.vectors[0], 9)
        assert other.collections() == []

    def test_fields_added_by_the_other_handle(self, store: Store, tmp_path: Path) -> None:
        """A handle that was open before a field was added writes it and filters by it."""
        power = store if isinstance(store, FieldStore) else self.lacks(store, "FieldStore")
        make_collection(store, make_points(["a"]))
        other = self.second(tmp_path)
        assert other.count(COLLECTION) == 1
        power.add_fields(COLLECTION, {"size": "number"})
        other.upsert(COLLECTION, make_points(["b", "c"], metadata=[{"size": 1}, {"size": 2}]))
        assert ids_of(other.search(COLLECTION, random_vectors(1)[0], 9, where=where(size=2))) == ["c"]
        assert ids_of(store.search(COLLECTION, random_vectors(1)[0], 9, where=where(size=2))) == ["c"]

    def test_both_handles_write_the_same_points(self, store: Store, tmp_path: Path) -> None:
        """The same new ids written through both handles in turn are there once."""
        make_collection(store)
        other = self.second(tmp_path)
        for writer in (store, other, store):
            writer.upsert(COLLECTION, make_points(numbered(100)))
        assert store.count(COLLECTION) == other.count(COLLECTION) == 100
