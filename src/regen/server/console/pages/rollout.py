"""A rollout under way: its weights, what is known of the difference, and its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.responses import Response

from regen.evaluation.wording import percent
from regen.ports.rollouts import Rollout
from regen.server.console.narrowing import narrowed, state_of, weight_steps
from regen.server.console.visit import Actor, Reader

if TYPE_CHECKING:
    from regen.evaluation.rollout import RolloutState

router = APIRouter()


@router.get("/rollout")
def rollout(visit: Reader) -> Response:
    """The rollout that is under way, else the last one."""
    index = visit.index
    found = index.rollout() or next(iter(index.rollouts(1)), None)
    ready = [item for item in index.generations() if item.state == "ready"]
    return visit.page(
        "rollout.html.j2",
        "rollout",
        live="pulse",
        rollout=found,
        ready=ready,
        **(rollout_shown(found, visit.now) if found else {}),
    )


def rollout_shown(found: Rollout, now: float) -> dict[str, Any]:
    """A rollout as a template shows it."""
    state = state_of(found)
    return {
        "under_way": found.status in {"running", "paused"},
        "steps": weight_steps(found),
        "narrowed": narrowed(found, now),
        "state": state,
        "arms": [] if state is None else _arms(state),
        "weight": percent(found.weight),
    }


def _arms(state: RolloutState) -> list[tuple[str, ...]]:
    """Name, queries, errors, without results, clicked, of both sides at the present weight."""
    sides = (("the live one", state.seen.baseline), ("the candidate", state.seen.candidate))
    return [
        (name, f"{arm.queries:,}", *(_rate(part, arm.queries) for part in (arm.errors, arm.zero_results)),
         _rate(arm.clicked, arm.settled))
        for name, arm in sides
    ]  # fmt: skip


def _rate(part: int, whole: int) -> str:
    return percent(part / whole) if whole else "–"


@router.post("/rollout/pause")
def pause(visit: Actor) -> Response:
    """Step up no further; failures still abort."""
    reason = visit.form.get("reason", "").strip()
    with visit.operating("pause_rollout", reason=reason):
        found = visit.index.pause_rollout(reason or "paused in the console")
    return visit.leave("/console/rollout", f"The {found.kind} stays at {percent(found.weight)}.")


@router.post("/rollout/resume")
def resume(visit: Actor) -> Response:
    """Go on."""
    with visit.operating("resume_rollout"):
        found = visit.index.resume_rollout()
    return visit.leave("/console/rollout", f"The {found.kind} goes on at {percent(found.weight)}.")


@router.post("/rollout/judge")
def judge(visit: Actor) -> Response:
    """Look at once, without waiting for the interval. A success is promoted, through the gate."""
    with visit.operating("advance_rollout"):
        action = visit.index.advance_rollout(force=True)
    if action is None:
        return visit.leave("/console/rollout", "There was nothing to judge.", "unsure")
    tone = {"abort": "bad", "pause": "unsure"}.get(action.kind, "good")
    return visit.leave("/console/rollout", f"{action.kind.replace('_', ' ').capitalize()}: {action.reason}", tone)


@router.post("/rollout/abort")
def abort(visit: Actor) -> Response:
    """From the next search on the live generation answers everybody."""
    reason = visit.form.get("reason", "").strip()
    with visit.operating("abort_rollout", reason=reason):
        found = visit.index.abort_rollout(reason or "aborted in the console")
    return visit.leave("/console/rollout", f"The {found.kind} is aborted: the live generation answers everybody.")
