"""What an evaluation found: the values that the gate judges, the report shows and the catalog keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

Verdict: TypeAlias = Literal["promote", "hold", "cannot_tell"]
"""What the measured facts say: the gate is met, it is not met, or too few judged queries cannot tell."""

ALL: str = "all"
"""The slice that holds every query of a collection."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure on one slice of one collection: candidate against baseline, query by query.

    ``ci_low`` and ``ci_high`` bound the mean difference (paired bootstrap), ``p_value`` is of the paired randomisation
    test, corrected for all comparisons made together. ``min_detectable`` is the smallest mean difference that so many
    queries could have shown; ``needed`` how many more judged queries would settle a verdict of "cannot_tell".
    ``condition`` is the gate's condition that was judged, None where the measure is only reported; ``bound`` is the
    difference that ``ci_low`` must reach for it, None where the condition is not about the difference.
    """

    collection: str
    slice: str
    measure: str
    baseline: float
    candidate: float
    delta: float
    ci_low: float
    ci_high: float
    p_value: float
    min_detectable: float
    verdict: Verdict
    queries: int = 0
    effect_size: float = 0.0
    needed: int | None = None
    condition: str | None = None
    detail: str = ""
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One named check on live data. ``gates`` tells whether its failure holds a promotion back."""

    name: str
    passed: bool
    detail: str
    gates: bool = True
    hint: str | None = None
    documents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds per search under one load, and the share of searches that failed."""

    p50: float
    p95: float
    p99: float
    error_rate: float
    searches: int


@dataclass(frozen=True, slots=True)
class Arm:
    """One generation's side of an evaluation.

    ``measures`` are means over the collections (each collection weighs the same, as BEIR averages), ``collections``
    the means of each. ``cost_usd`` is what building the generation has cost so far.
    """

    generation: int | None
    measures: Mapping[str, float]
    collections: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    latency: Latency | None = None
    model: str = ""
    space: str = ""
    documents: int = 0
    chunks: int = 0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class QueryOutcome:
    """One query of one collection on both sides: values by measure, and the ranked documents with their grades."""

    collection: str
    query_id: str
    text: str
    tags: tuple[str, ...]
    baseline: Mapping[str, float]
    candidate: Mapping[str, float]
    baseline_documents: tuple[str, ...]
    candidate_documents: tuple[str, ...]
    grades: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Signal:
    """A label-free sign of drift, such as top-k overlap. It may raise an alarm; it never decides a promotion."""

    name: str
    value: float
    detail: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that one evaluation found. ``to_dict`` is the JSON that scripts rely on (DESIGN.md, section 9).

    ``method`` says how the figures were computed, for the report: ``{"test": ..., "correction": ..., "seed": "17"}``.
    ``answers`` tells of the judge of answers, if there were any: its name and calibration, how many it judged, what it
    cost.
    """

    baseline: Arm | None
    candidate: Arm
    comparisons: tuple[Comparison, ...]
    checks: tuple[CheckResult, ...]
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    queries: tuple[QueryOutcome, ...] = ()
    signals: tuple[Signal, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    catalog_revision: int = 0
    recipe: str = ""
    alias: str = ""
    evaluated_at: float = 0.0
    seconds: float = 0.0
    method: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether the gate is met."""
        return self.verdict == "promote"

    def to_dict(self, *, queries: bool = False) -> dict[str, Any]:
        """As JSON; with ``queries`` also every query's outcome, which can be long."""
        data = asdict(self)
        if not queries:
            del data["queries"]
        return data
