"""How a collection lies in a Lance table: its columns, and points to Arrow and back. See docs/adr/0002.

    id             string, never null, the (unenforced) primary key: a concurrent merge of the same new ids conflicts
    vector         fixed-size list, of numbers as its precision needs them (lancedb_vectors.py)
    chunk_id, token, doc_id, text, position, revision
    access         list of strings; null is public
    odd            list of the field columns whose value is of another kind than declared; null is none
    f_<key>        one per filterable key: string, double, bool or list of strings
    a_<key>        one per audit key, of the type of the first value seen

Fields and audit keys are read from the schema itself; metric, precision, dimensions and index settings lie in its
metadata. A table without a precision there holds float32 numbers, whatever its recipe says: it was made before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final

import pyarrow as pa

from regen.core.fields import conforms
from regen.core.recipe import Metric, Precision
from regen.errors import StoreError
from regen.ports import CollectionSpec, FieldKind, Payload, Points
from regen.stores.field_names import column_key, column_name
from regen.stores.lancedb_vectors import encoded, vector_type

_META: Final = b"regen"
_STRINGS: Final = pa.list_(pa.string())
_KINDS: Final[dict[FieldKind, pa.DataType]] = {
    "string": pa.string(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "strings": _STRINGS,
}
_PRIMARY_KEY: Final = {b"lance-schema:unenforced-primary-key:position": b"1"}
_FIXED: Final = ("chunk_id", "token", "doc_id", "text", "position", "revision")
_PLAIN: Final = {"string": {str, NoneType}, "boolean": {bool, NoneType}}


@dataclass(frozen=True, slots=True)
class Layout:
    """What the schema of a collection's table says."""

    schema: pa.Schema
    dimensions: int
    metric: Metric
    precision: Precision
    index: Mapping[str, Any]
    fields: Mapping[str, FieldKind]
    audit: Mapping[str, pa.DataType]

    @property
    def scanned(self) -> list[str]:
        """All columns but the vector."""
        return [name for name in self.schema.names if name != "vector"]


