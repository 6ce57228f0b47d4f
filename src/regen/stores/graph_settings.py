"""What ``CollectionSpec.index`` may say to stores whose vector index is one graph of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from regen.errors import ConfigError


@dataclass(frozen=True, slots=True)
class GraphSettings:
    """``CollectionSpec.index``: ``m`` and ``ef_construction`` of the graph, ``ef`` candidates a search walks."""

    m: int = 16
    ef_construction: int = 128
    ef: int = 128

    @classmethod
    def of(cls, index: Mapping[str, Any], vendor: str, *others: str) -> GraphSettings:
        """Read the settings, but for ``others``. Raises ConfigError, naming the vendor, for what is not valid."""
        valid = asdict(cls())
        own = {key: value for key, value in index.items() if key not in others}
        for key, value in own.items():
            if key not in valid:
                known = ", ".join(sorted([*valid, *others]))
                raise ConfigError(f"unknown index setting {key!r}", hint=f"{vendor} knows {known}")
            if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
                raise ConfigError(f"index setting {key} is {value!r}", hint=f"a positive number; default {valid[key]}")
        return cls(**own)
