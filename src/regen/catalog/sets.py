"""Conditions on sets of values, and what metadata holds, said once and compiled for either database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import ARRAY, BigInteger, BindParameter, Dialect, LargeBinary, Text, TypeDecorator, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeEngine


class Listed(TypeDecorator[Any]):
    """A list of strings or integers as one parameter: a JSON array for SQLite, an array for PostgreSQL.

    One parameter costs one cached statement; ``IN (?, ?, …)`` would cost a compilation per length.
    """

    impl = Text
    cache_ok = True

    def __init__(self, integers: bool = False) -> None:
        super().__init__()
        self.integers = integers

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type that the database has for it."""
        if dialect.name != "postgresql":
            return dialect.type_descriptor(Text())
        return dialect.type_descriptor(ARRAY(BigInteger() if self.integers else Text()))

    def process_bind_param(self, value: Sequence[Any] | None, dialect: Dialect) -> Any:
        """The value that the driver is handed."""
        assert value is not None
        return list(value) if dialect.name == "postgresql" else orjson.dumps(list(value)).decode()


def listed(name: str, *, integers: bool = False) -> BindParameter[Any]:
    """A parameter for any number of strings or integers, of a statement that is built once."""
    return bindparam(name, type_=Listed(integers))


class _Among(FunctionElement[Any]):
    """``column IN values``."""

    name = "among"
    type = NullType()  # said to be Boolean, SQLite would be asked for (…) = 1, and use no index
    inherit_cache = True


class _HoldsAnyOf(FunctionElement[Any]):
    """Whether a JSON object in a text column has a value other than null under one of some keys."""

    name = "holds_any_of"
    type = NullType()
    inherit_cache = True


class _ValueUnder(FunctionElement[Any]):
    """A JSON object's value under a key, as text; NULL where it has none."""

    name = "value_under"
    type = Text()
    inherit_cache = True


def value_under(metadata: ColumnElement[Any], key: str) -> ColumnElement[Any]:
    """The value of metadata, a JSON object, under a key, as text."""
    return _ValueUnder(metadata, bindparam(None, key, type_=Text()))


def among(column: ColumnElement[Any], values: Sequence[Any] | BindParameter[Any]) -> ColumnElement[bool]:
    """``column IN values`` for any number of strings or integers, as one bound parameter.

    ``values`` may be a parameter of a statement that is built once, of the type :class:`Listed`.
    """
    if not isinstance(values, BindParameter):
        kind = column.type
        assert not isinstance(kind, LargeBinary), "bytes cannot lie in a JSON array"
        values = bindparam(None, values, type_=Listed(not isinstance(kind, Text)))
    return _Among(column, values)


def holds_any_of(metadata: ColumnElement[Any], keys: Sequence[str]) -> ColumnElement[bool]:
    """Whether metadata, a JSON object, has a value under one of the keys."""
    return _HoldsAnyOf(metadata, bindparam(None, keys, type_=Listed()))


@compiles(_Among, "sqlite")
def _among_sqlite(element: _Among, compiler: SQLCompiler, **context: Any) -> str:
    column, values = (compiler.process(clause, **context) for clause in element.clauses)
    return f"({column} IN (SELECT value FROM json_each({values})))"  # noqa: S608 - compiled clauses


@compiles(_Among, "postgresql")
def _among_postgresql(element: _Among, compiler: SQLCompiler, **context: Any) -> str:
    column, values = (compiler.process(clause, **context) for clause in element.clauses)
    return f"({column} = ANY({values}))"


@compiles(_HoldsAnyOf, "sqlite")
def _holds_sqlite(element: _HoldsAnyOf, compiler: SQLCompiler, **context: Any) -> str:
    metadata, keys = (compiler.process(clause, **context) for clause in element.clauses)
    wanted = f"pair.key IN (SELECT value FROM json_each({keys})) AND pair.type != 'null'"  # noqa: S608 - compiled clauses
    return f"(EXISTS (SELECT 1 FROM json_each({metadata}) AS pair WHERE {wanted}))"  # noqa: S608 - compiled clauses


@compiles(_HoldsAnyOf, "postgresql")
def _holds_postgresql(element: _HoldsAnyOf, compiler: SQLCompiler, **context: Any) -> str:
    metadata, keys = (compiler.process(clause, **context) for clause in element.clauses)
    # json, not jsonb: a value may hold an escaped NUL, which only jsonb refuses.
    pairs = f"json_each(CAST({metadata} AS json)) AS pair"
    wanted = f"pair.key = ANY({keys}) AND json_typeof(pair.value) <> 'null'"
    return f"(EXISTS (SELECT 1 FROM {pairs} WHERE {wanted}))"  # noqa: S608 - compiled clauses


@compiles(_ValueUnder, "sqlite")
def _value_sqlite(element: _ValueUnder, compiler: SQLCompiler, **context: Any) -> str:
    metadata, key = (compiler.process(clause, **context) for clause in element.clauses)
    return f"(SELECT CAST(pair.value AS TEXT) FROM json_each({metadata}) AS pair WHERE pair.key = {key})"  # noqa: S608 - compiled clauses


@compiles(_ValueUnder, "postgresql")
def _value_postgresql(element: _ValueUnder, compiler: SQLCompiler, **context: Any) -> str:
    metadata, key = (compiler.process(clause, **context) for clause in element.clauses)
    return f"json_extract_path_text(CAST({metadata} AS json), {key})"
