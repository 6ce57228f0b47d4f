"""In which store each generation lies: the configured one, or another that an older generation was built in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from regen.ports import Store
from regen.ports.catalog import Generation


@dataclass(slots=True)
class Stores:
    """The configured store and, opened when first asked for, those of generations that lie elsewhere.

    ``name`` is the configured store's URL, empty for a store that was handed in as an object: such a store is the one
    of all generations that name none. ``open_other`` opens the store of a URL.
    """

    configured: Store
    name: str
    open_other: Callable[[str], Store]
    _others: dict[str, Store] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, generation: Generation) -> Store:
        """The store that holds a generation's collection. Raises ConfigError or StoreError when it cannot be opened."""
        if self.holds(generation):
            return self.configured
        with self._lock:
            if generation.store not in self._others:
                self._others[generation.store] = self.open_other(generation.store)
            return self._others[generation.store]

    def holds(self, generation: Generation) -> bool:
        """Whether a generation lies in the configured store."""
        return not generation.store or generation.store == self.name

    def close(self) -> None:
        """Close all of them. Idempotent."""
        for store in (*self._others.values(), self.configured):
            store.close()
