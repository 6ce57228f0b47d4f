"""The blocks of regen.yaml that are about rollouts and the query log."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from regen.config.block import Block, Duration, Share


class UsageSettings(Block):
    """What is kept of the searches. Texts that people type can be personal: nothing is, unless it is asked for."""

    keep_queries: Duration = 0.0


class RolloutSettings(Block):
    """What a rollout is judged by; what is left out is the route's own default (docs/concepts/online-comparison.md)."""

    interval: Duration | None = None
    count: int | None = Field(default=None, ge=1)
    success_condition: str | None = None
    failure_condition: str | None = None
    failure_limit: int | None = Field(default=None, ge=0)
    inconclusive_limit: int | None = Field(default=None, ge=0)
    step_weight: Share | None = None
    max_weight: Share | None = None
    steps: list[Share] | None = None
    alpha: float | None = Field(default=None, gt=0, lt=1)

    def given(self) -> dict[str, Any]:
        """Only what was written."""
        return {name: value for name, value in self.model_dump().items() if value is not None}
