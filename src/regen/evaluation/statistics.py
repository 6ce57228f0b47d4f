"""Paired comparison of per-query values: test, interval, effect size, and what so many queries could have shown.

The unit is the query: both generations answered the same ones, so their differences are compared, never their means
alone. The test is the randomisation test, as Smucker, Allan and Carterette 2007 recommend ("A comparison of statistical
significance tests for information retrieval evaluation"): if both sides are equally good, each query's difference
might as well have had the other sign.

The interval is the wider, at each end, of two: the bootstrap's (BCa, Efron 1987), which follows skewed differences,
and the randomisation test's own (all shifts that it does not reject, Hartigan 1969), which is right for any number of
queries. The bootstrap alone is too narrow for few queries, and blind where most differences are zero: from one query
that won and nineteen ties it concludes that nothing can have got worse.

Several comparisons are made at once, and each could err. Intervals are *simultaneous*: with the stated confidence all
of them hold. The level at which each one is taken is found from the joint resampling of all comparisons (balanced
simultaneous intervals, Beran 1988; the smallest p-value's distribution, Westfall and Young 1993). That is never
stricter than Bonferroni, and much less strict for measures and slices that rise and fall together. p-values are
corrected in Holm's (1979) step-down order, with the joint distribution in the place of Holm's bound, which assumes the
worst about dependence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regen.errors import EvaluationError
from regen.evaluation.power import fewest_queries, queries_needed, smallest_detectable
from regen.evaluation.resampling import (
    TIE,
    Floats,
    Interval,
    Method,
    Subsets,
    bca_interval,
    bootstrap_means,
    draw_subsets,
    subset_interval,
)

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 9_999
"""One less than a round number, because what was observed counts as one more draw (Phipson and Smyth 2010)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Per-query values whose mean is asked for, shape (n,), in a measure's unit.

    Samples of one ``collection`` are resampled together; ``positions`` says which of its queries the values belong to
    (all from 0 on where None). ``limits`` bound what the mean can be at all.
    """

    values: Floats
    limits: Interval
    collection: str = ""
    positions: NDArray[np.int64] | None = None

    @property
    def rows(self) -> NDArray[np.int64]:
        """The positions of the values among the collection's queries."""
        return np.arange(len(self.values), dtype=np.int64) if self.positions is None else self.positions


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of a sample's mean, corrected for the family of samples that it was estimated with.

    ``level`` is the error left to this sample (both tails), ``deviation`` the standard deviation of its values.
    ``p_value`` is for a mean of zero. ``method`` tells how the bootstrap's part of the interval was made, ``limits``
    what the mean could be at all.
    """

    mean: float
    low: float
    high: float
    p_value: float
    deviation: float
    queries: int
    level: float
    method: Method
    limits: Interval = (-1.0, 1.0)

    @property
    def too_few(self) -> bool:
        """Whether no result of so few queries could be told from chance."""
        return self.queries < fewest_queries(self.level)

    @property
    def constant(self) -> bool:
        """Whether every query has the same value, so that the interval is a point."""
        return self.method == "constant"

    @property
    def effect_size(self) -> float:
        """Cohen's d of paired values: mean by standard deviation. 0 where nothing varies: there is no scale."""
        return self.mean / self.deviation if self.deviation > TIE else 0.0

    @property
    def min_detectable(self) -> float:
        """The smallest mean that so many queries of this deviation show with 80 % power."""
        return smallest_detectable(self.deviation, self.queries, self.level)

    def needed(self, bound: float) -> int | None:
        """How many more queries would tell on which side of ``bound`` the mean lies; None when none would do."""
        if self.constant:
            return max(1, fewest_queries(self.level) - self.queries)
        return queries_needed(abs(self.mean - bound), self.deviation, self.queries, self.level)


@dataclass(frozen=True, slots=True)
class Difference:
    """Candidate against baseline: their means, and the estimate of the mean difference."""

    baseline: float
    candidate: float
    estimate: Estimate

    @property
    def delta(self) -> float:
        """The mean difference; above zero where the candidate is better."""
        return self.estimate.mean


