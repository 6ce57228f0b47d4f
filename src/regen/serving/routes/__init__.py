"""The ways to answer a search while two generations serve: one file per route."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from regen.ports.rollouts import RouteKind
from regen.serving.routes.bridge import bridge
from regen.serving.routes.context import Answered, Serving
from regen.serving.routes.divided import ab, canary
from regen.serving.routes.dual import dual
from regen.serving.routes.interleaved import interleaved
from regen.serving.routes.on_read import on_read
from regen.serving.routes.rolling import rolling
from regen.serving.routes.shadow import shadow

ROUTES: Final[dict[RouteKind, Callable[[Serving], Answered | None]]] = {
    "canary": canary,
    "ab": ab,
    "shadow": shadow,
    "interleaved": interleaved,
    "dual": dual,
    "rolling": rolling,
    "on_read": on_read,
    "bridge": bridge,
}
"""Each answers one search, or says None when a generation was given up meanwhile."""

__all__ = ["ROUTES", "Answered", "Serving"]
