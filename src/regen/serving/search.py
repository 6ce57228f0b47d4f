"""Search: embed the query in the generation's space, ask the store, fence, refill."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from regen.core.documents import UNRESTRICTED, Principal, Unrestricted
from regen.core.filters import Filter
from regen.core.recipe import Recipe
from regen.core.results import Explanation, Hit, SearchResult
from regen.errors import ConfigError, EmbedderContract, SpaceMismatch
from regen.ports import Embedder, Store, StoreHit, Vector
from regen.ports.catalog import Generation
from regen.ports.placements import FenceEntry
from regen.serving.fence import Fenced, fence
from regen.spaces.vectors import normalize

MAX_ROUNDS: Final = 6
GROWTH: Final = 4


@dataclass(frozen=True, slots=True)
class Query:
    """What a caller asks. ``vector`` is in the generation's space already; ``embed_ms`` is what making it took.

    ``restricted`` is False when no document has an access list: the store is then spared a filter that all would pass.
    The fence checks access in any case. ``drops`` is the catalog's number of that name, from before the store is asked.
    ``enough`` is how many hits need no second look when the fence has dropped some (None: ``k``).
    """

    vector: Vector
    k: int
    where: Filter
    principals: frozenset[Principal] | Unrestricted
    embed_ms: float = 0.0
    restricted: bool = True
    drops: int = 0
    enough: int | None = None


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
    """The up to k best chunks that the caller may see, all of one generation and of one moment of the catalog."""
    pushed, drops = query.principals if query.restricted else UNRESTRICTED, query.drops
    dropped: Counter[str] = Counter()
    wanted, rounds, store_ms, fence_ms = query.k, 0, 0.0, 0.0
    enough = query.k if query.enough is None else query.enough
    while True:
        rounds += 1
        started = time.perf_counter()
        found = store.search(generation.collection, query.vector, wanted, where=query.where, principals=pushed)
        middle = time.perf_counter()
        facts = reader.fence(generation.number, list({hit.doc_id for hit in found}))
        fenced = fence(found, facts, query.where, query.principals)
        store_ms += (middle - started) * 1e3
        fence_ms += (time.perf_counter() - middle) * 1e3
        dropped = fenced.dropped
        if pushed is not query.principals and any(not entry.current for _, entry, _ in fenced.passed):
            # A text that is about to be replaced may not have been for everyone: the store still knows for whom it was.
            pushed = query.principals
            continue
        if dropped["superseded"] and rounds < MAX_ROUNDS and (now := reader.drops()) != drops:
            # A placement was swapped between the store's answer and the fence's: readers see the old text or the new.
            drops = now
            continue
        if len(fenced.passed) >= enough or len(found) < wanted or rounds == MAX_ROUNDS:
            break
        wanted *= GROWTH  # the fence dropped some: ask for more candidates, so that the list is full again
    explanation = Explanation(route, query.embed_ms, store_ms, fence_ms, rounds, len(found), dict(dropped))
    return SearchResult(generation.number, generation.recipe.space, _hits(fenced, query.k, generation), explanation)


def _hits(fenced: Fenced, k: int, generation: Generation) -> list[Hit]:
    space = generation.recipe.space
    return [_hit(*passed, generation.number, space) for passed in fenced.passed[:k]]


def _hit(hit: StoreHit, entry: FenceEntry, metadata: dict[str, Any], generation: int, space: str) -> Hit:
    return Hit(hit.doc_id, hit.chunk_id, hit.score, hit.text, metadata, entry.revision, generation, space)
