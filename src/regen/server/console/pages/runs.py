"""One run, followed while it goes on, and its outcome; all runs."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import Response

from regen.core.plan import Plan
from regen.server.console import charts
from regen.server.console.visit import Actor, Reader
from regen.server.console.work import Run, begin, run_of

router = APIRouter()
SECTIONS: Final = {"plan": "plan", "apply": "plan", "evaluate": "evaluation", "retry": "letters", "sync": "overview"}
COUNTED: Final = ("added", "updated", "metadata_updated", "access_updated", "deleted", "unchanged", "failed")


@router.get("/runs/{number}")
def run(visit: Reader, number: int) -> Response:
    """A run by its number."""
    found = run_of(visit, number)
    section = SECTIONS.get(found.verb, "history")
    return visit.page("run.html.j2", section, live=f"run-{number}", run=found, **progress(found), **outcome(found))


@router.post("/sync")
def sync(visit: Actor) -> Response:
    """Bring the index in step with its source."""
    return begin(visit, "sync")


def progress(found: Run) -> dict[str, Any]:
    """A run's progress with its bar."""
    told = found.progress
    if told is None or not told.total:
        return {"progress": told, "bar": ""}
    label = f"{told.stage}: {told.done:,} of {told.total:,} {told.unit}"
    return {"progress": told, "bar": charts.progress(told.done, told.total, label)}


def outcome(found: Run) -> dict[str, Any]:
    """What a run that is done has to show, by its verb."""
    result = found.result or {}
    plan = Plan.from_dict(result) if found.verb == "plan" and found.result else None
    documents = result.get("documents") if isinstance(result.get("documents"), dict) else {}
    return {
        "plan": plan,
        "counts": [(name.replace("_", " "), documents[name]) for name in COUNTED if documents and documents.get(name)],
        "result": result,
    }
