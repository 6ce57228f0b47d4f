"""Tries a failed call again, where the same call may succeed later."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import stamina

from regen.embedders.wrapping import EmbedderWrapper
from regen.errors import EmbedderError, RateLimited, RegenError
from regen.ports import Embedder, Vector, Vectors

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 20.0
_T = TypeVar("_T")


class RetryingEmbedder(EmbedderWrapper):
    """Retries errors marked ``retryable`` and lost connections, up to ``attempts`` calls or ``timeout`` seconds in all.

    The pause doubles each time, with jitter, from 0.2 to 20 seconds; when the provider says how long to wait, that is
    obeyed, unless it is longer than the time left. The last error is raised, and says how often it was tried; a lost
    connection becomes an EmbedderError. ``sleep`` (seconds) is called to pause: a test passes one that does not wait.
    """

    def __init__(
        self,
        inner: Embedder,
        attempts: int = 6,
        timeout: float | None = 300.0,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(inner)
        self._attempts = attempts
        self._timeout = timeout
        self._sleep = sleep

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dimensions), after as many attempts as it takes and is allowed."""
        return self._attempt(lambda: self.inner.embed_documents(texts))

    def embed_query(self, text: str) -> Vector:
        """Return the vector of a query, after as many attempts as it takes and is allowed."""
        return self._attempt(lambda: self.inner.embed_query(text))

    def _attempt(self, call: Callable[[], _T]) -> _T:
        """Make the first attempt bare: a call that succeeds, as almost all do, pays nothing for the machinery below."""
        started = time.monotonic()
        try:
            return call()
        except Exception as error:
            if not _retryable(error):
                raise
            return self._persist(call, error, started)

    def _persist(self, call: Callable[[], _T], first: Exception, started: float) -> _T:
        tried = 0
        pause = asked = 0.0  # what the back-off says, and how long the provider asked to wait

        def again(error: Exception) -> bool | float:
            nonlocal asked
            asked = (error.retry_after or 0.0) if isinstance(error, RateLimited) else 0.0
            in_time = self._timeout is None or time.monotonic() - started + asked <= self._timeout
            return 0.0 if _retryable(error) and in_time else False  # stamina need not pause: we do, before the attempt

        try:
            for attempt in stamina.retry_context(
                again, self._attempts, self._timeout, wait_initial=FIRST_PAUSE, wait_max=LONGEST_PAUSE
            ):
                with attempt:
                    if tried == 0:
                        pause, tried = attempt.next_wait, 1
                        raise first  # noqa: TRY301 - stamina counts it as the first attempt
                    self._sleep(max(asked, pause * random.uniform(0.75, 1.25)))  # noqa: S311 - jitter is no secret
                    pause, tried = attempt.next_wait, tried + 1
                    return call()
        except Exception as error:
            if not _retryable(error):
                raise
            effort = f"gave up after {tried} attempt{'' if tried == 1 else 's'} in {time.monotonic() - started:.1f} s"
            if isinstance(error, RegenError):
                error.message = f"{error.message} ({effort})"
                raise
            raise EmbedderError(
                f"the embedding model cannot be reached: {type(error).__name__}: {error} ({effort})",
                hint="what is done is kept; run the same command again when the provider can be reached",
            ) from error
        raise AssertionError("the last attempt returns or raises")


def _retryable(error: Exception) -> bool:
    return error.retryable if isinstance(error, RegenError) else isinstance(error, ConnectionError | TimeoutError)
