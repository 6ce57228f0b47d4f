"""Upkeep of a collection: its vector index, built after the load; indexes for filters; statistics."""

from __future__ import annotations

import string
from hashlib import blake2b
from typing import Any, Final

import psycopg

from regen.stores.pgvector_layout import LONGEST_NAME, IndexSettings, Layout
from regen.stores.pgvector_vectors import INDEXED_DIMENSIONS, OPERATOR_CLASSES, vector_type

_INDEXES: Final = (
    "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
    "WHERE i.indrelid = %s::regclass"
)
_WORDS_OF: Final = 200_000
_SIGNS: Final = "".join(f"\\x{ord(sign):02x}" for sign in string.punctuation)


def words_of(text: str) -> str:
    """The SQL of a text's words. Signs part them: else PostgreSQL would take ``/zebra/`` for the name of a file."""
    return f"to_tsvector('english', regexp_replace({text}, '[{_SIGNS}]', ' ', 'g'))"


WORDS: Final = words_of(f"left(text, {_WORDS_OF})")
"""The words of a point. PostgreSQL refuses more than a megabyte of them, and with an index would refuse the point."""


def maintain(
    connection: psycopg.Connection[Any], collection: str, table: str, layout: Layout, *, force: bool
) -> list[str]:
    """Do what pays now, or with ``force`` everything but an index below ``min_rows``; say what was done.

    Indexes are built beside readers and writers. One that was left half-made by a crash is built anew.
    """
    settings = IndexSettings.of(layout.index)
    rows = _count(connection, table)
    done = _words(connection, collection, table)
    if rows >= settings.min_rows:
        done += _indexes(connection, collection, table, layout, settings, rows)
    if force or done or _much_changed(connection, table):
        connection.execute(f"VACUUM (ANALYZE) {table}".encode())
        done.append(f"cleaned and analysed {rows} points")
    return done


def index_name(collection: str, part: str = "vectors") -> str:
    """The name of a collection's index: one schema has it once, and PostgreSQL cuts what is longer than 63 bytes."""
    name = f"{collection}_{part}"
    return name if len(name) <= LONGEST_NAME else f"{name[:50]}_{blake2b(name.encode(), digest_size=6).hexdigest()}"


def indexes(connection: psycopg.Connection[Any], table: str) -> dict[str, bool]:
    """The indexes of a table by name, and whether searches can use them."""
    return dict(connection.execute(_INDEXES, [table]).fetchall())


def word_index(collection: str, table: str) -> str:
    """The statement that makes a collection's index of words."""
    name = index_name(collection, "words")
    return f'CREATE INDEX CONCURRENTLY IF NOT EXISTS "{name}" ON {table} USING gin ({WORDS})'


def is_indexed(connection: psycopg.Connection[Any], collection: str, table: str) -> bool:
    """Whether the collection has a vector index that searches can use."""
    return indexes(connection, table).get(index_name(collection), False)


def _words(connection: psycopg.Connection[Any], collection: str, table: str) -> list[str]:
    """Build the index of words anew where a search began to and did not end; nobody else wants one."""
    name = index_name(collection, "words")
    held = indexes(connection, table)
    if held.get(name, True) or not _build(connection, name, table, held, f"USING gin ({WORDS})"):
        return []
    return ["built the index of words"]


def _indexes(
    connection: psycopg.Connection[Any],
    collection: str,
    table: str,
    layout: Layout,
    settings: IndexSettings,
    rows: int,
) -> list[str]:
    held = indexes(connection, table)
    done = []
    filtered = [("access", "strings"), ("odd", "strings"), *layout.fields.values()]
    for column, kind in filtered:
        # Half of all points are no narrow choice: no index is made for what is only true or false.
        if kind != "boolean" and _build(connection, index_name(collection, column), table, held,
                  f"USING gin ({column})" if kind == "strings" else f"({column})"):  # fmt: skip
            done.append(f"indexed {column}")
    how = _vector_index(layout, settings)
    if how is not None:
        connection.execute(f"SET maintenance_work_mem = '{settings.memory_mb}MB'".encode())
        if _build(connection, index_name(collection), table, held, how):
            done.append(f"built the vector index over {rows} points")
        connection.execute(b"RESET maintenance_work_mem")
    return done


def _vector_index(layout: Layout, settings: IndexSettings) -> str | None:
    """How the vector index is made, None above the dimensions that pgvector can index."""
    kind = vector_type(layout.precision)
    column = "vector"
    if kind == "vector" and layout.dimensions > INDEXED_DIMENSIONS[kind]:
        kind, column = "halfvec", f"(vector::halfvec({layout.dimensions}))"
    if layout.dimensions > INDEXED_DIMENSIONS[kind]:
        return None
    options = f"m = {settings.m}, ef_construction = {max(settings.ef_construction, 2 * settings.m)}"
    return f"USING hnsw ({column} {kind}_{OPERATOR_CLASSES[layout.metric]}) WITH ({options})"


def _build(connection: psycopg.Connection[Any], name: str, table: str, held: dict[str, bool], how: str) -> bool:
    if held.get(name):
        return False
    schema = table.rpartition(".")[0]
    if name in held:
        connection.execute(f'DROP INDEX CONCURRENTLY IF EXISTS {schema}."{name}"'.encode())
    connection.execute(f'CREATE INDEX CONCURRENTLY IF NOT EXISTS "{name}" ON {table} {how}'.encode())
    return True


def _count(connection: psycopg.Connection[Any], table: str) -> int:
    found = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()  # noqa: S608 - our own name
    assert found is not None
    return int(found[0])


def _much_changed(connection: psycopg.Connection[Any], table: str) -> bool:
    """Whether a fifth of the rows was replaced or removed since they were last cleaned: autovacuum may be off."""
    found = connection.execute(
        "SELECT n_dead_tup > 1000 + 0.2 * n_live_tup FROM pg_stat_all_tables WHERE relid = %s::regclass", [table]
    ).fetchone()
    return found is not None and bool(found[0])
