"""The rerank block: who orders a search's candidates anew, how many of them, and how long that may take."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from regen.config.block import Block, Name


class RerankerSettings(Block):
    """Who orders a search's candidates anew. ``options`` go to the reranker."""

    model: Name
    depth: int = Field(default=50, ge=2)
    top: int = Field(default=10, ge=1)
    budget_ms: float = Field(default=80.0, gt=0, allow_inf_nan=False)
    distinct: bool = True
    options: dict[str, Any] = Field(default_factory=dict)
