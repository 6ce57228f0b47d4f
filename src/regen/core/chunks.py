"""Chunks: their content-derived ids, the points that hold them, and packed placements.

``chunk_id`` is derived from the document id, the embedded text and how often that text occurred before in the
document, so an edit's work is a set difference of ids. ``point_id`` is derived from the chunk id and the write token of
the attempt that wrote it, so a point is never reused: a late write or a late delete touches only points that no
placement names.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from struct import pack as pack_struct
from struct import unpack as unpack_struct
from typing import Final, NamedTuple

ID_BYTES: Final = 16
TOKEN_BYTES: Final = 8
ENTRY_BYTES: Final = ID_BYTES + TOKEN_BYTES
KEY_BYTES: Final = 8


class Span(NamedTuple):
    """Where a chunk lies in its document's text: characters ``start`` to ``end`` (exclusive)."""

    start: int
    end: int


class Chunk(NamedTuple):
    """One piece of a document: its id, its own text, the text that is embedded and its digest, and where it lies."""

    id: bytes
    text: str
    embedded_text: str
    digest: bytes
    span: Span


def text_digest(embedded_text: str) -> bytes:
    """The digest of an embedded text (16 bytes): chunk ids and text keys are derived from it, so it is made once."""
    return blake2b(embedded_text.encode(), digest_size=ID_BYTES).digest()


def chunk_id(doc_id: bytes, text: bytes, occurrence: int = 0) -> bytes:
    """The stable id of a chunk (16 bytes), of its document's id in UTF-8 and its embedded text's digest."""
    return blake2b(b"%b%d\0%b" % (text, occurrence, doc_id), digest_size=ID_BYTES, person=b"regen chunk").digest()


def point_id(chunk: bytes, token: bytes) -> str:
    """The id under which a chunk lies in the store: 32 hexadecimal characters."""
    return blake2b(chunk + token, digest_size=ID_BYTES).hexdigest()


def text_key(text: bytes) -> int:
    """A 63-bit key of a text digest, for finding the text where it is held; candidates are verified by chunk id."""
    return int.from_bytes(text[:KEY_BYTES]) >> 1


def write_token(number: int) -> bytes:
    """A lease's fencing number as the 8 bytes that a placement keeps."""
    return number.to_bytes(TOKEN_BYTES)


def identify(doc_id: str, pieces: Sequence[tuple[str, str, Span]]) -> list[Chunk]:
    """Give each (text, embedded text, span) of one document its chunk id, in order."""
    encoded = doc_id.encode()
    seen: dict[bytes, int] = {}
    chunks = []
    for text, embedded, span in pieces:
        digest = text_digest(embedded)
        occurrence = seen[digest] = seen.get(digest, -1) + 1
        chunks.append(Chunk(chunk_id(encoded, digest, occurrence), text, embedded, digest, span))
    return chunks


def pack(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Pack (chunk id, write token) pairs, in order, into 24 bytes each."""
    return b"".join([part for entry in entries for part in entry])


def unpack(packed: bytes) -> list[tuple[bytes, bytes]]:
    """The (chunk id, write token) pairs of a packed placement, in order."""
    return [
        (packed[i : i + ID_BYTES], packed[i + ID_BYTES : i + ENTRY_BYTES]) for i in range(0, len(packed), ENTRY_BYTES)
    ]


def names(packed: bytes, entry: bytes) -> bool:
    """Whether a packed placement names this 24-byte (chunk id, token) entry: the heart of the fence."""
    at = packed.find(entry)
    while at >= 0 and at % ENTRY_BYTES:
        at = packed.find(entry, at + 1)
    return at >= 0


def pack_keys(keys: Sequence[int]) -> bytes:
    """Pack text keys, in chunk order, into 8 bytes each."""
    return pack_struct(f">{len(keys)}q", *keys)


def unpack_keys(packed: bytes) -> list[int]:
    """The text keys of a placement, in chunk order."""
    return list(unpack_struct(f">{len(packed) // KEY_BYTES}q", packed))
