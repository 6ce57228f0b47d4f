"""From prepared batches to committed placements: intent, store, one catalog transaction, garbage.

Where catalog and store lie in one database all of it is one transaction, and neither intent nor garbage is needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from regen.core.chunks import ENTRY_BYTES, pack, pack_keys, point_id, unpack, write_token
from regen.core.learning import new_fields
from regen.core.results import ChunkCounts, DeadLetter
from regen.engine.joint import Joint
from regen.engine.lease import HeldLease
from regen.engine.prepare import Batch, Task, keys_before_and_after
from regen.errors import SpaceMismatch
from regen.ports import FieldStore, InsertStore, Payload, PayloadStore, Points, Store
from regen.ports.catalog import Catalog, Generation
from regen.ports.placements import Garbage, NewPlacement, Placement, Range
from regen.ports.transactions import StoreWriter

GARBAGE_POINTS: Final = 10_000
"""Deleting in few large calls is what stores do well; readers never see the points meanwhile, thanks to the fence."""
PAYLOAD_POINTS: Final = 5_000


@dataclass(slots=True)
class Written:
    """What a writer has done so far."""

    chunks: ChunkCounts = field(default_factory=ChunkCounts)
    documents: int = 0
    failed: int = 0


class Writer:
    """Writes batches of one generation under one lease. Used by one thread."""

    def __init__(
        self,
        catalog: Catalog,
        store: Store,
        generation: Generation,
        lease: HeldLease,
        filterable: frozenset[str] | None,
    ) -> None:
        self._catalog, self._store, self._generation, self._lease = catalog, store, generation, lease
        self._joint = Joint.of(catalog, store)
        self._filterable = filterable
        self._fields = dict(generation.fields)
        self._learned: set[str] = set()
        self._agreed = False  # whether the store is known to have all fields of the catalog
        self.marked = 0  # placements whose payload must be brought up to date because of what was learned
        self._waiting = 0
        self.written = Written()

    def write(self, batch: Batch) -> None:
        """Bring one batch's documents up to date in store and catalog, and bury those that cannot be."""
        ready, letters = _sort_out(batch.tasks, self._generation.number)
        self._learn_fields(ready)
        if self._joint is None:
            committed = self._write_apart(ready, letters)
        else:
            committed = self._write_together(self._joint, ready, letters)
        self._count(ready, committed, letters)
        # Of those who share a generation one at a time deletes, see ``sharing``.
        if self._waiting >= GARBAGE_POINTS and not isinstance(self._lease.lease, Range):
            self.collect_garbage()

    def _write_apart(self, ready: Sequence[Task], letters: Sequence[DeadLetter]) -> set[int]:
        """Points first, then the placements that name them; the committed doc keys."""
        token = self._write_points(ready)
        self._update_payloads(self._store, ready)
        return self._catalog.commit_write(
            self._generation.number,
            token,
            [_placement(task, token) for task in ready],
            self._lease.lease,
            at=time.time(),
            letters=letters,
        )

    def _write_together(self, joint: Joint, ready: Sequence[Task], letters: Sequence[DeadLetter]) -> set[int]:
        """One transaction for all of it; the committed doc keys.

        The points come first: while they are sent, the lease and what other writers ask for are not yet held.
        """
        token = joint.token() if any(task.new for task in ready) else None
        points = None if token is None else self._points(ready, token)
        placements = [_placement(task, token) for task in ready]

        def work(store: StoreWriter) -> set[int]:
            if points is not None:
                _add(store, self._generation.collection, points)
            self._update_payloads(store, ready)
            committed = self._catalog.commit_write(
                self._generation.number,
                None,
                placements,
                self._lease.lease,
                at=time.time(),
                letters=letters,
                collected=True,
            )
            if gone := _unnamed(placements, committed, token):
                store.delete(self._generation.collection, gone)
            return committed

        return joint.run(work)

    def collect_garbage(self) -> None:
        """Delete from the store what no placement names any more."""
        while found := self._catalog.garbage(self._generation.number):
            self._delete(found)
        self._waiting = 0

    def _delete(self, found: Sequence[Garbage]) -> None:
        points = [point_id(*entry) for item in found for entry in unpack(item.entries)]
        self._store.delete(self._generation.collection, points)
        self._catalog.clear_garbage([item.id for item in found])

    def _learn_fields(self, tasks: Sequence[Task]) -> None:
        """Metadata keys seen for the first time become filterable.

        Points that are there hold nothing under such a key, though their documents may (a value that no field can
        hold, or a key that was not to be filterable): those are marked, so that a filter does not overlook them.
        """
        if not isinstance(self._store, FieldStore) or not isinstance(self._store, PayloadStore):
            return  # filters on later keys are the fence's
        added = new_fields(self._fields, (task.metadata for task in tasks if task.need != "delete"), self._filterable)
        if added:
            self._fields |= added
            self._learned |= added.keys()
            if new := [key for key in added if key not in self._known_to_others()]:
                self.marked += self._catalog.demand_payloads(self._generation.number, new)
            self._fields |= self._catalog.set_fields(self._generation.number, self._fields)
        if added or not self._agreed:
            # The catalog decides of what kind a key is, so it learns first; a crash may have kept the store behind.
            known: Any = dict(self._fields)
            self._store.add_fields(self._generation.collection, known)
            self._agreed = True
        for task in tasks:  # prepared before the key was learned, committed after: its mark would be overwritten
            if task.kept and not task.repays and not self._learned.isdisjoint(task.metadata):
                task.repays = True

    def _known_to_others(self) -> dict[str, str]:
        """What those who share the generation have learned meanwhile, and marked."""
        if not isinstance(self._lease.lease, Range):
            return {}
        number = self._generation.number
        return next((item.fields for item in self._catalog.generations() if item.number == number), {})

    def _write_points(self, tasks: Sequence[Task]) -> int | None:
        """Write the new chunks' points under a fresh token, recorded as an intent first; None when there are none."""
        ids = b"".join(task.chunks[position].id for task in tasks for position in task.new)
        repaid = [task.work.doc_key for task in tasks if task.repays]
        if not ids and not repaid:
            return None
        lease, now = self._lease.lease, time.time()
        token = self._catalog.begin_write(self._generation.number, ids, lease, at=now, repaid=repaid)
        if ids:
            _add(self._store, self._generation.collection, self._points(tasks, token))
        return token

    def _points(self, tasks: Sequence[Task], token: int) -> Points:
        mine = write_token(token)
        rows = [(task, position) for task in tasks for position in task.new]
        found = [slot.vector for task in tasks for slot in task.slots if slot.vector is not None]
        vectors = np.concatenate(found).reshape(len(found), -1)  # four times as fast as numpy's stack
        expected = self._generation.recipe.embedding.dimensions
        if vectors.shape[1] != expected:
            raise SpaceMismatch(
                f"vectors have {vectors.shape[1]} dimensions, generation {self._generation.number} "
                f"(space {self._generation.recipe.space}) has {expected}"
            )
        ids = [point_id(task.chunks[position].id, mine) for task, position in rows]
        payload = _payload(rows, [token] * len(rows))
        payload.audit = self._audit(rows)
        return Points(ids, vectors, payload)

    def _audit(self, rows: Sequence[tuple[Task, int]]) -> dict[str, list[Any]]:
        """What an auditor wants to see beside every vector."""
        recipe, count = self._generation.recipe, len(rows)
        return {
            "generation": [self._generation.number] * count,
            "space": [recipe.space] * count,
            "model": [recipe.embedding.model] * count,
            "model_revision": [recipe.embedding.revision] * count,
            "dimensions": [recipe.embedding.dimensions] * count,
            "chunker": [f"{recipe.chunking.kind}/{recipe.chunking.version}"] * count,
            "content_hash": [task.work.content_hash.hex() for task, _ in rows],
            "created_at": [task.work.changed_at for task, _ in rows],
            "embedded_at": [time.time()] * count,
            "schema_version": [len(self._fields)] * count,
        }

    def _update_payloads(self, store: StoreWriter, tasks: Sequence[Task]) -> None:
        """Metadata and access of points that keep their vectors."""
        rows: list[tuple[Task, int]] = []
        tokens: list[int] = []
        ids: list[str] = []
        for task in tasks:
            for position, (key, token) in enumerate(task.kept.items() if task.repays else ()):
                rows.append((task, position))
                tokens.append(int.from_bytes(token))
                ids.append(point_id(key, token))
            if len(ids) >= PAYLOAD_POINTS:
                self._send_payload(store, ids, rows, tokens)
                rows, tokens, ids = [], [], []
        if ids:
            self._send_payload(store, ids, rows, tokens)

    def _send_payload(
        self, store: StoreWriter, ids: list[str], rows: list[tuple[Task, int]], tokens: list[int]
    ) -> None:
        collection = self._generation.collection
        assert isinstance(store, PayloadStore), "without it documents are written anew, so that nothing is kept"
        store.update_payload(collection, ids, _payload(rows, tokens, with_text=False))

    def _count(self, ready: Sequence[Task], committed: set[int], letters: Sequence[DeadLetter]) -> None:
        chunks = self.written.chunks
        for task in ready:
            if task.work.doc_key in committed:
                chunks.written += len(task.new)
                chunks.reused += len(task.kept) if task.need == "replace" else 0
                chunks.deleted += len(task.dropped) // ENTRY_BYTES
                self._waiting += len(task.dropped) // ENTRY_BYTES if self._joint is None else 0
        self.written.documents += len(committed)
        self.written.failed += len(letters)


