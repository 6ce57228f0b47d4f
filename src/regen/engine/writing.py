"""Everything that writes: under the lease, log what changed, reconcile each current generation, keep the account."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from regen.core.priority import Cut, cuts
from regen.core.recipe import Recipe
from regen.core.results import DocumentCounts, GcReport, Progress, SyncResult, VerifyReport
from regen.engine import probes
from regen.engine.allocations import fewer_collections
from regen.engine.donors import donors_for, giving_order
from regen.engine.embedding import Spent
from regen.engine.lease import HeldLease, is_dead, new_owner, writer_lease
from regen.engine.lifecycle import Lifecycle
from regen.engine.models import Models
from regen.engine.reconcile import Reconciled, Reconciler
from regen.engine.repair import apply_repair, collect_orphans, compare
from regen.engine.settings import Limits
from regen.engine.stores import Stores
from regen.errors import NotFound
from regen.ports import CollectionSpec, MaintainedStore, VectorCache
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
    stores: Stores
    models: Models
    limits: Limits
    cache: VectorCache | None = None
    filterable: frozenset[str] | None = None
    _owner: str = field(default_factory=new_owner)
    _runs_since_upkeep: int = UPKEEP_RUNS
    _written_since_upkeep: int = 0
    _turns: dict[int, threading.RLock] = field(default_factory=dict)

    @contextmanager
    def _logging(self) -> Iterator[None]:
        """Hold the right to append to the log and to add generations: never for longer than a scan takes."""
        with (
            self._turns.setdefault(0, threading.RLock()),
            writer_lease(self.catalog, f"index {self.alias}", self._owner, wait=self.limits.lease_wait),
        ):
            yield

    @contextmanager
    def lease(self, generation: Generation) -> Iterator[HeldLease]:
        """Hold the right to write one generation. Raises CatalogBusy when another process keeps it."""
        name = f"generation {generation.number} of {self.alias}"
        with (
            self._turns.setdefault(generation.number, threading.RLock()),
            writer_lease(self.catalog, name, self._owner, wait=self.limits.lease_wait) as held,
        ):
            yield held

    @property
    def lifecycle(self) -> Lifecycle:
        """What moves the alias."""
        return Lifecycle(self.alias, self.catalog, self.stores, self.limits.retain, self.lease)

    def current(self) -> list[Generation]:
        """The generations that receive every change."""
        return [item for item in self.catalog.generations() if item.state in CURRENT_STATES]

    def live_or_newest(self) -> Generation:
        """The live generation, or the newest one. Raises NotFound before the first."""
        live, current = self.catalog.route(self.alias).live, self.current()
        if not current:
            raise NotFound(f"index {self.alias!r} has no generation yet", hint="run `regen sync` first")
        return next((item for item in current if item.number == live), current[-1])

    def run(
        self,
        verb: str,
        log: Callable[[], DocumentCounts],
        progress: OnProgress | None = None,
        demand: Callable[[Generation], object] | None = None,
    ) -> SyncResult:
        """Log what changed, reconcile, record what it cost. What was committed stays, whatever is raised.

        ``demand`` may ask for more work of each generation; it is called under that generation's lease, so that another
        writer that finishes just then cannot take it for done.
        """
        with self._recorded(verb) as (result, costs), fewer_collections():
            with self._logging():
                result.documents = log()
            self._follow(result, costs, progress, demand)
        if self._upkeep_is_due(result):
            for generation in self._complete():
                result.notes += self._maintain(generation, force=False)
        return result

    def build(self, generation: Generation, progress: OnProgress | None = None) -> SyncResult:
        """Backfill a generation until it has caught up with the log, edits made meanwhile included; then it is ready.

        Whatever stops it, what is committed stays, and the next call goes on from there.
        """
        with self._recorded("build") as (result, costs), fewer_collections(), self.lease(generation) as lease:
            generation = self.fresh(generation)
            embedder = self.models.embedder_for(generation)
            self._check_model(generation.recipe)
            probes.keep(self.catalog, generation, embedder)
            probes.check(self.catalog, generation, embedder)
            while True:
                upto = self._let_donors_go_first(generation, result, costs)
                self._reconcile_into(result, costs, generation, lease, progress, upto)
                if self.catalog.mark_ready(generation.number, at=time.time()):
                    break
                generation = self.fresh(generation)
        result.notes += self._maintain(generation, force=False)
        return result

    def _let_donors_go_first(self, generation: Generation, result: SyncResult, costs: list[Cost]) -> int | None:
        """Bring those whose vectors serve a new generation up to one revision, and say which; None without donors.

        Else a text that is new in both would be embedded twice whenever an edit reaches the build first.
        """
        found = donors_for(generation.recipe.embedding, generation, self._complete(), self.models, self.stores)
        donors = {donor.generation for donor in found}
        upto = None
        for donor in self._followers():
            if donor.number in donors:
                with self.lease(donor) as lease:
                    if self._is_current(donor):
                        upto = self._reconcile_into(result, costs, self.fresh(donor), lease, None, upto)
        return upto

    def _follow(
        self,
        result: SyncResult,
        costs: list[Cost],
        progress: OnProgress | None,
        demand: Callable[[Generation], object] | None,
    ) -> None:
        """Reconcile the followers one by one; what goes wrong with one is raised when the others have had their turn.

        So a retained generation whose collection or model is gone never keeps the live one from being fresh.
        """
        failures: list[Exception] = []
        upto = None  # all to the same revision: what is logged meanwhile comes to each in this order too
        for generation in self._followers():
            try:
                with self.lease(generation) as lease:
                    if self._is_current(generation):
                        if demand is not None:
                            demand(generation)
                        upto = self._reconcile_into(result, costs, self.fresh(generation), lease, progress, upto)
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append(error)
        if failures:
            raise failures[0]

    @contextmanager
    def _recorded(self, verb: str) -> Iterator[tuple[SyncResult, list[Cost]]]:
        """Keep what a run did and what it cost, also when something stops it."""
        started, clock = time.time(), time.perf_counter()
        result, costs = SyncResult(), list[Cost]()

        def record() -> None:
            result.seconds = time.perf_counter() - clock
            paid = [cost for cost in costs if cost.texts]
            self.catalog.record_run(verb, started=started, finished=time.time(), result=result.to_dict(), costs=paid)

        try:
            yield result, costs
        except BaseException:
            if any(cost.texts for cost in costs):  # what was paid for is on the account, whatever happened then
                record()
            raise
        record()

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

    def _followers(self) -> list[Generation]:
        """The generations that a sync keeps current: those that are complete, or the first one ever, which it builds.

        One that is still being filled takes the changes when its backfill comes to them: none is lost, and a sync never
        spends what a backfill costs.
        """
        if complete := self._complete():
            return giving_order(complete, self.catalog.route(self.alias).live, self.models)
        return self.current()[:1] or [self.create(self.models.recipe)]

    def _complete(self) -> list[Generation]:
        return [item for item in self.current() if item.state != "building"]

    def _is_current(self, generation: Generation) -> bool:
        return any(item.number == generation.number for item in self.current())

    def create(self, recipe: Recipe) -> Generation:
        """A new generation, empty, with its collection and the probe vectors of its model."""
        self._check_model(recipe)
        with self._logging():
            building = [
                item
                for item in self.current()
                if item.state == "building" and item.recipe == recipe and self.stores.holds(item)
            ]
            if building:  # somebody else was quicker, or an earlier attempt was stopped: go on with that one
                return building[0]
            prefix = "regen_" + self.alias.replace("-", "_")
            return self.catalog.create_generation(
                self.alias, recipe, prefix, at=time.time(), options=self.models.options, store=self.stores.name
            )

    def _check_model(self, recipe: Recipe) -> None:
        """Whether the model still gives the vectors that a new generation would take over. Raises ModelChanged."""
        donors = {
            donor.generation for donor in donors_for(recipe.embedding, None, self._complete(), self.models, self.stores)
        }
        now = None
        for giver in self._complete():
            before = probes.kept_vectors(self.catalog, giver) if giver.number in donors else None
            if before is not None:
                now = probes.embed(self.models.embedder, recipe) if now is None else now
                probes.compare(giver, before[:, : recipe.embedding.dimensions], now)

    def fresh(self, generation: Generation) -> Generation:
        """A generation as it is now that we hold its lease."""
        found = next((item for item in self.current() if item.number == generation.number), None)
        if found is None:
            raise NotFound(f"generation {generation.number} was given up meanwhile")
        return found

    def _reconcile_into(
        self,
        result: SyncResult,
        costs: list[Cost],
        generation: Generation,
        lease: HeldLease,
        progress: OnProgress | None,
        upto: int | None,
    ) -> int:
        """Reconcile and keep account; up to which revision."""
        spent = Spent()
        try:
            done = self.reconcile(generation, lease, progress, spent, upto)
        finally:  # what was sent to the model is accounted for, whatever stopped the run
            result.embedded_texts += spent.texts
            result.tokens += spent.tokens
            result.cost_usd += spent.usd
            costs.append(
                Cost(generation.number, generation.recipe.embedding.model, spent.texts, spent.tokens, spent.usd)
            )
        result.chunks.written += done.chunks.written
        result.chunks.reused += done.chunks.reused
        result.chunks.deleted += done.chunks.deleted
        result.documents.failed += done.failed
        result.generation, result.revision = generation.number, done.head
        return done.head

    def reconcile(
        self,
        generation: Generation,
        lease: HeldLease,
        progress: OnProgress | None = None,
        spent: Spent | None = None,
        upto: int | None = None,
    ) -> Reconciled:
        """Bring one generation up to the log's end, or to a revision; the first one ever then goes live by itself."""
        if generation.state == "building":
            self.prepare_collection(generation)
        done = self.reconcile_from(generation, lease, self.cache, spent or Spent(), progress, upto)
        if generation.state == "building" and self.catalog.route(self.alias).live is None:
            self.go_live(generation, reason="the first generation is complete")
        return done

    def reconcile_from(
        self,
        generation: Generation,
        lease: HeldLease,
        cache: VectorCache | None,
        spent: Spent,
        progress: OnProgress | None = None,
        upto: int | None = None,
    ) -> Reconciled:
        """The same with a cache of the caller's choice, and no consequence for the alias."""
        embedder = self.models.embedder_for(generation)
        chunker = self.models.chunker_for(generation.recipe, embedder)
        donors = donors_for(generation.recipe.embedding, generation, self.current(), self.models, self.stores)
        reconciler = Reconciler(
            self.catalog,
            self.stores.of(generation),
            embedder,
            chunker,
            donors,
            self.limits,
            cache,
            self.filterable,
            self._cuts() if self._is_backfill(generation) else (None,),
        )
        return reconciler.run(generation, lease, progress=progress, spent=spent, upto=upto)

    def _is_backfill(self, generation: Generation) -> bool:
        """Whether readers are served by another generation while this one is filled: then the order counts."""
        fresh = generation.state == "building" and generation.watermark == 0
        return fresh and self.catalog.route(self.alias).live is not None

    def _cuts(self) -> Sequence[Cut]:
        """The passes of a backfill: what readers ask for most comes first."""
        rule = self.limits.priority
        return cuts(rule, min_queries=self.catalog.most_queried(rule.queried_share), now=time.time())

    def go_live(self, generation: Generation, *, reason: str) -> None:
        """Keep the first generation's probe vectors, and point the alias at it."""
        probes.keep(self.catalog, generation, self.models.embedder_for(generation))
        self.catalog.go_live(self.alias, generation.number, at=time.time(), reason=reason)

    def prepare_collection(self, generation: Generation) -> None:
        """Make a generation's collection if it is not there."""
        recipe = generation.recipe
        fields: Any = dict(generation.fields)
        self.stores.of(generation).create(
            generation.collection,
            CollectionSpec(
                recipe.embedding.dimensions, recipe.metric, fields, dict(recipe.index), recipe.embedding.precision
            ),
        )

    def _maintain(self, generation: Generation, *, force: bool) -> list[str]:
        store = self.stores.of(generation)
        if not isinstance(store, MaintainedStore):
            return []
        return store.maintain(generation.collection, force=force)

    def verify(self, *, repair: bool, progress: OnProgress | None = None) -> VerifyReport:
        """Compare catalog and store; with ``repair`` mend what differs and look again."""
        generation = self.live_or_newest()
        with self.lease(generation) as lease:
            found = compare(generation, self.stores.of(generation), self.catalog, progress)
            if not repair or found.report.consistent:
                return found.report
            if found.collection_missing:
                self.prepare_collection(generation)
            mended = apply_repair(found, generation, self.stores.of(generation), self.catalog)
            self.reconcile(self.live_or_newest(), lease, progress)
            again = compare(self.fresh(generation), self.stores.of(generation), self.catalog, progress).report
            again.repaired = mended
            return again

    def collect(self, *, now: bool) -> GcReport:
        """Remove orphans, old changes and what only they named; with ``now`` everything but the present."""
        report = GcReport()
        for held in self.catalog.leases():
            if is_dead(held.owner) or held.expires_at < time.time():
                self.catalog.release(held)
        self.lifecycle.expire(report, now=now)
        for generation in self.current():
            with self.lease(generation) as lease:
                if generation.state != "building":
                    self.reconcile(self.fresh(generation), lease)
                else:
                    self.prepare_collection(generation)  # a crash may have come before it was made
                report.points += collect_orphans(generation, self.stores.of(generation), self.catalog)
                report.maintenance += self._maintain(generation, force=now)
        purged = self.catalog.purge(changes_before=time.time() - (0.0 if now else self.limits.keep_changes))
        report.contents, report.changes, report.tombstones = purged.contents, purged.changes, purged.tombstones
        return report
