"""The port of stores that cannot hold every document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class LimitedStore(Protocol):
    """A store that refuses what is too long for it.

    It is asked before a text is embedded: what it refuses becomes a dead letter, and stops nobody else.
    """

    def refusal(self, text: str, metadata: Mapping[str, Any], access: list[str] | None) -> str | None:
        """Why a chunk of this text, metadata (of keys that can be filterable) and access cannot be kept; else None."""
        ...
