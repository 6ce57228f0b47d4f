"""Holds an embedder to its contract: the right number of rows and columns, of the right type."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regen.embedders.wrapping import EmbedderWrapper
from regen.errors import EmbedderContract
from regen.ports import Vector, Vectors


class CheckedEmbedder(EmbedderWrapper):
    """Raises EmbedderContract for an answer of another count, shape or type than asked for.

    NaN, infinity and zero rows pass: they condemn one text, not the whole answer;
    ``regen.spaces.vectors.unusable_rows`` finds them.
    """

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dimensions), float32, or EmbedderContract."""
        vectors = self.inner.embed_documents(texts)
        self._check(vectors, (len(texts), self.info.dimensions), f"embed_documents of {len(texts)} texts")
        return vectors

    def embed_query(self, text: str) -> Vector:
        """Return a vector of shape (dimensions,), float32, or EmbedderContract."""
        vector = self.inner.embed_query(text)
        self._check(vector, (self.info.dimensions,), "embed_query")
        return vector

    def _check(self, found: object, shape: tuple[int, ...], call: str) -> None:
        if isinstance(found, np.ndarray) and found.shape == shape and found.dtype == np.float32:
            return
        raise EmbedderContract(
            f"{self.info.name}: {call} returned {_described(found)}; expected a float32 array of shape {shape}",
            hint=_hint(found, shape),
        )


def _described(found: object) -> str:
    if isinstance(found, np.ndarray):
        return f"a {found.dtype} array of shape {found.shape}"
    return f"a {type(found).__name__}" + (f" of {len(found)}" if isinstance(found, list | tuple) else "")


def _hint(found: object, shape: tuple[int, ...]) -> str:
    if not isinstance(found, np.ndarray):
        return "wrap a model that returns lists with regen.embedders.adapted.adapt, or return numpy arrays"
    if found.ndim != len(shape):
        return "embed_documents returns one row a text, embed_query one vector without a row around it"
    if found.ndim == 2 and found.shape[0] != shape[0]:
        return "one vector for each text, in order: does the model drop empty texts, or cut its batches?"
    if found.shape[-1] != shape[-1]:
        return f"info.dimensions says {shape[-1]}: was the model changed behind its name?"
    return "convert with vectors.astype(numpy.float32)"
