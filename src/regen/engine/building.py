"""Building a generation beside the live one: a pilot first if asked for, then what readers miss most, then the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from regen.core.priority import Cut, cuts, pilot_cut
from regen.core.results import SyncResult
from regen.core.throttle import Throttle
from regen.engine import probes
from regen.engine.account import Account
from regen.engine.allocations import fewer_collections
from regen.engine.control import AT_ONCE, Brake, Pace, Paused
from regen.engine.donors import donors_for
from regen.engine.executors import Executor, Threads
from regen.engine.gauge import Gauge, LiveSearches, measure_baseline
from regen.engine.lease import HeldLease, new_owner
from regen.engine.pilot import PilotVerdict, check_pilot
from regen.engine.settings import Limits, Migration
from regen.engine.sharing import has_workers
from regen.engine.stores import UNREACHABLE
from regen.engine.writing import OnProgress, WriteSide
from regen.errors import GateNotMet
from regen.ports.catalog import Generation

JudgePilot = Callable[[Generation, float], PilotVerdict]
"""Asked whether the share of a generation that is built is worth building the rest: measured quality."""
BULK: Final = 4
"""A maintenance window's batches are so many times as large: memory is there for them."""
THROTTLED_DOCUMENTS: Final = 200
"""Small batches, so that a backfill that shall wait does so soon."""


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds generations. ``judge`` is asked about a pilot, beside the checks that every pilot must pass."""

    writer: WriteSide
    migration: Migration
    judge: JudgePilot | None = None
    executor: Executor | None = None

    def build(self, generation: Generation, progress: OnProgress | None = None) -> SyncResult:
        """Backfill a generation until it has caught up with the log, edits made meanwhile included; then it is ready.

        Whatever stops it, a pause included, what is committed stays, and the next call goes on from there. The budget
        covers all calls together. Raises GateNotMet for a pilot that does not pass, BudgetExceeded, ModelChanged.
        """
        writer, sharers = self.writer, self._sharers()
        with writer.recorded("build") as (result, account), fewer_collections():
            try:
                with writer.lease(generation) as lease:
                    generation = writer.fresh(generation)
                    result.generation = generation.number
                    account.counts_earlier(generation)
                    run = _Run(self, generation, result, account, lease, progress)
                    if sharers is None:
                        run.fill()
                    else:
                        run.begin()
                if sharers is not None:
                    run.share(sharers)
            except Paused:  # the notes on what the configuration asks for tell who paused it, and why
                return result
        result.notes += writer.maintain(generation, force=self.migration.bulk)
        return result

    def _sharers(self) -> Executor | None:
        """Who fills it; None: this process, with the whole of it to itself.

        A throttle measures what one process does to the searches, so such a build is never shared.
        """
        if self.executor is not None:
            return self.executor
        writer = self.writer
        shared = self.migration.throttle is None and has_workers(writer.catalog, writer.alias)
        return Threads(new_owner()) if shared else None


@dataclass(slots=True)
class _Run:
    """One call of ``build``."""

    builder: Builder
    generation: Generation
    result: SyncResult
    account: Account
    lease: HeldLease
    progress: OnProgress | None

    @property
    def _writer(self) -> WriteSide:
        return self.builder.writer

    def fill(self) -> None:
        """Bring the generation to ready. Raises Paused."""
        writer, catalog = self._writer, self._writer.catalog
        self._check()
        with self._braking() as brake:
            while True:
                upto = self._let_donors_go_first()
                if self._is_backfill() and (share := self.builder.migration.pilot) is not None:
                    self._pilot(share, upto, brake)
                self._reconcile(upto, self._pace(brake))
                if catalog.mark_ready(self.generation.number, at=time.time()):
                    return
                self.generation = writer.fresh(self.generation)

    def begin(self) -> None:
        """Do what one must do alone before others may fill it: check the model, build and judge the pilot."""
        self._check()
        if self._is_backfill() and (share := self.builder.migration.pilot) is not None:
            upto = self._let_donors_go_first()
            self._pilot(share, upto, Brake(self._writer.catalog, self.generation.number))
        self._writer.prepare_collection(self.generation)
        self._writer.catalog.ask(self.generation.number, at=time.time())

    def share(self, executor: Executor) -> None:
        """Bring the generation to ready together with others. The whole of it is not ours meanwhile. Raises Paused."""
        writer, number = self._writer, self.generation.number
        if self.builder.migration.throttle is not None:
            self.result.notes.append("migration.throttle is not kept: it measures what one process does to searches")
        if self._is_backfill() and len(self._cuts()) > 1:
            self.result.notes.append("migration.priority is not kept: who shares a build takes the log's order")
        while True:
            upto = self._let_donors_go_first()
            head = writer.catalog.head() if upto is None else upto
            self.generation = writer.fresh(self.generation)
            executor.fill(writer, self.generation, head, self.account, self.result, self.progress)
            self.result.generation, self.result.revision = number, head
            with writer.lease(self.generation):
                if writer.catalog.mark_ready(number, at=time.time()):
                    return

    def _check(self) -> None:
        """Whether somebody has paused it, and the model is the one that its vectors are of."""
        writer, catalog = self._writer, self._writer.catalog
        Brake(catalog, self.generation.number)()
        embedder = writer.models.embedder_for(self.generation)
        writer.check_model(self.generation.recipe)
        probes.keep(catalog, self.generation, embedder)
        probes.check(catalog, self.generation, embedder)

    def _reconcile(self, upto: int | None, pace: Pace) -> int:
        return self._writer.reconcile_into(
            self.result, self.account, self.generation, self.lease, self.progress, upto=upto, pace=pace
        )

    def _let_donors_go_first(self) -> int | None:
        """Bring those whose vectors serve a new generation up to one revision, and say which; None without donors.

        Else a text that is new in both would be embedded twice whenever an edit reaches the build first.
        """
        writer, embedding = self._writer, self.generation.recipe.embedding
        found = donors_for(embedding, self.generation, writer.complete(), writer.models, writer.stores)
        donors = {donor.generation for donor in found}
        upto = None
        for donor in writer.followers():
            if donor.number in donors:
                try:
                    with writer.lease(donor) as lease:
                        if writer.is_current(donor):
                            now = writer.fresh(donor)
                            upto = writer.reconcile_into(self.result, self.account, now, lease, None, upto=upto)
                except UNREACHABLE as error:  # if nobody else holds what it holds, the backfill stops and says so
                    self.result.notes.append(f"{donor.told} could not be brought in step first: {error.message}")
        self.result.generation = self.generation.number
        return upto

    @contextmanager
    def _braking(self) -> Iterator[Brake]:
        """What stops or slows the backfill; measures live searches meanwhile, if that is asked for."""
        writer, ratio = self._writer, self.builder.migration.throttle
        if ratio is None or self.builder.migration.bulk or not self._is_backfill():
            yield Brake(writer.catalog, self.generation.number)
            return
        searches = LiveSearches(writer.alias, writer.catalog, writer.stores)
        gauge = Gauge(searches, Throttle(ratio, measure_baseline(searches)))
        try:
            with gauge.measuring():
                yield Brake(writer.catalog, self.generation.number, gauge.throttle)
        finally:
            self.result.notes += gauge.notes()

    def _pace(self, brake: Brake) -> Pace:
        if not self._is_backfill():
            return replace(AT_ONCE, brake=brake)
        return Pace(self._cuts(), brake, limits=self._limits())

    def _limits(self) -> Limits:
        limits, migration = self._writer.limits, self.builder.migration
        documents = limits.batch_documents
        if migration.bulk:
            return replace(limits, batch_documents=BULK * documents, batch_bytes=BULK * limits.batch_bytes)
        return (
            limits
            if migration.throttle is None
            else replace(limits, batch_documents=min(documents, THROTTLED_DOCUMENTS))
        )

    def _is_backfill(self) -> bool:
        """Whether readers are served by another generation while this one is filled: then the order counts."""
        fresh = self.generation.state == "building" and self.generation.watermark == 0
        return fresh and self._writer.catalog.route(self._writer.alias).live is not None

    def _cuts(self) -> Sequence[Cut | None]:
        """The passes of a backfill: what readers ask for most comes first, unless there are none to consider."""
        if self.builder.migration.bulk:
            return (None,)
        catalog, rule = self._writer.catalog, self._writer.limits.priority
        return cuts(rule, min_queries=catalog.most_queried(rule.queried_share), now=time.time())

    def _pilot(self, share: float, upto: int | None, brake: Brake) -> None:
        """Build a slice and judge it. Raises GateNotMet; the slice stays built."""
        writer, cut = self._writer, pilot_cut(share)
        head = self._reconcile(upto, Pace(brake=brake, pilot=cut, limits=self._limits()))
        self.generation = writer.fresh(self.generation)
        verdict = check_pilot(
            self.generation,
            cut,
            head,
            writer.catalog,
            writer.stores.of(self.generation),
            writer.models.embedder_for(self.generation),
        )
        if verdict.passed and self.builder.judge is not None:
            verdict = verdict.plus(self.builder.judge(self.generation, share))
        number, told = self.generation.number, "; ".join(verdict.reasons)
        if not verdict.passed:
            raise GateNotMet(
                f"the pilot of generation {number} ({share:.3g} of the documents) says hold: {told}",
                hint=f"the slice stays built. `regen search TEXT --generation {number}` tries it; without "
                f"`migration.pilot` `regen apply` builds the rest; `regen gc --retire {number}` gives it up",
            )
        self.result.notes.append(f"pilot passed: {told}")
