"""A backfill under way, in whatever process it runs: rate, time left, money, pause and resume."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from regen.server.console.pages.overview import backfill_shown
from regen.server.console.visit import Actor, Reader
from regen.server.console.work import begin, recent

router = APIRouter()


@router.get("/backfill")
def backfill(visit: Reader) -> Response:
    """The newest generation that is being filled."""
    index = visit.index
    waiting = [item for item in index.generations() if item.state == "ready"]
    applies = [run for run in recent(visit, 50) if run.verb == "apply"]
    return visit.page(
        "backfill.html.j2",
        "backfill",
        live="pulse",
        waiting=waiting,
        applies=applies[:5],
        budget=index.configuration()["limits"]["budget_usd"],
        **backfill_shown(index),
    )


@router.post("/backfill/pause")
def pause(visit: Actor) -> Response:
    """Stop before the next batch."""
    reason = visit.form.get("reason", "").strip()
    with visit.operating("pause", reason=reason):
        done = visit.index.pause(reason=reason)
    return visit.leave("/console/backfill", f"Generation {done.generation} is paused; {done.pending:,} documents wait.")


@router.post("/backfill/resume")
def resume(visit: Actor) -> Response:
    """Go on where it stopped."""
    with visit.operating("resume"):
        done = visit.index.resume()
    return visit.leave("/console/backfill", f"Generation {done.generation} may go on; the next apply fills it.")


@router.post("/backfill/go-on")
def go_on(visit: Actor) -> Response:
    """End a pause and fill what is left."""
    found = visit.index.backfill()
    if found is not None and found.paused is not None:
        with visit.operating("resume", generation=found.generation):
            visit.index.resume(found.generation)
    return begin(visit, "apply")
