"""Every catalog passes the shipped conformance suite."""

from pathlib import Path

import pytest

from regen.catalog.postgres import open_catalog as open_postgres
from regen.catalog.sqlite import open_catalog
from regen.ports.catalog import Catalog
from regen.testing.catalogs import CatalogConformance


class TestSqliteFile(CatalogConformance):
    def make_catalog(self, tmp_path: Path) -> Catalog:
        """Open a new catalog."""
        return open_catalog("sqlite:///folder/catalog.db", tmp_path)

    def reopen(self, tmp_path: Path) -> Catalog:
        """Open it once more."""
        return open_catalog("sqlite:///folder/catalog.db", tmp_path)


class TestSqliteInMemory(CatalogConformance):
    """A database in memory is private to its handle: it has no second one."""

    def make_catalog(self, tmp_path: Path) -> Catalog:
        """Open a new catalog."""
        return open_catalog("sqlite://")


class TestPostgres(CatalogConformance):
    @pytest.fixture(autouse=True)
    def database(self, postgres_url: str) -> None:
        """Give each case a database of its own."""
        self.url = postgres_url

    def make_catalog(self, tmp_path: Path) -> Catalog:
        """Open a new catalog."""
        return open_postgres(self.url)

    def reopen(self, tmp_path: Path) -> Catalog:
        """Open it once more."""
        return open_postgres(self.url, migrating=False)
