"""The conditions of a gate as values: on a measure, on latency, on the error rate, on a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from regen.errors import EvaluationError
from regen.evaluation.outcome import ALL

Kind: TypeAlias = Literal["min", "min_lift", "max_drop"]
Percentile: TypeAlias = Literal["p50", "p95", "p99"]

MEASURES: Final = ("nDCG@10", "R@100", "RR@10")
"""What is reported where nobody says otherwise: the first results' order, how much is found at all, the first hit."""

_VALID: Final[dict[Kind, str]] = {
    "min": "min is a mean above 0, for example 0.45",
    "min_lift": "min_lift is a difference, for example 0 (better) or 0.01 (better by a hundredth)",
    "max_drop": "max_drop is written without a sign: 0.01 allows a hundredth less",
}


@dataclass(frozen=True, slots=True)
class MeasureCondition:
    """A bound on a measure's mean, in the measure's unit.

    ``min_lift``: the candidate is better than the baseline by at least ``value``. ``max_drop``: it is worse by no more
    than ``value`` (non-inferiority). ``min``: its own mean is at least ``value``. ``collection`` of None is every
    collection, each judged apart.
    """

    measure: str
    kind: Kind
    value: float
    collection: str | None = None
    slice: str = ALL

    def __post_init__(self) -> None:
        if self.kind not in _VALID:
            raise EvaluationError(f"{self.kind!r} is no condition on a measure", hint=f"valid: {', '.join(_VALID)}")
        lowest = {"min": 1e-9, "min_lift": -1e9, "max_drop": 0.0}[self.kind]
        if not lowest <= self.value <= 1e9:
            raise EvaluationError(f"{self} cannot be judged", hint=_VALID[self.kind])

    @property
    def bound(self) -> float | None:
        """The mean difference that must be reached; None for ``min``, which is not about the difference."""
        return {"min_lift": self.value, "max_drop": -self.value + 0.0}.get(self.kind)

    @property
    def rule(self) -> str:
        """``min_lift 0``: what is asked, without of what."""
        return f"{self.kind} {self.value:g}"

    def __str__(self) -> str:
        where = [self.collection or "", f"slice {self.slice}" if self.slice != ALL else ""]
        place = ", ".join(part for part in where if part)
        return f"{self.measure} {self.rule}" + (f" ({place})" if place else "")


@dataclass(frozen=True, slots=True)
class LatencyCondition:
    """A percentile of the search time, against the live generation's under the same load, or in milliseconds."""

    percentile: Percentile
    max_ratio: float | None = None
    max_ms: float | None = None

    def __post_init__(self) -> None:
        if self.max_ratio is None and self.max_ms is None:
            raise EvaluationError(f"latency {self.percentile} has no limit", hint="give max_ratio, max_ms or both")


@dataclass(frozen=True, slots=True)
class ErrorRateCondition:
    """The greatest share of searches, from 0 to 1, that may fail."""

    maximum: float


@dataclass(frozen=True, slots=True)
class CheckCondition:
    """What a check's failure means: ``advisory`` checks are reported only, others must have run and passed."""

    name: str
    advisory: bool = False


Condition: TypeAlias = MeasureCondition | LatencyCondition | ErrorRateCondition | CheckCondition
