"""How many texts fit into a time: learned from earlier calls, careful at first, deaf to single outliers.

A call takes a + b·n milliseconds for n texts. The slope b is the median of the slopes between all pairs of calls (Theil
1950, Sen 1968: up to 29 % of the calls may be arbitrarily wrong), and a is high enough for nine of ten calls. What a
single call tells of calls much larger than itself is little, so the depth at most doubles from what was tried; a call
that missed its deadline halves it at once, and each one that kept it gives a quarter back. Two that missed it shortly
after each other mean that what was learned before holds no more.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

START: Final = 8
"""How many texts the first call gets."""
WINDOW: Final = 32
MARGIN: Final = 0.8
"""The share of the time that is planned with: the rest is for calls slower than those seen."""
HIGH: Final = 0.9
GROWTH: Final = 2
RECOVERY: Final = 1.25
SHORTLY: Final = 8
"""So many calls later a second miss is a coincidence."""


class Pace:
    """The calls seen, newest last. Not safe for threads: its owner takes turns."""

    __slots__ = ("_ceiling", "_constant", "_kept", "_seen", "_slope")

    def __init__(self) -> None:
        self._seen: deque[tuple[int, float]] = deque(maxlen=WINDOW)
        self._ceiling = float("inf")
        self._kept = SHORTLY
        self._constant = self._slope = 0.0

    def kept(self, texts: int, milliseconds: float) -> None:
        """A call with so many texts ended in time."""
        self._kept += 1
        self._note(texts, milliseconds)
        if texts + 1 >= self._ceiling:
            self._ceiling = max(self._ceiling * RECOVERY, texts + 1.0)

    def missed(self, texts: int, milliseconds: float) -> None:
        """A call with so many texts was given up after so many milliseconds."""
        if self._kept < SHORTLY:
            self._seen.clear()
        self._kept = 0
        self._note(texts, milliseconds)
        self._ceiling = min(self._ceiling, texts / 2)

    def late(self, texts: int, milliseconds: float) -> None:
        """A call that was given up has ended after all: what it really took."""
        self._note(texts, milliseconds)

    def fits(self, budget_ms: float, most: int) -> int:
        """How many texts, at most ``most``, should take no longer than ``budget_ms``; 0 for none."""
        if not self._seen:
            return int(min(START, most, self._ceiling))
        smallest, largest = min(self._seen)[0], max(self._seen)[0]
        room = budget_ms * MARGIN - self._constant
        fitting = room / self._slope if self._slope > 0 else float("inf") if room > 0 else 0.0
        if smallest == largest <= fitting and (more := largest + max(1, largest // 8)) * self._slope <= budget_ms:
            fitting = max(fitting, more)  # a second size tells what a call takes without any text
        return int(max(0.0, min(most, self._ceiling, GROWTH * largest, fitting)))

    def _note(self, texts: int, milliseconds: float) -> None:
        self._seen.append((max(1, texts), max(0.0, milliseconds)))
        counts, times = (np.array(column, dtype=np.float64) for column in zip(*self._seen, strict=True))
        first, second = np.triu_indices(len(counts), k=1)
        apart = counts[first] != counts[second]
        if apart.any():
            first, second = first[apart], second[apart]
            slopes = (times[second] - times[first]) / (counts[second] - counts[first])
            self._slope = max(0.0, float(np.median(slopes)))
            self._constant = max(0.0, float(np.quantile(times - self._slope * counts, HIGH)))
        else:  # calls of one size say nothing of what they would take without any text: take it that each text counts
            self._slope, self._constant = float(np.quantile(times, HIGH)) / counts[0], 0.0
