"""What Prometheus reads."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from regen.server.access import Caller, require
from regen.server.problems import responses
from regen.server.service import Served

router = APIRouter(tags=["metrics"])

FORMAT: Final = "text/plain; version=0.0.4; charset=utf-8"


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"description": "Prometheus's text format.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **responses(),
    },
)
def metrics(_caller: Annotated[Caller, Depends(require("operate"))], service: Served) -> Response:
    """Everything that is measured: freshness, failures, quality, cost, latency, the process itself."""
    return Response(service.metrics.exposed(), media_type=FORMAT)
