"""Upkeep of a collection is one process's work at a time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from regen import Document, Index
from regen.engine import writing
from regen.engine.settings import Limits
from regen.errors import StoreError
from regen.stores.memory import MemoryStore


class TendedStore(MemoryStore):
    """Its upkeep takes until it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.times = 0

    def maintain(self, collection: str, *, force: bool = False) -> list[str]:
        """As a store does that has something to tend each time."""
        assert collection
        self.times += 1
        self.begun.set()
        assert self.go_on.wait(60)
        return ["tended by force" if force else "tended"]


def test_one_tends_and_the_others_leave_it_to_that_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes to tend what somebody tends at present does not do it again, and is not kept from its own work."""
    monkeypatch.setattr(writing, "UPKEEP_WRITES", 3)
    store, limits = TendedStore(), Limits(lease_wait=0.1)

    def opened() -> Index:
        return Index(embedder="hashing/8", store=store, catalog="sqlite:///c.db", root=tmp_path, limits=limits)

    with opened() as first, opened() as second:
        tending = threading.Thread(target=first.upsert, args=([Document(f"a{n}", f"text {n}") for n in range(5)],))
        tending.start()
        assert store.begun.wait(60)
        assert second.upsert([Document(f"b{n}", f"more {n}") for n in range(5)]).notes == []
        assert second.gc().maintenance == []
        store.go_on.set()
        tending.join()
        assert store.times == 1
        assert second.gc(now=True).maintenance == ["tended by force"]
        assert first._catalog.leases() == []


def test_who_pushes_does_not_wait_for_upkeep(tmp_path: Path) -> None:
    """It goes on beside; what it did is told by the next result, and whoever closes the index waits for its end."""
    store = TendedStore()
    index = Index(embedder="hashing/8", store=store, catalog="sqlite:///c.db", root=tmp_path)
    assert index.upsert([Document("a", "one")]).notes == []
    assert store.begun.wait(60)
    assert index.upsert([Document("b", "two")]).notes == []
    assert {hit.doc_id for hit in index.search("two", 5)} == {"a", "b"}
    closing = threading.Thread(target=index.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    store.go_on.set()
    closing.join(60)
    assert store.times == 1


def test_what_went_on_beside_is_told(tmp_path: Path) -> None:
    """By the first result after it, once."""
    store = TendedStore()
    store.go_on.set()
    with Index(embedder="hashing/8", store=store, catalog="sqlite:///c.db", root=tmp_path) as index:
        index.upsert([Document("a", "one")])
        index._writer.close()
        assert index.upsert([Document("b", "two")]).notes == ["tended"]
        assert index.upsert([Document("c", "three")]).notes == []


def test_upkeep_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that was pushed is found all the same."""
    store = TendedStore()

    def broken(collection: str, *, force: bool = False) -> list[str]:
        raise StoreError(f"{collection} cannot be compacted {force}")

    monkeypatch.setattr(store, "maintain", broken)
    with Index(embedder="hashing/8", store=store, catalog="sqlite:///c.db", root=tmp_path) as index:
        index.upsert([Document("a", "one")])
        index._writer.close()
        (note,) = index.upsert([Document("b", "two")]).notes
        assert "upkeep of generation 1" in note
        assert "cannot be compacted" in note
        assert {hit.doc_id for hit in index.search("one", 5)} == {"a", "b"}
