"""Change-data events: regen's own body, and Debezium's envelope, as the documents that are left in the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field

from regen.config.server import EventFields
from regen.core.documents import Document
from regen.errors import ConfigError

MOST_EVENTS: Final = 10_000
_WRITTEN: Final = frozenset({"c", "u", "r"})


class Upserted(BaseModel):
    """A document was created or changed. ``at`` is when, in seconds since 1970."""

    model_config = ConfigDict(extra="forbid")

    op: Literal["upsert"]
    id: str = Field(min_length=1, max_length=4_000)
    text: str
    metadata: dict[str, Any] = Field(default_factory=dict)
    access: list[str] | None = None
    version: str | None = None
    at: float | None = None


class Deleted(BaseModel):
    """A document was deleted."""

    model_config = ConfigDict(extra="forbid")

    op: Literal["delete"]
    id: str = Field(min_length=1, max_length=4_000)
    at: float | None = None


class ChangeBatch(BaseModel):
    """Events in the order in which they happened."""

    model_config = ConfigDict(extra="forbid")

    events: list[Annotated[Upserted | Deleted, Field(discriminator="op")]] = Field(max_length=MOST_EVENTS)


class DebeziumSource(BaseModel):
    """Where a change comes from, and when it was made."""

    model_config = ConfigDict(extra="allow")

    ts_ms: int | None = None


class DebeziumPayload(BaseModel):
    """A row before and after its change. ``op``: c created, u updated, d deleted, r read by a snapshot, m message."""

    model_config = ConfigDict(extra="allow")

    op: Literal["c", "u", "d", "r", "m", "t"]
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    source: DebeziumSource | None = None
    ts_ms: int | None = None


class DebeziumEvent(BaseModel):
    """Debezium's envelope, with its schema or (``schemas.enable=false``) without."""

    model_config = ConfigDict(extra="allow")

    payload: DebeziumPayload | None = None
    op: Literal["c", "u", "d", "r", "m", "t"] | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    source: DebeziumSource | None = None
    ts_ms: int | None = None

    def read(self) -> DebeziumPayload | None:
        """What the envelope holds; None for a tombstone, which follows a deletion that was told already."""
        if self.payload is not None:
            return self.payload
        if self.op is None:
            return None
        return DebeziumPayload(op=self.op, before=self.before, after=self.after, source=self.source, ts_ms=self.ts_ms)


class Folded(NamedTuple):
    """What is left of some events: documents to write, and ids to delete."""

    upserts: list[Document]
    deletes: list[str]


def folded(given: ChangeBatch | DebeziumEvent | list[DebeziumEvent], fields: EventFields) -> Folded:
    """The last word on each id. Raises ConfigError for rows that are no documents."""
    last: dict[str, Document | None] = {}
    for doc_id, document in _own(given) if isinstance(given, ChangeBatch) else _debezium(given, fields):
        last.pop(doc_id, None)
        last[doc_id] = document
    written = [document for document in last.values() if document is not None]
    return Folded(written, [doc_id for doc_id, document in last.items() if document is None])


def _own(batch: ChangeBatch) -> Iterator[tuple[str, Document | None]]:
    for event in batch.events:
        if isinstance(event, Deleted):
            yield event.id, None
        else:
            yield event.id, Document(event.id, event.text, event.metadata, event.access, event.version, event.at)


def _debezium(
    given: DebeziumEvent | Iterable[DebeziumEvent], fields: EventFields
) -> Iterator[tuple[str, Document | None]]:
    for number, event in enumerate([given] if isinstance(given, DebeziumEvent) else given):
        told = event.read()
        if told is None or told.op == "m":
            continue
        if told.op == "t":
            raise ConfigError(
                f"event {number} says that the whole table was emptied",
                hint="delete the documents by their ids, or sync from the table: it guards against mass deletion",
            )
        before = _id(told.before, fields)
        if told.op == "d":
            if before is None:
                raise _lacking(number, "before", fields.id)
            yield before, None
        if told.op in _WRITTEN:
            document = _document(number, told, fields)
            if before is not None and before != document.id:  # the key itself was changed
                yield before, None
            yield document.id, document


def _document(number: int, told: DebeziumPayload, fields: EventFields) -> Document:
    row = dict(told.after or {})
    doc_id, text = _id(row, fields), row.get(fields.text)
    if doc_id is None:
        raise _lacking(number, "after", fields.id)
    if not isinstance(text, str):
        raise _lacking(number, "after", fields.text)
    for name in (fields.id, fields.text):
        row.pop(name, None)
    access, version = row.pop(fields.access, None), row.pop(fields.version, None)
    moment = (told.source.ts_ms if told.source else None) or told.ts_ms
    return Document(
        doc_id,
        text,
        row,
        _principals(number, access, fields.access),
        None if version is None else str(version),
        None if moment is None else moment / 1e3,
    )


def _principals(number: int, access: Any, name: str) -> list[str] | None:
    """An access list, as an array or as JSON in a text column."""
    if isinstance(access, str):
        try:
            access = orjson.loads(access)
        except orjson.JSONDecodeError:
            access = object()
    if access is None or (isinstance(access, list) and all(isinstance(item, str) for item in access)):
        return access
    raise ConfigError(
        f"event {number}: column {name!r} holds no list of principals",
        hint='an array of texts, or one written as JSON: ["team:docs"]; without it the document is public',
    )


def _id(row: Mapping[str, Any] | None, fields: EventFields) -> str | None:
    value = None if row is None else row.get(fields.id)
    return None if value is None or isinstance(value, bool | dict | list) or value == "" else str(value)


def _lacking(number: int, part: str, column: str) -> ConfigError:
    return ConfigError(
        f"event {number}: its {part} has no usable column {column!r}",
        hint="server.events names the columns that are the id and the text",
    )
