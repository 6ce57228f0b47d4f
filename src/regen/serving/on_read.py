"""What readers were shown and the new generation lacks, placed in the background.

The queue is memory only, bounded, and holds each document once. A document that is left out, or lost with the process,
is simply still pending: the next search that returns it asks for it again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

Place: TypeAlias = Callable[[int, list[str]], int]
Drain: TypeAlias = Callable[[int, int], int]
MOST: Final = 1_000
"""Documents that may wait."""
BATCH: Final = 32
"""Documents placed at once: the generation's lease is held for no longer than that takes."""
LONGEST_REST: Final = 60.0
"""Seconds between two attempts when one after the other fails."""


@dataclass(slots=True)
class Progress:
    """What the background has done so far: documents taken up, those left out of a full queue, the last failure."""

    placed: int = 0
    drained: int = 0
    left_out: int = 0
    failure: str | None = None


class OnRead:
    """The queue and its one thread, which is started by the first document. Safe for threads.

    ``place`` places documents, ``drain`` the next so many of the rest; both say how many they took up. ``per_second``
    is the pace of the drain (0: there is none). ``told`` hears of a failure that is new, and (None) of its end.
    """

    def __init__(
        self,
        place: Place,
        drain: Drain,
        *,
        per_second: float = 0.0,
        told: Callable[[int, str | None], None] | None = None,
        most: int = MOST,
    ) -> None:
        self._place, self._drain, self._per_second, self._told = place, drain, per_second, told
        self._most = most
        self._waiting: dict[str, int] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._generation: int | None = None
        self._busy = self._stopped = False
        self._owed, self._paid_at = 0.0, time.monotonic()
        self._failures = 0
        self.progress = Progress()

    def want(self, generation: int, ids: Sequence[str]) -> None:
        """Ask for documents; those that wait already, and those beyond the bound, are not added."""
        with self._changed:
            if self._stopped or not (ids or self._per_second):
                return
            if generation != self._generation:
                self._generation, self._owed, self._paid_at = generation, 0.0, time.monotonic()
            for doc in ids:
                if self._waiting.get(doc) == generation:
                    continue
                if len(self._waiting) >= self._most:
                    self.progress.left_out += 1
                else:
                    self._waiting[doc] = generation
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="regen-on-read", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def settle(self, timeout: float) -> bool:
        """Wait until nothing is waited for any more; whether that came about within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Place what waits, for so long at most, and end the thread after its batch; the rest stays pending."""
        if self._thread is not None and not self._failures:
            self.settle(timeout)
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    # ── the thread ──────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            generation, ids, rest = batch
            try:
                self._do(generation, ids, rest)
                self._succeeded(generation)
            except Exception as error:  # noqa: BLE001 - a background thread has nobody to raise to: it is shown instead
                self._failed(generation, error)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
            self._rest()

    def _next(self) -> tuple[int, list[str], int] | None:
        """The next documents, or how many of the rest are due; None when it is over."""
        with self._changed:
            while not self._stopped:
                if self._waiting:
                    generation = next(iter(self._waiting.values()))
                    ids = [doc for doc, number in self._waiting.items() if number == generation][:BATCH]
                    for doc in ids:
                        del self._waiting[doc]
                    self._busy = True
                    return generation, ids, 0
                if self._generation is not None and (due := self._due()):
                    self._busy = True
                    return self._generation, [], due
                self._changed.wait(1 / self._per_second if self._per_second else None)
        return None

    def _due(self) -> int:
        """How many documents the drain owes by now; at most one batch, so that idle time is not made up for."""
        now = time.monotonic()
        self._owed = min(self._owed + (now - self._paid_at) * self._per_second, BATCH)
        self._paid_at = now
        due = int(self._owed)
        self._owed -= due
        return due

    def _do(self, generation: int, ids: list[str], rest: int) -> None:
        if ids:
            self.progress.placed += self._place(generation, ids)
        elif rest:
            self.progress.drained += self._drain(generation, rest)

    def _succeeded(self, generation: int) -> None:
        self._failures = 0
        if self.progress.failure is not None:
            self.progress.failure = None
            self._tell(generation, None)

    def _failed(self, generation: int, error: Exception) -> None:
        self._failures += 1
        message = f"{type(error).__name__}: {error}".splitlines()[0]
        if message != self.progress.failure:
            self.progress.failure = message
            self._tell(generation, message)

    def _tell(self, generation: int, message: str | None) -> None:
        if self._told is not None:
            try:
                self._told(generation, message)
            except Exception:  # noqa: BLE001 - it is in ``progress`` all the same
                return

    def _rest(self) -> None:
        """After a failure wait the longer the more there were: a budget that is spent is not asked for all the time."""
        if self._failures:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped, min(2.0 ** (self._failures - 1), LONGEST_REST))
