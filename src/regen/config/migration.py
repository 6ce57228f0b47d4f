"""The migration block: how a new generation is built and made live."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from regen.config.block import Block, Duration, Share
from regen.core.priority import TIERS, Tier

DAY: Final = 86_400.0
NOT_YET: Final = ("rolling", "on_read", "bridge")


class MigrationSettings(Block):
    """How a new generation is built and made live. ``throttle`` and ``pilot`` of None do nothing."""

    strategy: Literal["auto", "rebuild", "bulk"] = "auto"
    retain: Duration = 7 * DAY
    pilot: Share | None = None
    throttle: float | None = Field(default=None, gt=1, allow_inf_nan=False)
    priority: list[Tier] = Field(default_factory=lambda: list(TIERS))
    promote: Literal["manual", "auto"] = "manual"

    @field_validator("strategy", mode="before")
    @classmethod
    def _that_exists(cls, strategy: object) -> object:
        if strategy in NOT_YET:
            hint = "valid: auto, rebuild (beside the live one), bulk (a maintenance window)"
            raise PydanticCustomError(
                "regen",
                "{message}",
                {"message": f"{strategy!r} is not there yet: nothing would be built", "hint": hint},
            )
        return strategy

    @field_validator("pilot")
    @classmethod
    def _a_part(cls, pilot: float | None) -> float | None:
        if pilot is not None and not 0 < pilot < 1:
            raise ValueError("must be a share between 0 and 100%, such as 5%; leave it out to build all at once")
        return pilot

    @field_validator("priority")
    @classmethod
    def _each_once(cls, priority: list[Tier]) -> list[Tier]:
        if len(set(priority)) != len(priority):
            raise ValueError(f"names each of {', '.join(TIERS)} at most once")
        return priority
