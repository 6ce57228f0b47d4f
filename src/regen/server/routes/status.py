"""Whether search is fresh, complete, affordable and as good as it was."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from regen.core.results import StatusReport
from regen.server.access import Caller, require
from regen.server.problems import responses
from regen.server.service import Served

router = APIRouter(prefix="/v1", tags=["status"])


@router.get("/status", responses=responses())
def status(_caller: Annotated[Caller, Depends(require("operate"))], service: Served) -> StatusReport:
    """All current generations, how far behind search is, what failed and why, and what it has cost."""
    return service.index.status()
