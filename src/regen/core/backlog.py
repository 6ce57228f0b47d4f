"""What a service has accepted, and what of it is searchable."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from regen.core.results import DocumentCounts


@dataclass(frozen=True, slots=True)
class Accepted:
    """Documents that are in the change log: at which ``revision`` it stands now, and how many differed."""

    revision: int
    documents: DocumentCounts

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Backlog:
    """Where the change log ends (``head``), and up to where it is searchable: in the live generation, and in all."""

    head: int
    live: int
    all: int

    @property
    def behind(self) -> bool:
        """Whether anything is left to do."""
        return self.all < self.head
