"""Tests that may be looked at after every query: small frozen states that give a p-value and an interval.

    state = Preference()
    state = state.update(+1)                # a query whose clicks prefer the candidate
    state.p_value, state.interval(0.05)     # honest now, and after every later query

**What is promised.** The probability that ``p_value`` is ever at most alpha while the hypothesis holds is at most
alpha, and the probability that ``interval(alpha)`` ever misses the truth is at most alpha, over all looks together and
for any rule of when to stop. Nothing is asymptotic: it holds from the first query on. Both tell of this look alone, so
they agree with each other; who acts at the first look below alpha acts wrongly with a probability of at most alpha.

A state is restored by ``type(state)(**state.to_dict())``. Formulas and sources: :mod:`regen.evaluation.evidence`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from regen.errors import EvaluationError
from regen.evaluation.evidence import (
    EdgeSide,
    Floats,
    beta_mixture,
    credit_mixture,
    gamma_mixture,
    normal_mixture,
    two_rates,
)

Interval: TypeAlias = tuple[float, float]
Side: TypeAlias = Literal["baseline", "candidate"]

GRADES: Final = 20
"""Steps of a credit between nothing and the whole."""
LOG_2: Final = float(np.log(2))
_POINTS: Final = 33
_ZOOMS: Final = 5


@dataclass(frozen=True, slots=True)
class MixtureSprt:
    """The mixture sequential probability ratio test for the mean of outcomes in [low, high].

    Every outcome is taken to vary as much as the range allows (variance (high - low)² / 4, Hoeffding): so it is exact.
    ``spread`` is the prior's standard deviation of the true difference from ``null``, as a share of the range.
    Johari, Koomen, Pekelis, Walsh (2017, 2022).
    """

    low: float = 0.0
    high: float = 1.0
    null: float = 0.5
    spread: float = 0.1
    count: int = 0
    total: float = 0.0

    def update(self, outcome: float) -> MixtureSprt:
        """The state after one more query."""
        return self.update_many([outcome])

    def update_many(self, outcomes: ArrayLike) -> MixtureSprt:
        """The state after these queries, in any order."""
        seen = checked(outcomes, self.low, self.high)
        return replace(self, count=self.count + seen.size, total=self.total + float(seen.sum()))

    @property
    def p_value(self) -> float:
        """Of "the mean is ``null``", two-sided."""
        return _p_value(self._evidence(self.null))

    def interval(self, alpha: float) -> Interval:
        """Where the mean lies, with confidence 1 - alpha."""
        return _interval(self._evidence, self.low, self.high, self.total, self.count, alpha)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def _evidence(self, mean: ArrayLike) -> Floats:
        width = self.high - self.low
        return normal_mixture(
            self.total - self.count * np.asarray(mean), self.count, width**2 / 4, (self.spread * width) ** 2
        )


@dataclass(frozen=True, slots=True)
class BoundedMean:
    """The mean of outcomes in [low, high]: rates above all, for which it is the tightest of the three.

    A beta mixture of sub-Bernoulli outcomes (Howard, Ramdas, McAuliffe, Sekhon 2021), tight near 0 and 1 too.
    """

    low: float = 0.0
    high: float = 1.0
    null: float = 0.5
    count: int = 0
    total: float = 0.0

    def update(self, outcome: float) -> BoundedMean:
        """The state after one more query."""
        return self.update_many([outcome])

    def update_many(self, outcomes: ArrayLike) -> BoundedMean:
        """The state after these queries, in any order."""
        seen = checked(outcomes, self.low, self.high)
        return replace(self, count=self.count + seen.size, total=self.total + float(seen.sum()))

    @property
    def p_value(self) -> float:
        """Of "the mean is ``null``", two-sided."""
        return _p_value(self._evidence(self.null))

    def interval(self, alpha: float) -> Interval:
        """Where the mean lies, with confidence 1 - alpha."""
        return _interval(self._evidence, self.low, self.high, self.total, self.count, alpha)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def _evidence(self, mean: ArrayLike) -> Floats:
        width = self.high - self.low
        share = np.clip((self.total - self.count * self.low) / width, 0.0, self.count)
        return beta_mixture(share, self.count, (np.asarray(mean) - self.low) / width)


@dataclass(frozen=True, slots=True)
class AdaptiveMean:
    """The mean of outcomes in [low, high] that mostly vary much less: differences of nDCG, credits with many ties.

    An empirical-Bernstein confidence sequence (Howard and others 2021, theorem 4, with a gamma-exponential mixture),
    each side at alpha / 2. ``expected`` is the sum of squared deviations, in squared ranges, at which it is tightest.
    """

    low: float = 0.0
    high: float = 1.0
    null: float = 0.5
    expected: float = 5.0
    count: int = 0
    total: float = 0.0
    variation: float = 0.0

    def update(self, outcome: float) -> AdaptiveMean:
        """The state after one more query."""
        return self.update_many([outcome])

    def update_many(self, outcomes: ArrayLike) -> AdaptiveMean:
        """The state after these queries, in this order: each is predicted by the mean of those before it."""
        seen = checked(outcomes, self.low, self.high)
        counts = self.count + np.arange(seen.size)
        totals = self.total + np.concatenate([[0.0], np.cumsum(seen)[:-1]]) if seen.size else seen
        predicted = np.where(counts > 0, totals / np.maximum(counts, 1), (self.low + self.high) / 2)
        return replace(
            self,
            count=self.count + seen.size,
            total=self.total + float(seen.sum()),
            variation=self.variation + float(np.square(seen - np.clip(predicted, self.low, self.high)).sum()),
        )

    @property
    def p_value(self) -> float:
        """Of "the mean is ``null``", two-sided."""
        return _p_value(self._evidence(self.null))

    def interval(self, alpha: float) -> Interval:
        """Where the mean lies, with confidence 1 - alpha."""
        return _interval(self._evidence, self.low, self.high, self.total, self.count, alpha)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def _evidence(self, mean: ArrayLike) -> Floats:
        width = self.high - self.low
        deviation = np.abs(self.total - self.count * np.asarray(mean))
        return gamma_mixture(deviation, self.variation, width, self.expected * width**2) - LOG_2


@dataclass(frozen=True, slots=True)
class Preference:
    """Credits of interleaved queries, from 1 to -1: which share of all credit the candidate wins.

    ``wins`` and ``losses`` count whole credits, ``graded`` partial ones as (credit in ``GRADES``-ths, queries),
    ascending. Ties are counted and weigh nothing. Exact, because a coin per query decides who places first, so that
    rankings of equal worth win equally much. With whole credits alone it is the sign test.
    """

    wins: int = 0
    losses: int = 0
    ties: int = 0
    graded: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "graded", tuple((int(grade), int(count)) for grade, count in self.graded))

    def update(self, credit: float) -> Preference:
        """The state after one more query: 1 when it wholly prefers the candidate, -1 the baseline, 0 neither."""
        return self.update_many([credit])

    def update_many(self, credits_: ArrayLike) -> Preference:
        """The state after these queries, in any order."""
        grades = np.rint(checked(credits_, -1.0, 1.0) * GRADES).astype(int).tolist()
        return self._counting(Counter(grades))

    def plus(self, other: Preference) -> Preference:
        """Both together."""
        return self._counting(other._counted())

    @property
    def decided(self) -> int:
        """Queries that prefer one of the two."""
        return self.wins + self.losses + sum(count for _, count in self.graded)

    @property
    def p_value(self) -> float:
        """Of "neither is preferred", two-sided."""
        below, above = (float(self._evidence(0.5, side)) for side in ("below", "above"))
        return _p_value(max(below, above) - LOG_2)

    def interval(self, alpha: float) -> Interval:
        """Where the share of the credit that the candidate wins lies, with confidence 1 - alpha, half for each edge."""
        credit = {grade / GRADES: count for grade, count in self._counted().items() if grade}
        all_of_it = sum(abs(one) * count for one, count in credit.items())
        won = sum(one * count for one, count in credit.items() if one > 0)
        return _interval(
            lambda share: np.maximum(self._evidence(share, "above"), self._evidence(share, "below")),
            0.0, 1.0, won, all_of_it, alpha / 2,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def _evidence(self, share: ArrayLike, side: EdgeSide) -> Floats:
        counted = {grade: count for grade, count in self._counted().items() if grade}
        won = np.array([*counted]) / GRADES
        return credit_mixture(won, np.array([*counted.values()], float), share, side)

    def _counted(self) -> Counter[int]:
        return Counter({GRADES: self.wins, -GRADES: self.losses, 0: self.ties, **dict(self.graded)})

    def _counting(self, more: Mapping[int, int]) -> Preference:
        counted = self._counted()
        counted.update(more)
        wins, losses, ties = (counted.pop(whole, 0) for whole in (GRADES, -GRADES, 0))
        return Preference(wins, losses, ties, tuple(sorted(counted.items())))


@dataclass(frozen=True, slots=True)
class Difference:
    """Two arms' means of outcomes in [0, 1], candidate less baseline, whatever share of the queries each arm gets.

    Universal inference over two beta mixtures. The outcomes of one arm must not depend on each other: count each key
    once (the mean of its queries), because a key stays in its arm. Start anew when the share changes: else a change
    of the users over time looks like a difference between the arms (Simpson's paradox).
    """

    baseline_count: int = 0
    baseline_total: float = 0.0
    candidate_count: int = 0
    candidate_total: float = 0.0

    def update(self, side: Side, outcome: float) -> Difference:
        """The state after one more query that this side answered."""
        return self.update_many(side, [outcome])

    def update_many(self, side: Side, outcomes: ArrayLike) -> Difference:
        """The state after these queries that this side answered, in any order."""
        seen = checked(outcomes, 0.0, 1.0)
        if side == "baseline":
            total = self.baseline_total + float(seen.sum())
            return replace(self, baseline_count=self.baseline_count + seen.size, baseline_total=total)
        total = self.candidate_total + float(seen.sum())
        return replace(self, candidate_count=self.candidate_count + seen.size, candidate_total=total)

    @property
    def p_value(self) -> float:
        """Of "both means are equal", two-sided."""
        return _p_value(self._evidence(0.0))

    def interval(self, alpha: float) -> Interval:
        """Where candidate - baseline lies, with confidence 1 - alpha."""
        if not (self.baseline_count and self.candidate_count):
            return -1.0, 1.0
        middle = self.candidate_total / self.candidate_count - self.baseline_total / self.baseline_count
        return _interval(self._evidence, -1.0, 1.0, middle, 1, alpha)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def _evidence(self, delta: ArrayLike) -> Floats:
        return two_rates(self.baseline_total, self.baseline_count, self.candidate_total, self.candidate_count, delta)


def checked(outcomes: ArrayLike, low: float, high: float) -> Floats:
    """The outcomes as an array. Raises EvaluationError for one outside [low, high], for which nothing is promised."""
    seen = np.asarray(outcomes, float).ravel()
    inside = (seen >= low) & (seen <= high)
    if not inside.all():
        raise EvaluationError(
            f"an outcome is {seen[~inside][0]:g}, but all must lie in [{low:g}, {high:g}]",
            hint="scale it, or cap it where it does not matter any more (a latency at its timeout)",
        )
    return seen


def _p_value(evidence: ArrayLike) -> float:
    return float(np.exp(-max(float(np.asarray(evidence)), 0.0)))


def _interval(
    evidence: Callable[[Floats], Floats], low: float, high: float, total: float, count: float, alpha: float
) -> Interval:
    """The values that the evidence does not rule out, around the mean, to five digits and never too narrow."""
    if not 0 < alpha < 1:
        raise EvaluationError(f"alpha must lie between 0 and 1, not {alpha!r}", hint="0.05 is usual")
    if count == 0:
        return low, high
    middle, threshold = float(np.clip(total / count, low, high)), -float(np.log(alpha))
    return _edge(evidence, middle, low, threshold), _edge(evidence, middle, high, threshold)


def _edge(evidence: Callable[[Floats], Floats], inside: float, outside: float, threshold: float) -> float:
    """The first value on the way out that is ruled out; ``outside`` itself when none is. Evidence rises outwards."""
    for _ in range(_ZOOMS):
        points = np.linspace(inside, outside, _POINTS)
        ruled_out: Sequence[int] = np.flatnonzero(evidence(points) >= threshold).tolist()
        if not ruled_out or ruled_out[0] == 0:
            return outside if not ruled_out else inside
        inside, outside = float(points[ruled_out[0] - 1]), float(points[ruled_out[0]])
    return outside
