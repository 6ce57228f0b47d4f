"""When a backfill makes room for the searches of the live generation: decided on measured times alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LEAST_BASELINE: Final = 0.002
"""Seconds. A quicker baseline counts as this: below it the times are the interpreter's noise, not the store's load."""
WEIGHT: Final = 0.4
"""The share of the newest time in the smoothed one: three slow measurements in a row count for four fifths."""
FIRST_WAIT: Final = 0.25
LONGEST_WAIT: Final = 4.0


@dataclass(slots=True)
class Throttle:
    """Judges the live searches by what they took before the backfill began; all times are in seconds.

    ``ratio`` is how many times as long as ``baseline`` they may take. While they take longer, each next batch waits
    twice as long as the one before, up to ``LONGEST_WAIT``: a backfill slows down and never stops.
    """

    ratio: float
    baseline: float
    smoothed: float | None = None
    worst: float = 0.0
    wait: float = 0.0
    waited: float = 0.0
    waits: int = 0

    @property
    def limit(self) -> float:
        """How long a search may take."""
        return self.ratio * max(self.baseline, LEAST_BASELINE)

    @property
    def slow(self) -> bool:
        """Whether the live searches suffer."""
        return self.smoothed is not None and self.smoothed > self.limit

    def observe(self, seconds: float) -> None:
        """Take a measurement."""
        self.smoothed = seconds if self.smoothed is None else WEIGHT * seconds + (1 - WEIGHT) * self.smoothed
        self.worst = max(self.worst, self.smoothed)

    def next_wait(self) -> float:
        """How long to wait before the next batch; 0 while the live searches are quick enough."""
        self.wait = min(LONGEST_WAIT, 2 * self.wait or FIRST_WAIT) if self.slow else 0.0
        return self.wait

    def note_wait(self, seconds: float) -> None:
        """Count a wait that is over."""
        self.waited += seconds
        self.waits += 1

    def words(self) -> str | None:
        """What a reader of the result should know; None when nothing was slowed down."""
        if not self.waits:
            return None
        return (
            f"throttled: {self.waited:.1f} s in {self.waits} waits, because searches of the live generation took up to "
            f"{self.worst * 1e3:.0f} ms; {self.limit * 1e3:.0f} ms are allowed: {self.ratio:g} times the time before"
        )
