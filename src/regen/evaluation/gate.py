"""The gate: from per-query values, checks and latencies to a verdict, with its reasons in plain words.

A condition sets a bound, and the interval of what was measured lies wholly on the right side of it (promote), wholly on
the wrong side (hold), or across it (cannot tell). All conditions of a gate are judged together, so that the probability
of any wrong claim is at most 1 - confidence; measures and slices that no condition names are reported with intervals of
a family of their own and never count. docs/concepts/gate.md explains it with an example.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regen.evaluation.columns import Columns, choose, find_collections
from regen.evaluation.conditions import Condition, MeasureCondition
from regen.evaluation.limits import JudgedChecks, judge_checks
from regen.evaluation.outcome import ALL, CheckResult, Comparison, Latency, QueryOutcome, Verdict
from regen.evaluation.power import fewest_queries
from regen.evaluation.resampling import Floats
from regen.evaluation.statistics import (
    CONFIDENCE,
    RESAMPLES,
    Estimate,
    Sample,
    difference_sample,
    estimate_together,
    value_sample,
)
from regen.evaluation.wording import counted, score, signed

Together: TypeAlias = Callable[[Sequence[Sample]], list[Estimate]]

_EQUAL: Final = 1e-9
_SEVERITY: Final[tuple[Verdict, ...]] = ("hold", "cannot_tell", "promote")


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate says. ``comparisons`` begin with the gate's own; ``checks`` include latency and error rate."""

    verdict: Verdict
    reasons: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    checks: tuple[CheckResult, ...]


@dataclass(frozen=True, slots=True)
class _Case:
    """A measure on a slice of a collection, with the gate's condition if there is one."""

    collection: Columns
    slice: str
    measure: str
    condition: MeasureCondition | None = None

    @property
    def place(self) -> str:
        inside = f", slice {self.slice}" if self.slice != ALL else ""
        return f"{self.measure} on {self.collection.name}{inside}"

    @property
    def is_floor(self) -> bool:
        """Whether the condition is about the candidate alone."""
        return self.condition is not None and self.condition.kind == "min"

    @property
    def rows(self) -> NDArray[np.int64]:
        """The positions, among the collection's queries, of those of the slice that have a value."""
        return self.collection.rows(self.slice, self.measure)

    def values(self) -> tuple[Floats, Floats]:
        """Baseline's and candidate's, each of shape (n,). Where nothing is live, the candidate is its own baseline."""
        after = self.collection.candidate[self.measure][self.rows]
        return (self.collection.baseline[self.measure][self.rows] if self.collection.paired else after), after

    def difference(self) -> Sample:
        return difference_sample(*self.values(), self.collection.name, self.rows)

    def candidate(self) -> Sample:
        return value_sample(self.values()[1], self.collection.name, self.rows)


