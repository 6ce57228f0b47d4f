"""Whether the server is there, and whether it can answer."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from regen.server.problems import responses
from regen.server.service import Served

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """``live`` is the generation that answers searches, None before the first sync."""

    status: str
    alias: str
    live: int | None


@router.get("/healthz", responses=responses())
def health() -> dict[str, str]:
    """The process runs. For whoever restarts it when it does not."""
    return {"status": "ok"}


@router.get("/readyz", responses=responses())
def ready(service: Served) -> Health:
    """The catalog answers. For whoever decides where requests go."""
    return Health(status="ok", alias=service.index.alias, live=service.index.live)
