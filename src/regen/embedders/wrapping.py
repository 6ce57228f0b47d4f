"""What every wrapper does alike: hand on to the embedder inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regen.ports import Embedder, ModelInfo, Vector, Vectors


class EmbedderWrapper:
    """Hands every call on to ``inner``; a wrapper overrides what it changes. ``info`` is never changed."""

    def __init__(self, inner: Embedder) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"

    @property
    def info(self) -> ModelInfo:
        """What the wrapped model says of itself."""
        return self.inner.info

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dimensions), in order."""
        return self.inner.embed_documents(texts)

    def embed_query(self, text: str) -> Vector:
        """Return the vector of a query, shape (dimensions,)."""
        return self.inner.embed_query(text)

    def token_starts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """For each text the character offsets at which its tokens start."""
        return self.inner.token_starts(texts)
