"""The plans of the catalog's hot statements on a large PostgreSQL catalog: which index each uses, and what it reads.

    python -m benchmarks.catalog_plans [--documents 1000000] [--sqlite] [--plans FILE] [--write]

The rows are made by statements of the database itself (no vectors, no texts), on a server of our own that is removed
at the end; on PostgreSQL into tables without a log of their own, whose indexes are built when all rows are there. Ten
million documents take about 9 GB of disk meanwhile. Each call is made twice: pages are those of the first, the
milliseconds those of the second, with what it needs in memory. ``--plans`` keeps the plans as PostgreSQL words them,
``--write`` puts the table into docs/concepts/scale.md.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.page import PAGE, put
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from regen.catalog.catalog import SqlCatalog
from regen.catalog.postgres import open_catalog
from regen.catalog.sqlite import open_catalog as open_sqlite
from regen.testing.catalog_plans import GROWING, HOT, Seen, fill, recorded
from regen.testing.postgres_server import PostgresServer

SETTINGS: Final = {
    "shared_buffers": "1GB", "maintenance_work_mem": "1GB", "max_wal_size": "4GB", "wal_level": "minimal",
    "max_wal_senders": "0", "synchronous_commit": "off", "autovacuum": "off",
}  # fmt: skip
SCALE: Final = PAGE.parent / "concepts" / "scale.md"
CONSTRAINTS: Final = (
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = '{}'::regclass "
    "AND contype IN ('p', 'u') ORDER BY conname"
)
INDEXES: Final = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() AND tablename = '{}'"


@contextmanager
def bulk(catalog: SqlCatalog) -> Iterator[None]:
    """Take the growing tables' indexes and log away while they are filled, and make the same indexes anew in the end.

    On SQLite nothing: there the rows come in the order of the keys.
    """
    engine = catalog._write_engine  # noqa: SLF001 - no call of the port changes a table
    if engine.dialect.name != "postgresql":
        yield
        return
    later: list[str] = []
    with engine.begin() as connection:
        for table in GROWING:
            for name, definition in connection.execute(text(CONSTRAINTS.format(table))).fetchall():
                connection.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {name}"))
                later.append(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
            for name, definition in connection.execute(text(INDEXES.format(table))).fetchall():
                connection.execute(text(f"DROP INDEX {name}"))
                later.append(definition)
            connection.execute(text(f"ALTER TABLE {table} SET UNLOGGED"))
    yield
    for statement in [*later, "ANALYZE"]:
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)


@contextmanager
def catalog_of(kind: str) -> Iterator[SqlCatalog]:
    """An empty catalog that is gone at the end."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="regen-plans-") as folder:
            catalog = open_sqlite("sqlite:///catalog.db", Path(folder))
            yield catalog
            catalog.close()
        return
    with PostgresServer(SETTINGS) as server, server.database() as url:
        shared = open_catalog(url)
        yield shared
        shared.close()


def sizes(catalog: SqlCatalog) -> dict[str, int]:
    """Bytes of each growing table of PostgreSQL, its indexes included."""
    if catalog._engine.dialect.name != "postgresql":  # noqa: SLF001 - no call of the port says it
        return {}
    with catalog.reading() as connection:
        asked = ((name, f"SELECT pg_total_relation_size('{name}')") for name in GROWING)
        return {name: int(connection.execute(text(query)).scalar_one()) for name, query in asked}


def buffers(seen: list[Seen]) -> int:
    """Pages of 8 kB that the statements touched, as PostgreSQL counts them at the root of each plan."""
    total = 0
    for one in seen:
        line = next((line for line in one.plan if line.strip().startswith("Buffers:")), "")
        total += sum(int(part.split("=")[1]) for part in line.split() if part.startswith(("hit=", "read=")))
    return total


def indexes(seen: list[Seen]) -> str:
    """The indexes that the plans use."""
    named = re.compile(r"(?:Index.* using|Bitmap Index Scan on|USING (?:COVERING )?INDEX) (\w+)")
    found = (hit.group(1) for one in seen for line in one.plan if (hit := named.search(line)))
    return ", ".join(dict.fromkeys(name for name in found if name.startswith(GROWING)))


def main() -> None:
    """Fill, call each twice, and print what the database did."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--sqlite", action="store_true")
    parser.add_argument("--plans", type=Path)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    columns = ("call", "statements", "ms", "pages", "indexes", "full scans")
    found, kept = list[tuple[str, ...]](), list[str]()
    with catalog_of("sqlite" if given.sqlite else "postgresql") as catalog:
        started = time.perf_counter()
        with bulk(catalog):
            large = fill(catalog, given.documents)
        told = [f"{given.documents:,} documents, filled in {time.perf_counter() - started:.0f} s."]
        told += [
            f"{name}: {size / 1e9:.2f} GB, {size / given.documents:.0f} bytes a document."
            for name, size in sizes(catalog).items()
        ]
        Console().print("\n".join(told))
        for name, call in HOT.items():
            with recorded(catalog, analyse=True) as seen:
                call(large)
            started = time.perf_counter()
            call(large)
            spent = (time.perf_counter() - started) * 1e3
            scans = ", ".join(scan for one in seen for scan in one.full_scans)
            found.append(
                (name, str(len(seen)), f"{spent:.1f}", f"{buffers(seen):,}", indexes(seen) or "none", scans or "none")
            )
            kept += [f"-- {name}", *(line for one in seen for line in [one.statement, *one.plan, ""])]
    table = Table(*columns)
    for row in found:
        table.add_row(*row)
    Console(width=160).print(table)
    if given.plans:
        given.plans.write_text("\n".join(kept))
    if given.write:
        lines = ["| " + " | ".join(row) + " |" for row in [columns, ["---"] * len(columns), *found]]
        put("plans", "\n".join([" ".join(told), "", *lines]), SCALE)


if __name__ == "__main__":
    main()
