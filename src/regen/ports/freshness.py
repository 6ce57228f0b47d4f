"""What the catalog tells of how far behind search is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class GenerationCounts:
    """Numbers of one generation, as ``status`` shows them; ages in seconds."""

    documents: int
    chunks: int
    pending: int
    stale: int
    failed: int
    deleted_still_present: int
    oldest_pending_at: float | None


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """How many living documents one source has, how many changes of it a generation lacks, and the oldest of those."""

    documents: int
    pending: int
    oldest_pending_at: float | None


class FreshnessReader(Protocol):
    """Counts and times of what a generation holds and lacks."""

    def counts(self, generation: int) -> GenerationCounts:
        """The numbers that ``status`` shows."""
        ...

    def latencies(
        self,
        generation: int,
        limit: int = 10_000,
        *,
        after: float | None = None,
        before: float | None = None,
        source: str | None = None,
    ) -> list[float]:
        """Seconds from a source's change to its placement, for the most recent placements; of one source or of all.

        ``after`` and ``before`` (excluded) bound the times at which the changes were logged.
        """
        ...

    def sources(self, generation: int | None) -> dict[str, SourceCounts]:
        """What a generation (None: of none) holds and lacks of each source that has documents, by name."""
        ...
