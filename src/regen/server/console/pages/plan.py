"""The plan: what would restore consistency, why, at what cost; and applying exactly that."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from regen.errors import ConfigError
from regen.server.console.visit import Actor, Reader
from regen.server.console.work import begin, recent, run_of

router = APIRouter()


@router.get("/plan")
def plan(visit: Reader) -> Response:
    """The plans that were made lately, and making another one."""
    runs = [run for run in recent(visit, 50) if run.verb in {"plan", "apply"}]
    notes = [text for text in visit.index.status().notes if "regen.yaml" in text or "plan" in text]
    return visit.page("plan.html.j2", "plan", live="pulse", runs=runs[:10], notes=notes)


@router.post("/plan")
def make(visit: Actor) -> Response:
    """Read the source and work a plan out. Changes nothing."""
    return begin(visit, "plan")


@router.post("/plan/apply")
def apply(visit: Actor) -> Response:
    """Run exactly the steps of a plan that was looked at (I9)."""
    typed = visit.form.get("run", "")
    if not typed.isdigit():
        raise ConfigError(f"{typed[:40]!r} is no plan", hint="make one on the plan's page, look at it, and apply that")
    found = run_of(visit, int(typed))
    if found.verb != "plan" or found.result is None:
        raise ConfigError(f"run {found.id} is no plan that could be applied", hint="make a plan and look at it first")
    return begin(visit, "apply", plan=dict(found.result))
