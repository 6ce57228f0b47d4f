"""The query log: what was asked and returned, written in sets, so that a search costs no write of its own."""

from __future__ import annotations

import threading
import time
from typing import Final

from regen.errors import CatalogError
from regen.ports.catalog import Catalog
from regen.ports.rollouts import LoggedQuery

BATCH: Final = 50
SECONDS: Final = 2.0
"""Searches are written after so many, or when the oldest has waited so long; a process killed before loses them."""


class QueryLog:
    """Buffers logged searches. Safe for threads."""

    def __init__(self, catalog: Catalog, alias: str) -> None:
        self._catalog, self._alias, self._lock = catalog, alias, threading.Lock()
        self._waiting: list[LoggedQuery] = []
        self._since = 0.0

    def note(self, query: LoggedQuery) -> bool:
        """Keep a search; whether the log was written because of it."""
        with self._lock:
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting.append(query)
            due = len(self._waiting) >= BATCH or time.monotonic() - self._since >= SECONDS
        return due and self.flush()

    def flush(self) -> bool:
        """Write what waits; should the catalog be busy, it is kept for the next time. Whether anything was written."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if not waiting:
            return False
        try:
            self._catalog.log_queries(self._alias, waiting)
        except CatalogError:  # a search must not fail because it cannot be logged
            with self._lock:
                self._waiting = [*waiting, *self._waiting]
            return False
        return True
