"""Many rows of SQLite in one step.

Python's driver gives the interpreter's lock back for every row and takes it again, and beside a thread that computes it
waits for it up to 5 ms each time. Here SQLite makes one JSON array of all rows without asking for the lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Final, TypeAlias

import orjson
from sqlalchemy import Boolean, Connection, Float, LargeBinary, Select, case, cast, func, select
from sqlalchemy.exc import DataError
from sqlalchemy.sql.elements import ColumnElement

Unpack: TypeAlias = Callable[[Iterable[Any]], Iterable[Any]]
"""A column's values of what JSON holds of them."""


class AtOnce:
    """A statement whose rows are fetched together; where the database is not SQLite, as they are.

    ``elsewhere`` is the same statement as other databases answer it best.

    Made once for each form of a statement and run with parameters: what SQLAlchemy makes of it are cycles, 100 KB a
    time, which only the garbage collector takes away. The rows of one call lie in memory three times for a moment: not
    for texts of any length.
    """

    def __init__(self, statement: Select[Any], elsewhere: Select[Any] | None = None) -> None:
        self._statement = statement
        self._elsewhere = statement if elsewhere is None else elsewhere

    def rows(self, connection: Connection, /, **parameters: Any) -> Sequence[Sequence[Any]]:
        """All rows, in the statement's order."""
        if connection.dialect.name == "sqlite":
            try:
                found = connection.execute(self._gathered, parameters).scalar_one()
            except DataError:  # longer than SQLite lets a value be, a billion bytes
                pass
            else:
                return self._unpacked(orjson.loads(found))
        return self.one_by_one(connection, **parameters)

    def one_by_one(self, connection: Connection, /, **parameters: Any) -> Sequence[Sequence[Any]]:
        """The same, for rows that are few and long."""
        statement = self._statement if connection.dialect.name == "sqlite" else self._elsewhere
        return connection.execute(statement, parameters).fetchall()

    @cached_property
    def _gathered(self) -> Select[Any]:
        """The statement's rows as one JSON array of arrays, in UTF-8."""
        columns = self._statement.subquery().c
        row = func.json_array(*map(_packed, columns))
        return select(cast(func.json_group_array(row), LargeBinary))

    @cached_property
    def _unpackers(self) -> list[Unpack | None]:
        return [_unpacker(column) for column in self._statement.selected_columns]

    def _unpacked(self, rows: list[list[Any]]) -> list[tuple[Any, ...]]:
        if not rows:
            return []
        columns = zip(*rows, strict=True)
        return list(
            zip(
                *(
                    column if unpack is None else unpack(column)
                    for unpack, column in zip(self._unpackers, columns, strict=True)
                ),
                strict=True,
            )
        )


def _packed(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """What JSON can hold: bytes in hexadecimal, and numbers with all their digits, of which JSON functions write 15."""
    if isinstance(column.type, LargeBinary):
        return case((column.is_not(None), func.hex(column)))
    if isinstance(column.type, Float):
        return case((column.is_not(None), func.quote(column)))
    return column


def _unpacker(column: ColumnElement[Any]) -> Unpack | None:
    return next((unpack for kind, unpack in _UNPACKERS if isinstance(column.type, kind)), None)


def _each(convert: Callable[[Any], Any]) -> Unpack:
    return lambda values: [None if value is None else convert(value) for value in values]


_UNPACKERS: Final = (
    (LargeBinary, _each(bytes.fromhex)),
    (Float, _each(float)),
    (Boolean, _each(bool)),
)
