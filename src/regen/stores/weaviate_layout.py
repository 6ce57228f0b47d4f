"""How a collection lies in Weaviate: its name, its schema, which tells all that regen knows of it, points as objects.

    class        the collection's name with a capital first letter, as Weaviate wants it; its description says the rest
    uuid         the point's own 128 bits, of any other id a digest
    vector       ``default``: named, so that vectors of other models could lie beside it
    properties   a record (``records.py``), and
      lacks      columns of the fields under which the point holds nothing
      zero       whether its vector has no direction

Texts that filters compare are kept as JSON strings: Weaviate trims what it compares, and the quotes keep blanks. A
field that is added is a property more, whose description names its key: two writers that add fields both succeed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final
from uuid import NAMESPACE_OID, UUID, uuid5

import numpy as np
import orjson
from weaviate.classes.config import Configure, DataType, Property, Tokenization, VectorDistances
from weaviate.classes.data import DataObject

from regen.core.recipe import Metric, Precision
from regen.ports import CollectionSpec, FieldKind, Payload, Points, Vectors
from regen.stores.cosine import EXACT, ZERO, as_units, exact, is_zero
from regen.stores.graph_settings import GraphSettings
from regen.stores.records import PREFIX, Record, changed_records, field_column, point_records

VECTOR: Final = "default"
LACKS: Final = "lacks"
_MARK: Final = "regen "
_ODD_NAME: Final = "X_"
_LONGEST_NAME: Final = 200
_REQUEST_BYTES: Final = 8 * 2**20
_LISTS: Final = ("access", "has", "odd", LACKS)
_DISTANCES: Final[dict[Metric, VectorDistances]] = {
    "cosine": VectorDistances.DOT,  # VectorDistances.COSINE would change what is written
    "dot": VectorDistances.DOT,
    "l2": VectorDistances.L2_SQUARED,
}
_TYPES: Final[dict[FieldKind, DataType]] = {
    "string": DataType.TEXT,
    "number": DataType.NUMBER,
    "boolean": DataType.BOOL,
    "strings": DataType.TEXT_ARRAY,
}


@dataclass(frozen=True, slots=True)
class Layout:
    """What a schema says. ``late`` are the fields that points of before say nothing of."""

    dimensions: int
    metric: Metric
    precision: Precision
    index: Mapping[str, int] = field(default_factory=dict)
    fields: Mapping[str, FieldKind] = field(default_factory=dict)
    late: frozenset[str] = frozenset()

    @classmethod
    def of(cls, config: Any) -> Layout | None:
        """The layout that a collection's configuration tells, None of one that regen did not make."""
        told = config.description or ""
        if not told.startswith(_MARK):
            return None
        notes = [item.description or "" for item in config.properties]
        fields = [orjson.loads(note.removeprefix(_MARK)) for note in notes if note.startswith(_MARK)]
        return cls(
            **orjson.loads(told.removeprefix(_MARK)),
            fields={one["key"]: one["kind"] for one in fields},
            late=frozenset(one["key"] for one in fields if one["late"]),
        )

    def score(self, distance: float) -> float:
        """The similarity that a distance of Weaviate's means: it turns inner products round."""
        return -distance


def class_name(name: str) -> str:
    """The name of a collection or an alias in Weaviate, where it begins with a capital letter and has no hyphen."""
    name = name.replace("-", "_")
    if not name[:1].isalpha() or name.startswith(_ODD_NAME.lower()):
        return _ODD_NAME + name
    return name[0].upper() + name[1:]


def collection_name(name: str) -> str:
    """The inverse of :func:`class_name`."""
    return name.removeprefix(_ODD_NAME) if name.startswith(_ODD_NAME) else name[0].lower() + name[1:]


def property_of(column: str) -> str:
    """The property of a record's column: a name of Weaviate's has 231 characters at most."""
    if len(column) <= _LONGEST_NAME:
        return column
    return "g_" + blake2b(column.encode(), digest_size=16).hexdigest()


def quoted(text: str) -> str:
    """A text as it is kept where it is compared."""
    return orjson.dumps(text).decode()


def unquoted(text: str) -> str:
    """The inverse of :func:`quoted`."""
    return str(orjson.loads(text))


# ── the schema ──


def made_of(name: str, spec: CollectionSpec, settings: GraphSettings) -> dict[str, Any]:
    """What a new collection is made of, as arguments of ``collections.create``."""
    own = {"dimensions": spec.dimensions, "metric": spec.metric, "precision": spec.precision, "index": dict(spec.index)}
    graph = Configure.VectorIndex.hnsw(
        distance_metric=_DISTANCES[spec.metric],
        ef=settings.ef,
        ef_construction=settings.ef_construction,
        max_connections=settings.m,
        quantizer=Configure.VectorIndex.Quantizer.none(),  # since 1.33 the default loses bits
    )
    return {
        "name": class_name(name),
        "description": _MARK + orjson.dumps(own).decode(),
        "vector_config": Configure.Vectors.self_provided(name=VECTOR, vector_index_config=graph),
        "properties": [*_own_properties(), *field_properties(spec.fields, late=False)],
    }


