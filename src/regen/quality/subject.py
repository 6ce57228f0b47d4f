"""What is evaluated: one generation, and how it is searched."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from regen.core.documents import UNRESTRICTED, Principal, Unrestricted
from regen.core.results import SearchResult
from regen.ports import Embedder, Store
from regen.ports.catalog import CatalogReader, Generation
from regen.serving.reading import ReadSide, SearchText, ask


@dataclass(frozen=True, slots=True)
class Subject:
    """One generation with its store and model. Searches go the way that a user's go, fence included."""

    generation: Generation
    store: Store
    embedder: Embedder
    catalog: CatalogReader
    reader: ReadSide

    @property
    def number(self) -> int:
        """The generation's number."""
        return self.generation.number

    def search(
        self,
        query: SearchText,
        k: int,
        principals: Iterable[Principal] | Unrestricted | None = UNRESTRICTED,
    ) -> SearchResult:
        """The k best chunks of this generation, for a text or a vector of its own space. Counts as no user's search."""
        space = None if isinstance(query, str) else self.generation.recipe.space
        asked = ask(query, k, None, principals, self.number, space)
        return self.reader.search(asked, counted=False)

    def chunks_per_document(self) -> float:
        """How many chunks a document has on average; at least 1."""
        counts = self.catalog.counts(self.number)
        return max(1.0, counts.chunks / max(1, counts.documents))
