"""Canary analysis: a pure state machine that raises a candidate's weight, pauses, aborts, or lets it succeed.

The words are those of Argo Rollouts (interval, count, successCondition, failureCondition, failureLimit,
inconclusiveLimit) and Flagger (stepWeight, maxWeight, stepWeights). What differs: a condition is judged on always-valid
intervals, so a measurement is successful or failed only when the data leave no doubt (a probability of error of at most
``alpha`` over the whole rollout, however often it is measured), and inconclusive until then.

    state = start(Analysis(success_condition="preference > 0.4", failure_condition="preference < 0.5"))
    state, action = advance(state, measurement)      # after every interval; act on action.weight
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

from regen.errors import EvaluationError
from regen.evaluation.expressions import Claim, Condition, Truth, may_err_both_ways, parse
from regen.evaluation.sequential import Interval
from regen.evaluation.tallies import ACROSS_STEPS, COUNTS, NAMES, Measurement

Kind: TypeAlias = Literal["continue", "step_up", "pause", "abort", "succeed"]
Phase: TypeAlias = Literal["running", "paused", "aborted", "succeeded"]
Verdict: TypeAlias = Literal["successful", "failed", "inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """How a rollout is judged. Frozen: settings that change while it runs would void what ``alpha`` promises.

    ``interval``: seconds between measurements. ``count``: successful measurements that a step needs. ``failure_limit``,
    ``inconclusive_limit``: how many failed (in all) and inconclusive ones (in a row) are borne: one more
    aborts, or pauses. ``steps``: the candidate's weights (0 to 1, rising); else they rise by ``step_weight`` up to
    ``max_weight``. ``metric``: what the name ``result`` means. With one condition alone, its contrary is the other.

    Raises EvaluationError for settings that cannot be followed.
    """

    interval: float = 60.0
    count: int = 1
    success_condition: str | None = "preference > 0.4"
    failure_condition: str | None = "preference < 0.5"
    failure_limit: int = 0
    inconclusive_limit: int = 60
    step_weight: float = 0.1
    max_weight: float = 0.5
    steps: tuple[float, ...] = ()
    metric: str = "preference"
    alpha: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        for problem, hint in self._problems():
            raise EvaluationError(problem, hint=hint)

    def _problems(self) -> list[tuple[str, str]]:
        found = []
        if not (self.success_condition or self.failure_condition):
            found.append(("a rollout needs a condition", "set success_condition, failure_condition or both"))
        if not 0 < self.alpha < 1:
            found.append((f"alpha is {self.alpha!r}", "a probability of error between 0 and 1, such as 0.05"))
        if not (self.interval > 0 and math.isfinite(self.interval)) or self.count < 1:
            found.append((f"interval is {self.interval!r}, count {self.count!r}", "both are above zero"))
        if self.failure_limit < 0 or self.inconclusive_limit < 0:
            found.append(("a limit is below zero", "0 means that the first one decides"))
        if self.metric not in NAMES:
            found.append((f"metric is {self.metric!r}", f"one of {', '.join(NAMES)}"))
        if not self.steps and not 0 < self.step_weight <= self.max_weight <= 1:
            found.append(
                (
                    f"step_weight is {self.step_weight!r}, max_weight {self.max_weight!r}",
                    "shares with 0 < step_weight <= max_weight <= 1, such as 0.1 and 0.5",
                )
            )
        if any(not low < high <= 1 for low, high in zip((0.0, *self.steps), self.steps, strict=False)):
            found.append((f"steps are {self.steps!r}", "rising shares above 0 and up to 1, such as 0.05, 0.25, 0.5"))
        for text in filter(None, (self.success_condition, self.failure_condition)):
            parse(text, (*NAMES, "result"))
        return found

    @property
    def weights(self) -> tuple[float, ...]:
        """The candidate's share of the keys, step by step."""
        if self.steps:
            return self.steps
        whole = math.floor(self.max_weight / self.step_weight + 1e-9)
        rising = [round(self.step_weight * step, 9) for step in range(1, whole + 1)]
        return tuple(rising if rising[-1] >= self.max_weight - 1e-9 else [*rising, self.max_weight])

    def alpha_of(self, name: str) -> float:
        """What of ``alpha`` one name may spend: equal parts for all names, and for all steps that start anew."""
        uncertain = {self.resolved(one) for condition in self.conditions() for one in condition.names} - {*COUNTS}
        share = self.alpha / max(len(uncertain), 1)
        if name not in ACROSS_STEPS:
            return share / len(self.weights)
        # An interval spends half on each edge. Where only one of the edges can lead astray, whatever the truth, either
        # may have the whole.
        return share if may_err_both_ways(self._claims(name)) else min(2 * share, (1 + share) / 2)

    def _claims(self, name: str) -> Iterator[Claim]:
        """What verdicts say of a metric: that a condition holds or, of one that is alone, that it fails."""
        conditions = self.conditions()
        for condition in conditions:
            for said in (one for one in condition.names if self.resolved(one) == name):
                yield from condition.claims(said, holds=True)
                if len(conditions) == 1:
                    yield from condition.claims(said, holds=False)

    def resolved(self, name: str) -> str:
        """The metric that a name of a condition means."""
        return self.metric if name == "result" else name

    def conditions(self) -> list[Condition]:
        """Those that are set, parsed."""
        return [one for one in (self.success, self.failure) if one is not None]

    @property
    def success(self) -> Condition | None:
        """The success condition, parsed."""
        return parse(self.success_condition, (*NAMES, "result")) if self.success_condition else None

    @property
    def failure(self) -> Condition | None:
        """The failure condition, parsed."""
        return parse(self.failure_condition, (*NAMES, "result")) if self.failure_condition else None


