"""What checks on live data ask the catalog: samples of documents, facts about them, and what a store may still hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from regen.core.documents import Document, Principal
from regen.ports.placements import Garbage


@dataclass(frozen=True, slots=True)
class DocumentFacts:
    """A document as the change log last saw it. ``access`` of None is public.

    ``changed_at`` is the source's own time of the change where it gave one, else when it was seen; seconds since the
    epoch.
    """

    doc_id: str
    revision: int
    deleted: bool
    access: tuple[Principal, ...] | None
    changed_at: float


@dataclass(frozen=True, slots=True)
class Unnamed:
    """How many points of a generation the store may hold though no placement names them (yet, or any more)."""

    garbage: int
    intended: int


class AuditReader(Protocol):
    """Questions of an auditor. A sample is decided by its seed: equal catalogs give equal samples."""

    def facts(self, ids: Sequence[str]) -> dict[str, DocumentFacts]:
        """Those of the ids that the catalog has, deleted ones included."""
        ...

    def newest(self, limit: int, *, deleted: bool = False) -> list[DocumentFacts]:
        """The documents that were changed last, or those that were deleted last, newest first."""
        ...

    def sampled(self, limit: int, *, seed: int) -> list[DocumentFacts]:
        """At most ``limit`` living documents drawn at random, each as likely as any other."""
        ...

    def access_lists(self, limit: int, *, seed: int) -> list[DocumentFacts]:
        """One living document for each of at most ``limit`` distinct access lists, drawn at random."""
        ...

    def living(self, batch: int = 500) -> Iterator[list[Document]]:
        """All living documents whose text is kept, with text, metadata, access and version, in pages."""
        ...

    def unnamed(self, generation: int) -> Unnamed:
        """What a generation's store may hold beside the points that placements name."""
        ...

    def garbage(self, generation: int, limit: int = 200) -> list[Garbage]:
        """The oldest garbage, to be deleted from the store."""
        ...
