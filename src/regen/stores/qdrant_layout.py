"""How a collection lies in Qdrant: its parameters, what its metadata says of it, and points to Qdrant's and back.

The metadata of a collection, which every server since 1.16 keeps and merges by key, says that the collection is
regen's, its metric, precision and index settings, and one entry ``field <key>`` for each filterable key: two writers
that add keys at once both succeed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import NAMESPACE_OID, UUID, uuid5

import numpy as np
from qdrant_client import models

from regen.core.recipe import Metric, Precision
from regen.errors import ConfigError
from regen.ports import CollectionSpec, FieldKind, Points, Vectors
from regen.stores.comparisons import encodable
from regen.stores.cosine import EXACT, ZERO, as_units, exact, is_zero
from regen.stores.graph_settings import GraphSettings
from regen.stores.records import Record, field_column, point_records
from regen.stores.words import weighed, word_number, words

MARK: Final = "regen"
OWN: Final = ""
"""The name of the vector that has none, beside one that has."""
WORDS: Final = "words"
"""The sparse vector of a text's words, and the index setting that asks for it."""
_FIELD: Final = "field "
_DISTANCES: Final[dict[Metric, models.Distance]] = {
    "cosine": models.Distance.DOT,  # Distance.COSINE would change what is written
    "dot": models.Distance.DOT,
    "l2": models.Distance.EUCLID,
}
_SCHEMAS: Final[dict[FieldKind, models.PayloadSchemaType]] = {
    "string": models.PayloadSchemaType.KEYWORD,
    "number": models.PayloadSchemaType.FLOAT,
    "boolean": models.PayloadSchemaType.BOOL,
    "strings": models.PayloadSchemaType.KEYWORD,
}
_FILTERED: Final = {
    "access": models.PayloadSchemaType.KEYWORD,
    "public": models.PayloadSchemaType.BOOL,
    "has": models.PayloadSchemaType.KEYWORD,
    "odd": models.PayloadSchemaType.KEYWORD,
}
_NUMBER_BYTES: Final = 13
"""About what one float takes as JSON."""
_REQUEST_BYTES: Final = 16 * 2**20
"""Half of what a server takes by default in one request."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a collection's parameters and metadata say."""

    dimensions: int
    metric: Metric
    precision: Precision
    index: Mapping[str, int] = field(default_factory=dict)
    fields: Mapping[str, FieldKind] = field(default_factory=dict)
    words: bool = False

    @classmethod
    def of(cls, info: models.CollectionInfo) -> Layout | None:
        """The layout of a collection, None of one that regen did not make."""
        metadata, vectors = info.config.metadata or {}, info.config.params.vectors
        if MARK not in metadata or not isinstance(vectors, models.VectorParams):
            return None
        fields = {key.removeprefix(_FIELD): kind for key, kind in metadata.items() if key.startswith(_FIELD)}
        words = WORDS in (info.config.params.sparse_vectors or {})
        return cls(vectors.size, metadata["metric"], metadata["precision"], metadata["index"], fields, words)


def metadata_of(spec: CollectionSpec) -> dict[str, Any]:
    """What a new collection's metadata says."""
    own = {MARK: "1", "metric": spec.metric, "precision": spec.precision, "index": dict(spec.index)}
    return own | field_entries(spec.fields)


def field_entries(fields: Mapping[str, FieldKind]) -> dict[str, Any]:
    """What the metadata says of filterable keys."""
    return {_FIELD + key: kind for key, kind in fields.items()}


def vector_params(spec: CollectionSpec) -> models.VectorParams:
    """The vectors of a new collection. float16 holds whole numbers to 2,048, so int8 and signs, exactly."""
    kind = models.Datatype.FLOAT32 if spec.precision == "float32" else models.Datatype.FLOAT16
    return models.VectorParams(size=spec.dimensions, distance=_DISTANCES[spec.metric], datatype=kind)


def graph_settings(index: Mapping[str, Any]) -> GraphSettings:
    """The settings of the graph. Raises ConfigError for a key or a value that is not valid."""
    wanted = index.get(WORDS, False)
    if not isinstance(wanted, bool):
        raise ConfigError(f"index setting {WORDS} is {wanted!r}", hint="true, or false: the default")
    return GraphSettings.of(index, "Qdrant", WORDS)


def word_params(spec: CollectionSpec) -> dict[str, models.SparseVectorParams] | None:
    """The sparse vectors of a new collection that is to be searched by words; the server knows how rare a word is."""
    return {WORDS: models.SparseVectorParams(modifier=models.Modifier.IDF)} if spec.index.get(WORDS) else None


def words_asked(query: str) -> models.SparseVector | None:
    """A query's words as a sparse vector, None when it has none."""
    numbers = sorted({word_number(word) for word in words(query) if encodable(word)})
    return models.SparseVector(indices=numbers, values=[1.0] * len(numbers)) if numbers else None


def _words_held(text: str) -> models.SparseVector:
    held = weighed(text)
    return models.SparseVector(indices=list(held), values=list(held.values()))


def payload_indexes(fields: Mapping[str, FieldKind]) -> dict[str, models.PayloadSchemaType]:
    """What filters are asked on, with the index that serves each."""
    return _FILTERED | {field_column(key): _SCHEMAS[kind] for key, kind in fields.items()}


def qdrant_id(point_id: str) -> str:
    """A point's id as the UUID that Qdrant wants: the engine's own 128 bits, for any other id a digest of it."""
    if len(point_id) == 32 and set(point_id) <= set("0123456789abcdef"):
        return str(UUID(hex=point_id))
    return str(uuid5(NAMESPACE_OID, point_id))


def batches(points: Points, layout: Layout) -> Iterator[models.Batch]:
    """Points as requests that a server takes, each of few enough bytes."""
    units, exacts = as_units(points.vectors, layout.metric, layout.precision)
    records = point_records(points, layout.fields)
    for row, packed in exacts.items():
        records[row][EXACT] = packed
        if is_zero(points.vectors[row], layout.metric):
            records[row][ZERO] = True
    for start, end in _slices(records, layout.dimensions):
        vectors: Any = units[start:end].tolist()
        if layout.words:
            vectors = {OWN: vectors, WORDS: [_words_held(record["text"]) for record in records[start:end]]}
        yield models.Batch(
            ids=[qdrant_id(point_id) for point_id in points.ids[start:end]],
            vectors=vectors,
            payloads=records[start:end],
        )


def _slices(records: Sequence[Record], dimensions: int) -> Iterator[tuple[int, int]]:
    start = size = 0
    for at, record in enumerate(records):
        own = dimensions * _NUMBER_BYTES + 2 * len(record["text"]) + 1000
        if at > start and size + own > _REQUEST_BYTES:
            yield start, at
            start, size = at, 0
        size += own
    if start < len(records):
        yield start, len(records)


def read_vectors(found: Sequence[models.Record], layout: Layout) -> Vectors:
    """The vectors of records as they were written, shape (records, dimensions)."""
    held = [record.vector[OWN] if isinstance(record.vector, dict) else record.vector for record in found]
    vectors = np.array(held, np.float32).reshape(len(found), layout.dimensions)
    for row, record in enumerate(found):
        packed = (record.payload or {}).get(EXACT)
        if packed is not None:
            vectors[row] = exact(packed, layout.precision)
    return vectors
