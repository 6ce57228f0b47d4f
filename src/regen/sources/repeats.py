"""Noticing an id that comes twice, at eight bytes an id."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Repeats:
    """Remembers hashes of ids. What it reports may rarely be a collision: the caller looks again.

    Hashes lie in sorted runs, each at least twice as long as the next, so that n ids cost O(n log n) in all.
    """

    def __init__(self) -> None:
        self._runs: list[NDArray[np.int64]] = []

    def add(self, ids: Sequence[str]) -> list[str]:
        """Remember these ids; returns those that seem to have come before, in this call or an earlier one."""
        hashes = np.fromiter(map(hash, ids), np.int64, len(ids))
        fresh, first = np.unique(hashes, return_index=True)
        repeated = np.ones(len(ids), bool)
        repeated[first] = False
        for run in self._runs:
            repeated |= np.isin(hashes, run)
        self._keep(fresh)
        return [ids[position] for position in np.flatnonzero(repeated).tolist()]

    def _keep(self, run: NDArray[np.int64]) -> None:
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.union1d(self._runs.pop(), run)
        self._runs.append(run)
