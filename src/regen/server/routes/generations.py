"""Generations: which there are, who answers, and the switches between them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from regen.core.results import GenerationStatus, PauseResult, SwitchResult
from regen.ports.catalog import Switch
from regen.server.access import Caller, require
from regen.server.problems import responses
from regen.server.service import Served

router = APIRouter(prefix="/v1", tags=["generations"])

Operator = Annotated[Caller, Depends(require("operate"))]
Generation = Annotated[int | None, Field(ge=1, le=2**31 - 1)]


class RollbackRequest(BaseModel):
    """Where to (default: the previous generation), and why. ``expected_version`` is the alias's that was looked at."""

    model_config = ConfigDict(extra="forbid")

    to: Generation = None
    reason: str = Field(default="", max_length=10_000)
    expected_version: int | None = Field(default=None, ge=0, le=2**31 - 1)


class PauseRequest(BaseModel):
    """Which backfill (default: the one there is), and why."""

    model_config = ConfigDict(extra="forbid")

    generation: Generation = None
    reason: str = Field(default="", max_length=10_000)


class ResumeRequest(BaseModel):
    """Which backfill (default: the one that is paused)."""

    model_config = ConfigDict(extra="forbid")

    generation: Generation = None


class Alias(BaseModel):
    """The name that readers query: which generation answers, and who switched it when and why, newest first."""

    alias: str
    live: int | None
    version: int
    switches: list[Switch]


class Retired(BaseModel):
    """The generation that was given up."""

    generation: int


class KeptEvaluationView(BaseModel):
    """An evaluation that was made: what it was about, its verdict, and its JSON."""

    id: int
    generation: int
    against: int | None
    verdict: str
    evaluated_at: float
    result: dict[str, Any]


@router.get("/generations", responses=responses())
def generations(_caller: Operator, service: Served) -> list[GenerationStatus]:
    """The generations that receive every change."""
    return service.index.status().generations


@router.delete("/generations/{number}", responses=responses(404, 409))
def retire(
    number: Annotated[int, Path(ge=1, le=2**31 - 1)],
    caller: Annotated[Caller, Depends(require("admin"))],
    service: Served,
    request: Request,
) -> Retired:
    """Give a generation up and drop its collection. Not the live one."""
    with service.operating(request, caller, "retire", generation=number):
        service.index.retire(number)
    return Retired(generation=number)


@router.get("/alias", responses=responses())
def alias(_caller: Operator, service: Served) -> Alias:
    """Where the alias points, and its history."""
    switches = service.index.switches()
    version = switches[0].version if switches else 0
    return Alias(alias=service.index.alias, live=service.index.live, version=version, switches=switches)


@router.get("/evaluations", responses=responses())
def evaluations(
    _caller: Operator,
    service: Served,
    generation: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> list[KeptEvaluationView]:
    """What was measured, newest first."""
    shown = KeptEvaluationView.model_fields
    return [
        KeptEvaluationView(**{name: getattr(item, name) for name in shown})
        for item in service.index.evaluations(generation, limit)
    ]


@router.post("/rollback", responses=responses(404, 409))
def rollback(asked: RollbackRequest, caller: Operator, service: Served, request: Request) -> SwitchResult:
    """Go back to the previous generation, or another retained one, with every change made since."""
    with service.operating(request, caller, "rollback", **asked.model_dump()):
        return service.index.rollback(asked.to, reason=asked.reason, expected_version=asked.expected_version)


@router.post("/pause", responses=responses(404, 409))
def pause(asked: PauseRequest, caller: Operator, service: Served, request: Request) -> PauseResult:
    """Let a backfill stop before its next batch, wherever it runs. Syncs and searches go on."""
    with service.operating(request, caller, "pause", **asked.model_dump()):
        return service.index.pause(asked.generation, reason=asked.reason)


@router.post("/resume", responses=responses(404, 409))
def resume(asked: ResumeRequest, caller: Operator, service: Served, request: Request) -> PauseResult:
    """End a pause: the next apply goes on where the backfill stopped."""
    with service.operating(request, caller, "resume", **asked.model_dump()):
        return service.index.resume(asked.generation)
