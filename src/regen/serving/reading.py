"""Everything that reads for a searcher: route, embed the query, ask the store, fence, and note what was returned."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from regen.core.documents import Principal, Unrestricted, digest
from regen.core.filters import Filter, parse_filter
from regen.core.results import SearchResult
from regen.errors import CollectionMissing, ConfigError, NotFound, RegenError
from regen.ports import Embedder, Store, Vector
from regen.ports.catalog import CURRENT_STATES, Catalog, Generation, Route
from regen.ports.keywords import SEARCH_MODES, SearchMode
from regen.ports.rollouts import LoggedQuery, Rollout, RouteKind
from regen.serving.querylog import QueryLog
from regen.serving.routes import ROUTES, Answered, Serving
from regen.serving.search import FenceReader, Query, answer, check_own_vector, embed_query
from regen.serving.usage import UsageCounter

if TYPE_CHECKING:
    from regen.serving.reranking import Reranking
    from regen.serving.rescoring import Rescoring

SearchText = str | Sequence[float] | Vector
BY_VECTORS: Final[frozenset[RouteKind]] = frozenset({"dual", "rolling", "on_read", "bridge"})
"""Routes that work on the scores of two models, or on their vectors. Words have neither, and what fused ranks make is
no such score: meanwhile the live generation, which is complete, answers searches that look for words."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller asked, checked and parsed. ``key`` names the caller, whom a rollout treats alike each time.

    ``rerank`` says whether a configured reranker may order the hits. Where it does, ``k`` is how many candidates are
    asked for, and ``wanted`` how many hits the caller gets of them. ``mode`` says by what is searched.
    """

    query: SearchText
    k: int
    where: Filter
    principals: frozenset[Principal] | Unrestricted
    generation: int | None
    space: str | None
    key: str | None = None
    rerank: bool = True
    wanted: int | None = None
    mode: SearchMode = "vector"


def ask(  # noqa: PLR0917 - the facade's keywords, in its order
    query: SearchText,
    k: int,
    where: Mapping[str, Any] | None,
    principals: Iterable[Principal] | Unrestricted | None,
    generation: int | None,
    space: str | None,
    key: str | None = None,
    *,
    rerank: bool = True,
    mode: SearchMode = "vector",
) -> Asked:
    """A caller's arguments as a question. Raises ConfigError."""
    if k < 1:
        raise ConfigError(f"k is {k}", hint="ask for at least one hit")
    if mode not in SEARCH_MODES:
        raise ConfigError(f"search mode {mode!r}", hint=f"valid are {', '.join(SEARCH_MODES)}")
    if mode != "vector" and not isinstance(query, str):
        raise ConfigError(f"{mode} search looks for words, and the query is a vector", hint="ask with a text")
    if not isinstance(principals, Unrestricted):
        principals = frozenset([principals] if isinstance(principals, str) else principals or ())
    return Asked(query, k, parse_filter(where), principals, generation, space, key, rerank, mode=mode)


