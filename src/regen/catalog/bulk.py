"""Changes of many rows at once, each row a tuple handed to the driver as it is.

SQLAlchemy's own path builds a dictionary and calls a converter per value: three times the cost of the insert. SQLite
runs one statement many times, which costs no round trip; PostgreSQL copies rows in, or joins with arrays of them.

New rows go to SQLite by the hundreds. Its driver takes Python's interpreter lock back after every row, and while
another thread computes it waits 5 ms for it each time: the rows of one statement are written without asking for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, Table, bindparam, delete, insert, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

Row: TypeAlias = tuple[Any, ...]
Merge: TypeAlias = Callable[[Any], Mapping[str, Any]]
"""What happens to a row that is there: new values by column, made from the columns of the row that was to be added."""

_POSTGRESQL: Final = "postgresql"
_ROWS_AT_ONCE: Final = (512, 64)
"""New rows of one statement of SQLite's. Few sizes, so that the driver's cache holds each table's statements."""
_PARAMETERS_AT_ONCE: Final = 30_000
"""SQLite takes 32,766, since 3.32."""


def _postgresql() -> Any:
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - forty modules, which a catalog in SQLite never needs

    return postgresql


class _Bulk:
    """One kind of change of one table, said once and compiled once per database."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self.table, self.columns = table, tuple(columns)

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Change the rows, each in the order of ``columns``."""
        if not rows:
            return
        if connection.dialect.name == _POSTGRESQL:
            self._in_sets(connection, rows)
        else:
            self._by_rows(connection, rows)

    def _by_rows(self, connection: Connection, rows: Sequence[Row]) -> None:
        statement, order = self._one_by_one
        values = rows if order is None else [tuple([row[place] for place in order]) for row in rows]
        connection.exec_driver_sql(statement, list(values))

    @property
    def _statement(self) -> ClauseElement:
        """The change of one row, its parameters named ``p_`` and the column."""
        raise NotImplementedError

    @property
    def _set_based(self) -> str:
        """The change of all rows of ``new`` in PostgreSQL's words."""
        raise NotImplementedError

    @property
    def _keys(self) -> list[str] | None:
        """The columns that an INSERT names."""
        return None

    @cached_property
    def _one_by_one(self) -> tuple[str, list[int] | None]:
        """The statement for SQLite, and which column each of its parameters is, None for just these in order."""
        compiled = self._statement.compile(dialect=sqlite.dialect(), column_keys=self._keys)
        assert isinstance(compiled, SQLCompiler)
        order = [self.columns.index(name.removeprefix("p_")) for name in compiled.positiontup or ()]
        return str(compiled), None if order == list(range(len(self.columns))) else order

    def _in_sets(self, connection: Connection, rows: Sequence[Row]) -> None:
        # In binary: as text, arrays of bytes cost seven times as much.
        connection.exec_driver_sql(self._set_based, tuple(map(list, zip(*rows, strict=True))))

    @cached_property
    def _new(self) -> str:
        arrays = ", ".join(f"%b::{self._type(name)}[]" for name in self.columns)
        return f"unnest({arrays}) AS new({', '.join(map(_quoted, self.columns))})"

    def _type(self, name: str) -> str:
        return self.table.c[name].type.compile(dialect=_postgresql().dialect())


class _Inserting(_Bulk):
    @property
    def _keys(self) -> list[str]:
        return list(self.columns)

    def _by_rows(self, connection: Connection, rows: Sequence[Row]) -> None:
        start = 0
        for size, statement in self._many_at_once:
            while len(rows) - start >= size:
                connection.exec_driver_sql(statement, tuple(chain.from_iterable(rows[start : start + size])))
                start += size
        if start < len(rows):
            super()._by_rows(connection, rows[start:])

    @cached_property
    def _many_at_once(self) -> list[tuple[int, str]]:
        """The statements for so many rows each, the largest first."""
        statement, order = self._one_by_one
        row = f"({', '.join('?' * len(self.columns))})"
        assert order is None
        assert statement.count(row) == 1
        return [
            (size, statement.replace(row, ", ".join([row] * size)))
            for size in _ROWS_AT_ONCE
            if size * len(self.columns) <= _PARAMETERS_AT_ONCE
        ]


