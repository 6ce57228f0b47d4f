"""The ways to answer a search while two generations serve: one file per route."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from regen.ports.rollouts import RouteKind
from regen.serving.routes.context import Answered, Serving
from regen.serving.routes.divided import ab, canary
from regen.serving.routes.interleaved import interleaved
from regen.serving.routes.shadow import shadow

ROUTES: Final[dict[RouteKind, Callable[[Serving], Answered | None]]] = {
    "canary": canary,
    "ab": ab,
    "shadow": shadow,
    "interleaved": interleaved,
}
"""Each answers one search, or says None when a generation was given up meanwhile."""

__all__ = ["ROUTES", "Answered", "Serving"]
