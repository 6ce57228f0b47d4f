"""What a number of judged queries can show: the smallest detectable difference, and how many more are needed.

Both are those of the paired t-test, which for means of per-query differences agrees closely with the randomisation
test and the bootstrap (Smucker, Allan and Carterette 2007; Sakai 2016, "Statistical significance, power, and sample
sizes"; Urbano, Lima and Hanjalic 2019). They describe; no verdict is taken by them.
"""

from __future__ import annotations

from math import ceil, log2
from typing import Final

import scipy

POWER: Final = 0.8
"""The probability with which a difference should be found if it is there."""
MOST: Final = 1_000_000
"""A collection that would have to be larger is no advice."""


def fewest_queries(level: float) -> int:
    """Below this number nothing can be told at ``level`` (both tails together), however large the difference.

    If all n differences point the same way, the randomisation test still gives p = 2 / 2^n.
    """
    return ceil(log2(2 / level) - 1e-9)


def smallest_detectable(deviation: float, queries: int, level: float) -> float:
    """The mean difference that ``queries`` queries show with 80 % power at ``level``.

    ``deviation`` is the standard deviation of the per-query differences. Infinite for fewer than two queries.
    """
    if queries < 2:
        return float("inf")
    return float(_factor(queries, level) * deviation / queries**0.5)


def queries_needed(distance: float, deviation: float, queries: int, level: float) -> int | None:
    """How many more queries would tell with 80 % power that the mean lies ``distance`` (> 0) away from a bound.

    It takes the distance and deviation seen so far for the true ones, so it is a rough figure that falls or grows as
    queries are added. None when no reasonable number would do (more than a million).
    """
    least = max(fewest_queries(level), queries + 1)
    if distance <= 0 or deviation * _factor(MOST, level) / distance > MOST**0.5:
        return None
    # With the factor of very many queries it takes at least so many, with the factor of those at most so many.
    low = max(least, int((deviation * _factor(MOST, level) / distance) ** 2))
    high = max(least, ceil((deviation * _factor(low, level) / distance) ** 2))
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if smallest_detectable(deviation, middle, level) <= distance else (middle + 1, high)
    return high - queries


def _factor(queries: int, level: float) -> float:
    return float(scipy.special.stdtrit(queries - 1, 1 - level / 2)) + float(scipy.special.stdtrit(queries - 1, POWER))
