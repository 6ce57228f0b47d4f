"""What a document whose placement is behind needs: one pure function, the second half of "the cheapest valid path"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from regen.core.chunks import ENTRY_BYTES, Chunk, unpack
from regen.core.documents import canonical_json, digest

Need: TypeAlias = Literal["delete", "replace", "payload", "touch"]
REWRITE = -1
"""The placement revision that asks for all points to be written anew."""
REPAY = -2
"""The placement revision that asks for the payload of all points to be brought up to date: a key became filterable."""


def input_hash(content_hash: bytes, values: tuple[str, ...]) -> bytes:
    """What decides a document's embedded texts under one recipe: its text and the metadata that the template names."""
    return content_hash if not values else digest(content_hash + canonical_json(values))


def payload_hash(metadata_hash: bytes, access_hash: bytes) -> bytes:
    """What decides a document's payload: metadata and access."""
    return digest(metadata_hash + access_hash)


def need(
    *, deleted: bool, placed_revision: int | None, placed: tuple[bytes, bytes] | None, wanted: tuple[bytes, bytes]
) -> Need:
    """The least work that brings a placement up to date. The pairs are (input hash, payload hash)."""
    if deleted:
        return "delete"
    if placed is None or placed_revision == REWRITE or placed[0] != wanted[0]:
        return "replace"
    return "payload" if placed_revision == REPAY or placed[1] != wanted[1] else "touch"


class ChunkDiff(NamedTuple):
    """An edit as a set difference of chunk ids. ``kept`` maps id to write token; ``dropped`` are packed entries."""

    new: tuple[int, ...]
    kept: dict[bytes, bytes]
    dropped: bytes


def diff_chunks(chunks: Sequence[Chunk], placed: bytes) -> ChunkDiff:
    """Which of a document's chunks (by position) must be written, which are held, which entries go."""
    if not placed:
        return ChunkDiff(tuple(range(len(chunks))), {}, b"")
    held = dict(unpack(placed))
    wanted = {chunk.id for chunk in chunks}
    new = tuple(i for i, chunk in enumerate(chunks) if chunk.id not in held)
    kept = {key: token for key, token in held.items() if key in wanted}
    dropped = b"".join(
        placed[i : i + ENTRY_BYTES]
        for i in range(0, len(placed), ENTRY_BYTES)
        if placed[i : i + ENTRY_BYTES - 8] not in wanted
    )
    return ChunkDiff(new, kept, dropped)