def _sort_out(tasks: Sequence[Task], generation: int) -> tuple[list[Task], list[DeadLetter]]:
    """Which tasks can be committed, and a dead letter for each that cannot, or only without any text."""
    ready, letters = [], []
    for task in tasks:
        error = task.error or next((slot.error for slot in task.slots if slot.error is not None), None)
        if error is not None:
            work = task.work
            letters.append(DeadLetter(work.doc_id, generation, work.revision, error, 1, time.time()))
        # A document that has become empty is placed as empty, so that its old text is not found any more.
        if error is None or (task.need == "replace" and not task.chunks and task.hashes[0]):
            ready.append(task)
    return ready, letters


def _add(store: StoreWriter, collection: str, points: Points) -> None:
    """Write points of a fresh token: it is used once, so their ids are new for certain, whatever crashed before."""
    write = store.insert if isinstance(store, InsertStore) else store.upsert
    write(collection, points)


def _unnamed(placements: Sequence[NewPlacement], committed: set[int], token: int | None) -> list[str]:
    """The points that no placement names any more, those written just now for documents that moved on included."""
    mine = b"" if token is None else write_token(token)
    gone: list[str] = []
    for new in placements:
        if new.doc_key in committed:
            gone += [point_id(*entry) for entry in unpack(new.dropped)]
        elif new.placement is not None:
            gone += [point_id(*entry) for entry in unpack(new.placement.chunks) if entry[1] == mine]
    return gone


