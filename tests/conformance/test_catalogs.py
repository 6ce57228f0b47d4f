"""Every catalog passes the shipped conformance suite."""

from pathlib import Path

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
