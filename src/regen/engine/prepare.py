"""From documents that are behind to the writes that bring them up to date: chunks, differences, vectors to find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import orjson

from regen.core.chunking import Chunker, pieces
from regen.core.chunks import Chunk, chunk_id, identify, point_id, text_digest, text_key, unpack, unpack_keys
from regen.core.placing import REPAY, REWRITE, Need, diff_chunks, input_hash, need, payload_hash
from regen.core.recipe import Recipe
from regen.engine.embedding import Slot
from regen.errors import ConfigError, DocumentError, StoreError
from regen.ports import Store, Vectors
from regen.ports.catalog import CatalogReader
from regen.ports.limits import LimitedStore
from regen.ports.placements import Holder, Work


@dataclass(slots=True)
class Task:
    """What one document needs. ``new`` are positions in ``chunks``; ``slots`` hold their vectors, in the same order."""

    work: Work
    need: Need
    hashes: tuple[bytes, bytes] = (b"", b"")
    chunks: list[Chunk] = field(default_factory=list)
    new: tuple[int, ...] = ()
    kept: dict[bytes, bytes] = field(default_factory=dict)
    dropped: bytes = b""
    slots: list[Slot] = field(default_factory=list)
    error: str | None = None
    keys: list[int] = field(default_factory=list)  # the chunks' text keys, in order
    repays: bool = False  # kept points need their payload brought up to date
    _metadata: dict[str, Any] | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """The document's metadata, parsed once."""
        if self._metadata is None:
            self._metadata = orjson.loads(self.work.metadata)
        assert self._metadata is not None
        return self._metadata

    @property
    def access(self) -> list[str] | None:
        """The document's access list."""
        return None if self.work.access is None else orjson.loads(self.work.access)


@dataclass(frozen=True, slots=True)
class Donor:
    """A generation whose vectors serve another one.

    ``fetch`` gets vectors by point id from its store, ``derive`` makes vectors of the other generation of them.
    ``lost`` is told that its store fails when nobody else holds what it holds; it raises that, or lets the texts be
    embedded. Without it (the generation itself) a failure is raised at once.
    """

    generation: int
    fetch: Callable[[Sequence[str]], tuple[list[str], Vectors]]
    derive: Callable[[Vectors], Vectors]
    lost: Callable[[StoreError | ConfigError], None] | None = None


Refusal: TypeAlias = Callable[[Task, str], str | None]
"""Why a store cannot hold a chunk of a task with such a text, None when it can."""


def refusal_of(store: Store, filterable: frozenset[str] | None) -> Refusal | None:
    """What a store refuses, None for one that holds everything. ``filterable`` are the keys that it is given."""
    if not isinstance(store, LimitedStore):
        return None

    def refusal(task: Task, text: str) -> str | None:
        kept = {key: value for key, value in task.metadata.items() if filterable is None or key in filterable}
        return store.refusal(text, kept, task.access)

    return refusal


class Reservations(Protocol):
    """The right to embed a text, where several processes share a generation (I4)."""

    def take(self, text_keys: Sequence[int]) -> set[int]:
        """Take the right to embed these texts; those that somebody else has it of."""
        ...

    def give_back(self, text_keys: Sequence[int]) -> None:
        """Let somebody else embed these."""
        ...


@dataclass(slots=True)
class Batch:
    """Tasks that are written together, and the distinct texts that must be embedded for them."""

    tasks: list[Task]
    to_embed: list[Slot]

    def keep_complete(self) -> None:
        """Leave out, for a later run, every document that lacks a vector: no fault of its own has been shown."""
        self.tasks = [
            task for task in self.tasks if task.error is None and all(slot.vector is not None for slot in task.slots)
        ]


