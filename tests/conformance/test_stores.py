"""Every store passes the shipped conformance suite. Qdrant, Chroma and Milvus have files of their own."""

import re
from pathlib import Path

import pytest
from tests.conformance.servers import emptied, server_url

from regen.catalog.postgres import PostgresCatalog
from regen.catalog.postgres import open_catalog as open_postgres
from regen.ports import Store, Vector
from regen.postgres import Address
from regen.stores.lancedb import LanceStore
from regen.stores.memory import MemoryStore
from regen.stores.pgvector import PgvectorStore
from regen.testing.stores import StoreConformance


@pytest.mark.store("memory")
class TestMemoryStore(StoreConformance):
    def make_store(self, tmp_path: Path) -> MemoryStore:
        """Open a new store."""
        return MemoryStore.from_url(f"memory://{tmp_path}")

    def another_handle(self, tmp_path: Path) -> MemoryStore:
        """Open its data once more."""
        return MemoryStore.from_url(f"memory://{tmp_path}")


@pytest.mark.store("lancedb")
class TestLanceStore(StoreConformance):
    """A folder of the test's own, or the one that REGEN_TEST_LANCEDB_URL names."""

    def make_store(self, tmp_path: Path) -> Store:
        """Open a new store."""
        return emptied(LanceStore.from_url(self.url(tmp_path)))

    def another_handle(self, tmp_path: Path) -> LanceStore:
        """Open its data once more."""
        return LanceStore.from_url(self.url(tmp_path))

    def url(self, tmp_path: Path) -> str:
        """Name its data."""
        return server_url("lancedb") or f"lancedb://{tmp_path}/.regen/vectors"


@pytest.mark.store("pgvector")
class TestPgvectorStore(StoreConformance):
    """A server of our own, or the database that REGEN_TEST_PGVECTOR_URL names."""

    @pytest.fixture(autouse=True)
    def schema(self, request: pytest.FixtureRequest) -> None:
        """Give each case a schema of its own, or the one that was named."""
        self.own = server_url("pgvector") or str(request.getfixturevalue("vectors_url"))

    def make_store(self, tmp_path: Path) -> Store:
        """Open a new store."""
        return emptied(PgvectorStore.from_url(self.own))

    def another_handle(self, tmp_path: Path) -> PgvectorStore:
        """Open its data once more."""
        return PgvectorStore.from_url(self.own)

    def joint_catalog(self, tmp_path: Path) -> PostgresCatalog:
        """Open the catalog of the same database."""
        return open_postgres(re.sub(r"[?&]schema=\w+", "", self.own))

    def url(self, tmp_path: Path) -> str:
        """Name its data."""
        return self.own

    def by_alias(self, store: Store, alias: str, query: Vector, k: int) -> list[str]:
        """Ask the alias as SQL does that knows nothing of regen."""
        ordered = f"SELECT id FROM {alias} ORDER BY vector <=> %s::vector LIMIT {k}"
        with Address.of(self.own).connect(path=("public",), autocommit=True) as connection:
            return [row[0] for row in connection.execute(ordered.encode(), [str(query.tolist())])]
