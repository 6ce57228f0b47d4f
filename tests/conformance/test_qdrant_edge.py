"""The Qdrant adapter's requests, answered by Qdrant's own engine (qdrant-edge), with the indexes that a server has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from regen.ports import Store
from regen.stores.qdrant import QdrantStore
from regen.testing.stores import StoreConformance

pytest.importorskip("qdrant_edge", reason="qdrant-edge is not installed: `make test-all` does")

pytestmark = [pytest.mark.store("qdrant"), pytest.mark.slow]


class TestQdrantEngine(StoreConformance):
    """All that needs one handle in one process."""

    orders_strings = False
    word_settings: ClassVar[Mapping[str, Any]] = {"words": True}

    def make_store(self, tmp_path: Path) -> Store:
        """Open a new store, which believes to speak to a server."""
        from tests.conformance.qdrant_edge import edge_client

        store = QdrantStore.from_url("qdrant://nowhere.invalid")
        store._connection._client = edge_client(tmp_path)
        return store
