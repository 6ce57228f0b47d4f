"""A changed document as rows of ``documents``, ``changes`` and ``contents``, written in bulk."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Final, NamedTuple

import zstandard
from sqlalchemy import Connection

from regen.catalog import schema
from regen.catalog.bulk import Adding, Editing
from regen.core.changes import Candidate, Outcome, State, lane
from regen.core.documents import ChangeKind

COMPRESSION_LEVEL: Final = 1
"""zstd at its quickest: on texts of a few hundred characters higher levels cost more and save next to nothing."""


class DocumentRow(NamedTuple):
    """A row of ``documents`` in column order, and the kind of its change. ``revision`` is None when nothing changed.

    Its text is kept under ``text_revision``, that of the change that brought it.
    """

    doc_key: int
    doc_id: str
    source: str
    revision: int | None
    fingerprint: bytes | None
    stamp: str | None
    content_hash: bytes
    metadata_hash: bytes
    access_hash: bytes
    metadata: str
    access: str | None
    deleted: bool
    lane: int
    version: str | None
    source_time: float | None
    changed_at: float
    text_revision: int | None
    kind: ChangeKind


_COLUMNS: Final = DocumentRow._fields[:-1]
_EDITED: Final = _COLUMNS[2:]
_RESTORED: Final = tuple(name for name in _EDITED if name not in {"source", "fingerprint", "stamp"})
"""A row without a fingerprint keeps what its source last delivered: only a new change at the source overrides it."""
_DELIVERED: Final = ("source", "fingerprint", "stamp")
_LOGGED: Final = (
    "revision", "doc_key", "kind", "metadata", "access", "version", "source_time", "changed_at", "text_revision",
)  # fmt: skip
_ADD = Adding(schema.documents, _COLUMNS)
_APPEND = Adding(schema.changes, _LOGGED)
_KEEP = Adding(schema.contents, ("revision", "size", "data"))
_EDITS: Final = {
    columns: Editing(schema.documents, (*columns, "doc_key")) for columns in (_EDITED, _RESTORED, _DELIVERED)
}


def document_row(
    source: str,
    candidate: Candidate,
    state: State,
    numbers: tuple[int, int | None, int | None],
    outcome: Outcome,
    *,
    at: float,
) -> DocumentRow:
    """One delivered document as a row.

    ``numbers`` are its key, its revision (None: no facet differs) and the revision of its text (None: a new one).
    """
    kind: ChangeKind = "content" if outcome == "unchanged" else outcome
    document, facets = candidate.document, state.facets
    return DocumentRow(
        numbers[0],
        document.id,
        source,
        numbers[1],
        candidate.fingerprint,
        candidate.stamp,
        facets.content,
        facets.metadata,
        facets.access,
        state.metadata.decode(),
        None if state.access is None else state.access.decode(),
        False,
        lane(kind),
        document.version,
        document.updated_at,
        at,
        numbers[1] if numbers[2] is None else numbers[2],
        kind,
    )


def write_rows(
    connection: Connection, rows: Sequence[DocumentRow], *, fresh: set[str], candidates: Sequence[Candidate]
) -> None:
    """Contents, documents and changes, each in one statement over many rows. ``fresh`` ids have no row yet."""
    changed = [row for row in rows if row.revision is not None]
    _update(connection, _DELIVERED, [row for row in rows if row.revision is None and row.kind != "restored"])
    brought = [i for i, row in enumerate(rows) if row.revision is not None and row.text_revision == row.revision]
    _keep(connection, [rows[i].revision for i in brought], [candidates[i].document.text for i in brought])
    _ADD.run(connection, [row[:-1] for row in changed if row.doc_id in fresh])
    edited = [row for row in changed if row.doc_id not in fresh]
    _update(connection, _EDITED, [row for row in edited if row.fingerprint is not None])
    _update(connection, _RESTORED, [row for row in edited if row.fingerprint is None])
    logged = attrgetter(*_LOGGED)
    _APPEND.run(connection, [logged(row) for row in changed])


def _update(connection: Connection, columns: tuple[str, ...], rows: Sequence[DocumentRow]) -> None:
    values = attrgetter(*columns)
    _EDITS[columns].run(connection, [(*values(row), row.doc_key) for row in rows])


def _keep(connection: Connection, revisions: Sequence[int | None], texts: Sequence[str]) -> None:
    encoded = [text.encode() for text in texts]
    _KEEP.run(connection, list(zip(revisions, map(len, encoded), compress(encoded), strict=True)))


# Of many texts in one call each: one by one, each waits for Python's interpreter lock. The library's own calls for many
# refuse nothing but empty texts (0.25 crashes when it decompresses one), so those are not among them.


def compress(texts: Sequence[bytes]) -> list[bytes]:
    """What is kept of texts in UTF-8."""
    compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)
    full: list[bytes | bytearray | memoryview] = [text for text in texts if text]
    made = iter(compressor.multi_compress_to_buffer(full) if full else ())
    return [next(made).tobytes() if text else compressor.compress(text) for text in texts]


def decompress(kept: Sequence[bytes]) -> list[str]:
    """The texts that are kept so."""
    sizes = list(map(zstandard.frame_content_size, kept))
    full: list[bytes | bytearray | memoryview] = [data for data, size in zip(kept, sizes, strict=True) if size]
    made = iter(zstandard.ZstdDecompressor().multi_decompress_to_buffer(full) if full else ())
    return [next(made).tobytes().decode() if size else "" for size in sizes]
