"""A worker: one of any number of processes, on any hosts, that bring every current generation in step.

What there is to do follows from the documents alone, so workers need not know of each other: the catalog's leases keep
them apart.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from regen.core.results import SyncResult
from regen.core.working import WorkEvent, WorkResult
from regen.engine.account import Account, Spent
from regen.engine.allocations import fewer_collections
from regen.engine.control import Paused
from regen.engine.donors import donors_for, giving_order
from regen.engine.lease import LEASE_SECONDS, HeldLease, new_owner
from regen.engine.settings import Limits
from regen.engine.sharing import Claimant
from regen.engine.writing import UPKEEP_WRITES, WriteSide
from regen.errors import CatalogBusy, CatalogError, ConfigError, LeaseLost, RegenError, SchemaMismatch
from regen.ports.catalog import Generation
from regen.ports.workers import WorkerRecord

Told: TypeAlias = Callable[[WorkEvent], None]
POLL_SECONDS: Final = 0.5
"""How often an idle worker looks whether anything is behind."""
BACK_OFF: Final = (1.0, 60.0)
"""Seconds that are waited after a failure that may pass: at first, and at most."""
SKEW_SECONDS: Final = 5.0
"""By how much a host's clock may differ from the catalog's: a lease outlasts it by far."""


def clock_skew(before: float, there: float, after: float) -> float:
    """By how many seconds another clock, read between two readings of ours, is ahead for certain; 0.0 if in between.

    An answer may take long, for a server that is restarted meanwhile most of all, and that says nothing of its clock.
    """
    return min(0.0, there - before) or max(0.0, there - after)


class HeartBeat:
    """Tells the catalog every few seconds that this worker lives, and compares the clocks."""

    def __init__(self, writer: WriteSide, owner: str, seconds: float) -> None:
        self._writer, self._seconds = writer, seconds
        now = time.time()
        self.record = WorkerRecord(owner, writer.alias, socket.gethostname(), os.getpid(), now, now)
        self.error: ConfigError | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="regen-heart-beat", daemon=True)

    def beat(self) -> None:
        """Tell it now. Raises ConfigError when the clocks differ too much."""
        before = time.time()
        there = self._writer.catalog.beat(replace(self.record, seen_at=before))
        skew = clock_skew(before, there, time.time())
        if abs(skew) > SKEW_SECONDS:
            raise ConfigError(
                f"this host's clock is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} the catalog's",
                hint=f"leases need clocks that agree to {SKEW_SECONDS:.0f} s: NTP sets them",
            )

    def _go_on(self) -> None:
        while not self._over.wait(self._seconds / 3):
            try:
                self.beat()
            except ConfigError as error:
                self.error = error
                return
            except CatalogError:
                continue  # the work itself will say so, if it lasts

    @contextmanager
    def beating(self) -> Iterator[HeartBeat]:
        """Beat while the block runs, and leave in the end."""
        self.beat()
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join()
            self._writer.catalog.leave(self.record.owner)


@dataclass(slots=True)
class Worker:
    """Follows every current generation: the live one first, then the others, then what ``apply`` asked to be filled.

    ``seconds`` is for how long its leases last unless it renews them: so long after its death others take over.
    """

    writer: WriteSide
    stop: threading.Event
    told: Told = lambda _event: None
    limits: Limits | None = None
    seconds: float = LEASE_SECONDS
    done: WorkResult = field(default_factory=WorkResult)
    _failing: dict[int, tuple[float, float]] = field(default_factory=dict)
    _written: int = 0

    def run(self, *, until_idle: bool = False) -> WorkResult:
        """Work until ``stop`` is set, or (``until_idle``) until nothing is behind any more.

        What may pass by itself is waited for, unless the run is to end; what cannot is raised.
        """
        began, owner = time.monotonic(), new_owner()
        claimant = Claimant(self.writer, owner, self.stop, self.limits, self.seconds)
        with HeartBeat(self.writer, owner, self.seconds).beating() as heart:
            while not self.stop.is_set():
                if heart.error is not None:
                    raise heart.error
                if self._patiently(claimant, heart, until_idle=until_idle):
                    continue
                if until_idle and not self._is_behind():
                    self.told(WorkEvent("idle"))
                    break
                self.stop.wait(POLL_SECONDS)
        self.done.seconds = time.monotonic() - began
        return self.done

    def _patiently(self, claimant: Claimant, heart: HeartBeat, *, until_idle: bool) -> bool:
        """A round; a catalog that cannot be reached at present is waited for, unless the run is to end."""
        try:
            return self._round(claimant, heart, patient=not until_idle)
        except SchemaMismatch:
            raise
        except CatalogError as error:
            if until_idle:
                raise
            self.told(WorkEvent("failed", detail=error.message))
            self.stop.wait(BACK_OFF[0])
            return False

    def _round(self, claimant: Claimant, heart: HeartBeat, *, patient: bool) -> bool:
        """Take ranges until there is none to be had; whether there was one. What it cost is one run's."""
        first = self._next(claimant)
        if first is None:
            return False
        with self.writer.recorded("work") as (result, account), fewer_collections():
            spent: dict[int, Spent] = {}
            found: tuple[Generation, HeldLease] | None = first
            while found is not None:
                self._bring(claimant, heart, found, self._open(spent, account, found[0]), result, patient=patient)
                found = None if self.stop.is_set() else self._next(claimant)
            account.add_to(result)
        self._sum_up(result)
        self._look_after()
        return True

    def _open(self, spent: dict[int, Spent], account: Account, generation: Generation) -> Spent:
        building = generation.state == "building"
        if generation.number not in spent:
            if building:
                account.counts_earlier(generation)
            spent[generation.number] = account.open(generation, self.writer.price(generation), shared=building)
        return spent[generation.number]

    def _bring(
        self,
        claimant: Claimant,
        heart: HeartBeat,
        found: tuple[Generation, HeldLease],
        spent: Spent,
        result: SyncResult,
        *,
        patient: bool,
    ) -> None:
        generation, held = found
        number = generation.number
        heart.record = replace(heart.record, generation=number)
        failed = result.documents.failed
        try:
            documents = claimant.bring(generation, held, spent, result)
        except LeaseLost as error:
            self.done.lost += 1
            self.told(WorkEvent("lost", number, detail=error.message))
        except Paused:
            pass
        except RegenError as error:
            self._note_failure(generation, error, heart, patient=patient)
        else:
            self._failing.pop(number, None)
            self.done.ranges += 1
            self.done.documents += documents - (result.documents.failed - failed)
            self.done.failed += result.documents.failed - failed
            heart.record = replace(heart.record, documents=self.done.documents, failure=None)
            self.told(WorkEvent("range", number, documents))

    def _note_failure(self, generation: Generation, error: RegenError, heart: HeartBeat, *, patient: bool) -> None:
        """Leave the generation alone for a while, longer each time. Raises what waiting does not mend."""
        if not (patient and error.retryable):
            raise error
        first, most = BACK_OFF
        wait = min(most, 2 * self._failing.get(generation.number, (0.0, first / 2))[1])
        self._failing[generation.number] = (time.monotonic() + wait, wait)
        heart.record = replace(heart.record, failure=error.message)
        self.told(WorkEvent("failed", generation.number, detail=f"{error.message}; tried again in {wait:.0f} s"))

    def _next(self, claimant: Claimant) -> tuple[Generation, HeldLease] | None:
        """The next range of the first generation that has one; a generation that is complete is made ready on the way.

        A generation takes what it can from others' vectors, so it goes only as far as they have come (I4).
        """
        head, before = self.writer.catalog.head(), list[Generation]()
        for generation in self._followed():
            failing = self._failing.get(generation.number, (0.0, 0.0))[0] > time.monotonic()
            upto = head if failing else self._as_far_as(generation, before, head)
            if not failing:
                before.append(generation)
            if not failing and generation.watermark < upto and (held := claimant.claim(generation, upto)) is not None:
                return generation, held
            if generation.state == "building":
                self._complete(generation, head)
        return None

    def _followed(self) -> list[Generation]:
        """Those that are complete, the givers first; then those that may be filled."""
        writer = self.writer
        current, live = writer.current(), writer.catalog.route(writer.alias).live
        complete = [item for item in current if item.state != "building"]
        building = [item for item in current if item.state == "building"]
        filled = [item for item in building if self._may_fill(item)] if live is not None else building[:1]
        return [*giving_order(complete, live, writer.models), *filled]

    def _may_fill(self, generation: Generation) -> bool:
        """Whether ``apply`` asked for it, nobody has paused it, and our own configuration asks for it, too."""
        return (
            generation.asked_at is not None and generation.paused is None and not self.writer.is_abandoned(generation)
        )

    def _as_far_as(self, generation: Generation, before: list[Generation], head: int) -> int:
        writer = self.writer
        found = donors_for(generation.recipe.embedding, generation, before, writer.models, writer.stores, [])
        numbers = {donor.generation for donor in found}
        fresh = {item.number: item.watermark for item in writer.current()} if before else {}
        return min([head, *(fresh.get(item.number, head) for item in before if item.number in numbers)])

    def _complete(self, generation: Generation, head: int) -> None:
        """Make a generation ready, or the first one live, once it has caught up with the log."""
        writer = self.writer
        if writer.fresh(generation).watermark < head:
            return
        try:
            with writer.lease(generation) as lease, writer.recorded("work", always=False) as (result, account):
                fresh = writer.fresh(generation)
                if fresh.state == "building":
                    event = "ready" if writer.catalog.route(writer.alias).live is not None else "live"
                    writer.reconcile_into(result, account, fresh, lease, None)
                    if event == "live" or writer.catalog.mark_ready(generation.number, at=time.time()):
                        self.told(WorkEvent(event, generation.number))
                        self.done.notes += writer.maintain_quietly(fresh)
        except CatalogBusy:  # somebody else has the whole of it: perhaps to the same end
            return

    def _is_behind(self) -> bool:
        head = self.writer.catalog.head()
        return any(item.watermark < head or item.state == "building" for item in self._followed())

    def _sum_up(self, result: SyncResult) -> None:
        done = self.done
        for name in ("written", "reused", "deleted"):
            setattr(done.chunks, name, getattr(done.chunks, name) + getattr(result.chunks, name))
        done.embedded_texts += result.embedded_texts
        done.tokens += result.tokens
        done.cost_usd += result.cost_usd
        done.notes += [note for note in result.notes if note not in done.notes]
        self._written += result.chunks.written + result.chunks.deleted

    def _look_after(self) -> None:
        """Let the stores tend what was written, when it was enough to pay."""
        if self._written >= UPKEEP_WRITES:
            self._written = 0
            for generation in self.writer.complete():
                self.done.notes += self.writer.maintain_quietly(generation)
