"""Everything that writes: under the lease, log what changed, reconcile each current generation, keep the account."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from regen.core.results import DocumentCounts, GcReport, Progress, SyncResult, VerifyReport
from regen.engine.allocations import fewer_collections
from regen.engine.lease import HeldLease, new_owner, writer_lease
from regen.engine.models import Models
from regen.engine.reconcile import Reconciled, Reconciler
from regen.engine.repair import apply_repair, collect_orphans, compare
from regen.engine.settings import Limits
from regen.errors import NotFound
from regen.ports import CollectionSpec, MaintainedStore, Store, VectorCache
from regen.ports.catalog import CURRENT_STATES, Catalog, Cost, Generation

OnProgress = Callable[[Progress], None]
UPKEEP_RUNS: Final = 16
UPKEEP_WRITES: Final = 5_000
"""After so many runs that wrote, or so many documents and points written, it is looked whether upkeep pays."""


@dataclass(slots=True)
class WriteSide:
    """The one writer of an index. Threads of this process take turns, processes by the catalog's lease."""

    alias: str
    catalog: Catalog
    store: Store
    models: Models
    limits: Limits
    cache: VectorCache | None = None
    filterable: frozenset[str] | None = None
    _owner: str = field(default_factory=new_owner)
    _runs_since_upkeep: int = UPKEEP_RUNS
    _written_since_upkeep: int = 0
    _turn: threading.RLock = field(default_factory=threading.RLock)

    @contextmanager
    def lease(self) -> Iterator[HeldLease]:
        """Hold the writer lease. Raises CatalogBusy when another process keeps it."""
        with (
            self._turn,
            writer_lease(self.catalog, f"index {self.alias}", self._owner, wait=self.limits.lease_wait) as held,
        ):
            yield held

    def current(self) -> list[Generation]:
        """The generations that receive every change."""
        return [item for item in self.catalog.generations() if item.state in CURRENT_STATES]

    def live_or_newest(self) -> Generation:
        """The live generation, or the newest one. Raises NotFound before the first."""
        live, current = self.catalog.route(self.alias).live, self.current()
        if not current:
            raise NotFound(f"index {self.alias!r} has no generation yet", hint="run `regen sync` first")
        return next((item for item in current if item.number == live), current[-1])

    def run(self, verb: str, log: Callable[[], DocumentCounts], progress: OnProgress | None = None) -> SyncResult:
        """Log what changed, reconcile, record what it cost. What was committed stays, whatever is raised."""
        started, clock = time.time(), time.perf_counter()
        with self.lease() as lease, fewer_collections():
            result = SyncResult(documents=log())
            costs = [self._reconcile_into(result, item, lease, progress) for item in self._current_or_first()]
            result.seconds = time.perf_counter() - clock
            self.catalog.record_run(
                verb,
                started=started,
                finished=time.time(),
                result=result.to_dict(),
                costs=[cost for cost in costs if cost.texts],
            )
            if self._upkeep_is_due(result):
                for generation in self.current():
                    result.notes += self._maintain(generation, force=False)
        return result

    def _upkeep_is_due(self, result: SyncResult) -> bool:
        """A process's first run looks whether upkeep pays; later ones when enough has been written since.

        Looking has a price of its own, which would be the largest part of a single pushed document's.
        """
        written = result.documents.changed + result.chunks.written + result.chunks.deleted
        self._runs_since_upkeep += written > 0
        self._written_since_upkeep += written
        due = self._runs_since_upkeep >= UPKEEP_RUNS or self._written_since_upkeep >= UPKEEP_WRITES
        if due:
            self._runs_since_upkeep = self._written_since_upkeep = 0
        return due

    def _current_or_first(self) -> list[Generation]:
        if current := self.current():
            return current
        prefix = "regen_" + self.alias.replace("-", "_")
        return [self.catalog.create_generation(self.alias, self.models.recipe, prefix, at=time.time())]

    def _reconcile_into(
        self, result: SyncResult, generation: Generation, lease: HeldLease, progress: OnProgress | None
    ) -> Cost:
        done = self.reconcile(generation, lease, progress)
        result.chunks.written += done.chunks.written
        result.chunks.reused += done.chunks.reused
        result.chunks.deleted += done.chunks.deleted
        result.embedded_texts += done.spent.texts
        result.tokens += done.spent.tokens
        result.cost_usd += done.spent.usd
        result.documents.failed += done.failed
        result.generation, result.revision = generation.number, done.head
        model = generation.recipe.embedding.model
        return Cost(generation.number, model, done.spent.texts, done.spent.tokens, done.spent.usd)

    def reconcile(self, generation: Generation, lease: HeldLease, progress: OnProgress | None = None) -> Reconciled:
        """Bring one generation up to the log's end; the first one ever goes live by itself when it is complete."""
        if generation.state == "building":
            self._create_collection(generation)
        embedder = self.models.embedder_for(generation)
        chunker = self.models.chunker_for(generation.recipe, embedder)
        reconciler = Reconciler(self.catalog, self.store, embedder, chunker, self.limits, self.cache, self.filterable)
        done = reconciler.run(generation, lease, progress=progress)
        if generation.state == "building" and self.catalog.route(self.alias).live is None:
            self.catalog.go_live(
                self.alias, generation.number, at=time.time(), reason="the first generation is complete"
            )
        return done

    def _create_collection(self, generation: Generation) -> None:
        recipe = generation.recipe
        fields: Any = dict(generation.fields)
        self.store.create(
            generation.collection,
            CollectionSpec(recipe.embedding.dimensions, recipe.metric, fields, dict(recipe.index)),
        )

    def _maintain(self, generation: Generation, *, force: bool) -> list[str]:
        if not isinstance(self.store, MaintainedStore):
            return []
        return self.store.maintain(generation.collection, force=force)

    def verify(self, *, repair: bool, progress: OnProgress | None = None) -> VerifyReport:
        """Compare catalog and store; with ``repair`` mend what differs and look again."""
        with self.lease() as lease:
            generation = self.live_or_newest()
            found = compare(generation, self.store, self.catalog, progress)
            if not repair or found.report.consistent:
                return found.report
            if found.collection_missing:
                self._create_collection(generation)
            mended = apply_repair(found, generation, self.store, self.catalog)
            self.reconcile(self.live_or_newest(), lease, progress)
            again = compare(self.live_or_newest(), self.store, self.catalog, progress).report
            again.repaired = mended
            return again

    def collect(self, *, now: bool) -> GcReport:
        """Remove orphans, old changes and what only they named; with ``now`` everything but the present."""
        report = GcReport()
        with self.lease() as lease:
            for generation in self.current():
                self.reconcile(generation, lease)
                report.points += collect_orphans(generation, self.store, self.catalog)
                report.maintenance += self._maintain(generation, force=now)
            purged = self.catalog.purge(changes_before=time.time() - (0.0 if now else self.limits.keep_changes))
        report.contents, report.changes, report.tombstones = purged.contents, purged.changes, purged.tombstones
        return report
