"""Reading a PostgreSQL table that regen did not make."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any, Final

import psycopg

from regen.errors import ConfigError, StoreError
from regen.ports import ForeignColumns, ForeignRows
from regen.postgres import AT_LEISURE
from regen.stores.pgvector_vectors import decoded

_IDS: Final = ("id", "_id", "doc_id", "document_id", "uuid", "key")
_TEXTS: Final = ("text", "content", "contents", "page_content", "document", "chunk", "body")
_VECTORS: Final = ("vector", "halfvec")
_COLUMNS: Final = (
    "SELECT a.attname, t.typname, a.atttypmod FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
    "WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
)
_TABLES: Final = (
    "SELECT DISTINCT n.nspname, c.relname, pg_table_is_visible(c.oid) FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped "
    "JOIN pg_type t ON t.oid = a.atttypid WHERE c.relkind IN ('r', 'p', 'm') AND t.typname = ANY(%s) "
    "AND n.nspname !~ '^pg_' AND coalesce(obj_description(c.oid, 'pg_class'), '') NOT LIKE %s"
)


def foreign_tables(connection: psycopg.Connection[Any], mark: str) -> list[str]:
    """Tables with a vector in them whose comment does not begin with ``mark``; with their schema where it is needed."""
    found = connection.execute(_TABLES, [list(_VECTORS), f"{mark}%"]).fetchall()
    return sorted(name if visible else f"{schema}.{name}" for schema, name, visible in found)


def foreign_rows(
    connection: psycopg.Connection[Any], name: str, table: str, wanted: ForeignColumns, batch: int
) -> Iterator[ForeignRows]:
    """All rows of one moment, a page at a time. JSON objects are taken apart, other columns are metadata as they are.

    Raises ConfigError when a column cannot be told, or is not there; StoreError for a row without a vector.
    """
    kinds = {row[0]: row[1] for row in connection.execute(_COLUMNS, [table]).fetchall()}
    vectors = [column for column, kind in kinds.items() if kind in _VECTORS]
    found_id = _chosen(kinds, "id", wanted.id, [column for column in _IDS if column in kinds])
    text = _chosen(kinds, "text", wanted.text, [column for column in _TEXTS if column in kinds])
    vector = _chosen(kinds, "vector", wanted.vector, vectors)
    rest = [column for column in kinds if column not in {found_id, text, vector} and kinds[column] not in _VECTORS]
    kept = rest if wanted.metadata is None else [column for column in wanted.metadata if column in rest]
    listed = ", ".join([f"{_quoted(found_id)}::text", *map(_quoted, [text, *kept])])
    half = "::vector" if kinds[vector] == "halfvec" else ""
    statement = f"SELECT vector_send({_quoted(vector)}{half}), {listed} FROM {table}"  # noqa: S608 - quoted names
    with connection.transaction(), connection.cursor("foreign", binary=False) as cursor:
        connection.execute(AT_LEISURE.encode())  # each page is taken over before the next one is asked for
        cursor.execute(statement.encode())
        while page := cursor.fetchmany(batch):
            yield _page(name, page, kept)


def _page(name: str, page: list[Any], kept: list[str]) -> ForeignRows:
    lacking = [row[1] for row in page if row[0] is None]
    if lacking:
        raise StoreError(f"row {lacking[0]!r} of {name} has no vector", hint="fill it, or remove the row")
    dimensions = {(len(row[0]) - 4) // 4 for row in page}
    if len(dimensions) > 1:
        raise StoreError(f"{name} holds vectors of {sorted(dimensions)} dimensions", hint="adopt one model's at a time")
    return ForeignRows(
        [str(row[1]) for row in page],
        [row[2] or "" for row in page],
        [_metadata(dict(zip(kept, row[3:], strict=True))) for row in page],
        decoded([row[0] for row in page], dimensions.pop(), "float32"),
    )


def _metadata(values: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= {key: _plain(item) for key, item in value.items() if item is not None}
        elif value is not None:
            flat[name] = _plain(value)
    return flat


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str | int | float | bool | dict):
        return value
    return value.isoformat() if isinstance(value, date) else str(value)


def _chosen(kinds: dict[str, str], role: str, wanted: str | None, found: list[str]) -> str:
    if wanted is not None:
        if wanted not in kinds:
            raise ConfigError(f"there is no column {wanted!r}", hint=f"there are: {', '.join(kinds)}")
        return wanted
    if not found:
        raise ConfigError(
            f"which column holds the {role} cannot be told from the columns {', '.join(kinds)}",
            hint=f"name it with --{role} COLUMN",
        )
    return found[0]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'
