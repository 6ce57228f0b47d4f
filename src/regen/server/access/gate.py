"""The gate in front of every route: who calls, how often, and whether they may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.concurrency import run_in_threadpool

from regen.core.keys import Scope
from regen.server.access.caller import Caller

if TYPE_CHECKING:
    from regen.server.service import Service

BEARER: Final = "bearer"


def principal_of(request: Request) -> Caller:
    """Who calls. Raises Unauthenticated."""
    service: Service = request.app.state.service
    known: Caller | None = getattr(request.state, "caller", None)
    if known is None:
        known = request.state.caller = service.doorkeeper.identify(request)
    return known


class require(SecurityBase):  # noqa: N801 - reads as what it does: Depends(require("search"))
    """A dependency that lets callers with a scope pass, and gives the :class:`Caller`."""

    def __init__(self, scope: Scope) -> None:
        self.scope: Scope = scope
        self.model = HTTPBearer(description="An API key (`regen keys create`), or a token of the configured issuer.")
        self.scheme_name = BEARER

    async def __call__(self, request: Request) -> Caller:
        """Check; away from the event loop where that may take its time: a look at the catalog, or an issuer's keys."""
        service: Service = request.app.state.service
        if service.doorkeeper.at_hand:
            return self.check(request)
        return await run_in_threadpool(self.check, request)

    def check(self, request: Request) -> Caller:
        """The caller, if it may. Raises Unauthenticated, Forbidden."""
        caller = principal_of(request)
        caller.require(self.scope)
        return caller
