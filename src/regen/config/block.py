"""What the blocks of regen.yaml have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from regen.config.quantities import parse_duration, parse_rate, parse_share
from regen.errors import ConfigError

Duration = Annotated[float, BeforeValidator(parse_duration)]
Share = Annotated[float, BeforeValidator(parse_share)]
Rate = Annotated[float, BeforeValidator(parse_rate)]
"""Per second."""
Name = Annotated[str, Field(min_length=1)]


class Block(BaseModel):
    """One block of regen.yaml: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


@dataclass(frozen=True, slots=True)
class Holds:
    """Marks a mapping of any keys, some of which are those of a block: what is valid there can then be told."""

    block: type[BaseModel]


def as_custom_error(error: ConfigError) -> PydanticCustomError:
    """An error of the core, so that it is reported with its place in the file."""
    return PydanticCustomError("regen", "{message}", {"message": error.message, "hint": error.hint or ""})
