"""The migration block: how a new generation is built and made live."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from regen.config.block import Block, Duration, Rate, Share
from regen.core.priority import TIERS, Tier

DAY: Final = 86_400.0


class RescoreSettings(Block):
    """How many pending candidates the new model scores while a search waits. ``texts`` of None: where that is free."""

    texts: int | None = Field(default=None, ge=0, le=1_000)
    budget_ms: float = Field(default=50.0, gt=0, allow_inf_nan=False)


class MigrationSettings(Block):
    """How a new generation is built and made live. ``throttle``, ``pilot`` and ``drain`` of None do nothing."""

    strategy: Literal["auto", "rebuild", "rolling", "on_read", "bulk", "bridge"] = "auto"
    retain: Duration = 7 * DAY
    pilot: Share | None = None
    throttle: float | None = Field(default=None, gt=1, allow_inf_nan=False)
    drain: Rate | None = None
    rescore: RescoreSettings | None = None
    priority: list[Tier] = Field(default_factory=lambda: list(TIERS))
    promote: Literal["manual", "auto"] = "manual"

    @field_validator("pilot")
    @classmethod
    def _a_part(cls, pilot: float | None) -> float | None:
        if pilot is not None and not 0 < pilot < 1:
            raise ValueError("must be a share between 0 and 100%, such as 5%; leave it out to build all at once")
        return pilot

    @field_validator("drain")
    @classmethod
    def _of_on_read(cls, drain: float | None, info: ValidationInfo) -> float | None:
        if drain is not None and info.data.get("strategy") != "on_read":
            raise ValueError("goes with `strategy: on_read` only: it places what no search has returned")
        return drain

    @field_validator("rescore")
    @classmethod
    def _of_merging(cls, rescore: RescoreSettings | None, info: ValidationInfo) -> RescoreSettings | None:
        if rescore is not None and info.data.get("strategy") not in {"rolling", "on_read"}:
            raise ValueError("goes with `strategy: rolling` or `on_read`: others merge no two generations")
        return rescore

    @field_validator("priority")
    @classmethod
    def _each_once(cls, priority: list[Tier]) -> list[Tier]:
        if len(set(priority)) != len(priority):
            raise ValueError(f"names each of {', '.join(TIERS)} at most once")
        return priority