@dataclass(frozen=True, slots=True)
class Action:
    """What to do now: the weight to set, and why."""

    kind: Kind
    weight: float
    reason: str


@dataclass(frozen=True, slots=True)
class RolloutState:
    """Where a rollout stands: enough to go on after a restart. ``seen`` is what the tests rest on."""

    analysis: Analysis
    step: int = 0
    phase: Phase = "running"
    successes: int = 0
    failures: int = 0
    inconclusive: int = 0
    measurements: int = 0
    seen: Measurement = field(default_factory=Measurement)
    reason: str = ""

    @property
    def weight(self) -> float:
        """The candidate's share of the keys now: 0 once aborted."""
        return 0.0 if self.phase == "aborted" else self.analysis.weights[self.step]

    def values(self) -> dict[str, Interval]:
        """The interval of every name in the conditions, at the confidence by which they are judged."""
        wanted = dict.fromkeys(name for condition in self.analysis.conditions() for name in condition.names)
        return {name: self._interval(self.analysis.resolved(name)) for name in wanted}

    def _interval(self, name: str) -> Interval:
        return self.seen.interval(name, self.analysis.alpha_of(name))

    def to_dict(self) -> dict[str, Any]:
        """As JSON, for the catalog."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {
            **plain,
            "analysis": {**asdict(self.analysis), "steps": [*self.analysis.steps]},
            "seen": self.seen.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RolloutState:
        """The other way round."""
        plain = {name: data[name] for name in _PLAIN}
        return cls(analysis=Analysis(**data["analysis"]), seen=Measurement.from_dict(data["seen"]), **plain)


_PLAIN = ("step", "phase", "successes", "failures", "inconclusive", "measurements", "reason")


def start(analysis: Analysis) -> RolloutState:
    """A rollout at its first weight, with nothing measured."""
    return RolloutState(analysis)


def resume(state: RolloutState) -> RolloutState:
    """Go on after a pause: what was measured stays, the inconclusive measurements are forgiven."""
    if state.phase != "paused":
        raise EvaluationError(f"the rollout is {state.phase}, not paused", hint="only a paused rollout can be resumed")
    return replace(state, phase="running", inconclusive=0, reason="resumed")


def advance(state: RolloutState, measurement: Measurement) -> tuple[RolloutState, Action]:
    """Take in one measurement and decide. A paused rollout stays paused, unless what comes in makes it abort.

    Raises EvaluationError when the rollout has ended.
    """
    if state.phase in ("aborted", "succeeded"):
        raise EvaluationError(
            f"the rollout has {state.phase}: {state.reason}", hint="start another one to measure again"
        )
    state = replace(state, seen=state.seen.plus(measurement), measurements=state.measurements + 1)
    values = state.values()
    verdict, condition = _verdict(state.analysis, values)
    said = _said(verdict, condition, values, state)
    if verdict == "failed":
        return _failed(state, said)
    if state.phase == "paused":
        return state, Action("pause", state.weight, f"paused: {state.reason}")
    return _successful(state, said) if verdict == "successful" else _inconclusive(state, said)


def _verdict(analysis: Analysis, values: Mapping[str, Interval]) -> tuple[Verdict, str]:
    """The measurement's phase as Argo Rollouts assigns it, and the condition that says so."""
    success, failure = analysis.success, analysis.failure
    passed: Truth = success.judge(values) if success else None
    broken: Truth = failure.judge(values) if failure else None
    if broken or (failure is None and passed is False):
        return "failed", f'"{failure}" holds' if failure else f'"{success}" cannot hold'
    if passed or (success is None and broken is False):
        return "successful", f'"{success}" holds' if success else f'"{failure}" cannot hold'
    return "inconclusive", " and ".join(f'"{one}"' for one in analysis.conditions()) + " cannot be told yet"


def _failed(state: RolloutState, said: str) -> tuple[RolloutState, Action]:
    state = replace(state, failures=state.failures + 1, successes=0)
    if state.failures <= state.analysis.failure_limit:
        kind: Kind = "pause" if state.phase == "paused" else "continue"
        return state, Action(kind, state.weight, f"{said} ({state.failures} of {state.analysis.failure_limit} borne)")
    state = replace(state, phase="aborted", reason=said)
    return state, Action("abort", 0.0, said)


def _successful(state: RolloutState, said: str) -> tuple[RolloutState, Action]:
    state = replace(state, successes=state.successes + 1, inconclusive=0)
    if state.successes < state.analysis.count:
        return state, Action("continue", state.weight, f"{said} ({state.successes} of {state.analysis.count})")
    if state.step + 1 == len(state.analysis.weights):
        state = replace(state, phase="succeeded", reason=said)
        return state, Action("succeed", state.weight, said)
    state = replace(state, step=state.step + 1, successes=0, seen=state.seen.next_step())
    return state, Action("step_up", state.weight, said)


def _inconclusive(state: RolloutState, said: str) -> tuple[RolloutState, Action]:
    state = replace(state, inconclusive=state.inconclusive + 1)
    if state.inconclusive <= state.analysis.inconclusive_limit:
        return state, Action("continue", state.weight, said)
    state = replace(state, phase="paused", reason=said)
    return state, Action("pause", state.weight, said)


def _said(verdict: Verdict, condition: str, values: Mapping[str, Interval], state: RolloutState) -> str:
    """One sentence with the numbers that decided."""
    numbers = ", ".join(f"{name} in [{low:.4g}, {high:.4g}]" for name, (low, high) in values.items())
    counted = f"{state.seen.candidate.queries} queries of the candidate, {state.seen.preference.decided} preferences"
    return f"{verdict}: {condition}; {numbers}; {counted}; alpha {state.analysis.alpha:g}"
