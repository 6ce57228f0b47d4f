"""How a collection lies in Chroma: what its metadata says of it, and points to Chroma's and back.

A point's text is Chroma's document. Chroma keeps no empty list, so that one is told from a missing value by ``has``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np
import orjson

from regen.core.recipe import Metric, Precision
from regen.ports import CollectionSpec, FieldKind, Payload, Points, Vectors
from regen.stores.cosine import EXACT, ZERO, as_units, exact, is_zero
from regen.stores.graph_settings import GraphSettings
from regen.stores.records import Record, changed_records, point_records, with_nulls

EVERY: Final = ("documents", "metadatas", "embeddings")
_MARK: Final = "regen"
_FIELD: Final = "field "
_LISTS: Final = ("has", "odd")


@dataclass(frozen=True, slots=True)
class Layout:
    """What a collection's metadata says."""

    dimensions: int
    metric: Metric
    precision: Precision
    fields: Mapping[str, FieldKind] = field(default_factory=dict)

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Layout | None:
        """The layout that metadata tell, None of a collection that regen did not make."""
        if _MARK not in metadata:
            return None
        held = orjson.loads(metadata[_MARK])
        fields = {key.removeprefix(_FIELD): kind for key, kind in metadata.items() if key.startswith(_FIELD)}
        return cls(held["dimensions"], held["metric"], held["precision"], fields)

    def score(self, distance: float) -> float:
        """The similarity that one of Chroma's distances means."""
        return -float(distance) if self.metric == "l2" else 1.0 - float(distance)


def collection_metadata(spec: CollectionSpec) -> dict[str, Any]:
    """What a new collection's metadata says."""
    held = {"dimensions": spec.dimensions, "metric": spec.metric, "precision": spec.precision}
    return {_MARK: orjson.dumps(held).decode()} | field_entries(spec.fields)


def field_entries(fields: Mapping[str, FieldKind]) -> dict[str, Any]:
    """What the metadata says of filterable keys."""
    return {_FIELD + key: kind for key, kind in fields.items()}


def configuration(spec: CollectionSpec) -> dict[str, Any]:
    """The vector index of a new collection. Chroma's own cosine would change what is written."""
    settings = GraphSettings.of(spec.index, "Chroma")
    space = "l2" if spec.metric == "l2" else "ip"
    graph = {"max_neighbors": settings.m, "ef_construction": settings.ef_construction, "ef_search": settings.ef}
    return {"hnsw": {"space": space, **graph}}


def written(points: Points, layout: Layout) -> tuple[Vectors, list[str], list[Record]]:
    """Vectors, documents and metadata to write, each of one row a point."""
    units, exacts = as_units(points.vectors, layout.metric, layout.precision)
    metadata = [_whole(record, layout) for record in point_records(points, layout.fields)]
    for row, packed in exacts.items():
        metadata[row][EXACT] = packed
        metadata[row][ZERO] = is_zero(points.vectors[row], layout.metric) or None
    for record in metadata:
        del record["point_id"], record["text"]
    return units, points.payload.text, metadata


def changed_metadata(payload: Payload, layout: Layout) -> list[Record]:
    """What an update of payloads sends, one entry a point."""
    return [_nulls_for_lists(with_nulls(record, layout.fields)) for record in changed_records(payload, layout.fields)]


def _whole(record: Record, layout: Layout) -> Record:
    return _nulls_for_lists({EXACT: None, ZERO: None} | with_nulls(record, layout.fields))


def _nulls_for_lists(record: Record) -> Record:
    return {key: None if value == [] else value for key, value in record.items()}


def record_of(point_id: str, text: str | None, metadata: Mapping[str, Any] | None) -> Record:
    """A point of Chroma's as a record."""
    record: Record = {"point_id": point_id, "text": text or "", **(metadata or {})}
    for name in _LISTS:
        record.setdefault(name, [])
    return record


def read_vectors(embeddings: Sequence[Any], metadata: Sequence[Mapping[str, Any]], layout: Layout) -> Vectors:
    """Vectors as they were written, shape (rows, dimensions)."""
    vectors = np.array(embeddings, np.float32).reshape(len(embeddings), layout.dimensions)
    for row, held in enumerate(metadata):
        packed = (held or {}).get(EXACT)
        if packed is not None:
            vectors[row] = exact(cast("str", packed), layout.precision)
    return vectors
