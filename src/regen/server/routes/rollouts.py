"""Rollouts: a candidate serves beside the live generation, and what users do decides."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from regen.ports.rollouts import Rollout, RouteKind
from regen.server.access import Caller, require
from regen.server.problems import responses
from regen.server.service import Served

router = APIRouter(prefix="/v1", tags=["rollouts"])

Operator = Annotated[Caller, Depends(require("operate"))]


class RolloutRequest(BaseModel):
    """Which generation (default: the newest that is ready), on which route, for which share of the callers at first.

    ``analysis`` is what it is judged by, as the block ``rollout`` of regen.yaml; ``settings`` say how ``dual`` merges.
    """

    model_config = ConfigDict(extra="forbid")

    generation: int | None = Field(default=None, ge=1, le=2**31 - 1)
    route: RouteKind = "canary"
    weight: float | None = Field(default=None, gt=0, le=1)
    reason: str = Field(default="", max_length=10_000)
    analysis: dict[str, Any] | None = None
    settings: dict[str, Any] | None = None


class Reason(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=10_000)


class AdvanceRequest(BaseModel):
    """``force`` judges now, whether or not the interval has passed."""

    model_config = ConfigDict(extra="forbid")

    force: bool = False


class Advanced(BaseModel):
    """What was decided, and why; ``kind`` is None when nothing was due."""

    kind: str | None = None
    weight: float | None = None
    reason: str = ""


class FeedbackRequest(BaseModel):
    """Which documents of a search, by its ``query_id``, a user took."""

    model_config = ConfigDict(extra="forbid")

    query_id: str = Field(min_length=1, max_length=200)
    clicked: list[str] = Field(max_length=1_000)


class Noted(BaseModel):
    """How many documents were noted."""

    clicked: int


@router.get("/rollouts", responses=responses())
def rollouts(_caller: Operator, service: Served, limit: Annotated[int, Query(ge=1, le=1_000)] = 20) -> list[Rollout]:
    """All rollouts, newest first, with what they have learned."""
    return service.index.rollouts(limit)


@router.post("/rollouts", status_code=201, responses=responses(404, 409))
def begin(asked: RolloutRequest, caller: Operator, service: Served, request: Request) -> Rollout:
    """Let a finished generation serve beside the live one."""
    with service.operating(request, caller, "rollout begin", **asked.model_dump()):
        return service.index.begin_rollout(
            asked.generation,
            route=asked.route,
            weight=asked.weight,
            reason=asked.reason,
            analysis=asked.analysis,
            settings=asked.settings,
        )


@router.post("/rollouts/advance", responses=responses(404, 409))
def advance(asked: AdvanceRequest, caller: Operator, service: Served, request: Request) -> Advanced:
    """Judge the rollout by what users did: it steps up, pauses, aborts, or is promoted through the gate."""
    with service.operating(request, caller, "rollout advance", force=asked.force):
        action = service.index.advance_rollout(force=asked.force)
    return Advanced() if action is None else Advanced(kind=action.kind, weight=action.weight, reason=action.reason)


@router.post("/rollouts/pause", responses=responses(404, 409))
def pause(asked: Reason, caller: Operator, service: Served, request: Request) -> Rollout:
    """Leave the rollout's weight as it is; failures still abort it."""
    with service.operating(request, caller, "rollout pause", reason=asked.reason):
        return service.index.pause_rollout(asked.reason)


@router.post("/rollouts/resume", responses=responses(404, 409))
def resume(caller: Operator, service: Served, request: Request) -> Rollout:
    """Go on with a paused rollout."""
    with service.operating(request, caller, "rollout resume"):
        return service.index.resume_rollout()


@router.post("/rollouts/abort", responses=responses(404, 409))
def abort(asked: Reason, caller: Operator, service: Served, request: Request) -> Rollout:
    """End the rollout: from the next search on the live generation answers everybody."""
    with service.operating(request, caller, "rollout abort", reason=asked.reason):
        return service.index.abort_rollout(asked.reason)


@router.post("/feedback", responses=responses(404))
def feedback(asked: FeedbackRequest, _caller: Annotated[Caller, Depends(require("search"))], service: Served) -> Noted:
    """Tell which documents of a search a user took."""
    service.index.feedback(asked.query_id, asked.clicked)
    return Noted(clicked=len(asked.clicked))
