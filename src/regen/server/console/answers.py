"""Is search fresh, right, affordable? Three answers in words, with the figures behind them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from regen.core.alarms import Alert
from regen.core.freshness import SourceStatus
from regen.core.results import Freshness, StatusReport
from regen.evaluation.wording import dollars, score
from regen.ports.insight import Searchable, Spent
from regen.ports.rollouts import KeptEvaluation
from regen.server.console import trends, words
from regen.server.console.trends import Drawn, Window

Tone: TypeAlias = Literal["good", "bad", "unsure", "plain"]
OLD: Final = 14 * words.DAY
"""Seconds after which an evaluation tells little of today."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure with its unit."""

    label: str
    value: str
    unit: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: what was asked, in a word; what is so, in a sentence; and why."""

    name: str
    question: str
    tone: Tone
    headline: str
    detail: str
    figures: Sequence[Figure]
    chart: Drawn
    link: tuple[str, str] | None = None


def is_it_fresh(
    report: StatusReport, changes: Sequence[Searchable], window: Window, loaded_at: float | None = None
) -> Answer:
    """Whether every change can be found, as soon as regen.yaml asks for. ``loaded_at``: what is live was complete."""
    found = report.freshness
    tone, headline, detail = _freshness(report, found)
    times = found.source_to_searchable_seconds
    allowed = _strictest(found.sources)
    figures = [
        Figure("waiting", f"{found.pending:,}", tone="unsure" if found.pending else ""),
        Figure("oldest", words.duration(found.oldest_pending_seconds) if found.pending else "–"),
        *(_time(name, getattr(times, name), allowed.get(name)) for name in allowed or ("p50", "p99")),
    ]
    link = ("/console/letters", "Look at them") if found.failed else None
    chart = trends.freshness(changes, window, report.live, loaded_at)
    return Answer("fresh", "Fresh?", tone, headline, detail, figures, chart, link)


def _time(name: str, measured: float | None, allowed: float | None) -> Figure:
    bound = (
        "" if allowed is None else f"of {allowed:g} s" if allowed < words.MINUTE else f"of {words.duration(allowed)}"
    )
    return Figure(name, words.duration(measured), bound)


def _strictest(sources: Sequence[SourceStatus]) -> dict[str, float]:
    """The shortest time that any source's target allows, by percentile."""
    found: dict[str, float] = {}
    for source in sources:
        for name, seconds in (source.target or {}).items():
            found[name] = min(seconds, found.get(name, seconds))
    return found


def _freshness(report: StatusReport, found: Freshness) -> tuple[Tone, str, str]:
    late = "; ".join(f"{source.name}: {source.missed}" for source in found.sources if source.missed)
    failing = standing(report.alerts, "job")
    if report.live is None:
        return "unsure", "Nothing can be searched yet", "The first sync makes generation 1 and lets it answer."
    if found.failed:
        told = f"{words.plural(found.failed, 'document')} could not be processed"
        beside = f" Not as fresh as it must be: {late}." if late else ""
        return "bad", told, f"What was searchable before stays so; all the others go on.{beside}"
    if late:
        return "bad", "Not as fresh as it must be", words.sentences(late)
    if failing:
        told = f"{subject_of(failing[0])}: {failing[0].detail}"
        return "bad", f"{words.plural(len(failing), 'job')} cannot be done", told
    if found.pending:
        return _waiting(found)
    if found.deleted_still_present:
        told = f"{words.plural(found.deleted_still_present, 'deleted document')} still in the store"
        return "unsure", "Every change is searchable", f"{told}; the fence keeps them from every search."
    return "good", "Every change is searchable", f"{words.plural(report.documents, 'document')}, none waiting."


def _waiting(found: Freshness) -> tuple[Tone, str, str]:
    told = f"{words.plural(found.pending, 'change')} {'waits' if found.pending == 1 else 'wait'}"
    stale = f"{words.plural(found.stale, 'document')} searchable in an older revision. " if found.stale else ""
    bound = "" if _strictest(found.sources) else " No target says how long one may: `freshness: {p99: 5s}`."
    oldest = words.duration(found.oldest_pending_seconds)
    return "unsure", told, f"The oldest is {oldest} old. {stale}A sync brings them.{bound}"


def subject_of(alert: Alert) -> str:
    """What an alarm is about: a measure, a check, a source, a job."""
    return alert.key.removeprefix(f"{alert.kind} ")


