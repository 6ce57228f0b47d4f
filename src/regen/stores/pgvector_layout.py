"""How a collection lies in a PostgreSQL table: its columns, and points to rows and back. See docs/adr/0009.

    id             text, the primary key
    vector         vector(n), or halfvec(n) for every lower precision
    chunk_id, token, doc_id, text, position, revision
    access         text[]; null is public
    odd            text[] of the field columns whose value is of another kind than declared; null is none
    audit          json
    f_…            one per filterable key: text, float8, boolean or text[]

The table's comment holds, as JSON, what its columns do not tell: metric, precision, index settings, and which key each
field column is of. Only tables with such a comment are collections.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any, Final

import orjson

from regen.core.fields import conforms
from regen.core.recipe import Metric, Precision
from regen.errors import ConfigError
from regen.ports import CollectionSpec, FieldKind, Payload, Points, StoredPayload
from regen.stores.pgvector_filters import TYPES
from regen.stores.pgvector_vectors import encoded, vector_type

MARK: Final = "regen: "
LONGEST_NAME: Final = 63
"""Bytes; PostgreSQL cuts a longer name without a word."""
FIXED: Final = {
    "chunk_id": "text", "token": "bigint", "doc_id": "text", "text": "text", "position": "bigint", "revision": "bigint",
}  # fmt: skip
_PLAIN: Final = re.compile(r"[a-z0-9_]{1,50}")
_COLLATED: Final[dict[FieldKind, str]] = {kind: f'{name} COLLATE "C"' for kind, name in TYPES.items() if "text" in name}
_COPIED: Final[dict[FieldKind, str]] = TYPES | {"boolean": "bool"}


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """``CollectionSpec.index``. The defaults hold recall@10 at 0.99 on clustered vectors.

    ``min_rows``: below this an exact scan is quick enough, and building costs more than it saves.
    ``m``, ``ef_construction``: the graph's degree and build effort. ``ef``: how many candidates a search walks at
    least; it is never below k. ``memory_mb``: what building may take before it becomes slow.
    """

    min_rows: int = 10_000
    m: int = 16
    ef_construction: int = 128
    ef: int = 100
    memory_mb: int = 512

    @classmethod
    def of(cls, index: Mapping[str, Any]) -> IndexSettings:
        """Read the settings. Raises ConfigError for a key or a value that is not valid."""
        valid = asdict(cls())
        for key, value in index.items():
            if key not in valid:
                raise ConfigError(f"unknown index setting {key!r}", hint=f"pgvector knows {', '.join(sorted(valid))}")
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                raise ConfigError(f"index setting {key} is {value!r}", hint=f"a positive number; default {valid[key]}")
        return cls(**{key: int(value) for key, value in index.items()})


@dataclass(frozen=True, slots=True)
class Layout:
    """What a collection's comment says. ``fields`` gives each key its column and kind."""

    dimensions: int
    metric: Metric
    precision: Precision
    index: Mapping[str, Any]
    fields: Mapping[str, tuple[str, FieldKind]] = field(default_factory=dict)

    @classmethod
    def new(cls, spec: CollectionSpec) -> Layout:
        """The layout of an empty collection."""
        plain = cls(spec.dimensions, spec.metric, spec.precision, dict(spec.index))
        return plain.with_fields(spec.fields)

    @classmethod
    def read(cls, comment: str) -> Layout:
        """The layout that a comment tells."""
        held = orjson.loads(comment.removeprefix(MARK))
        fields = {key: (column, kind) for key, (column, kind) in held.pop("fields").items()}
        return cls(**held, fields=fields)

    @property
    def comment(self) -> str:
        """The comment of the collection's table."""
        return MARK + orjson.dumps(asdict(self)).decode()

    def with_fields(self, fields: Mapping[str, FieldKind]) -> Layout:
        """The layout with these keys too; those that it has stay as they are."""
        new = {key: (column_name(key), kind) for key, kind in fields.items() if key not in self.fields}
        return Layout(self.dimensions, self.metric, self.precision, self.index, {**self.fields, **new})

    @property
    def definition(self) -> str:
        """The columns as CREATE TABLE takes them."""
        columns = [
            'id text COLLATE "C" PRIMARY KEY',
            f"vector {vector_type(self.precision)}({self.dimensions}) NOT NULL",
            *(f"{name} {kind}" for name, kind in FIXED.items()),
            "access text[]",
            "odd text[]",
            "audit json",
            *field_columns(self.fields),
        ]
        return ", ".join(columns)

    @property
    def changeable(self) -> dict[str, str]:
        """The columns that :meth:`PayloadStore.update_payload` replaces, with their types as COPY takes them."""
        fields = {column: _COPIED[kind] for column, kind in self.fields.values()}
        return {"id": "text", "revision": "int8", "access": "text[]", "odd": "text[]"} | fields

    @property
    def columns(self) -> dict[str, str]:
        """All columns, with their types as COPY takes them."""
        fixed = {name: kind.replace("bigint", "int8") for name, kind in FIXED.items()}
        return {"id": "text", "vector": "bytea"} | fixed | {"audit": "text"} | self.changeable


