"""The first page: three answers, what is under way, and what happened lately."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import Response

from regen.core.records import Backfill
from regen.index import Index
from regen.server.console import answers, charts, trends, words
from regen.server.console.pages.generations import live_record
from regen.server.console.visit import Reader

router = APIRouter()
SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened, for a list by time."""

    at: float
    what: str
    text: str


@router.get("")
def overview(visit: Reader, window: str = "week") -> Response:
    """Whether search is fresh, right and affordable."""
    index, now = visit.index, visit.now
    report, over = index.status(), trends.window(window, now)
    spent = index.spent_since(over.since)
    budget = index.configuration()["limits"]["budget_usd"]
    live = live_record(index)
    return visit.page(
        "overview.html.j2",
        "overview",
        live="pulse",
        answers=[
            answers.is_it_fresh(report, index.searchable_since(over.since), over, live.completed_at if live else None),
            answers.is_it_right(report, index.evaluations(limit=100), over, now),
            answers.is_it_affordable(report, spent, over, budget),
        ],
        windows=[(name, label) for name, (_, label) in trends.WINDOWS.items()],
        window=over.name,
        alarms=answers.unraised(report),
        alerts=[(answers.subject_of(alert), alert) for alert in report.alerts],
        sources=[source for source in report.freshness.sources if source.target or len(report.freshness.sources) > 1],
        notes=report.notes,
        generations=report.generations,
        lately=sorted(happenings(index), key=lambda item: -item.at)[:SHOWN],
        **backfill_shown(index),
    )


def backfill_shown(index: Index) -> dict[str, Any]:
    """A backfill with its bar, for a template; None where there is none."""
    found: Backfill | None = index.backfill()
    if found is None:
        return {"backfill": None, "backfill_drawing": ""}
    total = found.documents + found.pending
    label = f"{words.share(found.documents, total)} of {words.plural(total, 'document')} filled"
    return {"backfill": found, "backfill_drawing": charts.progress(found.documents, total, label)}


def happenings(index: Index) -> Iterator[Happening]:
    """Switches, evaluations and rollouts, in no order."""
    for switch in index.switches():
        forced = " although the gate was not met" if switch.forced else ""
        yield Happening(
            switch.switched_at, f"Generation {switch.live} live{forced}.", f"{switch.reason} ({switch.actor})"
        )
    for item in index.evaluations(limit=20):
        against = f" against {item.against}" if item.against is not None else ""
        reasons = "; ".join(item.result.get("reasons", ())[:1])
        verdict = item.verdict.replace("_", " ")
        yield Happening(item.evaluated_at, f"Evaluated {item.generation}{against}: {verdict}.", reasons)
    for rollout in index.rollouts(20):
        told = f"{rollout.kind} of generation {rollout.candidate} {rollout.status}."
        yield Happening(rollout.changed_at, told[0].upper() + told[1:], rollout.reason)