def judge(
    queries: Sequence[QueryOutcome],
    conditions: Sequence[Condition],
    *,
    checks: Sequence[CheckResult] = (),
    baseline_latency: Latency | None = None,
    candidate_latency: Latency | None = None,
    unmeasured: Collection[str] = (),
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Decision:
    """Judge a candidate. Pure, and the same for the same arguments.

    ``queries`` are all judged queries of all collections, with every measure on both sides. Where nothing is live yet
    their baselines are empty, and of the conditions on measures only ``min`` is judged. A gate without conditions on
    measures is decided by the checks alone. ``unmeasured`` are checks that, if they failed, did so only because nothing
    could be measured: then the gate cannot tell. Raises EvaluationError for a condition that names a collection, slice
    or measure that is not there.
    """
    collections = find_collections(queries)
    first = baseline_latency is None and not any(own.paired for own in collections)
    wanted = [condition for condition in conditions if isinstance(condition, MeasureCondition)]
    cases = [case for condition in wanted for case in _cases(condition, collections)]
    gated = [case for case in cases if case.is_floor or case.collection.paired]
    together = partial(estimate_together, seed=seed, confidence=confidence, resamples=resamples)
    own_rows = _judged(gated, together)
    other_rows = _reported(_others(collections, gated), together)
    found = judge_checks(checks, conditions, baseline_latency, candidate_latency, first=first)
    found = replace(found, unmeasured=found.unmeasured.union(unmeasured))
    skipped = [case for case in cases if case not in gated]
    verdict, reasons = _overall(own_rows, skipped, found)
    return Decision(verdict, reasons, (*own_rows, *other_rows), found.checks)


def _cases(condition: MeasureCondition, collections: Sequence[Columns]) -> list[_Case]:
    chosen = choose(collections, condition.collection, condition.slice, condition.measure, str(condition))
    return [_Case(own, condition.slice, condition.measure, condition) for own in chosen]


def _others(collections: Sequence[Columns], gated: Sequence[_Case]) -> list[_Case]:
    named = {(case.collection.name, case.slice, case.measure) for case in gated}
    return [
        _Case(own, part, measure)
        for own in collections
        if own.paired
        for part in own.slices
        for measure in own.candidate
        if (own.name, part, measure) not in named and own.rows(part, measure).size
    ]


def _judged(cases: Sequence[_Case], together: Together) -> list[Comparison]:
    # A floor's own mean and, for the report, its difference: both are of the family.
    samples = [case.difference() for case in cases] + [case.candidate() for case in cases if case.is_floor]
    estimates = together(samples)
    differences, floors = estimates[: len(cases)], iter(estimates[len(cases) :])
    return [
        _comparison(case, difference, next(floors) if case.is_floor else difference)
        for case, difference in zip(cases, differences, strict=True)
    ]


def _reported(cases: Sequence[_Case], together: Together) -> list[Comparison]:
    estimates = together([case.difference() for case in cases])
    return [_comparison(case, estimate, estimate) for case, estimate in zip(cases, estimates, strict=True)]


def _comparison(case: _Case, difference: Estimate, judged: Estimate) -> Comparison:
    condition = case.condition
    bound = condition.value if condition and case.is_floor else (condition.bound if condition else None) or 0.0
    verdict = side_of(judged, bound)
    needed = judged.needed(bound) if verdict == "cannot_tell" else None
    before, after = case.values()
    return Comparison(
        collection=case.collection.name,
        slice=case.slice,
        measure=case.measure,
        baseline=float(before.mean()),
        candidate=float(after.mean()),
        delta=difference.mean,
        ci_low=difference.low,
        ci_high=difference.high,
        p_value=difference.p_value,
        min_detectable=min(difference.min_detectable, difference.limits[1]),
        verdict=verdict,
        queries=difference.queries,
        effect_size=difference.effect_size,
        needed=needed,
        condition=condition.rule if condition else None,
        detail=_sentence(case, difference, judged, verdict, needed),
        bound=condition.bound if condition else None,
    )


def side_of(estimate: Estimate, bound: float) -> Verdict:
    """On which side of a bound a mean lies, as far as its interval tells.

    An interval that touches the bound does not tell, unless it is a point: where one query won and all others tie,
    the lower limit is zero, and that is no evidence of anything. Values that are all the same, such as the
    differences of identical rankings, are a point, and reach a bound that they are equal to.
    """
    if estimate.too_few:
        return "cannot_tell"
    if estimate.constant:
        return "promote" if estimate.mean >= bound - _EQUAL else "hold"
    if estimate.low > bound + _EQUAL:
        return "promote"
    return "hold" if estimate.high < bound - _EQUAL else "cannot_tell"


def _sentence(case: _Case, difference: Estimate, judged: Estimate, verdict: Verdict, needed: int | None) -> str:
    rule = case.condition.rule if case.condition else "a difference of 0"
    if judged.too_few:
        fewest = fewest_queries(judged.level)
        found = counted(judged.queries, "judged query is", "judged queries are")
        return f"{case.place}: {found} too few; with fewer than {fewest}, nothing can be told from chance"
    if case.is_floor:
        told = f"{score(judged.mean)}, between {score(judged.low)} and {score(judged.high)}"
    elif difference.constant and difference.mean == 0:
        told = "no query's value changed"
    else:
        told = f"{signed(difference.mean)}, between {signed(difference.low)} and {signed(difference.high)}"
    if verdict != "cannot_tell":
        return f"{case.place}: {told}; {rule} is {'met' if verdict == 'promote' else 'not met'}"
    more = counted(needed or 0, "more judged query", "more judged queries")
    settle = f"about {more} would settle it" if needed else "it is too close to the bound for any number of queries"
    return f"{case.place}: {told}; that may be on either side of {rule}, and {settle}"


def _overall(
    rows: Sequence[Comparison], skipped: Sequence[_Case], found: JudgedChecks
) -> tuple[Verdict, tuple[str, ...]]:
    told: list[tuple[Verdict, str]] = [(row.verdict, row.detail) for row in rows]
    told += [
        ("cannot_tell" if check.name in found.unmeasured else "hold", f"{check.name}: {check.detail}")
        for check in found.checks
        if check.gates and not check.passed
    ]
    notes = [f"{case.place}: nothing is live yet to compare with" for case in skipped]
    gating = sum(check.gates for check in found.checks)
    if not rows and not gating:
        told.append(("cannot_tell", "nothing was measured that could speak for this generation"))
    elif not rows and not skipped:
        notes.append("the gate has no condition on a measure, so the checks alone decide")
    told.sort(key=lambda each: _SEVERITY.index(each[0]))
    verdict = told[0][0] if told else "promote"
    if gating and verdict == "promote":
        notes.append(f"all {gating} checks passed" if gating > 1 else "the check passed")
    return verdict, (*(reason for _, reason in told), *notes)