def _placement(task: Task, token: int | None) -> NewPlacement:
    work = task.work
    if task.need == "delete":
        before, _ = keys_before_and_after(task)
        return NewPlacement(work.doc_key, work.revision, None, task.dropped, before)
    if task.need != "replace":
        assert work.placement is not None
        old = work.placement
        renewed = Placement(work.revision, *task.hashes, old.chunks, old.text_keys)
        return NewPlacement(work.doc_key, work.revision, renewed, b"")
    mine = b"" if token is None else write_token(token)
    before, after = keys_before_and_after(task)
    packed = pack([(chunk.id, task.kept.get(chunk.id, mine)) for chunk in task.chunks])
    return NewPlacement(
        work.doc_key,
        work.revision,
        Placement(work.revision, *task.hashes, packed, pack_keys(task.keys)),
        task.dropped,
        before,
        after,
    )


def _payload(rows: Sequence[tuple[Task, int]], tokens: list[int], *, with_text: bool = True) -> Payload:
    """Columns for (task, position) rows. Without text only what a payload update changes is filled in."""
    metadata = _once_per_task(rows, lambda task: task.metadata)
    access = _once_per_task(rows, lambda task: task.access)
    chunks = [task.chunks[position] for task, position in rows] if with_text else []
    return Payload(
        chunk_id=[chunk.id.hex() for chunk in chunks],
        token=tokens,
        doc_id=[task.work.doc_id for task, _ in rows],
        text=[chunk.text for chunk in chunks],
        position=[position for _, position in rows],
        revision=[task.work.revision for task, _ in rows],
        metadata=metadata,
        access=access,
    )


def _once_per_task(rows: Sequence[tuple[Task, int]], value: Callable[[Task], Any]) -> list[Any]:
    """A column of per-document values, each computed once."""
    column: list[Any] = []
    last: Task | None = None
    current: Any = None
    for task, _ in rows:
        if task is not last:
            last, current = task, value(task)
        column.append(current)
    return column
