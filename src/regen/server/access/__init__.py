"""Who calls, and what they may do: keys, tokens, sessions of browsers, and how often they may come.

A route says ``caller: Annotated[Caller, Depends(require("operate"))]``; anything else asks :func:`principal_of`.
"""

from __future__ import annotations

from regen.server.access.caller import SCOPES, Caller, Scope
from regen.server.access.gate import principal_of, require

__all__ = ["SCOPES", "Caller", "Scope", "principal_of", "require"]
