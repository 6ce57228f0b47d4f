"""Moving a catalog to another database: all tables, batch by batch, in one transaction, checked by counts and digests.

The copy is of one moment. Vectors stay where they are: a catalog names the stores that they lie in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Integer, Table, func, select, text

from regen.catalog import schema
from regen.catalog.bulk import Adding, Row
from regen.catalog.catalog import SqlCatalog
from regen.errors import CatalogError

BATCH: Final = 2_000
_EPHEMERAL: Final = frozenset({"leases", "text_claims", "workers"})
"""Who writes the old catalog now has no right to write the new one."""


@dataclass(frozen=True, slots=True)
class Copied:
    """One table that was copied: how many rows, and the digest of them in the order of their keys."""

    table: str
    rows: int
    digest: str


def copy_catalog(
    origin: SqlCatalog, target: SqlCatalog, *, progress: Callable[[str, int], None] | None = None
) -> list[Copied]:
    """Copy everything but leases into a catalog that holds nothing yet; what was copied, table by table.

    ``progress`` is told a table and how many rows of it have been copied. Raises CatalogError, and leaves the target
    as it was, when the target holds anything, or when what can be read back is not what was written.
    """
    tables = [table for table in schema.metadata.sorted_tables if table.name not in _EPHEMERAL]
    with origin.reading() as reading, target.writing() as writing:
        origin.at_leisure(reading)
        target.at_leisure(writing)
        _refuse_full(writing, tables)
        copied = [_copy(reading, writing, table, progress) for table in tables]
        for wanted in copied:
            found = _digest(writing, schema.metadata.tables[wanted.table])
            if found != wanted:
                raise CatalogError(
                    f"table {wanted.table} has {found.rows} rows in the copy and {wanted.rows} in the original, or "
                    "others",
                    hint="nothing was kept; try again, and report it if it happens twice",
                )
        _continue_numbers(writing, tables)
    return copied


def _refuse_full(connection: Connection, tables: list[Table]) -> None:
    for table in tables:
        if table.name != "counters" and connection.execute(select(table).limit(1)).first() is not None:
            raise CatalogError(
                f"the target catalog is not empty: it holds {table.name}",
                hint="copy into a new file, or a new schema (?schema=name); nothing was changed",
            )
    connection.execute(schema.counters.delete())  # a new catalog's, all zero


def _copy(
    reading: Connection, writing: Connection, table: Table, progress: Callable[[str, int], None] | None
) -> Copied:
    adding, sum_of, count = Adding(table, table.c.keys()), blake2b(digest_size=16), 0
    for batch in _batches(reading, table):
        adding.run(writing, batch)
        count += len(batch)
        _add(sum_of, batch)
        if progress is not None:
            progress(table.name, count)
    return Copied(table.name, count, sum_of.hexdigest())


def _digest(connection: Connection, table: Table) -> Copied:
    sum_of, count = blake2b(digest_size=16), 0
    for batch in _batches(connection, table):
        count += len(batch)
        _add(sum_of, batch)
    return Copied(table.name, count, sum_of.hexdigest())


def _batches(connection: Connection, table: Table) -> Iterator[list[Row]]:
    """All rows by primary key, a batch at a time, values as Python has them whatever the database."""
    key = list(table.primary_key)
    keys = [table.c.keys().index(column.name) for column in key]
    after: tuple[Any, ...] | None = None
    while True:
        statement = select(table).order_by(*(_bytewise(column, connection) for column in key)).limit(BATCH)
        if after is not None:
            statement = statement.where(_beyond(key, after, connection))
        batch = [tuple(row) for row in connection.execute(statement)]
        if not batch:
            return
        after = tuple(batch[-1][at] for at in keys)
        yield batch


def _beyond(key: list[Any], after: tuple[Any, ...], connection: Connection) -> Any:
    """Rows whose key is larger than ``after``, written out: not every index serves a comparison of rows."""
    first, *rest = key
    larger = _bytewise(first, connection) > after[0]
    if not rest:
        return larger
    return larger | ((first == after[0]) & _beyond(rest, after[1:], connection))


def _bytewise(column: Any, connection: Connection) -> Any:
    """A text column in the order of its bytes, as SQLite has it; a database may have another language's order."""
    if connection.dialect.name == "sqlite" or column.type.python_type is not str:
        return column
    return column.collate("C")


def _add(sum_of: Any, batch: list[Row]) -> None:
    for row in batch:
        values = [value.hex() if isinstance(value, bytes | memoryview) else value for value in row]
        sum_of.update(orjson.dumps(values) + b"\n")


def _continue_numbers(connection: Connection, tables: list[Table]) -> None:
    """Let PostgreSQL's own counters go on behind the copied rows; SQLite looks at the rows themselves."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables:
        number = table.autoincrement_column
        if number is not None and isinstance(number.type, Integer):
            last = connection.execute(select(func.max(number))).scalar()
            if last is not None:
                connection.execute(
                    text("SELECT setval(pg_get_serial_sequence(:table, :column), :last)"),
                    {"table": table.name, "column": number.name, "last": last},
                )
