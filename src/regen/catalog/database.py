"""Transactions. Reads see one moment; writes are serialised; every error speaks of the catalog, not of its driver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, Select, func, select, update
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement, ColumnElement

from regen.catalog import schema
from regen.errors import CatalogBusy, CatalogError


class Database:
    """An engine with regen's two kinds of transaction. Dialect differences are hooks of this class."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._write_engine = engine.execution_options(regen_write=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment and changes nothing."""
        with _translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that holds the right to write from its first statement."""
        with _translated(), self._write_engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Release connections. Idempotent."""
        self._engine.dispose()

    @staticmethod
    def among(column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
        """``column IN values`` for any number of strings or integers, as one bound parameter."""
        # One JSON array costs one parameter and one cached statement; IN (?, ?, …) costs a compilation per length.
        return in_json(column, json_list(values))


def in_json(column: ColumnElement[Any], values: Any) -> ColumnElement[bool]:
    """``column IN`` a JSON array: a string, or a parameter of a statement that is built once."""
    return column.in_(select(func.json_each(values).table_valued("value").c.value))


def json_list(values: Sequence[Any]) -> str:
    """Strings or integers as a JSON array."""
    return orjson.dumps(list(values)).decode()


def allocate(connection: Connection, name: str, count: int) -> int:
    """Take ``count`` numbers of a counter; returns the first. Serialises writers of that counter on any database."""
    table = schema.counters
    taken = connection.execute(
        update(table).where(table.c.name == name).values(value=table.c.value + count).returning(table.c.value)
    ).scalar_one()
    return int(taken) - count + 1


def bulk(
    connection: Connection, statement: ClauseElement, columns: Sequence[str], values: Sequence[tuple[Any, ...]]
) -> None:
    """Run one statement over many rows, each a tuple in the order of ``columns``, handed to the driver as they are.

    SQLAlchemy's own path builds a dictionary and calls a converter per value: three times the cost of the insert.
    """
    if not values:
        return
    dialect = connection.dialect
    compiled = statement.compile(dialect=dialect, column_keys=list(columns))
    order = compiled.positiontup if isinstance(compiled, SQLCompiler) else None
    if order is None:  # a driver with named parameters
        connection.exec_driver_sql(str(compiled), [dict(zip(columns, row, strict=True)) for row in values])
        return
    if list(order) != list(columns):
        places = [list(columns).index(name) for name in order]
        values = [tuple([row[place] for place in places]) for row in values]
    connection.exec_driver_sql(str(compiled), list(values))


def rows(connection: Connection, statement: Select[Any]) -> list[Any]:
    """All rows of a statement."""
    return list(connection.execute(statement).fetchall())


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise _explain(error) from error
    except DBAPIError as error:
        raise CatalogError(f"the catalog refused a statement: {error.orig}") from error


def _explain(error: OperationalError) -> CatalogError:
    text = str(error.orig)
    if "locked" in text or "busy" in text:
        return CatalogBusy(
            f"the catalog is locked by another process: {text}", hint="wait until the other regen command has finished"
        )
    if "full" in text or "disk I/O" in text:
        return CatalogError(
            f"the catalog cannot be written: {text}",
            hint="free some disk space and run the same command again; nothing that is indexed was lost",
        )
    if "readonly" in text or "unable to open" in text:
        return CatalogError(
            f"the catalog cannot be opened for writing: {text}", hint="check the path and its permissions"
        )
    return CatalogError(f"the catalog failed: {text}")
