"""How a collection lies in an index of Elasticsearch or OpenSearch: its mapping, and points as documents.

The mapping says all that regen knows of an index: ``_meta`` that it is regen's, its metric, precision and settings, and
each filterable key's field carries its kind as ``meta``: two writers that add keys at once both succeed. What no filter
asks for is not mapped, and lies in the document only. A document without a vector is found by no search, which is what
a vector without direction wants.

    key        the document's id once more: what a scan sorts by
    open       the columns on which the index cannot answer for this point
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import numpy as np
import orjson

from regen.core.recipe import Metric, Precision
from regen.errors import ConfigError, StoreError
from regen.ports import CollectionSpec, FieldKind, Payload, Points, Vectors
from regen.stores.cosine import EXACT, as_units, exact, is_zero
from regen.stores.elastic_connection import Operation
from regen.stores.elastic_dialect import VECTOR, Dialect, Json
from regen.stores.elastic_filters import OPEN
from regen.stores.field_names import column_key
from regen.stores.graph_settings import GraphSettings
from regen.stores.records import PREFIX, Record, changed_records, field_column, point_records, with_nulls

MARK: Final = "regen"
KEY: Final = "key"
TEXT: Final = "text"
_PLAIN: Final = re.compile(r"[0-9a-f]{32}")
_LONGEST_TERM: Final = 8191
"""Characters of the longest text that is indexed as one term: Lucene takes 32,766 bytes."""
_KEYWORD: Final[Json] = {"type": "keyword", "ignore_above": _LONGEST_TERM}
_FIELDS: Final[dict[FieldKind, Json]] = {
    "string": _KEYWORD,
    "number": {"type": "double"},
    "boolean": {"type": "boolean"},
    "strings": _KEYWORD,
}
_FIXED: Final[dict[str, Json]] = {
    KEY: {"type": "keyword"},
    "doc_id": _KEYWORD,
    "chunk_id": _KEYWORD,
    "access": _KEYWORD,
    "public": {"type": "boolean"},
    "has": {"type": "keyword"},
    OPEN: {"type": "keyword"},
    TEXT: {"type": "text"},
}
_RETRIES: Final = 5
"""How often the server tries an update again when another write came between."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What an index's mapping says."""

    dimensions: int
    metric: Metric
    precision: Precision
    graph: GraphSettings
    fields: Mapping[str, FieldKind] = field(default_factory=dict)

    @classmethod
    def of(cls, mapping: Json, dialect: Dialect) -> Layout | None:
        """The layout of an index, None of one that regen did not make."""
        own, properties = mapping.get("_meta", {}).get(MARK), mapping.get("properties", {})
        dimensions = dialect.dimensions(properties.get(VECTOR, {}))
        if own is None or dimensions is None:
            return None
        kinds = {name: held.get("meta", {}).get("kind") for name, held in properties.items()}
        fields = {column_key(PREFIX, name): kind for name, kind in kinds.items() if kind and name.startswith(PREFIX)}
        graph = GraphSettings(**own["graph"])
        return cls(dimensions, own["metric"], own["precision"], graph, fields)

    def score(self, score: float) -> float:
        """The similarity that a score of the server means: it makes every score positive."""
        if self.metric == "l2":
            return 1.0 - 1.0 / score if score > 0 else -np.inf
        return score - 1.0 if score >= 1.0 else 1.0 - 1.0 / score if score > 0 else -np.inf


def settings_of(spec: CollectionSpec, dialect: Dialect) -> tuple[GraphSettings, str | None]:
    """What ``CollectionSpec.index`` says. Raises ConfigError for a key or a value that is not valid."""
    index = dict(spec.index)
    chosen = index.pop("type", None) if dialect.index_types else None
    if chosen is not None and chosen not in dialect.index_types:
        raise ConfigError(f"index setting type is {chosen!r}", hint=f"valid are {', '.join(dialect.index_types)}")
    return GraphSettings.of(index, dialect.product.name), chosen