def column_name(key: str) -> str:
    """The column of a metadata key: its own name where that is plain, else what is plain of it and a digest."""
    if _PLAIN.fullmatch(key) and "__" not in key:
        return f"f_{key}"
    kept = re.sub(r"[^a-z0-9]+", "_", key.lower())[:30].strip("_")
    return f"f_{kept}__{blake2b(key.encode(), digest_size=6).hexdigest()}"


def field_columns(fields: Mapping[str, tuple[str, FieldKind]]) -> list[str]:
    """The definitions of field columns."""
    return [f"{column} {_COLLATED.get(kind, TYPES[kind])}" for column, kind in fields.values()]


def point_rows(points: Points, layout: Layout) -> list[tuple[Any, ...]]:
    """A batch of points as rows of ``layout.columns``, sorted by id: who locks in one order meets no deadlock."""
    payload = points.payload
    changed = _changed(payload, layout)
    columns = {
        "id": points.ids,
        "vector": encoded(points.vectors, layout.precision),
        **{name: getattr(payload, name) for name in FIXED},
        "audit": _audit(payload.audit, len(points.ids)),
        **changed,
    }
    return _sorted(columns, layout.columns)


def changed_rows(ids: Sequence[str], payload: Payload, layout: Layout) -> list[tuple[Any, ...]]:
    """What an update of payloads replaces as rows of ``layout.changeable``; of equal ids the last, sorted by id."""
    columns = {"id": ids, "revision": payload.revision, **_changed(payload, layout)}
    return list({row[0]: row for row in _sorted(columns, layout.changeable)}.values())


def payload_page(page: Sequence[Sequence[Any]], layout: Layout) -> StoredPayload:
    """Rows of ``scanned`` as a page of a scan. Whole numbers come back as int: a float8 holds them exactly."""
    names = scanned(layout)
    columns = dict(zip(names, zip(*page, strict=True), strict=True))
    audits = columns["audit"]
    keys = dict.fromkeys(key for audit in audits for key in audit)
    return StoredPayload(
        list(columns["id"]),
        Payload(
            **{name: list(columns[name]) for name in FIXED},
            metadata=[
                {key: _plain(row[at]) for key, at in _places(names, layout) if row[at] is not None} for row in page
            ],
            access=list(columns["access"]),
            audit={key: [audit.get(key) for audit in audits] for key in keys},
        ),
    )


def scanned(layout: Layout) -> list[str]:
    """All columns but the vector and what is odd."""
    return [name for name in layout.columns if name not in {"vector", "odd"}]


def _places(names: list[str], layout: Layout) -> Iterator[tuple[str, int]]:
    return ((key, names.index(column)) for key, (column, _) in layout.fields.items())


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _changed(payload: Payload, layout: Layout) -> dict[str, Sequence[Any]]:
    """The columns that metadata and access decide."""
    odd: dict[int, list[str]] = {}
    columns: dict[str, Sequence[Any]] = {"access": payload.access}
    for key, (column, kind) in layout.fields.items():
        values = [metadata.get(key) for metadata in payload.metadata]
        for row, value in enumerate(values):
            if value is not None and not conforms(value, kind):
                values[row] = None
                odd.setdefault(row, []).append(column)
        if kind == "number":
            values = [None if value is None else float(value) for value in values]
        elif kind == "strings":
            values = [None if value is None else list(value) for value in values]
        columns[column] = values
    columns["odd"] = [odd.get(row) for row in range(len(payload.metadata))]
    return columns


def _audit(audit: Mapping[str, Sequence[Any]], count: int) -> list[str]:
    keys = list(audit)
    rows = zip(*audit.values(), strict=True) if keys else ([] for _ in range(count))
    return [orjson.dumps(dict(zip(keys, row, strict=True))).decode() for row in rows]


def _sorted(columns: Mapping[str, Sequence[Any]], order: Mapping[str, str]) -> list[tuple[Any, ...]]:
    rows = list(zip(*(columns[name] for name in order), strict=True))
    return sorted(rows, key=lambda row: row[0])