def schema_of(spec: CollectionSpec) -> pa.Schema:
    """The schema of an empty collection."""
    columns = [
        pa.field("id", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
        pa.field("vector", vector_type(spec.dimensions, spec.precision)),
        *(pa.field(name, pa.int64() if name in {"token", "position", "revision"} else pa.string()) for name in _FIXED),
        pa.field("access", _STRINGS),
        pa.field("odd", _STRINGS),
        *field_columns(spec.fields),
    ]
    meta = {
        "metric": spec.metric,
        "precision": spec.precision,
        "dimensions": spec.dimensions,
        "index": dict(spec.index),
    }
    return pa.schema(columns, metadata={_META: json.dumps(meta)})


def field_columns(fields: Mapping[str, FieldKind]) -> list[pa.Field]:
    """The columns of filterable keys."""
    return [pa.field(column_name("f_", key), _KINDS[kind]) for key, kind in fields.items()]


def layout_of(collection: str, schema: pa.Schema) -> Layout:
    """Read a table's schema. Raises StoreError for a table that regen did not make."""
    if _META not in (schema.metadata or {}):
        raise StoreError(
            f"the table {collection!r} was not made by regen", hint="give regen a folder of its own in store.url"
        )
    meta = json.loads(schema.metadata[_META])
    kinds = {kind_type: kind for kind, kind_type in _KINDS.items()}
    return Layout(
        schema=schema,
        dimensions=meta.get("dimensions", schema.field("vector").type.list_size),
        metric=meta["metric"],
        precision=meta.get("precision", "float32"),
        index=meta["index"],
        fields={column_key("f_", part.name): kinds[part.type] for part in schema if part.name.startswith("f_")},
        audit={column_key("a_", part.name): part.type for part in schema if part.name.startswith("a_")},
    )


def missing_audit(layout: Layout, audit: Mapping[str, Sequence[Any]]) -> list[pa.Field]:
    """Columns for audit keys that the table lacks; a key without any value yet gets none."""
    new = [(key, values) for key, values in audit.items() if key not in layout.audit]
    typed = [(key, next((value for value in values if value is not None), None)) for key, values in new]
    return [pa.field(column_name("a_", key), _audit_type(value)) for key, value in typed if value is not None]


def _audit_type(value: object) -> pa.DataType:
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        return pa.int64()
    return pa.float64() if isinstance(value, float) else pa.string()


def points_table(points: Points, layout: Layout) -> pa.Table:
    """A batch of points in the columns of the table's schema.

    Raises StoreError for a value that Arrow cannot hold, such as text that is not valid Unicode.
    """
    payload = points.payload
    columns: dict[str, Any] = {
        "id": points.ids,
        "vector": encoded(points.vectors, layout.precision),
        **{name: getattr(payload, name) for name in _FIXED},
        **changeable_columns(payload, layout),
        **{column_name("a_", key): values for key, values in payload.audit.items()},
    }
    return _table(columns, layout.schema, len(points.ids))


def changeable_table(ids: list[str], payload: Payload, layout: Layout) -> pa.Table:
    """What :meth:`PayloadStore.update_payload` replaces, by id: revision, access, fields and what is odd in them."""
    columns = {"id": ids, "revision": payload.revision, **changeable_columns(payload, layout)}
    return _table(columns, pa.schema([layout.schema.field(name) for name in columns]), len(ids))


def changeable_columns(payload: Payload, layout: Layout) -> dict[str, Any]:
    """The columns that metadata and access decide."""
    odd: dict[int, list[str]] = {}
    columns: dict[str, Any] = {"access": payload.access}
    for key, kind in layout.fields.items():
        name = column_name("f_", key)
        columns[name], rows = _split([metadata.get(key) for metadata in payload.metadata], kind)
        for row in rows:
            odd.setdefault(row, []).append(name)
    columns["odd"] = [odd.get(row) for row in range(len(payload.metadata))] if odd else None
    return columns


def _split(values: list[Any], kind: FieldKind) -> tuple[list[Any], list[int]]:
    """The values with None for those of another kind, and the rows of these."""
    if kind in _PLAIN and set(map(type, values)) <= _PLAIN[kind]:
        return values, []
    odd = [row for row, value in enumerate(values) if value is not None and not conforms(value, kind)]
    for row in odd:
        values[row] = None
    if kind == "number":
        values = [None if value is None else float(value) for value in values]
    return values, odd


def _table(columns: Mapping[str, Any], schema: pa.Schema, rows: int) -> pa.Table:
    return pa.table([_array(columns.get(part.name), part, rows) for part in schema], schema=schema)


def _array(values: Any, part: pa.Field, rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(rows, part.type)
    if isinstance(values, pa.Array):
        return values
    try:
        return pa.array(values, part.type)
    except (pa.ArrowException, UnicodeEncodeError, TypeError, OverflowError) as error:
        raise StoreError(
            f"column {part.name!r} cannot hold a value of this batch: {error}",
            hint=f"it holds {part.type}; text must be valid Unicode",
        ) from None


def payload_of(page: pa.RecordBatch | pa.Table, layout: Layout) -> Payload:
    """A page of a scan as a payload. Whole numbers come back as int: Lance keeps every number as a double."""
    metadata: list[dict[str, Any]] = [{} for _ in range(page.num_rows)]
    for key, kind in layout.fields.items():
        for row, value in enumerate(page.column(column_name("f_", key)).to_pylist()):
            if value is not None:
                metadata[row][key] = int(value) if kind == "number" and value.is_integer() else value
    return Payload(
        **{name: page.column(name).to_pylist() for name in _FIXED},
        metadata=metadata,
        access=page.column("access").to_pylist(),
        audit={key: page.column(column_name("a_", key)).to_pylist() for key in layout.audit},
    )
