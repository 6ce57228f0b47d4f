"""Stores on real servers elsewhere: ``REGEN_TEST_QDRANT_URL=qdrant://host`` and the like name them."""

from __future__ import annotations

import os

from regen.ports import Store


def server_url(name: str) -> str | None:
    """The URL of a server that the tests may have to themselves: every collection of regen's on it is dropped."""
    return os.environ.get(f"REGEN_TEST_{name.upper()}_URL")


def emptied(store: Store) -> Store:
    """The store without any collection. Raises StoreError for a collection that regen did not make."""
    for name in store.collections():
        store.drop(name)
    return store
