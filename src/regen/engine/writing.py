"""Everything that writes: under the lease, log what changed, reconcile each current generation, keep the account."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from regen.core import rights
from regen.core.recipe import Recipe
from regen.core.results import DocumentCounts, GcReport, Progress, SyncResult
from regen.engine import probes
from regen.engine.account import Account, Spent
from regen.engine.allocations import fewer_collections, give_back
from regen.engine.control import AT_ONCE, Pace
from regen.engine.donors import donors_for, giving_order
from regen.engine.executors import Executor, Threads
from regen.engine.lease import HeldLease, new_owner, writer_lease
from regen.engine.lifecycle import Lifecycle
from regen.engine.models import Models
from regen.engine.prepare import Donor
from regen.engine.reconcile import Reconciled, Reconciler
from regen.engine.settings import Limits
from regen.engine.sharing import await_ranges, has_workers
from regen.engine.stores import UNREACHABLE, Stores, behind_the_others
from regen.engine.tending import Tending
from regen.errors import CatalogBusy, NotFound
from regen.ports import CollectionSpec, MaintainedStore, VectorCache
from regen.ports.catalog import CURRENT_STATES, Catalog, Generation

OnProgress = Callable[[Progress], None]
UPKEEP_RUNS: Final = 16
UPKEEP_WRITES: Final = 5_000
"""After so many runs that wrote, or so many documents and points written, it is looked whether upkeep pays."""
PUSHED: Final = frozenset({"upsert", "delete"})
"""Verbs that somebody may wait for who has just written a document: upkeep goes on beside them."""


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
    _tending: Tending = field(default_factory=Tending)
    _tended_now: dict[int, threading.Lock] = field(default_factory=dict)

    def close(self) -> None:
        """Wait for what goes on in the background. Idempotent."""
        self._tending.finish()

    @contextmanager
    def _logging(self) -> Iterator[None]:
        """Hold the right to append to the log and to add generations: never for longer than a scan takes."""
        with (
            self._turns.setdefault(0, threading.RLock()),
            writer_lease(self.catalog, rights.to_log(self.alias), self._owner, wait=self.limits.lease_wait),
        ):
            yield

    def appending(self) -> AbstractContextManager[None]:
        """The same, for who only appends and lets others reconcile."""
        return self._logging()

    @contextmanager
    def lease(self, generation: Generation) -> Iterator[HeldLease]:
        """Hold the right to write one generation. Raises CatalogBusy when another process keeps it."""
        with (
            self._turns.setdefault(generation.number, threading.RLock()),
            writer_lease(self.catalog, self.right(generation), self._owner, wait=self.limits.lease_wait) as held,
        ):
            await_ranges(self.catalog, generation, held, wait=self.limits.lease_wait)
            yield held

    def right(self, generation: Generation) -> str:
        """The name of the lease on the whole of one generation."""
        return rights.to_place(generation.number, self.alias)

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
        executor: Executor | None = None,
    ) -> SyncResult:
        """Log what changed, reconcile, record what it cost. What was committed stays, whatever is raised.

        ``executor`` does the first load.

        ``demand`` may ask for more work of each generation; it is called under that generation's lease, so that another
        writer that finishes just then cannot take it for done.
        """
        with self.recorded(verb) as (result, account), fewer_collections():
            with self._logging():
                result.documents = log()
            if result.documents.changed >= UPKEEP_WRITES:
                give_back()  # what many documents left behind would be there while they are embedded
            if note := self.lifecycle.follow():
                result.notes.append(note)
            self._follow(result, account, progress, demand, executor)
        if self._upkeep_is_due(result):
            generations = self.complete()
            upkeep = partial(self._tended, generations)
            if verb in PUSHED and any(map(self._may_tend, generations)):
                self._tending.ask(upkeep)
            else:
                result.notes += upkeep()
        result.notes += self._tending.told()
        return result

    def _follow(
        self,
        result: SyncResult,
        account: Account,
        progress: OnProgress | None,
        demand: Callable[[Generation], object] | None,
        executor: Executor | None,
    ) -> None:
        """Reconcile the followers one by one; what goes wrong with one is raised when the others have had their turn.

        So a retained generation whose collection or model is gone never keeps the live one from being fresh.
        """
        failures: list[tuple[Generation, Exception]] = []
        upto = None  # all to the same revision: what is logged meanwhile comes to each in this order too
        followers = self.followers()
        with_others = demand is None and has_workers(self.catalog, self.alias)
        for generation in followers:
            first = executor if generation.state == "building" else None
            shared = with_others or first is not None
            if generation.state == "building":
                account.counts_earlier(generation)
            try:
                if shared:
                    upto = self._share(result, account, generation, progress, upto, first or Threads(new_owner()))
                with self._whole_of(generation, shared=shared) as lease:
                    if lease is not None and self.is_current(generation):
                        if demand is not None:
                            demand(generation)
                        upto = self.reconcile_into(result, account, self.fresh(generation), lease, progress, upto=upto)
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append((generation, error))
        if failures:
            raise behind_the_others(failures, followers, result.notes)

    def _share(
        self,
        result: SyncResult,
        account: Account,
        generation: Generation,
        progress: OnProgress | None,
        upto: int | None,
        executor: Executor,
    ) -> int:
        """Work beside the workers until the generation has come to a revision (None: the log's end), and say which."""
        if generation.state == "building":
            self.prepare_collection(generation)
        head = self.catalog.head() if upto is None else upto
        executor.fill(self, generation, head, account, result, progress)
        result.generation, result.revision = generation.number, head
        return head

    @contextmanager
    def _whole_of(self, generation: Generation, *, shared: bool) -> Iterator[HeldLease | None]:
        """The lease on the whole generation; None where it was shared, and needs no more than that."""
        if shared and (generation.state != "building" or self.catalog.route(self.alias).live is not None):
            yield None
            return
        with self.lease(generation) as lease:
            yield lease

    @contextmanager
    def recorded(self, verb: str, *, always: bool = True) -> Iterator[tuple[SyncResult, Account]]:
        """Keep what a run did and what it cost, also when something stops it; unless ``always`` only if it cost any.

        One budget is for the whole of it.
        """
        started, clock = time.time(), time.perf_counter()
        result, account = SyncResult(), Account(self.catalog, self.limits.budget_usd)

        def record() -> None:
            account.add_to(result)
            result.seconds = time.perf_counter() - clock
            if always or account.used:
                self.catalog.record_run(
                    verb, started=started, finished=time.time(), result=result.to_dict(), costs=account.unwritten()
                )

        try:
            yield result, account
        except BaseException:
            if account.used:  # what was paid for is on the account, whatever happened then
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

    def followers(self) -> list[Generation]:
        """The generations that a sync keeps current: those that are complete, or the first one ever, which it builds.

        One that is still being filled takes the changes when its backfill comes to them: none is lost, and a sync never
        spends what a backfill costs.
        """
        if complete := self.complete():
            return giving_order(complete, self.catalog.route(self.alias).live, self.models)
        return self.current()[:1] or [self.create(self.models.recipe)]

    def complete(self) -> list[Generation]:
        """The generations that every sync brings in step."""
        return [item for item in self.current() if item.state != "building"]

    def is_current(self, generation: Generation) -> bool:
        """Whether a generation has not been given up."""
        return any(item.number == generation.number for item in self.current())

    def create(self, recipe: Recipe) -> Generation:
        """A new generation, empty; or the newest that is kept for this recipe, whoever has made it meanwhile."""
        self.check_model(recipe)
        with self._logging():
            for item in reversed(self.current()):
                if self.stores.fits(item, recipe):
                    return item  # somebody else was quicker, or an earlier attempt was stopped
            prefix = "regen_" + self.alias.replace("-", "_")
            self.stores.require_ours(prefix, self.catalog.generations())
            return self.catalog.create_generation(
                self.alias, recipe, prefix, at=time.time(), options=self.models.options, store=self.stores.name
            )

    def check_model(self, recipe: Recipe) -> None:
        """Whether the model still gives the vectors that a new generation would take over. Raises ModelChanged."""
        donors = {
            donor.generation for donor in donors_for(recipe.embedding, None, self.complete(), self.models, self.stores)
        }
        now = None
        for giver in self.complete():
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

    def reconcile_into(
        self,
        result: SyncResult,
        account: Account,
        generation: Generation,
        lease: HeldLease,
        progress: OnProgress | None,
        *,
        upto: int | None = None,
        pace: Pace = AT_ONCE,
        anew: VectorCache | None = None,
    ) -> int:
        """Reconcile and keep account; up to which revision. ``anew`` are the only held vectors that may be taken."""
        spent = account.open(generation, self.price(generation))
        if anew is None:
            done = self.reconcile(generation, lease, spent, progress, upto=upto, pace=pace, notes=result.notes)
        else:
            done = self.reconcile_from(generation, lease, anew, spent, progress, upto=upto, donors=())
        result.add(done.chunks, done.failed)
        result.generation, result.revision = generation.number, done.head
        return done.head

    def price(self, generation: Generation) -> float:
        """What a million tokens cost that are sent to a generation's model."""
        return self.models.embedder_for(generation).info.price_per_million_tokens

    def reconcile(
        self,
        generation: Generation,
        lease: HeldLease,
        spent: Spent,
        progress: OnProgress | None = None,
        *,
        upto: int | None = None,
        pace: Pace = AT_ONCE,
        notes: list[str] | None = None,
    ) -> Reconciled:
        """Bring one generation up to the log's end, or to a revision; the first one ever then goes live by itself."""
        if generation.state == "building":
            self.prepare_collection(generation)
        notes = None if generation.state == "building" else notes  # a backfill pays for no text that it was to copy
        own = generation.recipe.embedding
        donors = donors_for(own, generation, self.current(), self.models, self.stores, notes)
        done = self.reconcile_from(generation, lease, self.cache, spent, progress, upto=upto, pace=pace, donors=donors)
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
        *,
        upto: int | None = None,
        pace: Pace = AT_ONCE,
        donors: Sequence[Donor] | None = None,
    ) -> Reconciled:
        """The same with a cache (and donors) of the caller's choice, and no consequence for the alias."""
        if donors is None:
            donors = donors_for(generation.recipe.embedding, generation, self.current(), self.models, self.stores)
        reconciler = self._reconciler(generation, cache, pace, donors)
        return reconciler.run(generation, lease, progress=progress, spent=spent, upto=upto)

    def reconcile_range(
        self,
        generation: Generation,
        held: HeldLease,
        spent: Spent,
        pace: Pace,
        notes: list[str],
        progress: OnProgress | None = None,
    ) -> Reconciled:
        """Bring the documents of a claimed range in step, and nothing else."""
        told = None if generation.state == "building" else notes  # as in reconcile
        donors = donors_for(generation.recipe.embedding, generation, self.current(), self.models, self.stores, told)
        return self._reconciler(generation, self.cache, pace, donors).run_range(
            generation, held, spent=spent, progress=progress
        )

    def _reconciler(
        self, generation: Generation, cache: VectorCache | None, pace: Pace, donors: Sequence[Donor]
    ) -> Reconciler:
        embedder = self.models.embedder_for(generation)
        return Reconciler(
            self.catalog,
            self.stores.of(generation),
            embedder,
            self.models.chunker_for(generation.recipe, embedder),
            donors,
            pace.limits or self.limits,
            cache,
            self.filterable,
            pace,
        )

    def go_live(self, generation: Generation, *, reason: str) -> None:
        """Keep the first generation's probe vectors, and point the alias at it."""
        probes.keep(self.catalog, generation, self.models.embedder_for(generation))
        self.lifecycle.move(
            generation, lambda: self.catalog.go_live(self.alias, generation.number, at=time.time(), reason=reason)
        )
        self.lifecycle.follow()

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

    def maintain(self, generation: Generation, *, force: bool, wait: float | None = None) -> list[str]:
        """Let the store tend a collection; what it did, one phrase each.

        Two that compact a table, or build its index, do all of it twice: while one is at it another thread or process
        waits (up to ``wait`` seconds; by default as for the right to write), and then leaves it to that one.
        """
        store = self.stores.of(generation)
        if not isinstance(store, MaintainedStore):
            return []
        name, patience = rights.to_tend(generation.number, self.alias), self.limits.lease_wait if wait is None else wait
        turn = self._tended_now.setdefault(generation.number, threading.Lock())
        if not turn.acquire(timeout=patience):
            return []
        done: list[str] = []
        try:
            with suppress(CatalogBusy), writer_lease(self.catalog, name, self._owner, wait=patience):
                done = store.maintain(generation.collection, force=force)
        finally:
            turn.release()
        if done:
            give_back()
        return done

    def maintain_quietly(self, generation: Generation) -> list[str]:
        """The same; a store out of reach is a remark: what was asked for is done."""
        try:
            return self.maintain(generation, force=False, wait=0.0)
        except UNREACHABLE as error:
            gone = not self.is_current(generation)  # given up meanwhile, and its collection dropped
            return [] if gone else [f"upkeep of {generation.told} was not done: {error.message}"]

    def _tended(self, generations: list[Generation]) -> list[str]:
        return [note for generation in generations for note in self.maintain_quietly(generation)]

    def _may_tend(self, generation: Generation) -> bool:
        """Whether there may be something to do, or to say."""
        try:
            return isinstance(self.stores.of(generation), MaintainedStore)
        except UNREACHABLE:
            return True

    def abandon(self, report: GcReport, *, now: bool) -> None:
        """Give up what was half built for a recipe that is not asked for any more, unless somebody is at work on it."""
        for item in self.current():
            overdue = item.created_at + self.limits.retain < time.time()
            if (now or overdue) and self.is_abandoned(item) and self.catalog.holder(self.right(item)) is None:
                self.lifecycle.retire(item.number)
                report.retired.append(item.number)

    def is_abandoned(self, generation: Generation) -> bool:
        """Whether a generation is half built, beside a live one, by another recipe than the configuration asks for."""
        wanted = generation.recipe.fingerprint == self.models.recipe.fingerprint and self.stores.holds(generation)
        return generation.state == "building" and not wanted and self.catalog.route(self.alias).live is not None