def compare(
    baseline: ArrayLike,
    candidate: ArrayLike,
    *,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Difference:
    """Compare the values of the same n queries on both sides, each of shape (n,). The same seed gives the same result.

    Raises EvaluationError when the shapes differ, nothing was measured, or a value is not a finite number.
    """
    before, after = np.asarray(baseline, dtype=np.float64), np.asarray(candidate, dtype=np.float64)
    sample = difference_sample(before, after)
    (estimate,) = estimate_together([sample], seed=seed, confidence=confidence, resamples=resamples)
    return Difference(float(before.mean()), float(after.mean()), estimate)


def difference_sample(
    before: Floats, after: Floats, collection: str = "", positions: NDArray[np.int64] | None = None
) -> Sample:
    """The differences ``after - before`` of the same queries, each of shape (n,). Raises EvaluationError."""
    if before.shape != after.shape:
        raise EvaluationError(
            f"{before.size} values cannot be paired with {after.size}",
            hint="both sides need a value for each query; a query without results counts as 0",
        )
    before_limits, after_limits = _limits(before), _limits(after)
    span = max(before_limits[1], after_limits[1]) - min(before_limits[0], after_limits[0])
    return Sample(after - before, (-span, span), collection, positions)


def value_sample(values: Floats, collection: str = "", positions: NDArray[np.int64] | None = None) -> Sample:
    """The values of one side, shape (n,). Raises EvaluationError."""
    return Sample(values, _limits(values), collection, positions)


def _limits(values: Floats) -> Interval:
    # Measures lie between 0 and 1; one that does not is taken to reach as far as it was seen to.
    if values.ndim != 1 or not values.size:
        raise EvaluationError(f"values of shape {values.shape} cannot be compared", hint="one number for each query")
    if not np.isfinite(values).all():
        raise EvaluationError("a measured value is not a finite number", hint="a query without results counts as 0")
    return min(0.0, float(values.min())), max(1.0, float(values.max()))


def estimate_together(
    samples: Sequence[Sample], *, seed: int = 0, confidence: float = CONFIDENCE, resamples: int = RESAMPLES
) -> list[Estimate]:
    """Estimate the means of several samples so that with ``confidence`` *all* intervals hold; in the order given.

    300 queries with ten measures take about a tenth of a second.
    """
    if not 0 < confidence < 1:
        raise EvaluationError(f"a confidence of {confidence} is impossible", hint="between 0 and 1, for example 0.95")
    if not samples:
        return []
    error = 1 - confidence
    # Several draws must lie beyond the strictest limit that many comparisons may need.
    draws = max(resamples, ceil(4 * len(samples) / error))
    subsets = _draw_together(samples, draws, seed)
    level = _joint_level(subsets, error)
    p_values = _joint_p_values(samples, subsets)
    bootstraps = _bootstrap(samples, resamples, seed)
    parts = zip(samples, subsets, bootstraps, p_values, strict=True)
    return [_estimate(sample, drawn, boot, p_value, level) for sample, drawn, boot, p_value in parts]


def _generator(seed: int, *names: str | int) -> np.random.Generator:
    # By name, not by order: a collection's draws do not depend on which others there are.
    return np.random.default_rng([seed, *(crc32(str(name).encode()) for name in names)])


def _draw_together(samples: Sequence[Sample], draws: int, seed: int) -> list[Subsets]:
    drawn: dict[int, Subsets] = {}
    for collection in dict.fromkeys(sample.collection for sample in samples):
        own = [number for number, sample in enumerate(samples) if sample.collection == collection]
        queries = 1 + max(int(samples[number].rows.max()) for number in own)
        values, members = np.zeros((queries, len(own))), np.zeros((queries, len(own)), dtype=np.bool_)
        for column, number in enumerate(own):
            values[samples[number].rows, column] = samples[number].values
            members[samples[number].rows, column] = True
        together = draw_subsets(values, members, draws, _generator(seed, "subsets", collection))
        for column, number in enumerate(own):
            drawn[number] = Subsets(together.sums[:, column], together.sizes[:, column], together.exact)
    return [drawn[number] for number in range(len(samples))]


def _bootstrap(samples: Sequence[Sample], draws: int, seed: int) -> list[Floats]:
    means: dict[int, Floats] = {}
    slices: dict[tuple[str, bytes], list[int]] = {}
    for number, sample in enumerate(samples):
        slices.setdefault((sample.collection, sample.rows.tobytes()), []).append(number)
    for (collection, rows), own in slices.items():
        values = np.stack([samples[number].values for number in own], axis=1)
        resampled = bootstrap_means(values, draws, _generator(seed, "bootstrap", collection, crc32(rows)))
        means.update(zip(own, resampled.T, strict=True))
    return [means[number] for number in range(len(samples))]


def _aligned(columns: Sequence[Floats]) -> Floats:
    """Columns as one array; those of an enumerated collection, which are fewer, are repeated in turn."""
    draws = max(len(column) for column in columns)
    return np.stack([np.resize(column, draws) for column in columns], axis=1)


def _rank_p_values(statistics: Floats) -> Floats:
    """For each draw and column the share of draws that are at least as extreme; the draw itself is one of them."""
    rounded = np.round(statistics, 10)
    ranks = np.empty_like(rounded)
    for column in range(rounded.shape[1]):
        ordered = np.sort(rounded[:, column])
        ranks[:, column] = len(ordered) - np.searchsorted(ordered, rounded[:, column], side="left")
    return ranks / len(rounded)


def _joint_level(subsets: Sequence[Subsets], error: float) -> float:
    """The level for each comparison at which all of them together err with probability ``error``."""
    smallest = _rank_p_values(np.abs(_aligned([drawn.sums for drawn in subsets]))).min(axis=1)
    beyond = np.partition(smallest, int(error * len(smallest)))[int(error * len(smallest))]
    return float(np.clip(np.nextafter(beyond, 0), error / len(subsets), error))


def _joint_p_values(samples: Sequence[Sample], subsets: Sequence[Subsets]) -> list[float]:
    observed = np.array([abs(sample.values.sum()) for sample in samples])
    totals = np.array([sample.values.sum() for sample in samples])
    # Flipping a subset's signs takes twice its sum away.
    flipped = [
        np.abs(total - 2 * (drawn.sums + drawn.sizes * sample.values.mean()))
        for total, drawn, sample in zip(totals, subsets, samples, strict=True)
    ]
    raw = np.array([
        (np.count_nonzero(column >= seen - 1e-9) + 1) / (len(column) + 1)
        for column, seen in zip(flipped, observed, strict=True)
    ])  # fmt: skip
    if len(samples) == 1:
        return [float(raw[0])]
    order = np.argsort(raw, kind="stable")
    ranks = _rank_p_values(_aligned(flipped))[:, order]
    smallest_left = np.minimum.accumulate(ranks[:, ::-1], axis=1)[:, ::-1]
    as_small = (smallest_left <= raw[order] + 1e-12).sum(axis=0)
    stepped = np.maximum.accumulate(np.maximum((as_small + 1) / (len(ranks) + 1), raw[order]))
    corrected = np.empty_like(raw)
    corrected[order] = stepped
    return [float(value) for value in corrected]


def _estimate(sample: Sample, drawn: Subsets, means: Floats, p_value: float, level: float) -> Estimate:
    values, queries = sample.values, len(sample.values)
    mean = float(values.mean())
    (boot_low, boot_high), method = bca_interval(values, means, level)
    low, high = subset_interval(mean, drawn.sums, drawn.sizes, level)
    if method == "constant" and queries >= fewest_queries(level):
        low, high = mean, mean
    deviation = float(values.std(ddof=1)) if queries > 1 else 0.0
    return Estimate(
        mean=_clean(mean),
        low=_clean(max(sample.limits[0], min(low, boot_low))),
        high=_clean(min(sample.limits[1], max(high, boot_high))),
        p_value=p_value,
        deviation=0.0 if method == "constant" else deviation,
        queries=queries,
        level=level,
        method=method,
        limits=sample.limits,
    )


def _clean(limit: float) -> float:
    # Without the dust of additions, so that a limit of zero is zero.
    return round(float(limit), 12) + 0.0