def standing(alerts: Sequence[Alert], *kinds: str) -> list[Alert]:
    """The alarms of some kinds that are on."""
    return [alert for alert in alerts if alert.resolved_at is None and alert.kind in kinds]


def is_it_right(report: StatusReport, kept: Sequence[KeptEvaluation], window: Window, now: float) -> Answer:
    """Whether what is live was measured, and found good."""
    own = [item for item in kept if item.generation == report.live]
    newest = own[0] if own else None
    measure = leading(newest.result) if newest else None
    tone, headline, detail = _quality(report, newest, now)
    figures = [] if newest is None else _quality_figures(newest.result)
    chart = trends.quality(kept, measure, window)
    link = ("/console/evaluation", "The evaluation") if newest else ("/console/evaluation", "How to measure it")
    return Answer("right", "Right?", tone, headline, detail, figures, chart, link)


def leading(result: Mapping[str, Any]) -> str | None:
    """The measure by which an evaluation is told: the first that the gate judged, else the first."""
    judged = [item["measure"] for item in result.get("comparisons", ()) if item.get("condition")]
    measures = list(result.get("candidate", {}).get("measures", {}))
    return next((name for name in judged if name in measures), next(iter(measures), None))


def _quality(report: StatusReport, newest: KeptEvaluation | None, now: float) -> tuple[Tone, str, str]:
    raised = [f"{subject_of(alert)}: {alert.detail}" for alert in standing(report.alerts, "floor", "check")]
    if wrong := [*raised, *unraised(report)]:
        return "bad", f"{words.plural(len(wrong), 'alarm')} about what is live", wrong[0]
    if report.live is None:
        return "unsure", "Nothing to measure yet", "Quality is measured once something answers."
    if newest is None:
        told = "Judged queries tell whether the right documents are found."
        return "unsure", f"Generation {report.live} was never measured", told
    when, measure = words.ago(newest.evaluated_at, now), leading(newest.result)
    if measure is None:
        return "unsure", "Only checked, not measured", f"The checks on live data passed {when}; no query was judged."
    value = score(newest.result["candidate"]["measures"][measure])
    if now - newest.evaluated_at > OLD:
        return "unsure", f"{measure} was {value}", f"Measured {when}: too long ago to tell of today."
    return "good", f"{measure} is {value}", f"Measured {when}; nothing since raised an alarm."


def unraised(report: StatusReport) -> list[str]:
    """What the newest evaluation found wrong and no alarm was raised about: nothing watches, or not yet."""
    known = tuple(_as_evaluated(alert) for alert in standing(report.alerts, "floor", "check"))
    return [text for text in report.alarms if not text.startswith(known)]


def _as_evaluated(alert: Alert) -> str:
    """How the text about the same thing begins in an evaluation's alarms."""
    subject = subject_of(alert)
    return f"{subject}:" if alert.kind == "check" else f"{subject.replace(' (', ' on ', 1).removesuffix(')')} is "


def _quality_figures(result: Mapping[str, Any]) -> list[Figure]:
    checks = result.get("checks", ())
    passed = sum(bool(item["passed"]) for item in checks)
    shown = [Figure(name, score(value)) for name, value in list(result["candidate"]["measures"].items())[:3]]
    return [*shown, Figure("checks passed", f"{passed} of {len(checks)}", tone="" if passed == len(checks) else "bad")]


def is_it_affordable(report: StatusReport, spent: Sequence[Spent], window: Window, budget: float | None) -> Answer:
    """What models were paid."""
    lately, texts, tokens = (sum(getattr(item, name) for item in spent) for name in ("usd", "texts", "tokens"))
    if not report.cost_usd:
        headline, detail = "Free so far", "The models that were used cost nothing by the configured prices."
    else:
        headline, detail = f"{dollars(lately)} in {window.told}", ""
    if budget is not None:
        detail = f"{detail} Each run may spend up to {dollars(budget)}.".strip()
    elif report.cost_usd:
        detail = "No budget bounds a run: limits.budget_usd in regen.yaml sets one."
    tone: Tone = "unsure" if report.cost_usd and budget is None else "good"
    figures = [
        Figure("in all", dollars(report.cost_usd)),
        Figure("texts embedded", f"{texts:,.0f}"),
        Figure("tokens", f"{tokens:,.0f}"),
    ]
    return Answer("affordable", "Affordable?", tone, headline, detail, figures, trends.spending(spent, window))
