"""Latencies as a small histogram, and intervals for their quantiles that may be looked at after every query.

A quantile's interval is made of counts alone: whether a latency lies at or below the true p95 is a coin of 0.95, so the
edges of which that cannot be said any more are ruled out. Howard, Ramdas, "Sequential estimation of quantiles"
(Bernoulli 28, 2022), with the beta mixture as its boundary.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from regen.errors import EvaluationError
from regen.evaluation.evidence import Floats, beta_mixture

GROWTH: Final = 1.05
"""Each bucket ends 5 % above where it begins: quantiles are known to that."""
_SHORTEST: Final = 0.001
"""Milliseconds: whatever is faster counts as this."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """How many searches took how long: bucket b counts those above GROWTH ** (b - 1) and up to GROWTH ** b ms."""

    buckets: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, milliseconds: Iterable[float]) -> Latencies:
        """Of single searches. Raises EvaluationError for a time that is negative, infinite or not a number."""
        return cls(dict(Counter(map(_bucket, milliseconds))))

    @property
    def count(self) -> int:
        """Searches."""
        return sum(self.buckets.values())

    def plus(self, other: Latencies) -> Latencies:
        """Both together."""
        return Latencies(dict(Counter(self.buckets) + Counter(other.buckets)))

    def quantile(self, share: float) -> float:
        """The upper end, in milliseconds, of the bucket that holds this quantile; NaN when there is none."""
        if not self.buckets:
            return math.nan
        _, ends, below = self._edges()
        return float(ends[np.searchsorted(below[1:], share * self.count)])

    def interval(self, share: float, alpha: float) -> tuple[float, float]:
        """Where the quantile lies in milliseconds, with confidence 1 - alpha over all looks; infinity while unknown."""
        if not self.buckets:
            return 0.0, math.inf
        starts, ends, below = self._edges()
        ruled_out = beta_mixture(below, self.count, share) >= -math.log(alpha)
        too_low = starts[(ruled_out & (below < share * self.count))[:-1]]
        too_high = ends[(ruled_out & (below > share * self.count))[1:]]
        return float(too_low[-1]) if too_low.size else 0.0, float(too_high[0]) if too_high.size else math.inf

    def to_dict(self) -> dict[str, int]:
        """As JSON: bucket → count."""
        return {str(bucket): count for bucket, count in sorted(self.buckets.items())}

    @classmethod
    def from_dict(cls, data: Mapping[str, int]) -> Latencies:
        """The other way round."""
        return cls({int(bucket): count for bucket, count in data.items()})

    def _edges(self) -> tuple[Floats, Floats, Floats]:
        """Where the n buckets in use start and end, and how many searches lie below each start, and below the end."""
        used = sorted(self.buckets)
        ends = GROWTH ** np.array(used, float)
        below = np.cumsum([0, *(self.buckets[bucket] for bucket in used)]).astype(float)
        return ends / GROWTH, ends, below


def ratio(baseline: Latencies, candidate: Latencies, share: float, alpha: float) -> tuple[float, float]:
    """Where candidate / baseline of one quantile lies, with confidence 1 - alpha over all looks."""
    low, high = baseline.interval(share, alpha / 2)
    candidate_low, candidate_high = candidate.interval(share, alpha / 2)
    return (
        candidate_low / high if high > 0 else 0.0,
        candidate_high / low if low > 0 and math.isfinite(candidate_high) else math.inf,
    )


def _bucket(milliseconds: float) -> int:
    if not (math.isfinite(milliseconds) and milliseconds >= 0):
        raise EvaluationError(
            f"a search cannot take {milliseconds!r} ms", hint="count a search that timed out as an error"
        )
    return math.ceil(math.log(max(milliseconds, _SHORTEST), GROWTH))
