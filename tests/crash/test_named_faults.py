"""Single faults at chosen moments: each was, or would be, a way to lose or to leak something."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from regen.catalog.sqlite import open_catalog
from regen.core.changes import candidate
from regen.core.documents import UNRESTRICTED, Document
from regen.core.recipe import Chunking
from regen.engine import lease
from regen.errors import StoreError
from regen.index import Index
from regen.ports import FieldStore, InsertStore, MaintainedStore, PayloadStore, Store
from regen.registry import make_store
from regen.stores.memory import MemoryStore
from regen.testing.faults import CrashAt, Crashed, FailAt, OnStep, Steps

Reopen = Callable[[OnStep | None], Index]
TEXT = "The river crosses the forest. " * 2 + "\n\n" + "A garden lies behind the market. " * 2


@pytest.fixture(params=["memory", "lancedb"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Open the same index anew, as the next process does; its ports' steps are told to the function given."""
    kept, opened = MemoryStore(), list[tuple[Index, Steps]]()

    def reopened(on_step: OnStep | None = None) -> Index:
        lease._ours.clear()  # whoever held a lease here is dead
        store: Store = kept if request.param == "memory" else make_store("lancedb://vectors", tmp_path)
        steps = Steps(on_step)
        index = Index(
            embedder="hashing/32",
            store=steps.wrap(store, "store"),
            catalog=steps.wrap(open_catalog("sqlite:///catalog.db", tmp_path), "catalog"),
            chunking=Chunking(kind="sentences", max_tokens=16),
        )
        opened.append((index, steps))
        return index

    yield reopened
    for index, steps in opened:
        steps.on_step = None
        index.close()


def document(**metadata: Any) -> Document:
    """Always the same text."""
    return Document("d", TEXT, metadata)


def found(index: Index, **where: Any) -> int:
    """How many chunks satisfy a filter."""
    return len(index.search("garden", k=50, where=where, principals=UNRESTRICTED))


def test_a_proxy_keeps_optional_powers() -> None:
    """A wrapped store has exactly the powers that it has without."""
    wrapped = Steps().wrap(MemoryStore(), "store")
    for power in (Store, PayloadStore, FieldStore, InsertStore, MaintainedStore):
        assert isinstance(wrapped, power) == isinstance(MemoryStore(), power)
    assert isinstance(wrapped, PayloadStore)


@pytest.mark.parametrize("moment", ["after store.update_payload", "before catalog.commit_write"])
def test_metadata_that_goes_back_after_a_crash(reopen: Reopen, moment: str) -> None:
    """A payload that was sent but not committed is undone when the document becomes again what it was."""
    reopen(None).upsert([document(year=1), Document("e", "Something else.", {"year": 5})])
    crash = CrashAt(moment)
    with pytest.raises(Crashed):
        reopen(crash).upsert([document(year=2)])
    assert crash.crashed
    index = reopen(None)
    index.upsert([document(year=1)])
    assert found(index, year=1) == 2
    assert index.verify().consistent, index.verify()


def test_a_kept_chunks_payload_goes_back_after_a_crash(reopen: Reopen) -> None:
    """The same when text and metadata were edited together, so that only some chunks kept their points."""
    reopen(None).upsert([document(year=1)])
    edited = Document("d", TEXT + "\n\nAnd a bridge of copper over the cold winter river at the harbour.", {"year": 2})
    with pytest.raises(Crashed):
        reopen(CrashAt("before catalog.commit_write")).upsert([edited])
    index = reopen(None)
    index.upsert([document(year=1)])
    assert found(index, year=1) == 2
    assert index.verify().orphans == 0
    assert index.verify().consistent, index.verify()


@pytest.mark.parametrize(
    "moment",
    [
        "after store.add_fields",
        "before catalog.set_fields",
        "after catalog.set_fields",
        "after catalog.demand_payloads",
    ],
)
def test_a_new_key_that_comes_back_with_another_kind(reopen: Reopen, moment: str) -> None:
    """What a crash left of a key that was being learned does not decide what the key is when it comes for good."""
    reopen(None).upsert([document(), Document("e", "Something else.", {"other": "value"})])
    with pytest.raises(Crashed):
        reopen(CrashAt(moment)).upsert([document(year=1)])
    index = reopen(None)
    index.upsert([document()])
    index.upsert([document(year="MMXX")])
    assert found(index, year="MMXX") == 2
    assert index.verify().consistent, index.verify()


@pytest.mark.parametrize("step", ["upsert", "insert", "delete", "update_payload"])
def test_a_store_that_fails_after_having_written(reopen: Reopen, step: str) -> None:
    """An error says nothing about what was written: the next run leaves neither a duplicate nor an orphan."""
    index = reopen(None)
    index.upsert([document(year=1), Document("f", "A third thing.", {"year": 1})])
    fault = FailAt(f"after store.{step}", StoreError("the connection was lost after the last byte"))
    failing = reopen(fault)
    edits = [
        Document("d", TEXT.replace("river", "road"), {"year": 2}),
        Document("e", "Something else.", {"year": 3}),
        Document("f", "A third thing.", {"year": 4}),
    ]
    try:
        failing.upsert(edits)
    except StoreError:
        assert fault.failed
    else:
        assert not fault.failed
        assert step in {"upsert", "insert"}, "a store has one or the other"
    again = reopen(None)
    again.upsert(edits)
    assert {hit.doc_id for hit in again.search("road", k=50)} == {"d", "e", "f"}
    assert again.verify().consistent, again.verify()
    assert again.gc().points == 0


