"""Classifying a change by facet: one pure function, the first half of "the cheapest valid path"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import orjson

from regen.core.documents import (
    ChangeKind,
    Document,
    Facets,
    access_json,
    canonical_json,
    content_hash,
    digest,
    fingerprint,
)

_PUBLIC: Final = digest(b"null")

Outcome: TypeAlias = Literal["added", "content", "metadata", "access", "unchanged"]


class Candidate(NamedTuple):
    """A delivered document whose fingerprint differs from what its source last delivered (None: it has no source).

    ``state`` is what :func:`state_of` says of the document, where that has been asked already.
    """

    document: Document
    fingerprint: bytes | None
    stamp: str | None = None
    state: State | None = None


class State(NamedTuple):
    """A document's state in the change log's terms: its facets' fingerprints, with metadata and access as JSON."""

    facets: Facets
    metadata: bytes
    access: bytes | None


def state_of(document: Document) -> State:
    """Fingerprint the three facets of a document. Raises DocumentError for metadata that JSON cannot hold."""
    metadata, access = canonical_json(document.metadata), access_json(document.access)
    facets = Facets(content_hash(document.text), digest(metadata), digest(access) if access else _PUBLIC)
    return State(facets, metadata, access)


def candidate(document: Document, stamp: str | None = None) -> Candidate:
    """Fingerprint a delivered document."""
    return Candidate(document, fingerprint(document), stamp)


def classify(old: State | None, new: State, content_keys: Sequence[str]) -> Outcome:
    """The strongest facet in which ``new`` differs from ``old`` (None: the document is not there, or deleted).

    ``content_keys`` are the metadata keys that the text template names: they count as content.
    """
    if old is None:
        return "added"
    if old.facets.content != new.facets.content:
        return "content"
    if old.facets.metadata != new.facets.metadata:
        return "content" if content_keys and _differ(old.metadata, new.metadata, content_keys) else "metadata"
    return "access" if old.facets.access != new.facets.access else "unchanged"


def _differ(old: bytes, new: bytes, keys: Sequence[str]) -> bool:
    before: dict[str, Any] = orjson.loads(old)
    after: dict[str, Any] = orjson.loads(new)
    # As they would be rendered: True equals 1 in Python, but not in a text.
    return any(orjson.dumps(before.get(key)) != orjson.dumps(after.get(key)) for key in keys)


def lane(kind: ChangeKind) -> int:
    """0 for changes that must reach the store first (access), 1 for the rest.

    A deletion is fenced at once, and keeps its place in the log: what was renamed is logged before it and copies its
    vectors.
    """
    return 0 if kind == "access" else 1
