"""Everything that reads for a searcher: route, embed the query, ask the store, fence, and note what was returned."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regen.core.documents import Principal, Unrestricted
from regen.core.filters import Filter, parse_filter
from regen.core.results import SearchResult
from regen.errors import CollectionMissing, ConfigError, NotFound
from regen.ports import Embedder, Store, Vector
from regen.ports.catalog import CURRENT_STATES, Catalog, Generation
from regen.serving.search import Query, answer, check_own_vector, embed_query
from regen.serving.usage import UsageCounter

SearchText = str | Sequence[float] | Vector


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller asked, checked and parsed."""

    query: SearchText
    k: int
    where: Filter
    principals: frozenset[Principal] | Unrestricted
    generation: int | None
    space: str | None


def ask(
    query: SearchText,
    k: int,
    where: Mapping[str, Any] | None,
    principals: Iterable[Principal] | Unrestricted | None,
    generation: int | None,
    space: str | None,
) -> Asked:
    """A caller's arguments as a question. Raises ConfigError."""
    if k < 1:
        raise ConfigError(f"k is {k}", hint="ask for at least one hit")
    if not isinstance(principals, Unrestricted):
        principals = frozenset([principals] if isinstance(principals, str) else principals or ())
    return Asked(query, k, parse_filter(where), principals, generation, space)


@dataclass(slots=True)
class ReadSide:
    """Answers searches. Safe to use from several threads; it writes nothing but counts of what was returned.

    ``store_of`` and ``embedder_for`` give the store and the model of a generation.
    """

    alias: str
    catalog: Catalog
    store_of: Callable[[Generation], Store]
    embedder_for: Callable[[Generation], Embedder]
    usage: UsageCounter
    _known: dict[int, Generation] = field(default_factory=dict)

    def search(self, asked: Asked, *, counted: bool = True) -> SearchResult:
        """The k best chunks. What ``counted`` searches return raises their documents' priority in a backfill.

        Raises NotFound before the first sync, SpaceMismatch, EmbedderError, StoreError.
        """
        while True:
            target, result = self._try(asked)
            if result is not None and not (result.explanation.dropped.get("superseded") and self._is_gone(target)):
                break  # else the generation was given up while the search was under way: its successor answers
        if counted:
            self.usage.note({hit.doc_id for hit in result.hits})
        return result

    def forget(self) -> None:
        """Generations have changed: look them up anew."""
        self._known.clear()

    def _try(self, asked: Asked) -> tuple[Generation, SearchResult | None]:
        """One try, and by which generation; no result when that was given up meanwhile."""
        route = self.catalog.route(self.alias)
        target = self._target(route.live if asked.generation is None else asked.generation)
        started = time.perf_counter()
        if isinstance(asked.query, str):
            vector = embed_query(asked.query, target.recipe, self.embedder_for(target))
        else:
            vector = check_own_vector(asked.query, asked.space, target.recipe)
        embed_ms = (time.perf_counter() - started) * 1e3
        query = Query(vector, asked.k, asked.where, asked.principals, embed_ms, route.restricted, route.drops)
        name = "live" if asked.generation is None else f"generation {asked.generation}"
        try:
            return target, answer(query, target, self.store_of(target), self.catalog, name)
        except CollectionMissing:
            if self._is_gone(target):
                return target, None
            raise

    def _current(self) -> dict[int, Generation]:
        return {item.number: item for item in self.catalog.generations() if item.state in CURRENT_STATES}

    def _is_gone(self, generation: Generation) -> bool:
        """Whether a generation that was known has been given up."""
        self._known = self._current()
        return generation.number not in self._known

    def _target(self, wanted: int | None) -> Generation:
        """The generation that answers a search. Raises NotFound."""
        if wanted is None:
            raise NotFound(f"index {self.alias!r} is not live yet", hint="run `regen sync` first")
        if wanted not in self._known:
            self._known = self._current()
        if wanted not in self._known:
            raise NotFound(f"there is no generation {wanted}", hint=f"there are: {sorted(self._known) or 'none'}")
        return self._known[wanted]
