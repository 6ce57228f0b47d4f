"""What crosses the catalog's port while a generation is brought up to date."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(slots=True)
class Placement:
    """Which revision of a document a generation holds, as which chunks (packed, see ``core.chunks``).

    ``input_hash`` covers the text and the metadata that the template names; ``payload_hash`` metadata and access.
    A ``revision`` of -1 asks for the document's points to be written anew (repair), one of -2 for their payload only.
    """

    revision: int
    input_hash: bytes
    payload_hash: bytes
    chunks: bytes
    text_keys: bytes


@dataclass(slots=True)
class Work:
    """A document whose placement is behind the change log. ``metadata`` and ``access`` are JSON."""

    doc_key: int
    doc_id: str
    revision: int
    deleted: bool
    text: str
    content_hash: bytes
    metadata: bytes
    metadata_hash: bytes
    access: bytes | None
    access_hash: bytes
    version: str | None
    changed_at: float
    placement: Placement | None


class NewPlacement(NamedTuple):
    """What a write attempt wants to commit for one document: valid only while it is at ``revision``.

    ``placement`` of None removes it (the document is deleted). ``dropped`` are the 24-byte entries that become garbage.
    """

    doc_key: int
    revision: int
    placement: Placement | None
    dropped: bytes
    old_text_keys: tuple[int, ...] = ()
    new_text_keys: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Garbage:
    """Points that no placement names any more: packed 24-byte entries."""

    id: int
    entries: bytes


@dataclass(frozen=True, slots=True)
class Holder:
    """A document of a generation that (perhaps) holds a text: verified by computing its chunk id."""

    text_key: int
    doc_id: str
    chunks: bytes


@dataclass(frozen=True, slots=True)
class FenceEntry:
    """What the fence needs of one document: all of it read in one statement, so of one moment.

    ``current`` is False while the placement is of an older revision than access and metadata are.
    """

    doc_id: str
    deleted: bool
    access: bytes | None
    metadata: bytes
    revision: int
    chunks: bytes
    current: bool = True


@dataclass(frozen=True, slots=True)
class Lease:
    """An exclusive right, held until ``expires_at`` unless renewed. ``token`` fences off former owners."""

    name: str
    owner: str
    token: int
    expires_at: float


@dataclass(frozen=True, slots=True)
class Range(Lease):
    """The exclusive right to those documents of one generation whose revisions lie in (above, upto]."""

    generation: int
    above: int
    upto: int
