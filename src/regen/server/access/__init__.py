"""Who calls, and what they may do: keys, tokens, sessions of browsers, and how often they may come.

A route says ``caller: Annotated[Caller, Depends(require("operate"))]``; anything else asks :func:`principal_of`. A page
that logs a browser in calls ``doorkeeper.log_in(key)`` and :func:`set_cookie`.
"""

from __future__ import annotations

from regen.core.keys import SCOPES, Scope
from regen.server.access.caller import Caller, Forbidden, Unauthenticated
from regen.server.access.gate import principal_of, require
from regen.server.access.sessions import Session, clear_cookie, set_cookie

__all__ = [
    "SCOPES",
    "Caller",
    "Forbidden",
    "Scope",
    "Session",
    "Unauthenticated",
    "clear_cookie",
    "principal_of",
    "require",
    "set_cookie",
]
