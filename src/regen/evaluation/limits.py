"""What of a gate is not a measure: latency and error rate become checks, and checks gate or advise as configured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from regen.evaluation.conditions import CheckCondition, Condition, ErrorRateCondition, LatencyCondition
from regen.evaluation.outcome import CheckResult, Latency
from regen.evaluation.wording import counted, milliseconds, percent


@dataclass(frozen=True, slots=True)
class JudgedChecks:
    """All checks; ``unmeasured`` names those of them that failed only because nothing was measured."""

    checks: tuple[CheckResult, ...]
    unmeasured: frozenset[str]


def judge_checks(
    checks: Sequence[CheckResult],
    conditions: Sequence[Condition],
    baseline: Latency | None,
    candidate: Latency | None,
    *,
    first: bool = False,
) -> JudgedChecks:
    """The checks as the gate's conditions have them. ``first``: nothing is live yet, so that ratios do not exist."""
    judged = [*checks]
    unmeasured: set[str] = set()
    for condition in conditions:
        if isinstance(condition, CheckCondition):
            judged = _as_configured(judged, condition)
        elif isinstance(condition, LatencyCondition | ErrorRateCondition):
            result = _measured(condition, baseline, candidate, first=first)
            if result is None:
                name = _name(condition)
                unmeasured.add(name)
                result = CheckResult(name, passed=False, detail="it was not measured")
            judged.append(result)
    return JudgedChecks(tuple(judged), frozenset(unmeasured))


def _as_configured(checks: Sequence[CheckResult], condition: CheckCondition) -> list[CheckResult]:
    if condition.advisory or any(check.name == condition.name for check in checks):
        return [replace(each, gates=not condition.advisory) if each.name == condition.name else each for each in checks]
    ran = ", ".join(dict.fromkeys(check.name for check in checks)) or "none"
    missing = CheckResult(
        condition.name, passed=False, detail="the gate asks for this check, and it did not run", hint=f"checks: {ran}"
    )
    return [*checks, missing]


def _name(condition: LatencyCondition | ErrorRateCondition) -> str:
    return f"latency {condition.percentile}" if isinstance(condition, LatencyCondition) else "error rate"


def _measured(
    condition: LatencyCondition | ErrorRateCondition,
    baseline: Latency | None,
    candidate: Latency | None,
    *,
    first: bool,
) -> CheckResult | None:
    if candidate is None or candidate.searches == 0:
        return None
    if isinstance(condition, ErrorRateCondition):
        return _error_rate(condition, baseline, candidate)
    return _latency(condition, baseline, candidate, first=first)


def _error_rate(condition: ErrorRateCondition, baseline: Latency | None, candidate: Latency) -> CheckResult:
    live = f" (live: {percent(baseline.error_rate)})" if baseline else ""
    detail = (
        f"{percent(candidate.error_rate)} of {counted(candidate.searches, 'search', 'searches')} failed{live}; "
        f"at most {percent(condition.maximum)}"
    )
    return CheckResult("error rate", passed=candidate.error_rate <= condition.maximum, detail=detail)


def _latency(
    condition: LatencyCondition, baseline: Latency | None, candidate: Latency, *, first: bool
) -> CheckResult | None:
    found = float(getattr(candidate, condition.percentile))
    told, passed = [f"{milliseconds(found)} over {counted(candidate.searches, 'search', 'searches')}"], True
    if condition.max_ms is not None:
        told.append(f"at most {milliseconds(condition.max_ms)}")
        passed = found <= condition.max_ms
    if condition.max_ratio is not None and not first:
        live = float(getattr(baseline, condition.percentile)) if baseline and baseline.searches else 0.0
        if live <= 0:
            return None
        told.append(f"{found / live:.2f} times the live {milliseconds(live)}, at most {condition.max_ratio:g} times")
        passed = passed and found <= condition.max_ratio * live
    elif condition.max_ratio is not None:
        told.append("nothing is live yet to compare with")
    return CheckResult(_name(condition), passed=passed, detail="; ".join(told))
