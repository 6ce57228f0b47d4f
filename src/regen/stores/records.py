"""A point's payload as one flat record, for stores that keep documents of scalars and lists of strings.

    point_id, chunk_id, token, doc_id, text, position, revision, audit (JSON)
    access     list of principals; absent is public
    public     whether everybody may see it: what filters ask, for an absent list and an empty one look alike to many
    has        columns of the keys that the document holds with any value but null
    odd        columns of those whose value is of another kind than declared: such a value lies nowhere else
    f_…        one per filterable key that holds a value of its kind

``access``, ``public``, ``has``, ``odd``, ``revision`` and the ``f_…`` are what an update of payloads replaces, all of
them: a store that merges would keep revoked access otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import orjson

from regen.core.fields import conforms
from regen.errors import StoreError
from regen.ports import FieldKind, Payload, Points, StoredPayload, StoreHit
from regen.stores.comparisons import encodable
from regen.stores.field_names import column_key, column_name

Record: TypeAlias = dict[str, Any]
PREFIX: Final = "f_"
FOUND: Final = ("point_id", "chunk_id", "token", "doc_id", "text")
"""What a search needs of a record to make a hit."""
_FIXED: Final = ("chunk_id", "token", "doc_id", "text", "position", "revision")


def field_column(key: str) -> str:
    """The name under which a filterable key's value lies in a record."""
    return column_name(PREFIX, key)


def point_records(points: Points, fields: Mapping[str, FieldKind]) -> list[Record]:
    """A batch of points as records, in order."""
    payload = points.payload
    return [
        {
            "point_id": point_id,
            **{name: getattr(payload, name)[at] for name in _FIXED},
            "audit": orjson.dumps({key: values[at] for key, values in payload.audit.items()}).decode(),
            **changed,
        }
        for at, (point_id, changed) in enumerate(zip(points.ids, changed_records(payload, fields), strict=True))
    ]


def changed_records(payload: Payload, fields: Mapping[str, FieldKind]) -> list[Record]:
    """What an update of payloads replaces, one record a point; keys that hold nothing are left out."""
    columns = {key: (field_column(key), kind) for key, kind in fields.items()}
    return [
        _changed(metadata, access, revision, columns)
        for metadata, access, revision in zip(payload.metadata, payload.access, payload.revision, strict=True)
    ]


def _changed(
    metadata: Mapping[str, Any], access: list[str] | None, revision: int, columns: Mapping[str, tuple[str, FieldKind]]
) -> Record:
    record: Record = {"revision": revision, "public": access is None, "has": [], "odd": []}
    if access is not None:
        record["access"] = list(access)
    for key, (column, kind) in columns.items():
        value = metadata.get(key)
        if value is None:
            continue
        record["has"].append(column)
        if conforms(value, kind):
            record[column] = float(value) if kind == "number" else list(value) if kind == "strings" else value
        else:
            record["odd"].append(column)
    return record


def with_nulls(record: Record, fields: Mapping[str, FieldKind]) -> Record:
    """The record with null under every key that it could hold: what a merging update must be told."""
    return dict.fromkeys(["access", *map(field_column, fields)]) | record


def scanned_page(records: Sequence[Record]) -> StoredPayload:
    """Records as a page of a scan. Whole numbers come back as int: a float64 holds them exactly."""
    audits = [orjson.loads(record["audit"]) for record in records]
    keys = dict.fromkeys(key for audit in audits for key in audit)
    return StoredPayload(
        [record["point_id"] for record in records],
        Payload(
            **{name: [record[name] for record in records] for name in _FIXED},
            metadata=[_metadata(record) for record in records],
            access=[None if record["public"] else list(record.get("access") or ()) for record in records],
            audit={key: [audit.get(key) for audit in audits] for key in keys},
        ),
    )


def _metadata(record: Record) -> dict[str, Any]:
    odd = set(record["odd"])
    return {column_key(PREFIX, name): _plain(record.get(name)) for name in record["has"] if name not in odd}


def _plain(value: Any) -> Any:
    if value is None:  # some stores keep no empty list
        return []
    return int(value) if isinstance(value, float) and value.is_integer() else value


def hit_of(record: Mapping[str, Any], score: float) -> StoreHit:
    """A record as a hit."""
    return StoreHit(
        record["point_id"], score, record["chunk_id"], int(record["token"]), record["doc_id"], record["text"]
    )


def check_encodable(collection: str, points: Points) -> None:
    """Raise StoreError for half a surrogate pair in an id or a text: no wire format carries it."""
    payload = points.payload
    columns: tuple[Iterable[str], ...] = (points.ids, payload.chunk_id, payload.doc_id, payload.text)
    for column in columns:
        for value in column:
            if not encodable(value):
                raise StoreError(
                    f"collection {collection!r} cannot hold a text of this batch: half a surrogate pair in "
                    f"{value.encode('utf-8', 'replace').decode()[:60]!r}",
                    hint="texts and ids are valid Unicode",
                )


def grouped(records: Iterable[tuple[str, Record]], key: Callable[[Record], str]) -> list[tuple[list[str], Record]]:
    """Ids that get equal records together: of one document all chunks are updated alike."""
    groups: dict[str, tuple[list[str], Record]] = {}
    for point_id, record in records:
        groups.setdefault(key(record), ([], record))[0].append(point_id)
    return list(groups.values())
