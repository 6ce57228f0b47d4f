"""Search: embed the query in the generation's space, ask the store by vector, by words or both, fence, refill, fuse."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

import numpy as np

from regen.core.documents import UNRESTRICTED, Principal, Unrestricted
from regen.core.filters import Filter
from regen.core.recipe import Recipe
from regen.core.results import Explanation, Hit, SearchResult
from regen.errors import ConfigError, EmbedderContract, SpaceMismatch
from regen.ports import Embedder, Store, StoreHit, Vector
from regen.ports.catalog import Generation
from regen.ports.keywords import KeywordStore, SearchMode
from regen.ports.placements import FenceEntry
from regen.serving.fence import Fenced, fence
from regen.spaces.fusion import reciprocal_rank_fusion
from regen.spaces.vectors import normalize

Ask: TypeAlias = Callable[[int, frozenset[Principal] | Unrestricted], list[list[StoreHit]]]
MAX_ROUNDS: Final = 6
GROWTH: Final = 4
FUSED_DEPTH: Final = 100
"""Candidates that are taken from each of two lists that are fused; more if the caller wants more."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a caller asks. ``vector`` is in the generation's space already; ``embed_ms`` is what making it took.

    ``restricted`` is False when no document has an access list: the store is then spared a filter that all would pass.
    The fence checks access in any case. ``drops`` is the catalog's number of that name, from before the store is asked.
    ``enough`` is how many hits need no second look when the fence has dropped some (None: ``k``). ``words`` is the text
    to look for by words; with a ``vector`` too, two lists are asked for and fused.
    """

    vector: Vector | None
    k: int
    where: Filter
    principals: frozenset[Principal] | Unrestricted
    embed_ms: float = 0.0
    restricted: bool = True
    drops: int = 0
    enough: int | None = None
    words: str | None = None

    @property
    def mode(self) -> SearchMode:
        """By what it searches."""
        if self.words is None:
            return "vector"
        return "keyword" if self.vector is None else "hybrid"


class FenceReader(Protocol):
    """What the fence asks the catalog."""

    def fence(self, generation: int, ids: Sequence[str]) -> Mapping[str, FenceEntry]:
        """The facts for those of the ids that the generation places, of one moment."""
        ...

    def drops(self) -> int:
        """A number that changes whenever points cease to be named."""
        ...


def embed_query(text: str, recipe: Recipe, embedder: Embedder) -> Vector:
    """The query's vector in the recipe's space, shape (dimensions,). Raises EmbedderContract, EmbedderError."""
    vector = np.asarray(embedder.embed_query(recipe.embedding.query_prefix + text), dtype=np.float32).reshape(-1)
    if vector.shape[0] != recipe.embedding.dimensions:
        raise EmbedderContract(
            f"the model's query vector has {vector.shape[0]} dimensions; space {recipe.space} has "
            f"{recipe.embedding.dimensions}"
        )
    if not np.isfinite(vector).all():
        raise EmbedderContract("the model's query vector contains NaN or infinity")
    return normalize(vector[np.newaxis])[0] if recipe.embedding.normalize else vector


def check_own_vector(vector: Sequence[float] | Vector, space: str | None, recipe: Recipe) -> Vector:
    """A caller's own query vector, checked to be of the recipe's space (I1). Raises SpaceMismatch."""
    try:
        with np.errstate(over="ignore"):  # a number beyond float32 becomes infinity, which is refused below
            own = np.asarray(vector, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the query is no vector: {error}", hint="a list of numbers is valid, or a text") from None
    if not np.isfinite(own).all():
        raise ConfigError("the query vector contains NaN, infinity, or numbers beyond float32")
    if space is None:
        raise SpaceMismatch(
            "a query vector must say of which space it is",
            hint=f"pass space={recipe.space!r} if it was made by {recipe.embedding.model}",
        )
    if space not in {recipe.space, recipe.query_space}:
        raise SpaceMismatch(
            f"the query vector is of space {space}, the generation of space {recipe.space} ({recipe.embedding.model})",
            hint="embed the query with the generation's own model",
        )
    if own.shape != (recipe.embedding.dimensions,):
        raise SpaceMismatch(
            f"the query vector has shape {own.shape}; space {recipe.space} has {recipe.embedding.dimensions} dimensions"
        )
    return own


def answer(query: Query, generation: Generation, store: Store, reader: FenceReader, route: str) -> SearchResult:
    """The up to k best chunks that the caller may see, all of one generation and of one moment of the catalog.

    The fence judges the vector list and the word list together, by one look at the catalog: what a document is may
    not differ between them. Raises ConfigError when the store cannot search by words.
    """
    ask = _asker(query, generation, store)
    pushed, drops = query.principals if query.restricted else UNRESTRICTED, query.drops
    dropped: Counter[str] = Counter()
    fused = query.words is not None and query.vector is not None
    wanted, rounds, store_ms, fence_ms = max(query.k, FUSED_DEPTH) if fused else query.k, 0, 0.0, 0.0
    enough = query.k if query.enough is None else query.enough
    while True:
        rounds += 1
        started = time.perf_counter()
        lists = ask(wanted, pushed)
        middle = time.perf_counter()
        found = [hit for hits in lists for hit in hits]
        facts = reader.fence(generation.number, list({hit.doc_id for hit in found}))
        fenced = [fence(hits, facts, query.where, query.principals) for hits in lists]
        store_ms += (middle - started) * 1e3
        fence_ms += (time.perf_counter() - middle) * 1e3
        dropped = sum((one.dropped for one in fenced), Counter())
        if pushed is not query.principals and any(not entry.current for one in fenced for _, entry, _ in one.passed):
            # A text that is about to be replaced may not have been for everyone: the store still knows for whom it was.
            pushed = query.principals
            continue
        if dropped["superseded"] and rounds < MAX_ROUNDS and (now := reader.drops()) != drops:
            # A placement was swapped between the store's answer and the fence's: readers see the old text or the new.
            drops = now
            continue
        full = all(len(one.passed) >= enough or len(hits) < wanted for one, hits in zip(fenced, lists, strict=True))
        if full or rounds == MAX_ROUNDS:
            break
        wanted *= GROWTH  # the fence dropped some: ask for more candidates, so that the list is full again
    explanation = Explanation(
        route, query.embed_ms, store_ms, fence_ms, rounds, len(found), dict(dropped), mode=query.mode
    )
    return SearchResult(generation.number, generation.recipe.space, _hits(fenced, query.k, generation), explanation)


def _asker(query: Query, generation: Generation, store: Store) -> Ask:
    """How the store is asked: one list for a vector, one for words. Raises ConfigError when it finds no words."""
    vector, words = query.vector, query.words
    asks: list[Callable[..., list[StoreHit]]] = []
    if vector is not None:
        asks.append(partial(store.search, generation.collection, vector))
    if words is not None:
        if not isinstance(store, KeywordStore):
            raise ConfigError(
                f"{query.mode} search: the store of generation {generation.number} ({type(store).__name__}) does not "
                "search by words",
                hint="search by vectors alone, or move to a store that does: docs/reference/stores.md has a table",
            )
        asks.append(partial(store.search_words, generation.collection, words))
    return lambda wanted, pushed: [one(wanted, where=query.where, principals=pushed) for one in asks]


def _hits(fenced: Sequence[Fenced], k: int, generation: Generation) -> list[Hit]:
    space = generation.recipe.space
    if len(fenced) == 1:
        return [_hit(*passed, generation.number, space) for passed in fenced[0].passed[:k]]
    passed = {one[0].point_id: one for some in fenced for one in some.passed}
    ranked = reciprocal_rank_fusion([[one[0].point_id for one in some.passed] for some in fenced])[:k]
    return [replace(_hit(*passed[point_id], generation.number, space), score=score) for point_id, score in ranked]


def _hit(hit: StoreHit, entry: FenceEntry, metadata: dict[str, Any], generation: int, space: str) -> Hit:
    return Hit(hit.doc_id, hit.chunk_id, hit.score, hit.text, metadata, entry.revision, generation, space)
