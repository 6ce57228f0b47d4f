"""Counting which documents searches return, without a write per search."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Final

from regen.errors import CatalogError
from regen.ports.catalog import Catalog

SEARCHES: Final = 500
"""Counts are written after so many searches; a process killed before loses them, which costs only order."""


class UsageCounter:
    """Counts in memory, writes in sets. Safe for threads."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog, self._lock = catalog, threading.Lock()
        self._returned: Counter[str] = Counter()
        self._searches = 0

    def note(self, ids: Iterable[str]) -> None:
        """One search has returned these documents."""
        with self._lock:
            self._returned.update(ids)
            self._searches += 1
            due = self._searches >= SEARCHES
        if due:
            self.flush()

    def flush(self) -> None:
        """Write what was counted; should the catalog be busy, it is kept for the next time."""
        with self._lock:
            returned, self._returned, self._searches = self._returned, Counter(), 0
        if not returned:
            return
        try:
            self._catalog.count_queries(returned)
        except CatalogError:  # a search must not fail because it cannot be counted
            with self._lock:
                self._returned.update(returned)