class Preparer:
    """Turns work into batches for one generation. Reads catalog and store; writes nothing.

    ``rewrites`` says that the store cannot update payloads alone: a document whose payload changed is written anew, its
    vectors copied from its old points. ``refusal`` tells why a store cannot hold a chunk of a task (None: it can).
    """

    def __init__(
        self,
        recipe: Recipe,
        chunker: Chunker,
        reader: CatalogReader,
        donors: Sequence[Donor],
        reservations: Reservations | None = None,
        *,
        rewrites: bool = False,
        refusal: Refusal | None = None,
    ) -> None:
        self._recipe, self._chunker, self._reader, self._donors = recipe, chunker, reader, donors
        self._reservations, self._rewrites, self._refusal = reservations, rewrites, refusal
        self._inflight: dict[str, Slot] = {}
        self.deferred = 0  # documents with a text that somebody else is embedding: to be taken up again

    def prepare(self, works: Sequence[Work], *, fetch: bool = True) -> Batch:
        """Decide what each document needs and find the vectors that are held already.

        Without ``fetch`` no store is asked: that a text is held is enough for who only counts.
        """
        tasks = [self._decide(work) for work in works]
        self._split([task for task in tasks if task.need == "replace" and task.error is None])
        to_embed = self._find_vectors(self._slots(tasks), fetch=fetch)
        if self._reservations is not None and to_embed:
            tasks, mine = self._reserve(self._reservations, tasks, to_embed)
            to_embed = self._find_vectors(mine, fetch=fetch)  # what somebody has committed just before it was ours
        self._inflight.update((slot.text, slot) for slot in to_embed)
        return Batch(tasks, to_embed)

    def finished(self, batch: Batch) -> None:
        """A batch is committed: the catalog knows its texts now."""
        for slot in batch.to_embed:
            self._inflight.pop(slot.text, None)

    def _decide(self, work: Work) -> Task:
        placed = work.placement
        if work.deleted:
            return Task(work, "delete", dropped=placed.chunks if placed else b"")
        try:
            values = self._recipe.text.values(orjson.loads(work.metadata)) if self._recipe.text.keys else ()
        except DocumentError as error:
            return Task(work, "replace", error=str(error))
        wanted = (input_hash(work.content_hash, values), payload_hash(work.metadata_hash, work.access_hash))
        found = need(
            deleted=False,
            placed_revision=placed.revision if placed else None,
            placed=(placed.input_hash, placed.payload_hash) if placed else None,
            wanted=wanted,
        )
        if found == "payload" and self._rewrites:
            found = "replace"
        if placed is not None and not placed.chunks and found != "delete":
            found = "replace"  # it still has no text: its dead letter must say so for this revision too
        task = Task(work, found, wanted)
        if found in {"payload", "touch"}:
            assert placed is not None
            task.kept, task.repays = dict(unpack(placed.chunks)), found == "payload"
        if found == "payload" and self._refusal is not None:
            task.error = self._refusal(task, "")
        return task

    def _split(self, tasks: Sequence[Task]) -> None:
        spans = self._chunker.split([task.work.text for task in tasks])
        for task, cut in zip(tasks, spans, strict=True):
            work, placed = task.work, task.work.placement
            values = self._recipe.text.values(task.metadata) if self._recipe.text.keys else ()
            task.chunks = identify(work.doc_id, pieces(work.text, cut, self._recipe.text, values))
            task.keys = [text_key(chunk.digest) for chunk in task.chunks]
            diff = diff_chunks(task.chunks, b"" if placed is None or placed.revision == REWRITE else placed.chunks)
            if diff.kept and _repays(task) and (self._rewrites or diff.new or diff.dropped):
                # What it is found by changes with the text: a point kept for both would be found by the new metadata
                # or access before the commit, without its old neighbours. Points of a new token are seen with it (I2).
                diff = diff_chunks(task.chunks, b"")
            task.new, task.kept, task.dropped = diff.new, diff.kept, diff.dropped
            if placed is not None and not task.kept:
                task.dropped = placed.chunks
            if not task.chunks:
                task.error = "the document has no text to embed"
            elif self._refusal is not None:
                self._refuse(task, self._refusal)
            if task.kept:
                task.repays = _repays(task)

    def _refuse(self, task: Task, refusal: Refusal) -> None:
        reasons = (refusal(task, chunk.text) for chunk in task.chunks)
        task.error = next((reason for reason in reasons if reason is not None), None)
        if task.error is not None:
            task.new = ()  # nothing of it is embedded

    def _slots(self, tasks: Sequence[Task]) -> list[Slot]:
        """Give every new chunk a slot, of a text under way or a new one; the new ones."""
        fresh: dict[str, Slot] = {}
        for task in tasks:
            for position in task.new:
                text = task.chunks[position].embedded_text
                slot = self._inflight.get(text) or fresh.get(text)
                if slot is None:
                    slot = fresh[text] = Slot(text, task.keys[position])
                task.slots.append(slot)
        return list(fresh.values())

    def _reserve(
        self, reservations: Reservations, tasks: list[Task], to_embed: list[Slot]
    ) -> tuple[list[Task], list[Slot]]:
        """The tasks whose texts nobody else is embedding, with their slots; the others wait and reserve nothing."""
        lost = reservations.take([slot.key for slot in to_embed])
        if not lost:
            return tasks, to_embed
        missing = {slot.text for slot in to_embed if slot.key in lost}
        kept = [task for task in tasks if all(slot.text not in missing for slot in task.slots)]
        self.deferred += len(tasks) - len(kept)
        wanted = {slot.text for task in kept for slot in task.slots}
        if idle := [slot.key for slot in to_embed if slot.text not in wanted and slot.key not in lost]:
            reservations.give_back(idle)
        return kept, [slot for slot in to_embed if slot.text in wanted]

    def _find_vectors(self, slots: Sequence[Slot], *, fetch: bool) -> list[Slot]:
        """Give the slots the vectors of points that hold their texts; those that must be embedded."""
        by_key = {slot.key: slot for slot in slots}
        failed: list[tuple[Donor, StoreError | ConfigError, list[Slot]]] = []
        for donor in self._donors:
            missing = {key: slot for key, slot in by_key.items() if slot.vector is None}
            if missing:
                held = self._held(missing, donor)
                try:
                    self._copy_held(held, donor, fetch=fetch)
                except (StoreError, ConfigError) as error:
                    failed.append((donor, error, list(held.values())))
                    if donor.lost is None:
                        raise
        for donor, failure, lost in failed:
            if donor.lost is not None and any(slot.vector is None for slot in lost):
                donor.lost(failure)
        return [slot for slot in slots if slot.vector is None]

    def _held(self, by_key: dict[int, Slot], donor: Donor) -> dict[str, Slot]:
        """Points that hold such texts: of the generation itself for other documents or for points to be rewritten."""
        points = {}
        for holder in self._reader.holders(donor.generation, list(by_key)):
            slot = by_key[holder.text_key]
            if (point := _held_point(holder, slot.text)) is not None:
                points[point] = slot
        return points

    def _copy_held(self, points: dict[str, Slot], donor: Donor, *, fetch: bool) -> None:
        """Give the slots the donor's vectors. Raises what its store raises."""
        if not fetch:
            for slot in points.values():
                slot.vector = _HELD
        elif points:
            ids, vectors = donor.fetch(list(points))
            usable = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
            derived = donor.derive(vectors)
            for row in np.flatnonzero(usable):
                points[ids[row]].vector = derived[row]


def _repays(task: Task) -> bool:
    """Whether points that the document keeps need their payload brought up to date."""
    placed = task.work.placement
    return placed is not None and (placed.revision == REPAY or placed.payload_hash != task.hashes[1])


_HELD: Final = np.zeros(0, dtype=np.float32)
"""Stands for a vector that need not be looked at."""


def _held_point(holder: Holder, text: str) -> str | None:
    """The point under which a holder holds a text, None when its key only collides or its placement has moved on."""
    wanted = chunk_id(holder.doc_id.encode(), text_digest(text))
    token = dict(unpack(holder.chunks)).get(wanted)
    return None if token is None else point_id(wanted, token)


def keys_before_and_after(task: Task) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The text keys that the document no longer holds, and those that it holds anew."""
    placed = task.work.placement
    if placed is None:
        return (), tuple(set(task.keys))
    before, after = set(unpack_keys(placed.text_keys)), set(task.keys)
    return tuple(before - after), tuple(after - before)
