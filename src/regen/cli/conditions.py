"""``--where``: the conditions of a search, from the command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from regen.cli.exits import UsageError
from regen.core import where
from regen.errors import ConfigError


def parse_conditions(conditions: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The ``where`` of a search. Raises UsageError for what the grammar does not know."""
    try:
        return where.parse_conditions(conditions)
    except ConfigError as error:
        raise UsageError(f"--where: {error.message}", hint=error.hint) from None
