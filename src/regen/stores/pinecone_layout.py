"""How a point lies in Pinecone: its id, its values, and its record as metadata, which holds no null and no empty list.

id         the point's id where it is plain, else a digest of it
values     the vector; for one of zeros, which Pinecone refuses, another one and the key ``zero``
metadata   the record (``records.py``) and
  h_f_…    one for each column of ``has``: its absence can be asked for
  write    when the point was written: what tells a stale read from a fresh one
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import numpy as np
import orjson

from regen.core.fields import conforms
from regen.core.recipe import Metric, Precision
from regen.errors import StoreError
from regen.ports import FieldKind, Payload, Points, Vectors
from regen.stores.comparisons import encodable
from regen.stores.cosine import EXACT, ZERO, as_units, exact
from regen.stores.pinecone_filters import HELD
from regen.stores.records import PREFIX, Record, changed_records, field_column, point_records

WRITE: Final = "write"
LONGEST_TEXT: Final = 24 * 1024
_MOST_ELSE: Final = 15 * 1024
"""Of 40 KB what a text leaves: so much any metadata and access may take, so that an update of them always fits."""
_MOST: Final = 40 * 1024
_REQUEST_BYTES: Final = 1_900_000
_RECORDS_A_REQUEST: Final = 1000
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,40}")
_KINDS: Final[tuple[FieldKind, ...]] = ("string", "number", "boolean", "strings")
_NUMBERS: Final = ("token", "position", "revision")


@dataclass(frozen=True, slots=True)
class Layout:
    """What regen knows of a collection."""

    dimensions: int
    metric: Metric
    precision: Precision
    fields: Mapping[str, FieldKind] = field(default_factory=dict)

    def score(self, score: float) -> float:
        """The similarity that one of Pinecone's scores means: for the metric euclidean they are squared distances."""
        return -score if self.metric == "l2" else score


def key_of(point_id: str) -> str:
    """The id of a point."""
    if _PLAIN.fullmatch(point_id):
        return point_id
    return "_" + blake2b(point_id.encode(), digest_size=20).hexdigest()


def vectors_of(collection: str, points: Points, layout: Layout, stamp: str) -> list[Record]:
    """Points as Pinecone's vectors. Raises StoreError for one that is too long, and nothing is written then."""
    units, exacts = as_units(points.vectors, layout.metric, layout.precision)
    records = point_records(points, layout.fields)
    for at, packed in exacts.items():
        records[at][EXACT] = packed
    made = []
    for record, vector in zip(records, units, strict=True):
        if not vector.any():
            record[ZERO] = True
            vector = np.eye(1, layout.dimensions, dtype=np.float32)[0]  # noqa: PLW2901 - what stands for it
        made.append({"id": key_of(record["point_id"]), "values": vector.tolist(), "metadata": written(record, stamp)})
    for record, one in zip(records, made, strict=True):
        reason = _too_long(record["text"], one["metadata"])
        if reason is not None:
            raise StoreError(f"document {record['doc_id']!r} for collection {collection!r}: {reason}", hint=SMALLER)
    return made


SMALLER: Final = "set chunking.max_tokens, or another chunker than `whole`; keep long values out of the metadata"


def refusal(text: str, metadata: Mapping[str, Any], access: list[str] | None) -> str | None:
    """Why Pinecone cannot hold a chunk of a document, None when it can. ``metadata`` are keys that it would keep."""
    if reason := _text_too_long(text):
        return reason
    rest = len(orjson.dumps(access)) + sum(_room(key, value) for key, value in metadata.items())
    if rest > _MOST_ELSE:
        return f"metadata and access of {rest:,} bytes, and in Pinecone they take {_MOST_ELSE:,} at most"
    return None


def _room(key: str, value: object) -> int:
    if not any(conforms(value, kind) for kind in _KINDS):
        return 0
    return 3 * len(field_column(key)) + len(orjson.dumps(value)) + 16


def _text_too_long(text: str) -> str | None:
    size = len(text.encode(errors="replace"))
    if size <= LONGEST_TEXT and encodable(text):
        size = len(orjson.dumps(text)) - 2
    if size <= LONGEST_TEXT:
        return None
    return f"a text of {size:,} bytes, and in Pinecone one takes {LONGEST_TEXT:,} at most"


def _too_long(text: str, metadata: Record) -> str | None:
    whole = len(orjson.dumps(metadata))
    if reason := _text_too_long(text):
        return reason
    return f"text, metadata and access take {whole:,} bytes, and Pinecone takes {_MOST:,}" if whole > _MOST else None


def written(record: Record, stamp: str) -> Record:
    """A record as metadata."""
    held = {HELD + column: True for column in record["has"]}
    plain = {
        name: str(value) if name == "token" else value for name, value in record.items() if value not in (None, [])
    }
    return plain | held | {WRITE: stamp}


def read(metadata: Mapping[str, Any]) -> Record:
    """Metadata as the record that it was: Pinecone keeps every number as a float."""
    record: Record = {"has": [], "odd": []}
    record |= {name: value for name, value in metadata.items() if name != WRITE and not name.startswith(HELD)}
    return record | {name: int(record[name]) for name in _NUMBERS}


def renewed(found: Iterable[Any], last: Mapping[str, Record], stamp: str) -> list[Record]:
    """Fetched records with all replaced that an update of payloads replaces."""
    made = []
    for one in found:
        kept = {name: value for name, value in read(one.metadata).items() if not _is_replaced(name)}
        made.append({"id": one.id, "values": list(one.values), "metadata": written(kept | last[one.id], stamp)})
    return made


def _is_replaced(name: str) -> bool:
    return name == "access" or name.startswith(PREFIX)


def changes(ids: Sequence[str], payload: Payload, fields: Mapping[str, FieldKind]) -> dict[str, Record]:
    """By Pinecone's id what an update of payloads replaces; of equal ids the last."""
    return {key_of(one): record for one, record in zip(ids, changed_records(payload, fields), strict=True)}


def requests(vectors: Iterable[Record]) -> Iterator[list[Record]]:
    """Vectors as requests of few enough records and bytes."""
    some: list[Record] = []
    size = 0
    for vector in vectors:
        own = len(orjson.dumps(vector))
        if some and (len(some) == _RECORDS_A_REQUEST or size + own > _REQUEST_BYTES):
            yield some
            some, size = [], 0
        some.append(vector)
        size += own
    if some:
        yield some


def read_vectors(found: Sequence[Any], layout: Layout) -> Vectors:
    """The vectors of fetched records as they were written, shape (records, dimensions)."""
    vectors = np.array([list(one.values) for one in found], np.float32).reshape(len(found), layout.dimensions)
    for at, one in enumerate(found):
        if (packed := one.metadata.get(EXACT)) is not None:
            vectors[at] = exact(packed, layout.precision)
        elif one.metadata.get(ZERO):
            vectors[at] = 0
    return vectors
