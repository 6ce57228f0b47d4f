"""Resampling of per-query values: random subsets and sign flips for tests and intervals, the bootstrap, BCa limits.

All comparisons of one collection are resampled *together*: one draw decides for each query whether it is flipped, in
every measure and every slice at once. So the draws carry how the comparisons depend on each other, which is what a
correction needs that is not needlessly strict.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import scipy
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Interval: TypeAlias = tuple[float, float]
Method: TypeAlias = Literal["BCa", "percentile", "constant"]

TIE: Final = 1e-12
"""Sums that differ by less are the same: the order of additions makes such differences."""
_ROWS: Final = 1024
"""How many draws are held at once: memory is bounded by the queries, not by the number of draws."""


@dataclass(frozen=True, slots=True)
class Subsets:
    """What random subsets of the queries sum to; each query is in a subset with probability 1/2.

    ``sums``, shape (draws, columns), are those of the centred values in the subset, and ``sizes``, of the same shape,
    how many values that are. The empty subset is left out where all subsets were enumerated (``exact``): flipping
    nothing is what was observed, which is always counted as one more draw.
    """

    sums: Floats
    sizes: Floats
    exact: bool


def draw_subsets(values: Floats, members: NDArray[np.bool_], draws: int, rng: np.random.Generator) -> Subsets:
    """Subset sums of centred values, shape (queries, columns), of which only ``members`` (same shape) count.

    All 2^n - 1 subsets when these are no more than ``draws``, else that many at random.
    """
    queries = len(values)
    exact = queries < 60 and 2**queries - 1 <= draws
    inside = members.astype(np.float64)
    centred = (values - _means(values, inside)) * inside
    blocks = _all_subsets(queries) if exact else _random_subsets(queries, draws, rng)
    parts = [(block @ centred, block @ inside) for block in blocks]
    return Subsets(np.concatenate([sums for sums, _ in parts]), np.concatenate([sizes for _, sizes in parts]), exact)


def _means(values: Floats, inside: Floats) -> Floats:
    means: Floats = (values * inside).sum(axis=0) / inside.sum(axis=0)
    return means


def _all_subsets(queries: int) -> Iterator[Floats]:
    numbers = np.arange(1, 2**queries, dtype=np.int64)
    for start in range(0, len(numbers), _ROWS):
        yield ((numbers[start : start + _ROWS, None] >> np.arange(queries)) & 1).astype(np.float64)


def _random_subsets(queries: int, draws: int, rng: np.random.Generator) -> Iterator[Floats]:
    for start in range(0, draws, _ROWS):
        yield rng.integers(0, 2, (min(_ROWS, draws - start), queries), dtype=np.uint8).astype(np.float64)


def bootstrap_means(values: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Means of ``draws`` resamples of the rows of values, shape (n, columns); shape (draws, columns)."""
    n = len(values)
    parts = []
    for start in range(0, draws, _ROWS):
        rows = min(_ROWS, draws - start)
        picked = rng.integers(0, n, (rows, n), dtype=np.int32) + np.arange(rows, dtype=np.int32)[:, None] * n
        counts = np.bincount(picked.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
        parts.append(counts @ values / n)
    return np.concatenate(parts)


def subset_interval(mean: float, sums: Floats, sizes: Floats, level: float) -> Interval:
    """The mean differences that the randomisation test does not reject at ``level``, both tails together.

    The sign-flip test rejects a shift d in favour of a greater one when few subsets of the queries have a mean of d or
    less, so its limits are quantiles of subset means (Hartigan 1969, "Using subsample values as typical values"): exact
    for differences that lie symmetrically about their mean, for any number of queries. Infinite where so few
    queries cannot reject anything.
    """
    sizes_or_one = np.maximum(sizes, 1)
    means = mean + sums / sizes_or_one
    rank = int(level / 2 * (len(means) + 1) + 1e-9)
    if rank < 1:
        return -np.inf, np.inf
    # An empty subset is flipping nothing: it never speaks against a shift, whichever way.
    low = np.partition(np.where(sizes > 0, means, -np.inf), rank - 1)[rank - 1]
    high = -np.partition(np.where(sizes > 0, -means, -np.inf), rank - 1)[rank - 1]
    return float(low), float(high)


def bca_interval(values: Floats, means: Floats, level: float) -> tuple[Interval, Method]:
    """The bootstrap interval of the mean of ``values`` (n,) from resampled ``means`` (draws,), and how it was made.

    Bias-corrected and accelerated (Efron 1987, "Better bootstrap confidence intervals"); where the correction does not
    exist, because all resamples lie on one side, the percentile interval.
    """
    observed = float(values.mean())
    deviations = values - observed
    if np.abs(deviations).max() <= TIE:
        return (observed, observed), "constant"
    tails = np.array([level / 2, 1 - level / 2])
    below = (np.count_nonzero(means < observed - TIE) + np.count_nonzero(means <= observed + TIE)) / (2 * len(means))
    acceleration = (deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5)
    if 0 < below < 1:
        bias = scipy.special.ndtri(below)
        shifted = bias + scipy.special.ndtri(tails)
        divisor = 1 - acceleration * shifted
        if (divisor > 0).all():
            low, high = np.quantile(means, scipy.special.ndtr(bias + shifted / divisor))
            return (float(low), float(high)), "BCa"
    low, high = np.quantile(means, tails)
    return (float(low), float(high)), "percentile"
