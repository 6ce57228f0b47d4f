"""What a source knows: documents, and their three facets.

A change is classified by *facet*: content (the text), metadata, access. Each is fingerprinted apart, so that a
change of one costs only what that one decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import orjson

from regen.errors import DocumentError

Metadata: TypeAlias = Mapping[str, Any]
Principal: TypeAlias = str

HASH_BYTES: Final = 16


class Unrestricted:
    """The type of :data:`UNRESTRICTED`: a search that skips the access check on purpose."""

    _instance: Unrestricted | None = None

    def __new__(cls) -> Unrestricted:
        """There is one."""
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __repr__(self) -> str:
        return "regen.UNRESTRICTED"


UNRESTRICTED: Final = Unrestricted()


@dataclass(slots=True)
class Document:
    """One document as its source knows it.

    ``access`` is a list of principals; None means public, an empty list means nobody.
    ``version`` is the source's own version or time, kept for people; it never decides whether something changed.
    ``updated_at`` is the source's time of change in seconds since the epoch, from which freshness is measured.
    """

    id: str
    text: str
    metadata: Metadata = field(default_factory=dict)
    access: Sequence[Principal] | None = None
    version: str | None = None
    updated_at: float | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A document that the source has but cannot deliver; it becomes a dead letter, and what is indexed stays."""

    id: str
    reason: str


class Facets(NamedTuple):
    """The three fingerprints of a document, 16 bytes each."""

    content: bytes
    metadata: bytes
    access: bytes


ChangeKind: TypeAlias = Literal["added", "content", "metadata", "access", "deleted", "restored"]


def digest(data: bytes) -> bytes:
    """The 128-bit BLAKE2b digest that every identity in regen is made of."""
    return blake2b(data, digest_size=HASH_BYTES).digest()


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys: equal values give equal bytes. Dates become ISO 8601 strings.

    Raises DocumentError for values that JSON cannot hold.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise DocumentError(
            f"metadata must hold JSON values only: {error}",
            hint="use strings, numbers, booleans, null, lists, dictionaries with string keys, or dates",
        ) from None


def fingerprint(document: Document) -> bytes:
    """One digest over all that decides about change: text, metadata and access (16 bytes).

    Principals are a set: their order and repetition do not matter.
    """
    access = document.access
    try:
        encoded = orjson.dumps(
            (document.text, document.metadata, None if access is None else sorted(set(access))),
            option=orjson.OPT_SORT_KEYS,
        )
    except TypeError as error:
        raise DocumentError(
            f"document {document.id!r} cannot be fingerprinted: {error}",
            hint="text must be valid Unicode; metadata must hold JSON values; access must be a list of strings",
        ) from None
    return blake2b(encoded, digest_size=HASH_BYTES).digest()


def content_hash(text: str) -> bytes:
    """The digest under which a text is kept (16 bytes)."""
    return digest(text.encode())


def metadata_hash(metadata_json: bytes) -> bytes:
    """The digest of metadata given as canonical JSON (16 bytes)."""
    return digest(metadata_json)


def access_json(access: Sequence[Principal] | None) -> bytes | None:
    """The access list as canonical JSON, sorted and without repetition; None for a public document."""
    return None if access is None else orjson.dumps(sorted(set(access)))


def may_see(access: Sequence[Principal] | None, principals: frozenset[Principal] | Unrestricted) -> bool:
    """Whether a caller with these principals may see a document with this access list."""
    return access is None or principals is UNRESTRICTED or not principals.isdisjoint(access)  # type: ignore[union-attr]
