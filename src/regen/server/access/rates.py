"""How often a caller may come: a bucket of tokens each, which fills at the caller's rate."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from regen.errors import RegenError

BURST: Final = 10.0
"""So many requests at once are taken at any rate, or what the rate gives in a second."""
MOST: Final = 10_000
"""Callers that are remembered; the one that has been away longest is forgotten first."""


class TooManyRequests(RegenError):
    """The caller comes more often than its key may."""

    status = 429
    retryable = True

    def __init__(self, name: str, per_second: float, wait: float) -> None:
        super().__init__(
            f"{name} has made more requests than its {per_second:g} a second",
            hint="wait as long as Retry-After says; `regen keys create --rate` and server.rate_limit set the rate",
        )
        self.retry_after = max(1, math.ceil(wait))


class RateLimits:
    """Counts requests. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str, name: str, per_second: float) -> None:
        """Count a request. Raises TooManyRequests, which is not counted."""
        most, now = max(BURST, per_second), self._clock()
        with self._lock:
            left, at = self._buckets.pop(caller, (most, now))
            left = min(most, left + (now - at) * per_second)
            self._buckets[caller] = (left - 1.0 if left >= 1.0 else left, now)
            if len(self._buckets) > MOST:
                self._buckets.popitem(last=False)
        if left < 1.0:
            raise TooManyRequests(name, per_second, (1.0 - left) / per_second)
