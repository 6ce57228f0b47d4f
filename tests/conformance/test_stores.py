"""Every store passes the shipped conformance suite."""

from pathlib import Path

import pytest

from regen.catalog.postgres import PostgresCatalog
from regen.catalog.postgres import open_catalog as open_postgres
from regen.stores.lancedb import LanceStore
from regen.stores.memory import MemoryStore
from regen.stores.pgvector import PgvectorStore
from regen.testing.stores import StoreConformance


class TestMemoryStore(StoreConformance):
    def make_store(self, tmp_path: Path) -> MemoryStore:
        """Open a new store."""
        return MemoryStore.from_url(f"memory://{tmp_path}")

    def another_handle(self, tmp_path: Path) -> MemoryStore:
        """Open its data once more."""
        return MemoryStore.from_url(f"memory://{tmp_path}")


class TestLanceStore(StoreConformance):
    def make_store(self, tmp_path: Path) -> LanceStore:
        """Open a new store."""
        return LanceStore.from_url("lancedb://.regen/vectors", root=tmp_path)

    def another_handle(self, tmp_path: Path) -> LanceStore:
        """Open its data once more."""
        return LanceStore.from_url(f"lancedb://{tmp_path}/.regen/vectors")


class TestPgvectorStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def schema(self, vectors_url: str) -> None:
        """Give each case a schema of its own."""
        self.url = vectors_url

    def make_store(self, tmp_path: Path) -> PgvectorStore:
        """Open a new store."""
        return PgvectorStore.from_url(self.url)

    def another_handle(self, tmp_path: Path) -> PgvectorStore:
        """Open its data once more."""
        return PgvectorStore.from_url(self.url)

    def joint_catalog(self, tmp_path: Path) -> PostgresCatalog:
        """Open the catalog of the same database."""
        return open_postgres(self.url.partition("&schema=")[0])