def _own_properties() -> Iterator[Property]:
    yield Property(
        name="text", data_type=DataType.TEXT, index_filterable=False, index_searchable=True,
        tokenization=Tokenization.WORD,
    )  # fmt: skip
    for name in ("point_id", "chunk_id", "token", "doc_id", "audit", EXACT):
        yield Property(name=name, data_type=DataType.TEXT, index_filterable=False, index_searchable=False)
    for name in ("position", "revision"):
        yield Property(name=name, data_type=DataType.NUMBER, index_filterable=False)
    for name in ("public", ZERO):
        yield Property(name=name, data_type=DataType.BOOL, index_filterable=True)
    for name in _LISTS:
        yield _compared(name, DataType.TEXT_ARRAY, None)


def field_properties(fields: Mapping[str, FieldKind], *, late: bool) -> Iterator[Property]:
    """The properties of filterable keys."""
    for key, kind in fields.items():
        note = _MARK + orjson.dumps({"key": key, "kind": kind, "late": late}).decode()
        name = property_of(field_column(key))
        if kind in {"string", "strings"}:
            yield _compared(name, _TYPES[kind], note)
        elif kind == "number":
            yield Property(
                name=name, data_type=_TYPES[kind], description=note, index_filterable=True, index_range_filters=True
            )
        else:
            yield Property(name=name, data_type=_TYPES[kind], description=note, index_filterable=True)


def _compared(name: str, kind: DataType, note: str | None) -> Property:
    return Property(
        name=name, data_type=kind, description=note, index_filterable=True, index_searchable=False,
        tokenization=Tokenization.FIELD,
    )  # fmt: skip


# ── objects ──


def uuid_of(point_id: str) -> str:
    """A point's id as UUID. The one of zeros is where a scan begins, so no point has it."""
    if len(point_id) == 32 and set(point_id) <= set("0123456789abcdef") and point_id.strip("0"):
        return str(UUID(hex=point_id))
    return str(uuid5(NAMESPACE_OID, point_id))


def objects_of(points: Points, layout: Layout) -> Iterator[list[DataObject[Any, Any]]]:
    """Points as requests of few enough bytes."""
    units, exacts = as_units(points.vectors, layout.metric, layout.precision)
    records = point_records(points, layout.fields)
    for row, record in enumerate(records):
        record[ZERO] = is_zero(points.vectors[row], layout.metric)
        if row in exacts:
            record[EXACT] = exacts[row]
    return requests(zip(records, units.tolist(), strict=True), layout)


def requests(pairs: Iterable[tuple[Record, list[float]]], layout: Layout) -> Iterator[list[DataObject[Any, Any]]]:
    """Records and their vectors as requests of few enough bytes."""
    some: list[DataObject[Any, Any]] = []
    size = 0
    for record, vector in pairs:
        own = 5 * layout.dimensions + len(orjson.dumps(record))
        if some and size + own > _REQUEST_BYTES:
            yield some
            some, size = [], 0
        properties = _properties(record, layout)
        some.append(DataObject(properties=properties, uuid=uuid_of(record["point_id"]), vector={VECTOR: vector}))
        size += own
    if some:
        yield some


def _properties(record: Record, layout: Layout) -> Record:
    lacking = [column for column in map(field_column, layout.fields) if column not in record["has"]]
    held = record | {"token": str(record["token"]), LACKS: lacking}
    return {property_of(name): _kept(name, value) for name, value in held.items() if value not in (None, [])}


def _kept(name: str, value: Any) -> Any:
    if name in _LISTS or isinstance(value, list):
        return [quoted(one) for one in value]
    if name.startswith(PREFIX) and isinstance(value, str):
        return quoted(value)
    return value + 0.0 if name.startswith(PREFIX) and isinstance(value, float) else value


def record_of(properties: Mapping[str, Any], layout: Layout) -> Record:
    """An object's properties as the record that they were."""
    record = {name: value for name, value in properties.items() if value is not None and name != LACKS}
    for column in map(field_column, layout.fields):
        if column != (name := property_of(column)) and name in record:
            record[column] = record.pop(name)
    for name, value in record.items():
        if isinstance(value, list):
            record[name] = [unquoted(one) for one in value]
        elif name.startswith(PREFIX) and isinstance(value, str):
            record[name] = unquoted(value)
    numbers = {name: int(record[name]) for name in ("token", "position", "revision") if name in record}
    return {"has": [], "odd": []} | record | numbers


def renewed(found: Iterable[Any], ids: Sequence[str], payload: Payload, layout: Layout) -> Iterator[Any]:
    """Objects as they were fetched, with all replaced that an update of payloads replaces; of equal ids the last."""
    last = dict(zip(ids, changed_records(payload, layout.fields), strict=True))
    for one in found:
        record = record_of(one.properties, layout)
        kept = {name: value for name, value in record.items() if name != "access" and not name.startswith(PREFIX)}
        yield kept | last[record["point_id"]], list(one.vector[VECTOR])


def read_vectors(found: Sequence[Any], layout: Layout) -> Vectors:
    """The vectors of objects as they were written, shape (objects, dimensions)."""
    vectors = np.array([one.vector[VECTOR] for one in found], np.float32).reshape(len(found), layout.dimensions)
    for row, one in enumerate(found):
        if (packed := one.properties.get(EXACT)) is not None:
            vectors[row] = exact(packed, layout.precision)
    return vectors
