"""Waits before a call that would pass the provider's limits of requests or tokens a minute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pyrate_limiter import InMemoryBucket, Limiter, MonotonicClock, Rate, SingleBucketFactory

from regen.embedders.wrapping import EmbedderWrapper
from regen.errors import ConfigError
from regen.ports import Embedder, Vector, Vectors

SHARES: Final = 10_000
"""Tokens are booked in shares of the limit, rounded up: the limiter keeps one entry a share, not one a token."""


class RateLimitedEmbedder(EmbedderWrapper):
    """Never more than the limits in any window of ``seconds``; waits rather than fails. None means no limit.

    A call that alone is larger than the limit waits for an empty window and then goes through. Tokens are counted with
    the model's ``token_starts``, and only if there is a limit of tokens. Threads may share one object.
    """

    def __init__(
        self,
        inner: Embedder,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        *,
        seconds: float = 60.0,
    ) -> None:
        super().__init__(inner)
        self._requests = _Window("requests_per_minute", requests_per_minute, seconds)
        self._tokens = _Window("tokens_per_minute", tokens_per_minute, seconds)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Wait until the call fits the limits, then make it. No texts cost nothing and wait for nothing."""
        if texts:
            self._wait(texts)
        return self.inner.embed_documents(texts)

    def embed_query(self, text: str) -> Vector:
        """Wait until the call fits the limits, then make it."""
        self._wait([text])
        return self.inner.embed_query(text)

    def _wait(self, texts: Sequence[str]) -> None:
        if self._tokens.limited:
            self._tokens.take(sum(map(len, self.inner.token_starts(texts))))
        self._requests.take(1)


class _Window:
    """At most ``limit`` units in any window of so many seconds."""

    def __init__(self, name: str, limit: int | None, seconds: float) -> None:
        if limit is not None and limit < 1:
            raise ConfigError(f"limits.{name} is {limit}", hint="at least 1, or leave it out for no limit")
        self.limited = limit is not None
        self._unit = 1 if limit is None else max(1, limit // SHARES)
        self._shares = 1 if limit is None else max(1, limit // self._unit)
        self._bucket = InMemoryBucket([Rate(self._shares, max(1, round(seconds * 1000)))])
        # Old entries are dropped before each call, so no thread has to do it behind the program's back.
        self._limiter = Limiter(SingleBucketFactory(self._bucket, schedule_leak=False), buffer_ms=1)

    def take(self, amount: int) -> None:
        """Book the amount, or all there is if it is more; waits until the window has room."""
        if not self.limited:
            return
        self._bucket.leak(MonotonicClock().now())
        weight = min(self._shares, -(-amount // self._unit))
        self._limiter.try_acquire("embedder", weight=weight, blocking=True)
