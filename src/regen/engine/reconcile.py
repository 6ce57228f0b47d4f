"""The one loop: compare what the log says with what the placements say, and close the difference.

    claim → read → chunk → ids − placed ids → find vectors │ embed │ intent → store → placement → garbage

The three parts divided by bars overlap. Work is derived from state, never from a message, so no crash can lose any.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from regen.core.chunking import Chunker
from regen.core.priority import Cut
from regen.core.results import ChunkCounts, Progress
from regen.engine.account import Spent
from regen.engine.allocations import give_back
from regen.engine.control import AT_ONCE, HandedBack, Pace
from regen.engine.embedding import TextEmbedder
from regen.engine.lease import HeldLease, known_dead
from regen.engine.pipeline import Finish, run_pipeline
from regen.engine.prepare import Batch, Donor, Preparer, Reservations, refusal_of
from regen.engine.settings import Limits
from regen.engine.write import Writer
from regen.ports import Embedder, PayloadStore, Store, VectorCache
from regen.ports.catalog import Catalog, Generation
from regen.ports.placements import Range, Work

ACCESS_LANE, ALL_LANES = 0, None
GIVE_BACK_BATCHES: Final = 4
"""After so many batches their freed memory goes back to the system."""
WAIT_SECONDS: Final = 0.02
"""For a text that somebody else is embedding."""


@dataclass(slots=True)
class Reconciled:
    """What one run did to one generation. ``head`` is the end of the log that it caught up with."""

    chunks: ChunkCounts
    documents: int
    failed: int
    head: int


@dataclass(frozen=True, slots=True)
class Reserved:
    """The right to embed texts, in the catalog, for the holder of a range."""

    catalog: Catalog
    held: HeldLease

    @property
    def _span(self) -> Range:
        span = self.held.lease
        assert isinstance(span, Range)
        return span

    def take(self, text_keys: Sequence[int]) -> set[int]:
        """Take it of these; those that somebody else who lives has it of."""
        catalog, span = self.catalog, self._span
        taken = catalog.reserve_texts(span, text_keys, at=time.time())
        dead = known_dead(item.owner for item in catalog.ranges(span.generation)) if taken else []
        return catalog.reserve_texts(span, text_keys, at=time.time(), dead=dead) if dead else taken

    def give_back(self, text_keys: Sequence[int]) -> None:
        """Give it back of these."""
        self.catalog.free_texts(self._span, text_keys)

    def give_all_back(self) -> None:
        """Give back all that is left of it: of texts that the model refused, or that were prepared in vain."""
        self.catalog.free_texts(self._span)


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Everything a generation's reconcile needs.

    ``filterable`` limits the metadata fields (None: learn them).
    """

    catalog: Catalog
    store: Store
    embedder: Embedder
    chunker: Chunker
    donors: Sequence[Donor]
    limits: Limits
    cache: VectorCache | None = None
    filterable: frozenset[str] | None = None
    pace: Pace = AT_ONCE

    def run(
        self,
        generation: Generation,
        lease: HeldLease,
        *,
        spent: Spent,
        upto: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Reconciled:
        """Bring the generation up to the log's present end, or only to revision ``upto``.

        Raises what stops a run; all committed work stays. ``spent`` counts what is sent to the model while it is sent.
        """
        catalog = self.catalog
        writer = Writer(catalog, self.store, generation, lease, self.filterable)
        if catalog.abandon_writes(generation.number, lease.lease, at=time.time()):
            writer.collect_garbage()
        head = catalog.head() if upto is None else upto
        embedding = self._text_embedder(generation, spent)
        try:
            if head > generation.watermark:
                self._catch_up(generation, (generation.watermark, head), embedding, writer, progress)
                while writer.marked:
                    writer.marked = 0
                    self._catch_up(generation, (0, head), embedding, writer, progress)
                if self.pace.pilot is None:
                    catalog.advance(generation.number, head, lease.lease)
            writer.collect_garbage()
        finally:
            embedding.close()
        done = writer.written
        return Reconciled(done.chunks, done.documents, done.failed, head)

    def run_range(
        self,
        generation: Generation,
        held: HeldLease,
        *,
        spent: Spent,
        progress: Callable[[Progress], None] | None = None,
    ) -> Reconciled:
        """Bring the documents of one range up to date, which others do for other ranges meanwhile.

        A document with a text that somebody else is embedding is taken up again when all others are done.
        """
        span = held.lease
        assert isinstance(span, Range)
        writer = Writer(self.catalog, self.store, generation, held, self.filterable)
        self.catalog.abandon_writes(generation.number, span, at=time.time())
        embedding = self._text_embedder(generation, spent)
        reserved = Reserved(self.catalog, held)
        try:
            while self._catch_up(generation, (span.above, span.upto), embedding, writer, progress, reserved):
                reserved.give_all_back()  # who waits holds nothing that others could wait for
                time.sleep(WAIT_SECONDS)
        except HandedBack:  # what is committed counts; the rest is for whoever comes next
            pass
        finally:
            embedding.close()
        done = writer.written
        return Reconciled(done.chunks, done.documents, done.failed, span.upto)

    def _text_embedder(self, generation: Generation, spent: Spent) -> TextEmbedder:
        return TextEmbedder(
            self.embedder,
            generation.recipe,
            spent,
            cache=self.cache,
            concurrency=self.limits.concurrency,
            exact_tokens=self.limits.tokens_per_minute is not None,
        )

    def _catch_up(
        self,
        generation: Generation,
        between: tuple[int, int],
        embedding: TextEmbedder,
        writer: Writer,
        progress: Callable[[Progress], None] | None,
        reservations: Reservations | None = None,
    ) -> int:
        """Take up what is behind; how many documents were left because somebody else embeds a text of theirs."""
        preparer = Preparer(
            generation.recipe,
            self.chunker,
            self.catalog,
            self.donors,
            reservations,
            rewrites=not isinstance(self.store, PayloadStore),
            refusal=refusal_of(self.store, self.filterable),
        )
        total = self._total(generation, writer) if progress else 0
        stage, brake = "index" if self.pace.pilot is None else "pilot", self.pace.brake

        def embed(batch: Batch) -> Finish:
            filling = embedding.begin(batch.to_embed)

            def finish() -> None:
                try:
                    filling.wait()
                finally:
                    if embedding.halt.is_set():  # the batch goes on: what has its vectors is paid for and is written
                        batch.keep_complete()

            return finish

        numbers = count(1)

        def write(batch: Batch) -> None:
            writer.write(batch)
            preparer.finished(batch)
            if next(numbers) % GIVE_BACK_BATCHES == 0:
                give_back()
            if progress:
                done, spent = writer.written.documents + writer.written.failed, embedding.spent
                note = brake.note if brake else ""
                progress(Progress(stage, done, max(done, total), "documents", spent.texts, spent.usd, note))

        for lane, cut in self._passes():
            works = self._behind(generation, between, lane, cut, _sizes(embedding, self.limits.batch_documents))
            run_pipeline((preparer.prepare(some) for some in works), embed, write, embedding.halt)
        return preparer.deferred

    def _total(self, generation: Generation, writer: Writer) -> int:
        """How many documents there will have been; of a pilot about so many, as its documents are drawn by chance."""
        pending = self.catalog.counts(generation.number).pending
        done = writer.written.documents + writer.written.failed
        return done + round(pending * (1.0 if self.pace.pilot is None else self.pace.pilot.share))

    def _passes(self) -> Iterator[tuple[int | None, Cut | None]]:
        """What is taken first: changed access, then the tiers in order, then whatever is left.

        Revoked and granted access reaches the store before anything that costs time; the fence applied it already. The
        last tier is not asked for by name: a document that readers began to ask for after its better tier's turn
        belongs to neither.
        """
        if self.pace.pilot is not None:
            yield ALL_LANES, self.pace.pilot
            return
        yield ACCESS_LANE, None
        for cut in self.pace.cuts[:-1]:
            yield ALL_LANES, cut
        yield ALL_LANES, None

    def _behind(
        self,
        generation: Generation,
        between: tuple[int, int],
        lane: int | None,
        cut: Cut | None,
        sizes: Iterator[int],
    ) -> Iterator[list[Work]]:
        after, head = between
        while True:
            if self.pace.brake is not None:
                self.pace.brake()
            works = self.catalog.behind(
                generation.number,
                after=after,
                upto=head,
                lane=lane,
                limit=next(sizes),
                max_bytes=self.limits.batch_bytes,
                cut=cut,
            )
            if not works:
                return
            yield works
            after = works[-1].revision


def _sizes(embedding: TextEmbedder, most: int) -> Iterator[int]:
    """How many documents each batch has at most: where calls are concurrent, few at first and ever more.

    A remote model then has its first calls at once and is busy while the next, larger batches are read.
    """
    size = embedding.texts_at_once if embedding.concurrent else most
    while True:
        yield min(size, most)
        size *= 2
