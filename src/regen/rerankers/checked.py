"""Holds a reranker to its contract: one finite number a text. Nothing else of it reaches a search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regen.errors import RegenError, RerankerError
from regen.ports.reranking import ClosingReranker, Reranker, Scores, SpaceReranker


class CheckedReranker:
    """Around any reranker: whatever it raises is a RerankerError, whatever it returns has the right shape.

    ``space`` is the inner one's, None where it compares no vectors.
    """

    def __init__(self, inner: Reranker) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"CheckedReranker({self.inner!r})"

    @property
    def name(self) -> str:
        """The inner reranker's."""
        return self.inner.name

    @property
    def space(self) -> str | None:
        """The space in which the inner reranker compares vectors, None where it does not."""
        return self.inner.space if isinstance(self.inner, SpaceReranker) else None

    def rerank(self, query: str, texts: Sequence[str]) -> Scores:
        """Scores of shape (len(texts),), float32 and finite. No call is made for no texts."""
        if not texts:
            return np.empty(0, dtype=np.float32)
        try:
            found = self.inner.rerank(query, texts)
        except RegenError:
            raise
        except Exception as error:  # somebody else's code: a search must survive it
            raise RerankerError(f"{self.name}: {type(error).__name__}: {error}") from error
        return self._checked(found, len(texts))

    def close(self) -> None:
        """Release what the inner reranker holds."""
        if isinstance(self.inner, ClosingReranker):
            self.inner.close()

    def _checked(self, found: object, count: int) -> Scores:
        try:
            scores = np.asarray(found, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise RerankerError(f"{self.name} returned {type(found).__name__}, no scores: {error}") from None
        if scores.shape != (count,):
            raise RerankerError(
                f"{self.name} returned scores of shape {scores.shape} for {count} texts",
                hint=f"expected one score a text: shape ({count},), in the order of the texts",
            )
        if not np.isfinite(scores).all():
            raise RerankerError(f"{self.name} returned NaN or infinity as a score")
        return scores
