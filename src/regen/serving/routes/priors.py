"""What the searches of this process have taught about the scores of two generations."""

from __future__ import annotations

import threading
from typing import Final, TypeAlias

from regen.spaces.prior import CalibrationPrior

Pair: TypeAlias = tuple[int, int]
MOST: Final = 8
"""Pairs of generations that are remembered: more than one migration at a time is rare."""


class Priors:
    """One prior for each pair of generations. Safe for threads; of two searches at once one may teach nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[Pair, CalibrationPrior] = {}

    def get(self, pair: Pair) -> CalibrationPrior:
        """What is known of (old, new); nothing at first."""
        with self._lock:
            return self._of.get(pair, CalibrationPrior())

    def put(self, pair: Pair, prior: CalibrationPrior) -> None:
        """Remember; what was taught longest ago is forgotten when there are too many pairs."""
        with self._lock:
            self._of.pop(pair, None)
            self._of[pair] = prior
            while len(self._of) > MOST:
                del self._of[next(iter(self._of))]