def mapping_of(spec: CollectionSpec, dialect: Dialect) -> Json:
    """The mapping of a new index. Raises ConfigError for settings, StoreError for too many dimensions."""
    graph, index_type = settings_of(spec, dialect)
    if spec.dimensions > dialect.most_dimensions:
        raise StoreError(
            f"vectors of {spec.dimensions} dimensions, and {dialect.product.name} takes {dialect.most_dimensions:,}",
            hint="set embedding.dimensions of a Matryoshka model lower, or choose another store",
        )
    own = {
        "metric": spec.metric,
        "precision": spec.precision,
        "graph": {"m": graph.m, "ef_construction": graph.ef_construction, "ef": graph.ef},
    }
    vector = dialect.vector_field(spec, graph, index_type)
    return {
        "dynamic": False,
        "_meta": {MARK: own},
        "properties": {**_FIXED, VECTOR: vector, **field_mappings(spec.fields)},
    }


def field_mappings(fields: Mapping[str, FieldKind]) -> dict[str, Json]:
    """The mappings of filterable keys."""
    return {field_column(key): _FIELDS[kind] | {"meta": {"kind": kind}} for key, kind in fields.items()}


def document_id(point_id: str) -> str:
    """A point's id as a document's, which may have 512 bytes: the engine's own as they are, of any other a digest."""
    if _PLAIN.fullmatch(point_id):
        return point_id
    return "_" + blake2b(point_id.encode(), digest_size=20).hexdigest()


def writes(points: Points, layout: Layout) -> list[Operation]:
    """Points as operations of a bulk request that replace whole documents."""
    units, exacts = as_units(points.vectors, layout.metric, layout.precision)
    records = [_indexed(record, layout.fields) for record in point_records(points, layout.fields)]
    for row, record in enumerate(records):
        record[KEY] = document_id(points.ids[row])
        if not is_zero(points.vectors[row], layout.metric):
            record[VECTOR] = units[row]
        if row in exacts:
            record[EXACT] = exacts[row]
    return [_operation(record["point_id"], {"index": {"_id": record[KEY]}}, record) for record in records]


def updates(ids: Sequence[str], payload: Payload, layout: Layout) -> list[Operation]:
    """What replaces metadata, access and revision of documents that are there, of equal ids the last."""
    last = dict(zip(ids, changed_records(payload, layout.fields), strict=True))
    return [
        _operation(
            point_id,
            {"update": {"_id": document_id(point_id), "retry_on_conflict": _RETRIES}},
            {"doc": with_nulls(_indexed(record, layout.fields), layout.fields)},
        )
        for point_id, record in last.items()
    ]


def deletes(ids: Sequence[str]) -> list[Operation]:
    """What removes documents."""
    return [_operation(point_id, {"delete": {"_id": document_id(point_id)}}) for point_id in ids]


def read_vectors(found: Sequence[Record], layout: Layout) -> Vectors:
    """The vectors of documents as they were written, shape (documents, dimensions)."""
    vectors = np.zeros((len(found), layout.dimensions), np.float32)
    for row, record in enumerate(found):
        packed = record.get(EXACT)
        vectors[row] = record[VECTOR] if packed is None else exact(packed, layout.precision)
    return vectors


def _indexed(record: Record, fields: Mapping[str, FieldKind]) -> Record:
    """The record as the index answers for it: without -0.0, and with what it cannot answer for."""
    for key, kind in fields.items():
        column = field_column(key)
        if kind == "number" and column in record:
            record[column] += 0.0
    texts = {column: value for column, value in record.items() if column == "access" or column.startswith(PREFIX)}
    record[OPEN] = [*record["odd"], *(column for column, value in texts.items() if _too_long(value))]
    return record


def _too_long(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return any(
        isinstance(one, str) and len(one.encode("utf-16-le", "surrogatepass")) > 2 * _LONGEST_TERM for one in values
    )


def _operation(point_id: str, action: Json, document: Json | None = None) -> Operation:
    try:
        lines = [orjson.dumps(action)]
        if document is not None:
            lines.append(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY))
    except TypeError as error:  # half a surrogate pair, somewhere in the metadata or the access list
        raise StoreError(
            f"point {point_id[:100]!r} cannot be sent: {error}", hint="metadata and principals are valid Unicode"
        ) from error
    return Operation(point_id, b"\n".join([*lines, b""]))
