"""The port of stores that find points by words, and the ways to search that it makes possible."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias, get_args, runtime_checkable

from regen.core.documents import Principal, Unrestricted
from regen.core.filters import Filter
from regen.ports import StoreHit

SearchMode: TypeAlias = Literal["vector", "hybrid", "keyword"]
"""By meaning, by meaning and words (two lists fused), or by words alone."""
SEARCH_MODES: tuple[SearchMode, ...] = get_args(SearchMode)


@runtime_checkable
class KeywordStore(Protocol):
    """A store that finds points by the words of their texts. What it needs for that it makes and keeps by itself."""

    def search_words(
        self,
        collection: str,
        query: str,
        k: int,
        *,
        where: Filter = (),
        principals: frozenset[Principal] | Unrestricted | None = None,
    ) -> list[StoreHit]:
        """The up to k points whose texts have the most to do with the words of a query, best first.

        ``query`` is what a person typed and never a query language: every string is valid, no character has a meaning,
        and one without any word finds nothing. A text need not hold all of the words; those that hold more of them,
        and rarer ones, come first. What counts as the same word (case, accents, endings), and which words are too
        common to count, is the store's. ``where`` and ``principals`` narrow as in ``Store.search``, before the best
        are chosen, and writes, updates and deletes are seen as there. ``score`` is higher for better and can be
        compared with nothing but the scores of the same list. A ``k`` below one finds nothing.

        Raises CollectionMissing, StoreError.
        """
        ...
