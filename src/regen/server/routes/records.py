"""What happened: changes, dead letters, and what operators did."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from regen.core.results import ChangeRecord, DeadLetter
from regen.server.access import Caller, require
from regen.server.problems import responses
from regen.server.service import Served

router = APIRouter(prefix="/v1", tags=["records"])

Operator = Annotated[Caller, Depends(require("operate"))]
Limit = Annotated[int, Query(ge=1, le=10_000)]


class AuditEntry(BaseModel):
    """Who did what, when, from where, and what came of it."""

    id: int
    at: float
    actor: str
    action: str
    details: dict[str, Any]
    origin: str
    outcome: str


@router.get("/dead-letters", responses=responses())
def dead_letters(_caller: Operator, service: Served, limit: Limit = 100) -> list[DeadLetter]:
    """The documents that could not be processed, and why; `POST /v1/retry` tries them again."""
    return service.index.dead_letters(limit)


@router.get("/history", responses=responses())
def history(
    _caller: Operator,
    service: Served,
    document: Annotated[str | None, Query(min_length=1, max_length=4_000)] = None,
    limit: Limit = 50,
) -> list[ChangeRecord]:
    """The newest changes first, of one document or of all."""
    return service.index.history(document, limit)


@router.get("/audit", responses=responses())
def audit(
    _caller: Annotated[Caller, Depends(require("admin"))],
    service: Served,
    limit: Limit = 50,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Older than the entry of that id.")] = None,
) -> list[AuditEntry]:
    """What operators did, newest first."""
    return [AuditEntry(**asdict(item)) for item in service.index.audited(limit, before=before)]