class Adding(_Inserting):
    """New rows, of which none is there."""

    @property
    def _statement(self) -> ClauseElement:
        return insert(self.table)

    def _in_sets(self, connection: Connection, rows: Sequence[Row]) -> None:
        copy_rows(connection, self.table, self.columns, rows)


class Merging(_Inserting):
    """New rows; one whose key is there changes the row as ``merge`` says, or (None) leaves it alone."""

    def __init__(self, table: Table, columns: Sequence[str], key: Sequence[str], merge: Merge | None = None) -> None:
        super().__init__(table, columns)
        self._key, self._merge = tuple(key), merge

    @property
    def _statement(self) -> ClauseElement:
        adding = sqlite.insert(self.table)
        if self._merge is None:
            return adding.on_conflict_do_nothing()
        return adding.on_conflict_do_update(index_elements=self._key, set_=dict(self._merge(adding.excluded)))

    @cached_property
    def _set_based(self) -> str:
        adding = _postgresql().insert(self.table)
        if self._merge is None:
            told = adding.on_conflict_do_nothing()
        else:
            told = adding.on_conflict_do_update(index_elements=self._key, set_=dict(self._merge(adding.excluded)))
        compiled = str(told.compile(dialect=_postgresql().dialect(), column_keys=self._keys))
        conflict = compiled[compiled.index(" ON CONFLICT") :]
        columns = ", ".join(map(_quoted, self.columns))
        return f"INSERT INTO {self.table.name} ({columns}) SELECT {columns} FROM {self._new}{conflict}"  # noqa: S608 - names of our own schema


class Editing(_Bulk):
    """New values of rows that are there; the last column is the key that names them."""

    @property
    def _statement(self) -> ClauseElement:
        *edited, key = self.columns
        named: dict[str, Any] = {name: bindparam(f"p_{name}") for name in self.columns}
        return update(self.table).where(self.table.c[key] == named[key]).values({name: named[name] for name in edited})

    @cached_property
    def _set_based(self) -> str:
        *edited, key = map(_quoted, self.columns)
        told = ", ".join(f"{name} = new.{name}" for name in edited)
        table = self.table.name
        return f"UPDATE {table} SET {told} FROM {self._new} WHERE {table}.{key} = new.{key}"  # noqa: S608 - see above


class Removing(_Bulk):
    """Rows that go, named by all of the columns."""

    @property
    def _statement(self) -> ClauseElement:
        return delete(self.table).where(*(self.table.c[name] == bindparam(f"p_{name}") for name in self.columns))

    @cached_property
    def _set_based(self) -> str:
        table = self.table.name
        same = " AND ".join(f"{table}.{name} = new.{name}" for name in map(_quoted, self.columns))
        return f"DELETE FROM {table} USING {self._new} WHERE {same}"  # noqa: S608 - see above


def copy_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Add rows to a table of PostgreSQL by COPY, the quickest way there is."""
    kinds = [table.c[name].type.compile(dialect=_postgresql().dialect()).lower() for name in columns]
    names = ", ".join(map(_quoted, columns))
    raw: Any = connection.connection.driver_connection
    try:
        with raw.cursor() as cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types([_COPIED.get(kind, kind) for kind in kinds])
            for row in rows:
                copy.write_row(row)
    except connection.dialect.loaded_dbapi.Error as error:
        # As SQLAlchemy would have raised it, had it known of COPY.
        raise DBAPIError.instance(f"COPY {table.name}", None, error, type(error), dialect=connection.dialect) from error


_COPIED: Final = {"float": "float8", "double precision": "float8"}


def _quoted(name: str) -> str:
    return f'"{name}"'
