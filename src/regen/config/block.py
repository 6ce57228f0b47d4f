"""What the blocks of regen.yaml have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from regen.config.quantities import parse_duration, parse_rate, parse_share

Duration = Annotated[float, BeforeValidator(parse_duration)]
Share = Annotated[float, BeforeValidator(parse_share)]
Rate = Annotated[float, BeforeValidator(parse_rate)]
"""Per second."""
Name = Annotated[str, Field(min_length=1)]


class Block(BaseModel):
    """One block of regen.yaml: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
