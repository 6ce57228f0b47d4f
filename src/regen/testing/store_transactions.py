"""Store cases for writing within a transaction of the catalog's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regen.errors import CollectionMissing, SpaceMismatch
from regen.ports import AliasStore, CollectionSpec, InsertStore, PayloadStore, Store
from regen.ports.transactions import StoreWriter, TransactionalCatalog, TransactionalStore
from regen.testing.store_cases import COLLECTION, StoreHooks, make_collection, make_points, numbered, scanned


class TransactionalStoreCases(StoreHooks):
    """:class:`~regen.ports.transactions.TransactionalStore`."""

    def joint_catalog(self, tmp_path: Path) -> TransactionalCatalog | None:  # noqa: ARG002  # a hook's argument
        """Open a catalog in the database of :meth:`make_store`. None: the store lacks this power."""
        return None

    @pytest.fixture
    def joint(self, store: Store, tmp_path: Path) -> Any:
        """Run work on the store's writing half in one transaction; skips where the store lacks the power."""
        catalog = self.joint_catalog(tmp_path)
        if not isinstance(store, TransactionalStore):
            self.lacks(store, "TransactionalStore")
        assert catalog is not None, "a store with this power needs a catalog to be tested with"

        def run(work: Callable[[Any], object]) -> None:
            catalog.together(lambda transaction: work(store.within(transaction)))

        yield run
        catalog.close()  # type: ignore[attr-defined]

    def test_it_knows_its_catalog(self, store: Store, tmp_path: Path) -> None:
        """A catalog and a store of one database say the same of where they are."""
        catalog = self.joint_catalog(tmp_path)
        if not isinstance(store, TransactionalStore):
            self.lacks(store, "TransactionalStore")
        assert catalog is not None
        assert store.database() == catalog.database() != ""
        catalog.close()  # type: ignore[attr-defined]

    def test_what_is_written_is_seen_when_it_is_committed(self, store: Store, joint: Any) -> None:
        """Points, deletions, payloads and aliases: others see none of it before, and all of it after."""
        make_collection(store, make_points(["a", "b", "c"], metadata=[{"lang": "en"}] * 3))
        store.create("other", CollectionSpec(4))
        before = scanned(store)
        expected: dict[str, Any] = {}

        def work(writer: StoreWriter) -> None:
            fresh = make_points(["d", "e"], seed=3)
            (writer.insert if isinstance(writer, InsertStore) else writer.upsert)(COLLECTION, fresh)
            writer.upsert(COLLECTION, make_points(["a", "f"], seed=4))
            writer.delete(COLLECTION, ["b", "e", "never"])
            expected.update(dict.fromkeys("acdf"))
            if isinstance(writer, PayloadStore):
                for lang in ("de", "fr"):
                    writer.update_payload(COLLECTION, ["c"], make_points(["c"], metadata=[{"lang": lang}]).payload)
                expected["c"] = "fr"
            if isinstance(writer, AliasStore):
                writer.set_alias("handbook", "other")
            assert scanned(store) == before
            if isinstance(store, AliasStore):
                assert store.alias_target("handbook") is None

        joint(work)
        found = scanned(store)
        assert found.keys() == expected.keys()
        if expected["c"]:
            assert found["c"]["metadata"] == {"lang": "fr"}
        if isinstance(store, AliasStore):
            assert store.alias_target("handbook") == "other"

    def test_what_is_taken_back_was_never_there(self, store: Store, joint: Any) -> None:
        """An error anywhere in the transaction takes all of it back; the store goes on."""
        make_collection(store, make_points(numbered(40)))
        before = scanned(store)

        def work(writer: StoreWriter) -> None:
            writer.upsert(COLLECTION, make_points(["x", numbered(1)[0]], seed=5))
            writer.delete(COLLECTION, numbered(40)[10:])
            raise LookupError

        with pytest.raises(LookupError):
            joint(work)
        assert scanned(store) == before
        store.upsert(COLLECTION, make_points(["y"]))
        assert store.count(COLLECTION) == 41

    def test_what_is_refused_is_refused_here_too(self, store: Store, joint: Any) -> None:
        """Vectors of another dimension, and a collection that is not there; neither leaves anything."""
        make_collection(store, make_points(["a"]))
        for error, collection, dimensions in ((SpaceMismatch, COLLECTION, 5), (CollectionMissing, "never_made", 8)):

            def work(writer: StoreWriter, collection: str = collection, dimensions: int = dimensions) -> None:
                writer.upsert(COLLECTION, make_points(["b"]))
                writer.upsert(collection, make_points(["c"], dimensions=dimensions))

            with pytest.raises(error):
                joint(work)
        assert list(scanned(store)) == ["a"]
