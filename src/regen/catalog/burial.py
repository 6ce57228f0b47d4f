"""Statements on ``dead_letters`` that are parts of larger transactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, delete, exists, literal_column, select
from sqlalchemy.sql.elements import ColumnElement

from regen.catalog import schema
from regen.catalog.bulk import Merging
from regen.core.results import DeadLetter
from regen.ports.catalog import SOURCE_STAGE

_letters, _docs = schema.dead_letters.c, schema.documents.c
_COLUMNS: Final = ("generation", "doc_id", "revision", "reason", "attempts", "failed_at", "source")
_BURY = Merging(
    schema.dead_letters,
    _COLUMNS,
    ("generation", "doc_id"),
    lambda new: {
        "revision": new.revision,
        "reason": new.reason,
        "failed_at": new.failed_at,
        "source": new.source,
        "attempts": _letters.attempts + literal_column("1"),  # bulk binds columns only
    },
)


def bury_letters(connection: Connection, letters: Sequence[DeadLetter]) -> None:
    """Record dead letters; a repeated one counts an attempt more. Of two about one document the last is kept."""
    rows = {row[:2]: row for row in map(_row, letters)}
    _BURY.run(connection, [rows[key] for key in sorted(rows)])


def _row(letter: DeadLetter) -> tuple[Any, ...]:
    stage = SOURCE_STAGE if letter.generation is None else letter.generation
    return stage, letter.doc_id, letter.revision, letter.reason, letter.attempts, letter.failed_at, letter.source


def forget_letters(connection: Connection, generation: int, placed: ColumnElement[bool]) -> None:
    """Forget the letters of an older revision of documents that have been placed. ``placed`` is on ``documents``."""
    if connection.execute(select(_letters.doc_id).where(_letters.generation == generation).limit(1)).first() is None:
        return  # the usual case costs one look-up
    outlived = exists().where(_docs.doc_id == _letters.doc_id, _docs.revision != _letters.revision, placed)
    connection.execute(delete(schema.dead_letters).where(_letters.generation == generation, outlived))
