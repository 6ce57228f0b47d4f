"""What reconcile asks the catalog: the statements, each built once."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Integer, Select, and_, bindparam, exists, func, or_, select

from regen.catalog import schema
from regen.catalog.at_once import AtOnce
from regen.catalog.sets import among, listed
from regen.catalog.usage import in_cut
from regen.core.priority import Cut

_docs, _placed, _contents = schema.documents.c, schema.placements.c, schema.contents.c
_letters, _texts = schema.dead_letters.c, schema.chunk_texts.c

_PLACEMENT_COLUMNS = (
    _placed.revision, _placed.input_hash, _placed.payload_hash, _placed.chunks, _placed.text_keys,
)  # fmt: skip

_FENCE_COLUMNS = (
    _docs.doc_id, _docs.deleted, _docs.access, _docs.metadata, _docs.revision, _placed.chunks,
    (_placed.revision == _docs.revision).label("current"),
)  # fmt: skip
_GENERATION = bindparam("generation", type_=Integer)
_KEYS = among(_docs.doc_key, listed("keys", integers=True))
_IDS = among(_docs.doc_id, listed("ids"))


def _join(generation: Any) -> Any:
    return and_(_placed.generation == generation, _placed.doc_key == _docs.doc_key)


# The outer join keeps SQLite from walking all placements of the generation first: it must look up k ids.
FENCE = AtOnce(
    select(*_FENCE_COLUMNS).join_from(schema.documents, schema.placements, _join(_GENERATION), isouter=True).where(_IDS)
)
PLACED_IDS = AtOnce(
    select(_docs.doc_id, *_PLACEMENT_COLUMNS)
    .join_from(schema.documents, schema.placements, _join(_GENERATION), isouter=True)
    .where(_IDS)
)
PLACED = AtOnce(
    select(*_FENCE_COLUMNS, *_PLACEMENT_COLUMNS, _docs.doc_key)
    .join_from(schema.placements, schema.documents, _placed.doc_key == _docs.doc_key)
    .where(_placed.generation == _GENERATION, _placed.doc_key > bindparam("after"))
    .order_by(_placed.doc_key)
    .limit(bindparam("limit"))
)
HOLDERS = AtOnce(
    select(_texts.text_key, _docs.doc_id, _placed.chunks)
    .join_from(
        schema.chunk_texts,
        schema.placements,
        and_(_placed.generation == _texts.generation, _placed.doc_key == _texts.doc_key),
    )
    .join(schema.documents, _docs.doc_key == _texts.doc_key)
    .where(_texts.generation == _GENERATION, among(_texts.text_key, listed("keys", integers=True)))
)
REVISIONS = AtOnce(select(_docs.doc_key, _docs.revision).where(_KEYS))
REVISIONS_HELD = AtOnce(
    select(_docs.doc_key, _docs.revision).where(_KEYS).order_by(_docs.doc_key).with_for_update(read=True)
)
WORK = AtOnce(
    select(
        _docs.doc_key, _docs.doc_id, _docs.revision, _docs.deleted, _docs.content_hash, _docs.metadata,
        _docs.metadata_hash, _docs.access, _docs.access_hash, _docs.version, _docs.changed_at, _contents.data,
        *_PLACEMENT_COLUMNS,
    )
    .join_from(schema.documents, schema.placements, _join(_GENERATION), isouter=True)
    .join(schema.contents, _contents.revision == _docs.text_revision, isouter=True)
    .where(_KEYS)
    .order_by(_docs.revision)
)  # fmt: skip


def _is_behind() -> Any:
    """Deleted and still placed, or alive and not placed at its revision."""
    return or_(
        and_(_docs.deleted.is_(True), _placed.revision.is_not(None)),
        and_(_docs.deleted.is_(False), or_(_placed.revision.is_(None), _placed.revision != _docs.revision)),
    )


def _is_dead_letter(generation: Any) -> Any:
    return exists().where(
        _letters.generation == generation, _letters.doc_id == _docs.doc_id, _letters.revision == _docs.revision
    )


def behind(generation: Any, after: Any, upto: Any, chosen: list[Any], cut: Cut | None) -> Select[Any]:
    """Keys and sizes of what is behind, by revision."""
    statement = (
        select(_docs.doc_key, func.coalesce(_contents.size, 0))
        .join_from(schema.documents, schema.placements, _join(generation), isouter=True)
        .join(schema.contents, _contents.revision == _docs.text_revision, isouter=True)
        .where(_docs.revision > after, _docs.revision <= upto, _is_behind(), ~_is_dead_letter(generation), *chosen)
        .order_by(_docs.revision)
    )
    if cut is None:
        return statement
    return statement.join(schema.usage, schema.usage.c.doc_key == _docs.doc_key, isouter=True).where(in_cut(cut))


_DUE: tuple[Any, Any, Any] = _GENERATION, bindparam("after"), bindparam("upto")
DUE = AtOnce(behind(*_DUE, [], None).limit(bindparam("limit")))
DUE_OF_A_LANE = AtOnce(behind(*_DUE, [_docs.lane == bindparam("lane")], None).limit(bindparam("limit")))


def first_behind(generation: int, above: int, upto: int) -> Select[Any]:
    """The lowest revision that is behind."""
    due = behind(generation, above, upto, [], None)
    return due.with_only_columns(_docs.revision).limit(1)


def sizes_behind(generation: int, above: int, upto: int, *, limit: int) -> Any:
    """The next revisions that are behind, numbered by ``place`` from 1 on."""
    due = behind(generation, above, upto, [], None)
    place = func.row_number().over(order_by=_docs.revision).label("place")
    return due.with_only_columns(_docs.revision, place).limit(limit).subquery()
