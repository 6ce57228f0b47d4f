"""Sharing a generation: each of several processes claims a range of its documents, brings it in step, claims the next.

Who holds a range holds it for a few seconds, whatever the model's speed: a range has as many documents as its maker was
last able to bring in step in that time.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from regen.core import rights
from regen.core.results import SyncResult
from regen.engine.account import Spent
from regen.engine.control import Brake, HandedBack, Pace, Paused
from regen.engine.lease import LEASE_SECONDS, HeldLease, is_dead, known_dead, writer_lease
from regen.engine.settings import Limits
from regen.engine.write import Writer
from regen.errors import CatalogBusy, LeaseLost
from regen.ports.catalog import Catalog, CatalogReader, Generation
from regen.ports.placements import Range
from regen.ports.workers import WorkerRecord

if TYPE_CHECKING:
    from regen.engine.writing import OnProgress, WriteSide

RANGE_SECONDS: Final = 4.0
FIRST_RANGE: Final = 64
FEWEST: Final = 16
BATCHES: Final = 8
"""A range is done in about so many batches, which overlap: it begins and ends with a time in which the model waits."""
RANGES_AHEAD: Final = 64
FIRST_AHEAD: Final = 2
"""Few, while it is not known how many documents a range should have."""
WAIT_SECONDS: Final = 0.1
"""For ranges that others hold."""


class RangeBrake(Brake):
    """Asked before every batch whether to go on with a range. Raises HandedBack, Paused."""

    def __init__(self, catalog: CatalogReader, generation: int, whole: str, stop: threading.Event) -> None:
        super().__init__(catalog, generation)
        self._whole, self._stop = whole, stop

    def __call__(self) -> None:
        """Return when the next batch may be taken up."""
        if self._stop.is_set():
            raise HandedBack
        super().__call__()

    def _look(self) -> None:
        super()._look()
        holder = self._reader.holder(self._whole)
        if holder is not None and holder.expires_at > time.time() and not is_dead(holder.owner):
            raise HandedBack


@dataclass(slots=True)
class Claimant:
    """One of those who share generations. ``stop`` makes it finish its batch and give its range back.

    It holds one range at a time. ``limits`` are its own, ``seconds`` how long a lease lasts unless it is renewed.
    """

    writer: WriteSide
    owner: str
    stop: threading.Event = field(default_factory=threading.Event)
    limits: Limits | None = None
    seconds: float = LEASE_SECONDS
    _rates: dict[int, float] = field(default_factory=dict)
    _prepared: set[int] = field(default_factory=set)

    def claim(self, generation: Generation, upto: int | None = None) -> HeldLease | None:
        """Take a range of what is behind (up to a revision), laying ranges out if need be; None when all is taken.

        The range of a dead process of this host is taken over at once, any other one when its lease has run out.
        """
        catalog, number, whole = self.writer.catalog, generation.number, self.writer.right(generation)
        found = self._take(number, whole, [])
        if found is None:
            ahead = RANGES_AHEAD if number in self._rates else FIRST_AHEAD
            laid = catalog.lay_out(number, whole, size=self._size(number), count=ahead, upto=upto)
            ranges = catalog.ranges(number) if laid.held else []
            holder = catalog.holder(whole)  # all ranges may be free, and yet none to be had
            dead = known_dead(item.owner for item in (*ranges, holder) if item is not None)
            if laid.free or dead:
                found = self._take(number, whole, dead)
        return None if found is None else HeldLease(catalog, found, self.seconds)

    def _take(self, number: int, whole: str, dead: list[str]) -> Range | None:
        return self.writer.catalog.claim_range(
            number, whole, self.owner, at=time.time(), seconds=self.seconds, dead=[*dead, self.owner]
        )  # a range that is ours already is one whose claim was not answered

    def _size(self, number: int) -> int:
        usual = self._rates.get(number, FIRST_RANGE / RANGE_SECONDS) * RANGE_SECONDS
        return min(max(FEWEST, round(usual)), self.writer.limits.batch_documents)

    def bring(
        self,
        generation: Generation,
        held: HeldLease,
        spent: Spent,
        result: SyncResult,
        progress: OnProgress | None = None,
    ) -> int:
        """Bring a claimed range in step and give it back, done or not; how many documents that were.

        Raises LeaseLost when somebody has taken it over, Paused, and what stops a reconcile.
        """
        writer, number, began = self.writer, generation.number, time.monotonic()
        brake = RangeBrake(writer.catalog, number, writer.right(generation), self.stop)
        limits = replace(self.limits or writer.limits, batch_documents=max(FEWEST, -(-self._size(number) // BATCHES)))
        try:
            if generation.state == "building" and number not in self._prepared:
                writer.prepare_collection(generation)
                self._prepared.add(number)
            done = writer.reconcile_range(
                generation, held, spent, Pace(brake=brake, limits=limits), result.notes, progress
            )
        finally:
            held.release()
        result.add(done.chunks, done.failed)
        documents = done.documents + done.failed
        self._rates[number] = max(documents, 1) / max(time.monotonic() - began, 1e-3)
        self._tidy(generation)
        return documents

    def _tidy(self, generation: Generation) -> None:
        """Delete what no placement names any more, unless somebody else is at it."""
        catalog = self.writer.catalog
        if catalog.garbage(generation.number, 1):
            name = rights.to_remove(generation.number, self.writer.alias)
            with suppress(CatalogBusy), writer_lease(catalog, name, self.owner, wait=0.0, seconds=self.seconds) as held:
                Writer(catalog, self.writer.stores.of(generation), generation, held, None).collect_garbage()

    def follow(
        self,
        generation: Generation,
        head: int,
        spent: Spent,
        result: SyncResult,
        progress: OnProgress | None = None,
    ) -> None:
        """Work on a generation until all that was logged up to a revision is in step, whoever does it."""
        while not self.stop.is_set():
            held = self.claim(generation, head)
            if held is not None:
                with suppress(LeaseLost):  # somebody does it in our place
                    self.bring(generation, held, spent, result, progress)
            generation = self.writer.fresh(generation)
            if generation.paused is not None:
                raise Paused(generation.paused)
            if held is None:
                if generation.watermark >= head:
                    return
                self.stop.wait(WAIT_SECONDS)


def has_workers(reader: CatalogReader, alias: str) -> bool:
    """Whether any worker is alive, so that work is worth sharing."""
    return any(is_alive(item, time.time()) for item in reader.workers(alias))


def is_alive(worker: WorkerRecord, now: float) -> bool:
    """Whether a worker has given a sign within a lease's time, and is no process of this host that has ended."""
    return worker.seen_at > now - LEASE_SECONDS and not is_dead(worker.owner)


def await_ranges(catalog: Catalog, generation: Generation, held: HeldLease, *, wait: float) -> None:
    """Wait until those who share a generation have given their ranges back: it is ours as a whole then.

    They look for it between two batches. Raises CatalogBusy, naming them, when they take longer than ``wait``.
    """
    deadline = time.monotonic() + wait
    while ranges := catalog.ranges(generation.number):
        dead = known_dead(item.owner for item in ranges)
        left = catalog.clear_ranges(generation.number, held.lease, at=time.time(), dead=dead)
        if not left:
            return
        if time.monotonic() > deadline:
            owners = sorted({item.owner for item in left})
            raise CatalogBusy(
                f"{generation.told} is being written by {', '.join(owners)}",
                hint="wait for their batches to end, or stop them",
            )
        time.sleep(WAIT_SECONDS)
