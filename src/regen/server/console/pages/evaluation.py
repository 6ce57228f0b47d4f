"""Evaluations: the verdict with its reasons, the win/loss plot, and both answers to the queries that changed most."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from regen.errors import ConfigError
from regen.evaluation import changed, sections, wording
from regen.evaluation.html import render_html
from regen.evaluation.keeping import from_kept
from regen.ports.rollouts import KeptEvaluation
from regen.server.console.rendering import HEADERS
from regen.server.console.visit import Actor, Reader, Visit
from regen.server.console.work import begin

router = APIRouter()
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"


@router.get("/evaluation")
def newest(visit: Reader) -> Response:
    """The newest evaluation."""
    found = visit.index.evaluations(limit=1)
    return _page(visit, found[0] if found else None)


@router.get("/evaluation/{number}")
def one(visit: Reader, number: int) -> Response:
    """One evaluation."""
    return _page(visit, visit.index.evaluation(number))


@router.get("/evaluation/{number}/report")
def report(visit: Reader, number: int) -> Response:
    """The report as one self-contained page, to be kept or sent on."""
    page = render_html(from_kept(visit.index.evaluation(number).result))
    return HTMLResponse(page, headers={**HEADERS, "Content-Security-Policy": REPORT_POLICY})


@router.post("/evaluation")
def evaluate(visit: Actor) -> Response:
    """Measure a generation beside the live one, or another, or alone."""
    arguments: dict[str, Any] = {"generation": _number(visit, "generation")}
    against = visit.form.get("against", "live")
    arguments["against"] = "live" if against == "live" else None if against == "none" else _number(visit, "against")
    return begin(visit, "evaluate", **arguments)


def _number(visit: Visit, name: str) -> int | None:
    typed = visit.form.get(name, "")
    if typed and not typed.isdigit():
        raise ConfigError(f"{typed[:40]!r} is no generation", hint="choose one of the list")
    return int(typed) if typed else None


def _page(visit: Visit, kept: KeptEvaluation | None) -> Response:
    index = visit.index
    shown = {} if kept is None else evaluation_shown(kept)
    return visit.page(
        "evaluation.html.j2",
        "evaluation",
        live="" if kept else "pulse",
        kept=kept,
        others=index.evaluations(limit=12),
        generations=index.status().generations,
        shown=shown,
        settings=index.configuration(),
    )


def evaluation_shown(kept: KeptEvaluation) -> dict[str, Any]:
    """An evaluation as a template shows it."""
    found = from_kept(kept.result)
    return {
        "evaluation": found,
        "words": wording.VERDICTS[found.verdict],
        "reasons": sections.shown(found.reasons),
        "next_step": wording.next_step(found),
        "collections": sections.collections_of(found),
        "queries": [item for item in changed.shown_queries(found) if item.text],
        "measure": changed.leading_measure(found),
        "means": sections.measure_rows(found.baseline.measures if found.baseline else {}, found.candidate.measures),
        "latency": sections.latency_rows(found.baseline, found.candidate),
        "checks": sorted(found.checks, key=lambda check: (check.passed, not check.gates)),
        "problems": sections.shown((*found.problems, *found.notes)),
    }
