"""Counts what an embedder was asked to do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from regen.embedders.wrapping import EmbedderWrapper
from regen.ports import Embedder, Vector, Vectors


class MeteredEmbedder(EmbedderWrapper):
    """Counts ``calls``, ``texts`` and ``seconds``; for a model with a price, or on demand, ``tokens`` and ``cost_usd``.

    A call that fails counts as a call and its time, not its texts and tokens. ``seconds`` are summed over threads.
    """

    def __init__(self, inner: Embedder, *, count_tokens: bool | None = None) -> None:
        super().__init__(inner)
        self.calls = 0
        self.texts = 0
        self.tokens = 0
        self.seconds = 0.0
        self._lock = Lock()
        self._count_tokens = inner.info.price_per_million_tokens > 0 if count_tokens is None else count_tokens

    @property
    def cost_usd(self) -> float:
        """What the tokens counted so far cost, in US dollars."""
        return self.tokens * self.info.price_per_million_tokens / 1e6

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dimensions), counted."""
        with self._counted(texts):
            return self.inner.embed_documents(texts)

    def embed_query(self, text: str) -> Vector:
        """Return the vector of a query, counted as one text."""
        with self._counted([text]):
            return self.inner.embed_query(text)

    @contextmanager
    def _counted(self, texts: Sequence[str]) -> Iterator[None]:
        started = time.perf_counter()
        done = False
        try:
            yield
            done = True
        finally:
            seconds = time.perf_counter() - started
            tokens = sum(map(len, self.inner.token_starts(texts))) if done and self._count_tokens else 0
            with self._lock:
                self.calls += 1
                self.texts += len(texts) * done
                self.tokens += tokens
                self.seconds += seconds