def test_a_text_is_never_shown_by_its_successors_access(reopen: Reopen) -> None:
    """While a secret text is replaced by a public one, the public does not see the secret."""
    reader = reopen(None)
    reader.upsert([Document("d", "The secret is under the old oak.", access=["ann"])])
    seen: list[str] = []

    def look(moment: str, _: int) -> None:
        if moment in {"after catalog.log", "before catalog.begin_write", "before catalog.commit_write"}:
            seen.append(moment)
            seen.extend(hit.text for hit in reader.search("secret oak", principals=[]))

    reopen(look).upsert([Document("d", "Nothing to be seen.", access=None)])
    assert seen == ["after catalog.log", "before catalog.begin_write", "before catalog.commit_write"]
    assert [hit.text for hit in reader.search("secret oak", principals=[])] == ["Nothing to be seen."]


def test_a_search_sees_the_old_text_or_the_new(reopen: Reopen) -> None:
    """A placement that is swapped between the store's answer and the fence's makes the search look again."""
    writer = reopen(None)
    writer.upsert([Document("d", "The old river."), Document("e", "Another river.")])

    def swap(moment: str, occurrence: int) -> None:
        if (moment, occurrence) == ("after store.search", 1):
            writer.upsert([Document("d", "The new river.")])

    hits = reopen(swap).search("river", k=10)
    assert sorted(hit.text for hit in hits) == ["Another river.", "The new river."]


def test_a_deletion_holds_though_the_store_fails(reopen: Reopen) -> None:
    """I3 needs the catalog only: a store that cannot delete changes nothing about what is found."""
    index = reopen(FailAt("before store.delete", StoreError("the disk is full")))
    index.upsert([document(), Document("e", "A garden, too.")])
    with pytest.raises(StoreError):
        index.delete(["d"])
    assert {hit.doc_id for hit in index.search("garden", k=50, principals=UNRESTRICTED)} == {"e"}
    index.delete([])
    assert index.verify().consistent


def test_a_deletion_holds_from_the_log_on(reopen: Reopen) -> None:
    """The fence alone hides a deleted document whose chunks are still placed, and still in the store."""
    index = reopen(FailAt("before catalog.commit_write", StoreError("the connection is lost"), occurrence=2))
    index.upsert([document(), Document("e", "A garden, too.")])
    with pytest.raises(StoreError):
        index.delete(["d"])
    assert {hit.doc_id for hit in index.search("garden", k=50, principals=UNRESTRICTED)} == {"e"}
    assert index.verify().stale == 1
    index.delete([])
    assert index.verify().consistent


def test_a_revocation_holds_from_the_log_on(reopen: Reopen) -> None:
    """The fence alone applies a revoked right that the store has not heard of, for everyone and for one."""
    index = reopen(FailAt("before store.update_payload", StoreError("the connection is lost")))
    index.upsert([document(), Document("e", "A garden, too.", access=["ann"])])
    with pytest.raises(StoreError):
        index.upsert([replace(document(), access=["bob"]), Document("e", "A garden, too.", access=["bob"])])
    assert not index.search("garden", k=50).hits
    assert not index.search("garden", k=50, principals=["ann"]).hits
    assert {hit.doc_id for hit in index.search("garden", k=50, principals=UNRESTRICTED)} == {"d", "e"}
    index.sync()
    assert {hit.doc_id for hit in index.search("garden", k=50, principals=["bob"])} == {"d", "e"}
    assert index.verify().consistent


def test_a_document_that_moves_on_while_it_is_written(reopen: Reopen, tmp_path: Path) -> None:
    """What was prepared for an older revision is not committed: its points are garbage, the next run writes the new."""
    other = open_catalog("sqlite:///catalog.db", tmp_path)

    def move_on(moment: str, occurrence: int) -> None:
        if (moment, occurrence) == ("before catalog.commit_write", 1):
            newer = candidate(Document("d", "The forest.", access=[]))
            other.log("push", [newer], content_keys=(), at=time.time())

    index = reopen(move_on)
    done = index.upsert([Document("d", "The river."), Document("e", "The stone.")])
    assert done.chunks.written == 1
    assert [hit.text for hit in index.search("river", principals=UNRESTRICTED)] == ["The stone."]
    report = index.verify()
    assert (report.stale, report.orphans) == (1, 0)
    index.sync()
    assert {hit.text for hit in index.search("river", principals=UNRESTRICTED)} == {"The forest.", "The stone."}
    assert index.verify().consistent, index.verify()
    assert index.gc().points == 0
    other.close()
