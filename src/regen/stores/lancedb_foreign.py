"""Reading a LanceDB table that regen did not make."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, Final

import pyarrow as pa
from lancedb.table import Table

from regen.errors import ConfigError
from regen.ports import ForeignColumns, ForeignRows
from regen.stores.lancedb_vectors import vectors_of

_IDS: Final = ("id", "_id", "doc_id", "document_id", "uuid", "key")
_TEXTS: Final = ("text", "content", "contents", "page_content", "chunk", "body")


def foreign_columns(schema: pa.Schema, wanted: ForeignColumns) -> ForeignColumns:
    """The columns to read, found by name and type where they are not given. Raises ConfigError."""
    vectors = [part.name for part in schema if _is_vector(part.type)]
    return ForeignColumns(
        id=_chosen(schema, "id", wanted.id, [name for name in _IDS if name in schema.names]),
        text=_chosen(schema, "text", wanted.text, [name for name in _TEXTS if name in schema.names]),
        vector=_chosen(schema, "vector", wanted.vector, ["vector"] if "vector" in vectors else vectors),
        metadata=wanted.metadata,
    )


def foreign_rows(table: Table, columns: ForeignColumns, batch: int) -> Iterator[ForeignRows]:
    """All rows, a page at a time. Struct columns are taken apart, other columns are metadata as they are."""
    assert columns.id is not None
    assert columns.text is not None
    assert columns.vector is not None
    taken = {columns.id, columns.text, columns.vector}
    rest = [name for name in table.schema.names if name not in taken]
    kept = rest if columns.metadata is None else [name for name in columns.metadata if name in rest]
    dimensions = table.schema.field(columns.vector).type.list_size
    for page in table.search().select([columns.id, columns.text, columns.vector, *kept]).to_batches(batch):
        values = {name: page.column(name).to_pylist() for name in kept}
        yield ForeignRows(
            [str(value) for value in page.column(columns.id).to_pylist()],
            [value or "" for value in page.column(columns.text).to_pylist()],
            [_metadata({name: values[name][row] for name in kept}) for row in range(page.num_rows)],
            vectors_of(pa.chunked_array([page.column(columns.vector)]), dimensions),
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
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, date) else value


def _is_vector(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type))


def _chosen(schema: pa.Schema, role: str, wanted: str | None, found: list[str]) -> str:
    if wanted is not None:
        if wanted not in schema.names:
            raise ConfigError(f"there is no column {wanted!r}", hint=f"there are: {', '.join(schema.names)}")
        return wanted
    if not found:
        raise ConfigError(
            f"which column holds the {role} cannot be told from the names {', '.join(schema.names)}",
            hint=f"name it with --{role} COLUMN",
        )
    return found[0]
