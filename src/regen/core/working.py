"""What a worker tells of its work."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from regen.core.results import ChunkCounts


@dataclass(slots=True)
class WorkResult:
    """What one worker did: ``documents`` in step and ``failed``, in how many ranges.

    ``lost`` ranges were taken over by others, because this worker did not renew its lease in time.
    """

    documents: int = 0
    failed: int = 0
    ranges: int = 0
    lost: int = 0
    chunks: ChunkCounts = field(default_factory=ChunkCounts)
    embedded_texts: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class WorkEvent:
    """Something that a worker tells: ``event`` is range, lost, failed, live, ready or idle."""

    event: str
    generation: int | None = None
    documents: int = 0
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)
