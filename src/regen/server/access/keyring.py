"""The API keys that open the service, as the catalog has them; looked up again every other second."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable
from typing import Final

from regen.core.keys import SCOPES, ShownKey, parse
from regen.index import Index
from regen.ports.service import ApiKey
from regen.server.access.caller import Caller, Unauthenticated

FRESH: Final = 2.0
"""Seconds that a revoked key may go on opening a server that did not revoke it itself."""
SOON: Final = 0.5
"""So long before a new look at the catalog is due, whoever must not wait is sent where it may."""


class KeyRing:
    """Finds keys. Safe to use from several threads."""

    def __init__(self, index: Index, clock: Callable[[], float] = time.time) -> None:
        self._index, self._clock = index, clock
        self._lock = threading.Lock()
        self._keys: dict[str, ApiKey] = {}
        self._looked_at = float("-inf")

    def forget(self) -> None:
        """Look at the catalog before the next answer."""
        self._looked_at = float("-inf")

    @property
    def at_hand(self) -> bool:
        """Whether the next answer needs no look at the catalog."""
        return self._clock() - self._looked_at < FRESH - SOON

    @property
    def empty(self) -> bool:
        """Whether no key was ever made. One that was revoked counts: revoking must not open the door."""
        return not self._now()

    def of(self, key_id: str) -> ApiKey | None:
        """A key that is valid now."""
        found, now = self._now().get(key_id), self._clock()
        if found is None or found.revoked_at is not None or (found.expires_at is not None and found.expires_at <= now):
            return None
        return found

    def identify(self, shown: str) -> ApiKey:
        """The key that a caller shows. Raises Unauthenticated, for every reason in the same words."""
        read = parse(shown) or ShownKey("", b"")
        found = self.of(read.id)
        if not hmac.compare_digest(read.digest, b"" if found is None else found.digest) or found is None:
            raise Unauthenticated(
                "the API key is not valid: unknown, revoked or expired", hint="`regen keys list` tells which are"
            )
        return found

    def _now(self) -> dict[str, ApiKey]:
        with self._lock:
            if self._clock() - self._looked_at >= FRESH:
                self._keys = {key.id: key for key in self._index.api_keys()}
                self._looked_at = self._clock()
            return self._keys


def caller_of(key: ApiKey) -> Caller:
    """Who calls with a key."""
    scopes = frozenset(scope for scope in SCOPES if scope in key.scopes)
    return Caller(f"key:{key.id}", f"key:{key.name}", scopes, frozenset(key.principals))
