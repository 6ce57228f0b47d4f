"""On a large catalog every hot statement finds its rows by an index, on both databases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from regen.catalog.catalog import SqlCatalog
from regen.catalog.postgres import open_catalog as open_postgres
from regen.catalog.sqlite import open_catalog as open_sqlite
from regen.testing.catalog_plans import GROWING, HOT, Large, fill, recorded
from regen.testing.postgres_server import PostgresServer

DOCUMENTS = 30_000


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def large(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> Iterator[Large]:
    """A filled catalog of each database."""
    if request.param == "sqlite":
        catalog: SqlCatalog = open_sqlite("sqlite:///catalog.db", Path(tmp_path_factory.mktemp("plans")))
        yield fill(catalog, DOCUMENTS)
        catalog.close()
        return
    with postgres_server.database() as url:
        shared = open_postgres(url)
        yield fill(shared, DOCUMENTS)
        shared.close()


@pytest.fixture(scope="module")
def unknown(postgres_server: PostgresServer) -> Iterator[Large]:
    """A filled catalog of which PostgreSQL has no statistics yet."""
    with postgres_server.database() as url:
        catalog = open_postgres(url)
        yield fill(catalog, DOCUMENTS, statistics=False)
        catalog.close()


@pytest.mark.parametrize("call", HOT)
def test_a_hot_call_reads_no_table_from_end_to_end(large: Large, call: str) -> None:
    """Neither a search, nor a step of a sync, nor a commit may cost more when there are more documents."""
    with recorded(large.catalog) as seen:
        HOT[call](large)
    assert seen, "the call ran no statement that has a plan"
    assert not [(name, one.statement, *one.plan) for one in seen for name in one.full_scans]


@pytest.mark.parametrize("call", HOT)
def test_a_hot_call_needs_no_statistics(unknown: Large, call: str) -> None:
    """PostgreSQL makes them a minute after a load; until then it must not take large tables for small ones.

    What is to be filled it reads to its end, expecting a few rows, and sorts it; but no placement of another document.
    """
    most = DOCUMENTS if call in {"behind, one that is filled", "lay out and claim a range"} else DOCUMENTS // 10
    with recorded(unknown.catalog, analyse=True) as seen:
        HOT[call](unknown)
    assert not [(one.rows_read, one.statement, *one.plan) for one in seen if one.rows_read > 1.1 * most]


def test_the_route_walks_the_index_of_restricted_documents(large: Large) -> None:
    """Every search asks whether any document has an access list: that may never be a walk over all."""
    with recorded(large.catalog) as seen:
        large.catalog.route("large")
    assert any("documents_restricted" in line for line in seen[0].plan)


def test_a_scan_would_be_seen(large: Large) -> None:
    """The check itself: a statement that must read a whole table is reported, by the table's name."""
    with recorded(large.catalog) as seen, large.catalog.reading() as connection:
        connection.execute(text("SELECT count(*) FROM documents WHERE metadata LIKE '%x%'"))
    assert [name for one in seen for name in one.full_scans] == ["documents"]


def test_every_growing_table_is_in_some_plan(large: Large) -> None:
    """The hot calls together touch all tables that grow, so that none is left out of the check."""
    with recorded(large.catalog) as seen:
        for call in HOT.values():
            call(large)
    for table in GROWING:
        assert any(re.search(rf"\b{table}\b", one.statement) for one in seen), table
