"""Rows fetched in one step are those that are fetched one by one, and texts kept in one call those of single calls."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    insert,
    select,
)

from regen.catalog.at_once import AtOnce
from regen.catalog.document_rows import compress, decompress
from regen.catalog.sqlite import make_engine

KINDS = Table(
    "kinds",
    MetaData(),
    Column("key", Integer, primary_key=True),
    Column("number", BigInteger),
    Column("time", Float),
    Column("data", LargeBinary),
    Column("words", Text),
    Column("known", Boolean),
)
EVERY = select(KINDS).order_by(KINDS.c.words.desc(), KINDS.c.key)
ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(1e-6, 1e12),
        st.none() | st.binary(max_size=40),
        st.none() | st.text(max_size=20) | st.sampled_from(["[1,2]", "null", '{"a":"\\u0000"}']),
        st.none() | st.booleans(),
    ),
    max_size=20,
)


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    """An empty table with a column of each kind."""
    engine = make_engine("sqlite://")
    with engine.connect() as made:
        KINDS.create(made)
        yield made
    engine.dispose()


@given(rows=ROWS)
def test_values_of_every_kind_come_back_as_they_are(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    """Types, nothing, empty bytes, texts that look like JSON, the order: as SQLAlchemy fetches them."""
    connection.execute(KINDS.delete())
    names = KINDS.c.keys()[1:]
    for key, row in enumerate(rows):
        connection.execute(insert(KINDS).values(key=key, **dict(zip(names, row, strict=True))))
    expected = [tuple(row) for row in connection.execute(EVERY)]
    found = AtOnce(EVERY).rows(connection)
    assert found == expected
    assert [list(map(type, row)) for row in found] == [list(map(type, row)) for row in expected]


def test_a_statement_is_built_once_and_asked_often(connection: Connection) -> None:
    """Its parameters are those of each call."""
    connection.execute(KINDS.delete())
    connection.execute(insert(KINDS), [{"key": key, "time": key / 7} for key in range(9)])
    asked = AtOnce(select(KINDS.c.time).where(KINDS.c.key < bindparam("below")).order_by(KINDS.c.key))
    assert asked.rows(connection, below=3) == [(0.0,), (1 / 7,), (2 / 7,)]
    connection.execute(KINDS.delete().where(KINDS.c.key == 1))
    assert asked.rows(connection, below=4) == [(0.0,), (2 / 7,), (3 / 7,)]


def test_columns_of_one_name_are_told_apart(connection: Connection) -> None:
    """A join has the same name twice."""
    connection.execute(KINDS.delete())
    connection.execute(insert(KINDS), [{"key": 1, "words": "a"}, {"key": 2, "words": "b"}])
    other = KINDS.alias()
    joined = select(KINDS.c.words, other.c.words).join_from(KINDS, other, other.c.key == KINDS.c.key + 1)
    assert AtOnce(joined).rows(connection) == [("a", "b")]


def test_what_is_too_long_for_one_value_comes_row_by_row(connection: Connection) -> None:
    """SQLite refuses a value above its limit, here a lower one; the rows are had all the same."""
    connection.execute(KINDS.delete())
    connection.execute(insert(KINDS), [{"key": key, "data": bytes([key]) * 4_000} for key in range(5)])
    raw: Any = connection.connection.driver_connection
    usual = raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 20_000)
    try:
        found = AtOnce(select(KINDS.c.key, KINDS.c.data).order_by(KINDS.c.key)).rows(connection)
    finally:
        raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, usual)
    assert found == [(key, bytes([key]) * 4_000) for key in range(5)]


@given(texts=st.lists(st.text(max_size=200)))
def test_texts_are_kept_together_as_one_by_one(texts: list[str]) -> None:
    """Empty ones among them or alone, or none at all; each can be read by itself."""
    kept = compress([text.encode() for text in texts])
    assert decompress(kept) == texts
    assert [zstandard.ZstdDecompressor().decompress(data).decode() for data in kept] == texts


def test_a_damaged_text_is_an_error() -> None:
    """Not another text, and no crash."""
    whole = compress([b"a river carries stones to the sea, " * 20])[0]
    with pytest.raises((zstandard.ZstdError, ValueError)):
        decompress([whole[:-3]])
