"""One record (a mapping of JSON values) becomes one document."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from regen.core.documents import Document
from regen.sources.access import parse_access

ID_FIELDS: Final = ("id", "_id")
TEXT_FIELDS: Final = ("text", "contents", "content")
_RESERVED: Final = ("title", "metadata", "access", "version", "updated_at")


class RecordError(ValueError):
    """The record is no document. ``id`` is its id where that is known."""

    def __init__(self, reason: str, *, id: str | None = None) -> None:  # noqa: A002 (the field's own name)
        super().__init__(reason)
        self.id = id


class RecordReader:
    """Reads records whose id and text lie under the given fields, or under the first usual one that is there."""

    def __init__(self, id_field: str | None = None, text_field: str | None = None) -> None:
        self.id_fields = (id_field,) if id_field else ID_FIELDS
        self.text_fields = (text_field,) if text_field else TEXT_FIELDS

    def document(self, record: object) -> Document:
        """The document of a record. Raises RecordError with the reason why it is none."""
        if not isinstance(record, dict):
            raise RecordError(f"holds {_kind(record)}; an object is valid")
        id_field = _first(self.id_fields, record, "id", None)
        doc_id = _id(record[id_field], id_field)
        text_field = _first(self.text_fields, record, "text", doc_id)
        text = record[text_field]
        if not isinstance(text, str):
            raise RecordError(f"{text_field!r} is {_kind(text)}; a text is valid", id=doc_id)
        try:
            return Document(
                doc_id,
                text,
                _metadata(record, id_field, text_field),
                parse_access(record.get("access")),
                version=_version(record.get("version")),
                updated_at=_time(record.get("updated_at")),
            )
        except ValueError as error:
            raise RecordError(str(error), id=doc_id) from None


def _first(fields: tuple[str, ...], record: dict[str, Any], what: str, doc_id: str | None) -> str:
    for field in fields:
        if field in record:
            return field
    there = ", ".join(list(record)[:8]) or "none"
    raise RecordError(
        f"has no {what} ({' or '.join(map(repr, fields))}); keys found: {there} (set source.{what}_field)", id=doc_id
    )


def _id(value: object, field: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value:
        return value
    raise RecordError(f"{field!r} is {_kind(value)}; a text that is not empty or a whole number is valid")


def _metadata(record: dict[str, Any], id_field: str, text_field: str) -> dict[str, Any]:
    """The ``metadata`` object and, over it, every key that has no meaning of its own."""
    given = record.get("metadata")
    if given is not None and not isinstance(given, dict):
        raise ValueError(f"'metadata' is {_kind(given)}; an object is valid")
    title = record.get("title")
    if title is not None and not isinstance(title, str):
        raise ValueError(f"'title' is {_kind(title)}; a text is valid")
    spoken_for = {id_field, text_field, *_RESERVED}
    metadata = {} if title is None else {"title": title}
    metadata |= given or {}
    metadata |= {key: value for key, value in record.items() if key not in spoken_for}
    if title is not None:
        metadata["title"] = title
    return metadata


def _version(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"'version' is {_kind(value)}; a text or a number is valid")


def _time(value: object) -> float | None:
    """Seconds since the epoch; a time without an offset is taken as UTC."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        moment = dt.datetime.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"'updated_at' is {value!r}; ISO 8601 or seconds since the epoch are valid") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


def _kind(value: object) -> str:
    kinds = {
        type(None): "null",
        bool: "a boolean",
        dict: "an object",
        list: "a list",
        int: "a number",
        float: "a number",
    }
    return kinds.get(type(value)) or ("an empty text" if value == "" else "a text")
