"""What a rollout counts while it runs, and the always-valid interval of every name that its conditions may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from regen.errors import EvaluationError
from regen.evaluation.latencies import Latencies, ratio
from regen.evaluation.sequential import BoundedMean, Difference, Interval, Preference

RATES: Final = {
    "error_rate": ("errors", "queries"),
    "zero_result_rate": ("zero_results", "queries"),
    "click_rate": ("clicked", "settled"),
}
"""The candidate's rates: what is counted, out of what. With ``_delta``: candidate less baseline."""
COUNTS: Final = ("queries", "decided")
"""Names that are known exactly: the candidate's queries in this step, and interleaved queries that prefer one side."""
NAMES: Final = ("preference", *RATES, *(f"{name}_delta" for name in RATES), "latency_ratio", *COUNTS)
"""All names that a condition may use, besides ``result`` for the analysis's own metric."""
ACROSS_STEPS: Final = frozenset({"preference"})
"""Names whose evidence goes on from step to step: both sides answer the same queries, so the weight is no matter."""


@dataclass(frozen=True, slots=True)
class ArmTally:
    """One side's searches, counted. ``settled`` are those whose users have had their time to click, so they come later.

    Raises EvaluationError when a part is larger than its whole.
    """

    queries: int = 0
    errors: int = 0
    zero_results: int = 0
    settled: int = 0
    clicked: int = 0
    latencies: Latencies = field(default_factory=Latencies)

    def __post_init__(self) -> None:
        for part, whole in (*RATES.values(), ("settled", "settled")):
            if not 0 <= getattr(self, part) <= getattr(self, whole):
                raise EvaluationError(
                    f"{part} is {getattr(self, part)} of {getattr(self, whole)} {whole}",
                    hint=f"count each search once; {part} can be no more than {whole}",
                )

    def plus(self, other: ArmTally) -> ArmTally:
        """Both together."""
        counts = {name: getattr(self, name) + getattr(other, name) for name in _COUNTED}
        return ArmTally(**counts, latencies=self.latencies.plus(other.latencies))

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name) for name in _COUNTED} | {"latencies": self.latencies.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ArmTally:
        """The other way round."""
        counts = {name: int(data[name]) for name in _COUNTED}
        return cls(**counts, latencies=Latencies.from_dict(data["latencies"]))


_COUNTED: Final = tuple(one.name for one in fields(ArmTally) if one.name != "latencies")


@dataclass(frozen=True, slots=True)
class Measurement:
    """What has been seen since the measurement before: both sides' searches, and the interleaved queries' outcomes.

    Of the arms only searches made at the rollout's present weight: what settles after a step is left out.
    """

    baseline: ArmTally = field(default_factory=ArmTally)
    candidate: ArmTally = field(default_factory=ArmTally)
    preference: Preference = field(default_factory=Preference)

    def plus(self, other: Measurement) -> Measurement:
        """Both together."""
        return Measurement(
            self.baseline.plus(other.baseline),
            self.candidate.plus(other.candidate),
            self.preference.plus(other.preference),
        )

    def next_step(self) -> Measurement:
        """What stays when the weight changes: preferences go on, all else starts anew."""
        return Measurement(preference=self.preference)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "baseline": self.baseline.to_dict(),
            "candidate": self.candidate.to_dict(),
            "preference": self.preference.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Measurement:
        """The other way round."""
        return cls(
            ArmTally.from_dict(data["baseline"]),
            ArmTally.from_dict(data["candidate"]),
            Preference(**data["preference"]),
        )

    def interval(self, name: str, alpha: float) -> Interval:
        """Where the truth behind ``name`` lies, with confidence 1 - alpha over all looks."""
        if name == "preference":
            return self.preference.interval(alpha)
        if name == "latency_ratio":
            return ratio(self.baseline.latencies, self.candidate.latencies, 0.95, alpha)
        if name in COUNTS:
            exact = float(self.preference.decided if name == "decided" else self.candidate.queries)
            return exact, exact
        part, whole = RATES[name.removesuffix("_delta")]
        candidate = getattr(self.candidate, whole), getattr(self.candidate, part)
        if not name.endswith("_delta"):
            return BoundedMean(count=candidate[0], total=candidate[1]).interval(alpha)
        return Difference(getattr(self.baseline, whole), getattr(self.baseline, part), *candidate).interval(alpha)
