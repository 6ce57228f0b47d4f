"""What reconcile asks the catalog: the statements, each built once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Integer, Select, and_, bindparam, exists, func, or_, select, true

from regen.catalog import schema
from regen.catalog.at_once import AtOnce
from regen.catalog.sets import among, listed
from regen.catalog.usage import in_cut
from regen.core.priority import Cut

_docs, _placed, _contents = schema.documents.c, schema.placements.c, schema.contents.c
_letters, _texts = schema.dead_letters.c, schema.chunk_texts.c

_GENERATION = bindparam("generation", type_=Integer)
_KEYS = among(_docs.doc_key, listed("keys", integers=True))
_IDS = among(_docs.doc_id, listed("ids"))


def _join(generation: Any) -> Any:
    return and_(_placed.generation == generation, _placed.doc_key == _docs.doc_key)


def _facts(placed: Any) -> tuple[Any, ...]:
    """What the fence wants to know, ``placed`` being the columns of the document's placement."""
    return (
        _docs.doc_id, _docs.deleted, _docs.access, _docs.metadata, _docs.revision, placed.chunks,
        (placed.revision == _docs.revision).label("current"),
    )  # fmt: skip


def _placement(placed: Any) -> tuple[Any, ...]:
    return placed.revision, placed.input_hash, placed.payload_hash, placed.chunks, placed.text_keys


def _beside(generation: Any, dialect: str) -> tuple[Any, Any]:
    """The placements of a generation for an outer join with the documents, and its condition.

    Each is looked up, never all of them walked. The outer join is enough for SQLite. PostgreSQL would walk them as long
    as it has no statistics of the table, which is for a minute after a load; OFFSET keeps it from that.
    """
    if dialect == "sqlite":
        return schema.placements, _join(generation)
    return select(schema.placements).where(_join(generation)).offset(0).lateral("placed"), true()


def _on_both(make: Callable[[str], Select[Any]]) -> AtOnce:
    return AtOnce(make("sqlite"), make("postgresql"))


def _placed_too(columns: Callable[[Any], Iterable[Any]], dialect: str) -> Select[Any]:
    """Documents, with their placements where they have any."""
    placed, on = _beside(_GENERATION, dialect)
    return select(*columns(placed.c)).join_from(schema.documents, placed, on, isouter=True)


def _work(placed: Any) -> tuple[Any, ...]:
    return (
        _docs.doc_key, _docs.doc_id, _docs.revision, _docs.deleted, _docs.content_hash, _docs.metadata,
        _docs.metadata_hash, _docs.access, _docs.access_hash, _docs.version, _docs.changed_at, _contents.data,
        *_placement(placed),
    )  # fmt: skip


FENCE = _on_both(lambda dialect: _placed_too(_facts, dialect).where(_IDS))
PLACED_IDS = _on_both(
    lambda dialect: _placed_too(lambda placed: (_docs.doc_id, *_placement(placed)), dialect).where(_IDS)
)
PLACED = AtOnce(
    select(*_facts(_placed), *_placement(_placed), _docs.doc_key)
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
WORK = _on_both(
    lambda dialect: (
        _placed_too(_work, dialect)
        .join(schema.contents, _contents.revision == _docs.text_revision, isouter=True)
        .where(_KEYS)
        .order_by(_docs.revision)
    )
)


def _is_behind(placed: Any) -> Any:
    """Deleted and still placed, or alive and not placed at its revision."""
    return or_(
        and_(_docs.deleted.is_(True), placed.revision.is_not(None)),
        and_(_docs.deleted.is_(False), or_(placed.revision.is_(None), placed.revision != _docs.revision)),
    )


def _is_dead_letter(generation: Any) -> Any:
    return exists().where(
        _letters.generation == generation, _letters.doc_id == _docs.doc_id, _letters.revision == _docs.revision
    )


def behind(generation: Any, after: Any, upto: Any, chosen: list[Any], cut: Cut | None, *, dialect: str) -> Select[Any]:
    """Keys and sizes of what is behind, by revision."""
    placed, on = _beside(generation, dialect)
    statement = (
        select(_docs.doc_key, func.coalesce(_contents.size, 0))
        .join_from(schema.documents, placed, on, isouter=True)
        .join(schema.contents, _contents.revision == _docs.text_revision, isouter=True)
        .where(
            _docs.revision > after, _docs.revision <= upto, _is_behind(placed.c), ~_is_dead_letter(generation), *chosen
        )
        .order_by(_docs.revision)
    )
    if cut is None:
        return statement
    return statement.join(schema.usage, schema.usage.c.doc_key == _docs.doc_key, isouter=True).where(in_cut(cut))


def _due(chosen: list[Any]) -> AtOnce:
    what: tuple[Any, Any, Any] = _GENERATION, bindparam("after"), bindparam("upto")
    return _on_both(lambda dialect: behind(*what, chosen, None, dialect=dialect).limit(bindparam("limit")))


DUE = _due([])
DUE_OF_A_LANE = _due([_docs.lane == bindparam("lane")])


def first_behind(generation: int, above: int, upto: int, *, dialect: str) -> Select[Any]:
    """The lowest revision that is behind."""
    due = behind(generation, above, upto, [], None, dialect=dialect)
    return due.with_only_columns(_docs.revision).limit(1)


def sizes_behind(generation: int, above: int, upto: int, *, limit: int, dialect: str) -> Any:
    """The next revisions that are behind, numbered by ``place`` from 1 on."""
    due = behind(generation, above, upto, [], None, dialect=dialect)
    place = func.row_number().over(order_by=_docs.revision).label("place")
    return due.with_only_columns(_docs.revision, place).limit(limit).subquery()
