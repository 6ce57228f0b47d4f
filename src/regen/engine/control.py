"""How a backfill goes, in which order and how fast, and what makes it stop or wait between two batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from regen.core.priority import Cut
from regen.core.throttle import Throttle
from regen.engine.settings import Limits
from regen.ports.catalog import CatalogReader

LOOK_EVERY: Final = 1.0
"""Seconds between two looks whether somebody has paused: a question to the catalog."""
SHORT_SLEEP: Final = 0.1


class Paused(Exception):
    """Somebody has paused the backfill; no error: the build ends, and its result tells. ``why`` says who, and why."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class HandedBack(Exception):
    """A range is given back before it is done: its holder shall stop, or somebody wants the whole. No error."""


class Brake:
    """Asked before every batch. Raises Paused, or waits while the live generation's searches are slow."""

    def __init__(
        self,
        reader: CatalogReader,
        generation: int,
        throttle: Throttle | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._reader, self._generation, self._throttle = reader, generation, throttle
        self._clock, self._sleep = clock, sleep
        self._looked_at: float | None = None

    def __call__(self) -> None:
        """Return when the next batch may be taken up."""
        self._stop_if_paused()
        if self._throttle is not None and (wait := self._throttle.next_wait()):
            self._wait(self._throttle, wait)

    @property
    def note(self) -> str:
        """What to show beside the progress."""
        return "throttled" if self._throttle is not None and self._throttle.slow else ""

    def _wait(self, throttle: Throttle, seconds: float) -> None:
        """Wait so long, or until the searches are quick again."""
        began = self._clock()
        while throttle.slow and (left := began + seconds - self._clock()) > 0:
            self._sleep(min(left, SHORT_SLEEP))
            self._stop_if_paused()
        throttle.note_wait(self._clock() - began)

    def _stop_if_paused(self) -> None:
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at < LOOK_EVERY:
            return
        self._looked_at = now
        self._look()

    def _look(self) -> None:
        why = next((item.paused for item in self._reader.generations() if item.number == self._generation), None)
        if why is not None:
            raise Paused(why)


@dataclass(frozen=True, slots=True)
class Pace:
    """In which order and how fast a generation is brought up to date.

    ``cuts`` are the passes of a backfill, by priority. With a ``pilot`` only the documents of this cut are taken, and
    the generation's watermark stays where it is. ``limits`` replace the usual ones.
    """

    cuts: Sequence[Cut | None] = (None,)
    brake: Brake | None = None
    pilot: Cut | None = None
    limits: Limits | None = None


AT_ONCE: Final = Pace()
"""Everything in the order of the log, without a stop."""
