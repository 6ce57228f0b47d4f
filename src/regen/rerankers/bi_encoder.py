"""``bi-encoder/<embedding model>``: candidates from the live index, their order from another embedding model.

Two-stage search for the time of a migration: the old generation finds, the new model orders. The vectors of what it
orders are kept in the embedding cache under the new space, exactly as a build of a new generation would keep them, so
that what searches have returned is embedded already when that build begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from regen.errors import ConfigError, EmbedderContract
from regen.ports import Vector, Vectors
from regen.ports.reranking import Encoder, Scores
from regen.spaces.derive import quantize
from regen.spaces.vectors import normalize, unusable_rows

PREFIX: Final = "bi-encoder/"


class BiEncoderReranker:
    """Orders by the similarity of query and text in an embedding model's space, in the metric of its recipe."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._recipe = encoder.recipe

    def __repr__(self) -> str:
        return f"BiEncoderReranker({self._recipe.embedding.model!r})"

    @classmethod
    def from_name(
        cls, name: str, *, encoder: Callable[[str, Mapping[str, Any]], Encoder], **options: Any
    ) -> BiEncoderReranker:
        """Read ``bi-encoder/wordllama/l2-supercat-256`` back; ``options`` are the embedder's. Raises ConfigError."""
        model = name.removeprefix(PREFIX)
        if not name.startswith(PREFIX) or not model:
            raise ConfigError(f"{name!r} names no bi-encoder", hint=f"{PREFIX}wordllama/l2-supercat-256")
        return cls(encoder(model, options))

    @property
    def name(self) -> str:
        """``bi-encoder/`` and the embedding model's name."""
        return PREFIX + self._recipe.embedding.model

    @property
    def space(self) -> str:
        """The space of its vectors: hits of a generation in this space are in its order already."""
        return self._recipe.space

    def rerank(self, query: str, texts: Sequence[str]) -> Scores:
        """Similarities of shape (len(texts),), float32. Raises EmbedderError.

        A text that the model gives no usable vector is last.
        """
        vectors = self._vectors(texts)
        bad = unusable_rows(vectors)
        scores = self._similarities(vectors, self._query(query))
        good = [row for row in range(len(texts)) if row not in bad]
        scores[list(bad)] = scores[good].min() - 1 if good else 0.0
        return scores

    def _query(self, text: str) -> Vector:
        embedding = self._recipe.embedding
        vector = np.asarray(self._encoder.embedder.embed_query(embedding.query_prefix + text), dtype=np.float32)
        if vector.shape != (embedding.dimensions,) or not np.isfinite(vector).all():
            raise EmbedderContract(f"{embedding.model}: the query's vector has shape {vector.shape}, or is not finite")
        return vector

    def _similarities(self, vectors: Vectors, query: Vector) -> Scores:
        metric = self._recipe.metric
        if metric == "cosine":
            return np.asarray(normalize(vectors) @ normalize(query[np.newaxis])[0], dtype=np.float32)
        query = normalize(query[np.newaxis])[0] if self._recipe.embedding.normalize else query
        if metric == "dot":
            return np.asarray(vectors @ query, dtype=np.float32)
        return np.asarray(-np.square(vectors - query).sum(axis=1), dtype=np.float32)

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        """The vectors that a generation of the recipe holds for these texts, from the cache where it has them."""
        cache, space = self._encoder.cache, self._recipe.space
        held = cache.get_many(space, texts) if cache is not None else {}
        known = {texts[position]: vector for position, vector in held.items()}
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        if missing:
            made, bad = self._embedded(missing)
            good = [row for row in range(len(missing)) if row not in bad]
            if cache is not None and good:
                cache.put_many(space, [missing[row] for row in good], made[good])
            known.update(zip(missing, made, strict=True))
        return np.stack([known[text] for text in texts])

    def _embedded(self, texts: list[str]) -> tuple[Vectors, dict[int, str]]:
        """Vectors as a build makes them, in calls of at most the model's number of texts; and which are unusable."""
        embedding, info = self._recipe.embedding, self._encoder.embedder.info
        prefixed = [embedding.document_prefix + text for text in texts]
        parts = []
        for first in range(0, len(prefixed), info.max_batch_texts):
            part = prefixed[first : first + info.max_batch_texts]
            if self._encoder.pay is not None:
                tokens = sum(len(starts) for starts in self._encoder.embedder.token_starts(part))
                self._encoder.pay(len(part), tokens)
            parts.append(np.asarray(self._encoder.embedder.embed_documents(part), dtype=np.float32))
        made = np.concatenate(parts)
        bad = unusable_rows(made)
        if embedding.normalize:
            made = normalize(made)
        usable = [row for row in range(len(texts)) if row not in bad]
        kept = np.full((len(texts), made.shape[1]), np.nan, dtype=np.float32)
        if usable:
            kept[usable] = quantize(made[usable], embedding.precision)
        return kept, bad
