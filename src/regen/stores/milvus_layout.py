"""How a collection lies in Milvus: its schema, the register that tells what the schema does not, and points as rows.

    key        VARCHAR, the primary key: the point's id where it is plain, else a digest of it
    vector     FLOAT_VECTOR; every precision, since 2.3 keeps no other that is fetched as it was written
    text       VARCHAR of 65,535 bytes, all that Milvus takes
    …          the rest of a record, as dynamic fields

Not every Milvus keeps notes about a collection (milvus-lite has neither descriptions nor properties), so they lie in a
collection of their own, ``regen_collections``: one row for the collection and one for each filterable key, so that
writers that add keys at once do not overwrite each other. A collection that is not in it is not regen's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import numpy as np
import orjson
from pymilvus import CollectionSchema, DataType, MilvusClient
from pymilvus.milvus_client.index import IndexParams

from regen.core.recipe import Metric, Precision
from regen.errors import StoreError
from regen.ports import CollectionSpec, FieldKind, Points, Vectors
from regen.stores.cosine import EXACT, ZERO, as_units, exact, is_zero
from regen.stores.graph_settings import GraphSettings
from regen.stores.records import Record, point_records

REGISTER: Final = "regen_collections"
LONGEST_TEXT: Final = 65_535
_LONGEST_REST: Final = 60_000
"""Of the 65,536 bytes that the object of all other columns may have; the rest is regen's own."""
_SMALLER: Final = "set chunking.max_tokens, or another chunker than `whole`, so that chunks are smaller"
_LONGEST_KEY: Final = 64
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,40}")
_METRICS: Final[dict[Metric, str]] = {"cosine": "IP", "dot": "IP", "l2": "L2"}


@dataclass(frozen=True, slots=True)
class Layout:
    """What the register says of a collection."""

    dimensions: int
    metric: Metric
    precision: Precision
    index: Mapping[str, int] = field(default_factory=dict)
    fields: Mapping[str, FieldKind] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Mapping[str, Any]]) -> Layout | None:
        """The layout that the register's rows of a collection tell; None where there are none."""
        own, fields = None, {}
        for entry in entries:
            if entry["name"]:
                fields[entry["name"]] = entry["note"]
            else:
                own = orjson.loads(entry["note"])
        return None if own is None else cls(**own, fields=fields)

    @property
    def search_params(self) -> dict[str, Any]:
        """What a search is told of the metric."""
        return {"metric_type": _METRICS[self.metric]}

    def score(self, distance: float) -> float:
        """The similarity that one of Milvus's distances means."""
        return -distance if self.metric == "l2" else distance


def own_entry(collection: str, spec: CollectionSpec) -> Record:
    """The register's row of a collection."""
    own = {"dimensions": spec.dimensions, "metric": spec.metric, "precision": spec.precision}
    return _entry(collection, "", orjson.dumps(own | {"index": dict(spec.index)}).decode())


def field_entries(collection: str, fields: Mapping[str, FieldKind]) -> list[Record]:
    """The register's rows of filterable keys."""
    return [_entry(collection, key, kind) for key, kind in fields.items()]


def _entry(collection: str, name: str, note: str) -> Record:
    key = blake2b(f"{collection}\0{name}".encode(), digest_size=20).hexdigest()
    return {"key": key, "vector": [0.0, 0.0], "text": "", "collection": collection, "name": name, "note": note}


def schema(dimensions: int) -> CollectionSchema:
    """The schema of a collection."""
    made = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    made.add_field("key", DataType.VARCHAR, is_primary=True, max_length=_LONGEST_KEY)
    made.add_field("vector", DataType.FLOAT_VECTOR, dim=dimensions)
    made.add_field("text", DataType.VARCHAR, max_length=LONGEST_TEXT)
    return made


def index_of(metric: Metric, settings: GraphSettings) -> IndexParams:
    """The vector index of a collection. Milvus's own cosine would change what is written."""
    params = IndexParams()
    graph = {"M": settings.m, "efConstruction": settings.ef_construction}
    params.add_index("vector", index_type="HNSW", metric_type=_METRICS[metric], params=graph)
    return params


def key_of(point_id: str) -> str:
    """The primary key of a point."""
    if _PLAIN.fullmatch(point_id):
        return point_id
    return "_" + blake2b(point_id.encode(), digest_size=20).hexdigest()


def rows_of(collection: str, points: Points, layout: Layout) -> list[Record]:
    """Points as rows. Raises StoreError for a text that is too long for Milvus, and writes nothing then."""
    for text in points.payload.text:
        if told := too_long(text):
            raise StoreError(f"{told} (collection {collection!r})", hint=_SMALLER)
    units, exacts = as_units(points.vectors, layout.metric, layout.precision)
    rows = point_records(points, layout.fields)
    for at, row in enumerate(rows):
        row |= {"key": key_of(row["point_id"]), "vector": units[at].tolist()}
    for at, packed in exacts.items():
        rows[at][EXACT] = packed
        if is_zero(points.vectors[at], layout.metric):
            rows[at][ZERO] = True
    return rows


def too_long(text: str) -> str | None:
    """Why Milvus cannot hold a text, None when it can."""
    size = len(text.encode("utf-8", "replace"))
    return f"a text of {size:,} bytes, and Milvus takes {LONGEST_TEXT:,}" if size > LONGEST_TEXT else None


def refusal(text: str, metadata: Mapping[str, Any], access: list[str] | None) -> str | None:
    """Why a chunk cannot be kept, None when it can. All that is not the text lies in one JSON object of a row."""
    told = too_long(text)
    if told is not None:
        return f"{told}: {_SMALLER}"
    size = len(json.dumps([metadata, access], ensure_ascii=False).encode("utf-8", "replace"))
    if size > _LONGEST_REST:
        return f"metadata and access of {size:,} bytes, and Milvus takes {_LONGEST_REST:,}: make less of it filterable"
    return None


def read_vectors(rows: Sequence[Mapping[str, Any]], layout: Layout) -> Vectors:
    """The vectors of rows as they were written, shape (rows, dimensions)."""
    vectors = np.array([row["vector"] for row in rows], np.float32).reshape(len(rows), layout.dimensions)
    for at, row in enumerate(rows):
        packed = row.get(EXACT)
        if packed is not None:
            vectors[at] = exact(packed, layout.precision)
    return vectors