@dataclass(slots=True)
class ReadSide:
    """Answers searches. Safe to use from several threads; it writes nothing but counts and the query log.

    ``store_of`` and ``embedder_for`` give the store and the model of a generation. ``keep_queries`` logs every text
    that is asked for; those that are part of a rollout are logged in any case. ``on_logged`` is called when logged
    searches of a rollout were written. ``place`` is told the building generation, and the documents that were returned
    but are not in it, of a rollout that fills it with what is read. ``rescoring`` scores what a merged list lacks new
    scores of. ``memory`` is what routes keep between searches.
    """

    alias: str
    catalog: Catalog
    store_of: Callable[[Generation], Store]
    embedder_for: Callable[[Generation], Embedder]
    usage: UsageCounter
    log: QueryLog
    keep_queries: bool = False
    on_logged: Callable[[], None] | None = None
    place: Callable[[int, list[str]], None] | None = None
    reranking: Reranking | None = None
    rescoring: Rescoring | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    _known: dict[int, Generation] = field(default_factory=dict)
    _rollout: Rollout | None = None

    def search(self, asked: Asked, *, counted: bool = True) -> SearchResult:
        """The k best chunks. What ``counted`` searches return raises their documents' priority in a backfill.

        Only counted searches are reranked: what measures a generation must see its own order. Raises NotFound before
        the first sync, SpaceMismatch, EmbedderError, StoreError.
        """
        if counted and asked.rerank and self.reranking is not None and isinstance(asked.query, str):
            asked = replace(asked, k=self.reranking.candidates(asked.k), wanted=asked.k)
        while True:
            route = self.catalog.route(self.alias)
            try:
                result = self._by_route(asked, route, self._under_way(asked, route) if counted else None)
            except NotFound:
                if asked.generation is not None or self.catalog.route(self.alias) == route:
                    raise
                continue  # the alias was switched, or a candidate retired, between two looks at the catalog
            if result is not None:
                break  # else a generation was given up while the search was under way: its successor answers
        if counted:
            self.usage.note({hit.doc_id for hit in result.hits})
        return result

    def forget(self) -> None:
        """Generations have changed: look them up anew."""
        self._known.clear()

    def close(self) -> None:
        """Write what was counted and logged, and release the reranker."""
        self.log.flush()
        if self.reranking is not None:
            self.reranking.close()

    # ── one generation ──────────────────────────────────────────────────────────────────────────────────────

    def _by_route(self, asked: Asked, route: Route, rollout: Rollout | None) -> SearchResult | None:
        """What the alias asks for; None when a generation was given up meanwhile. Raises NotFound."""
        if rollout is None:
            return self._one(asked, route)
        if asked.mode != "vector" and rollout.kind in BY_VECTORS:
            return self._live_alone(asked, route, rollout)
        return self._routed(asked, route, rollout)

    def _one(self, asked: Asked, route: Route) -> SearchResult | None:
        started = time.perf_counter()
        name = "live" if asked.generation is None else f"generation {asked.generation}"
        target = self._target(route.live if asked.generation is None else asked.generation)
        result = self.answer(asked, target, route, name)
        result = None if result is None else self._ordered(asked, result)
        if result is None or not (self.keep_queries and isinstance(asked.query, str) and asked.generation is None):
            return result
        answered = Answered(result, "live", (time.perf_counter() - started) * 1e3)
        return self._logged(asked, answered, None)

    def answer(
        self,
        asked: Asked,
        target: Generation,
        route: Route,
        name: str,
        *,
        enough: int | None = None,
        facts: FenceReader | None = None,
    ) -> SearchResult | None:
        """One generation's answer; None when it was given up meanwhile.

        With ``enough`` a list of fewer than k hits is not filled up when it has so many. ``facts`` may hold the fence
        to more than the catalog does.
        """
        started = time.perf_counter()
        vector: Vector | None
        if asked.mode == "keyword":
            vector = None
        elif isinstance(asked.query, str):
            vector = embed_query(asked.query, target.recipe, self.embedder_for(target))
        else:
            vector = check_own_vector(asked.query, asked.space, target.recipe)
        embed_ms = (time.perf_counter() - started) * 1e3
        return self.answer_vector(asked, vector, target, route, name, embed_ms=embed_ms, enough=enough, facts=facts)

    def answer_vector(
        self,
        asked: Asked,
        vector: Vector | None,
        target: Generation,
        route: Route,
        name: str,
        *,
        embed_ms: float = 0.0,
        enough: int | None = None,
        facts: FenceReader | None = None,
    ) -> SearchResult | None:
        """One generation's answer to a vector of its space (None: to the words alone); as ``answer``."""
        words = str(asked.query) if asked.mode != "vector" else None
        query = Query(
            vector, asked.k, asked.where, asked.principals, embed_ms, route.restricted, route.drops, enough, words
        )
        try:
            result = answer(query, target, self.store_of(target), facts or self.catalog, name)
        except CollectionMissing:
            if self._is_gone(target):
                return None
            raise
        gone = result.explanation.dropped.get("superseded") and self._is_gone(target)
        return None if gone else result

    def _live_alone(self, asked: Asked, route: Route, rollout: Rollout) -> SearchResult | None:
        """The live generation's answer, in place of a route that needs two models' scores; it says so (I10)."""
        result = self._one(asked, route)
        if result is None:
            return None
        told = f"{asked.mode} search is answered by generation {result.generation} alone: {rollout.kind} needs vectors"
        return replace(result, explanation=replace(result.explanation, fallback=told))

    # ── two generations ─────────────────────────────────────────────────────────────────────────────────────

    def _under_way(self, asked: Asked, route: Route) -> Rollout | None:
        """The rollout that this search is part of: those for a text, of nobody's generation in particular."""
        if route.rollout is None or asked.generation is not None or not isinstance(asked.query, str):
            return None
        known = self._rollout
        if known is None or (known.id, known.version) != (route.rollout, route.rollout_version):
            known = self._rollout = self.catalog.rollout(self.alias)
        return known

    def _routed(self, asked: Asked, route: Route, rollout: Rollout) -> SearchResult | None:
        live, candidate = self._target(route.live), self._target(rollout.candidate)
        serving = Serving(self, asked, route, rollout, live, candidate, secrets.token_hex(8))
        answered = ROUTES[rollout.kind](serving)
        if answered is None:
            return None
        shown = self._ordered(asked, answered.result)
        if answered.then is not None:
            answered.then(shown)
        return self._logged(asked, replace(answered, result=shown), serving)

    def _ordered(self, asked: Asked, result: SearchResult) -> SearchResult:
        """A route's answer in the reranker's order, where there is one; what is logged is what users see."""
        if self.reranking is None or asked.wanted is None:
            return result
        return self.reranking.rerank(str(asked.query), result, asked.wanted)

    def _logged(self, asked: Asked, answered: Answered, serving: Serving | None) -> SearchResult:
        """Keep the search for feedback and analysis; the result with its query id."""
        assert isinstance(asked.query, str)
        result = answered.result
        query_id = serving.query_id if serving else secrets.token_hex(8)
        key = digest(asked.key.encode()).hex()[:16] if asked.key else ""
        returned = tuple(dict.fromkeys(hit.doc_id for hit in result.hits))
        written = self.log.note(
            LoggedQuery(
                query_id,
                asked.query,
                result.generation,
                returned,
                (),
                time.time(),
                serving.rollout.id if serving else None,
                answered.arm,
                answered.milliseconds,
                answered.failed,
                tuple(answered.teams.get(doc) for doc in returned) if answered.teams else (),
                key,
            )
        )
        if written and serving is not None and self.on_logged is not None:
            try:
                self.on_logged()
            except RegenError:  # whoever analyses next does it: a search does not fail because of its rollout
                self._rollout = None
        return replace(result, query_id=query_id)

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
