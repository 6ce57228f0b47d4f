"""Filling a generation a few documents at a time: those that readers were shown, or the next ones by the log.

Each call holds the generation's lease for one batch only, and writes as every reconcile does: intent, store, placement.
The watermark stays where it is, so a build that follows finds what is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from regen.core.priority import Cut
from regen.core.results import SyncResult
from regen.engine.account import Spent
from regen.engine.donors import donors_for
from regen.engine.embedding import TextEmbedder
from regen.engine.lease import HeldLease
from regen.engine.prepare import Preparer, refusal_of
from regen.engine.write import Writer
from regen.engine.writing import WriteSide
from regen.ports import PayloadStore
from regen.ports.catalog import Generation
from regen.ports.placements import Work

Choose: TypeAlias = Callable[[Generation], list[Work]]


class Placed(NamedTuple):
    """How many documents a call took up; 0 means that nothing is behind. What it cost is on the account already."""

    documents: int
    result: SyncResult


@dataclass(frozen=True, slots=True)
class Placer:
    """Places documents in a generation that is being filled. One that is paused, or complete, is left as it is.

    Each call says how many documents it took up, those that turned out to be dead letters included, and what that came
    to.
    """

    writer: WriteSide

    def place(self, number: int, ids: Sequence[str]) -> Placed:
        """Place just these documents, as far as they are behind. Raises CatalogBusy, BudgetExceeded, EmbedderError."""
        catalog, limits = self.writer.catalog, self.writer.limits

        def chosen(generation: Generation) -> list[Work]:
            return catalog.behind(
                generation.number, after=0, upto=catalog.head(), lane=None, limit=len(ids),
                max_bytes=limits.batch_bytes, ids=ids,
            )  # fmt: skip

        return self._place(number, chosen)

    def place_next(self, number: int, count: int, cut: Cut | None = None) -> Placed:
        """Place the next so many documents by the log, with a ``cut`` only of those it draws; raises as ``place``."""
        catalog, limits = self.writer.catalog, self.writer.limits

        def chosen(generation: Generation) -> list[Work]:
            return catalog.behind(
                generation.number, after=generation.watermark, upto=catalog.head(), lane=None, limit=count,
                max_bytes=limits.batch_bytes, cut=cut,
            )  # fmt: skip

        return self._place(number, chosen)

    def _place(self, number: int, choose: Choose) -> Placed:
        found = self._building(number)
        if found is None:
            return Placed(0, SyncResult())
        with self.writer.recorded("place", always=False) as (result, account), self.writer.lease(found) as lease:
            generation = self._building(number)  # as it is now that it is ours
            if generation is None:
                return Placed(0, result)
            account.counts_earlier(generation)
            result.generation = number
            price = self.writer.models.embedder_for(generation).info.price_per_million_tokens
            taken = self._write(generation, lease, account.open(generation, price), choose, result)
        return Placed(taken, result)

    def _building(self, number: int) -> Generation | None:
        return next(
            (item for item in self.writer.current()
             if item.number == number and item.state == "building" and item.paused is None),
            None,
        )  # fmt: skip

    def _write(self, generation: Generation, lease: HeldLease, spent: Spent, choose: Choose, result: SyncResult) -> int:
        side = self.writer
        store, embedder = side.stores.of(generation), side.models.embedder_for(generation)
        writer = Writer(side.catalog, store, generation, lease, side.filterable)
        side.catalog.abandon_writes(generation.number, lease.lease, at=time.time())
        donors = donors_for(generation.recipe.embedding, generation, side.current(), side.models, side.stores)
        preparer = Preparer(
            generation.recipe,
            side.models.chunker_for(generation.recipe, embedder),
            side.catalog,
            donors,
            rewrites=not isinstance(store, PayloadStore),
            refusal=refusal_of(store, side.filterable),
        )
        embedding = TextEmbedder(
            embedder, generation.recipe, spent, cache=side.cache, concurrency=side.limits.concurrency,
            exact_tokens=side.limits.tokens_per_minute is not None,
        )  # fmt: skip
        try:
            works = choose(generation)
            if works:
                batch = preparer.prepare(works)
                try:
                    embedding.begin(batch.to_embed).wait()
                finally:
                    if embedding.halt.is_set():  # what has its vectors is paid for and is written
                        batch.keep_complete()
                    writer.write(batch)
            writer.collect_garbage()
        finally:
            embedding.close()
        result.chunks, result.documents.failed = writer.written.chunks, writer.written.failed
        return len(works)
