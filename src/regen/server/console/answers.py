"""Is search fresh, right, affordable? Three answers in words, with the figures behind them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from regen.core.results import Freshness, StatusReport
from regen.evaluation.wording import dollars, score
from regen.ports.insight import Searchable, Spent
from regen.ports.rollouts import KeptEvaluation
from regen.server.console import trends, words
from regen.server.console.trends import Drawn, Window

Tone: TypeAlias = Literal["good", "bad", "unsure", "plain"]
LATE: Final = 300.0
"""Seconds after which a change that waits is no longer a matter of course."""
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


def is_it_fresh(report: StatusReport, changes: Sequence[Searchable], window: Window) -> Answer:
    """Whether every change can be found."""
    found = report.freshness
    tone, headline, detail = _freshness(report, found)
    times = found.source_to_searchable_seconds
    figures = [
        Figure("waiting", f"{found.pending:,}", tone="unsure" if found.pending else ""),
        Figure("oldest", words.duration(found.oldest_pending_seconds) if found.pending else "–"),
        Figure("p50", words.duration(times.p50)),
        Figure("p99", words.duration(times.p99)),
    ]
    link = ("/console/letters", "Look at them") if found.failed else None
    return Answer("fresh", "Fresh?", tone, headline, detail, figures, trends.freshness(changes, window), link)


def _freshness(report: StatusReport, found: Freshness) -> tuple[Tone, str, str]:
    if report.live is None:
        return "unsure", "Nothing can be searched yet", "The first sync makes generation 1 and lets it answer."
    if found.failed:
        told = f"{words.plural(found.failed, 'document')} could not be processed"
        return "bad", told, "What was searchable before stays so; all the others go on."
    if found.pending:
        oldest = words.duration(found.oldest_pending_seconds)
        told = f"{words.plural(found.pending, 'change')} {'waits' if found.pending == 1 else 'wait'}"
        late = found.oldest_pending_seconds > LATE
        stale = f"{words.plural(found.stale, 'document')} searchable in an older revision. " if found.stale else ""
        return "bad" if late else "unsure", told, f"The oldest is {oldest} old. {stale}A sync brings them."
    if found.deleted_still_present:
        told = f"{words.plural(found.deleted_still_present, 'deleted document')} still in the store"
        return "unsure", "Every change is searchable", f"{told}; the fence keeps them from every search."
    return "good", "Every change is searchable", f"{words.plural(report.documents, 'document')}, none waiting."


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
    if report.alarms:
        return "bad", f"{words.plural(len(report.alarms), 'alarm')} about what is live", report.alarms[0]
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
