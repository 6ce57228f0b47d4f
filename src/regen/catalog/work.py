"""Reconcile's statements: what is behind, write intents, placements, garbage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from regen.catalog import schema
from regen.catalog.bulk import Merging, Removing
from regen.catalog.burial import bury_letters, forget_letters
from regen.catalog.database import Database, allocate, rows
from regen.catalog.document_rows import decompressor
from regen.catalog.leases import free_texts, require
from regen.catalog.sets import Listed, among, holds_any_of
from regen.catalog.usage import in_cut
from regen.core.chunks import ENTRY_BYTES, ID_BYTES, pack, write_token
from regen.core.placing import REPAY, REWRITE
from regen.core.priority import Cut
from regen.core.results import DeadLetter
from regen.ports.placements import FenceEntry, Garbage, Holder, Lease, NewPlacement, Placement, Range, Work

_docs, _placed, _contents = schema.documents.c, schema.placements.c, schema.contents.c
_letters, _texts = schema.dead_letters.c, schema.chunk_texts.c

_HELD = ("generation", "text_key", "doc_key")
_PLACE = Merging(
    schema.placements,
    schema.placements.c.keys(),
    ("generation", "doc_key"),
    lambda new: {
        **{name: new[name] for name in ("revision", "input_hash", "payload_hash", "chunks", "text_keys")},
        # What is only written anew (a negative mark) became searchable when it was first placed.
        "applied_at": case((_placed.revision < literal_column("0"), _placed.applied_at), else_=new.applied_at),
    },
)
_UNPLACE = Removing(schema.placements, ("generation", "doc_key"))
_HOLD = Merging(schema.chunk_texts, _HELD, _HELD)
_UNHOLD = Removing(schema.chunk_texts, _HELD)
_PLACEMENT_COLUMNS = (
    _placed.revision, _placed.input_hash, _placed.payload_hash, _placed.chunks, _placed.text_keys,
)  # fmt: skip


class WorkQueue(Database):
    """Statements on ``placements``, ``chunk_texts``, ``intents`` and ``garbage``."""

    def behind(
        self,
        generation: int,
        *,
        after: int,
        upto: int,
        lane: int | None,
        limit: int,
        max_bytes: int,
        cut: Cut | None = None,
        ids: Sequence[str] | None = None,
    ) -> list[Work]:
        """The next documents, by revision, whose placement is behind and that are not dead letters."""
        with self.reading() as connection:
            chosen = [] if lane is None else [_docs.lane == lane]
            if ids is not None:
                chosen.append(self.among(_docs.doc_id, ids))
            due = _behind_statement(generation, after, upto, chosen, cut).limit(limit)
            keys = _within(rows(connection, due), max_bytes)
            if not keys:
                return []
            statement: Select[Any] = (
                select(
                    _docs.doc_key, _docs.doc_id, _docs.revision, _docs.deleted, _docs.content_hash, _docs.metadata,
                    _docs.metadata_hash, _docs.access, _docs.access_hash, _docs.version, _docs.changed_at,
                    _contents.data,
                    *_PLACEMENT_COLUMNS,
                )
                .join_from(schema.documents, schema.placements, _join(generation), isouter=True)
                .join(schema.contents, _contents.content_hash == _docs.content_hash, isouter=True)
                .where(self.among(_docs.doc_key, keys))
                .order_by(_docs.revision)
            )  # fmt: skip
            read = decompressor()
            return [_work(row, read) for row in rows(connection, statement)]

    def holders(self, generation: int, text_keys: Sequence[int]) -> list[Holder]:
        """Which documents of the generation hold texts with these keys."""
        statement = (
            select(_texts.text_key, _docs.doc_id, _placed.chunks)
            .join_from(
                schema.chunk_texts,
                schema.placements,
                and_(_placed.generation == _texts.generation, _placed.doc_key == _texts.doc_key),
            )
            .join(schema.documents, _docs.doc_key == _texts.doc_key)
            .where(_texts.generation == generation, self.among(_texts.text_key, text_keys))
        )
        with self.glancing() as connection:
            return [Holder(*row) for row in rows(connection, statement)]

    def fence(self, generation: int, ids: Sequence[str]) -> dict[str, FenceEntry]:
        """The fence's facts for those of the ids that the generation places, of one moment."""
        asked = {"generation": generation, "ids": ids}
        with self.glancing() as connection:
            return {row[0]: _fence_entry(row) for row in connection.execute(_FENCE, asked) if row[5] is not None}

    def placements(self, generation: int, batch: int = 2000) -> Iterator[list[tuple[FenceEntry, Placement]]]:
        """All placements of a generation with their documents' facts, in pages by key."""
        after = -1
        while True:
            statement = (
                select(*_FENCE_COLUMNS, *_PLACEMENT_COLUMNS, _docs.doc_key)
                .join_from(schema.placements, schema.documents, _placed.doc_key == _docs.doc_key)
                .where(_placed.generation == generation, _placed.doc_key > after)
                .order_by(_placed.doc_key)
                .limit(batch)
            )
            with self.glancing() as connection:
                page = rows(connection, statement)
            if not page:
                return
            after = page[-1][-1]
            yield [(_fence_entry(row), Placement(*row[7:12])) for row in page]

    def placed(self, generation: int, ids: Sequence[str]) -> dict[str, Placement]:
        """The placements of those of the ids that the generation holds."""
        statement = (
            select(_docs.doc_id, *_PLACEMENT_COLUMNS)
            .join_from(schema.documents, schema.placements, _join(generation), isouter=True)
            .where(self.among(_docs.doc_id, ids))
        )
        with self.glancing() as connection:
            return {row[0]: Placement(*row[1:]) for row in connection.execute(statement) if row[1] is not None}

    def begin_write(
        self, generation: int, chunk_ids: bytes, lease: Lease, *, at: float, repaid: Sequence[int] = ()
    ) -> int:
        """Record which chunks and payloads are about to be written; the token is unique for ever."""
        with self.writing() as connection:
            require(connection, lease)
            if repaid:
                mine = (_placed.generation == generation) & self.among(_placed.doc_key, repaid)
                connection.execute(
                    update(schema.placements).where(mine, _placed.revision != REWRITE).values(revision=REPAY)
                )
            token = allocate(connection, "token", 1)
            connection.execute(
                insert(schema.intents).values(
                    token=token, generation=generation, chunk_ids=chunk_ids, started_at=at, lease=lease.token
                )
            )
            return token

    def commit_write(
        self,
        generation: int,
        token: int | None,
        placements: Sequence[NewPlacement],
        lease: Lease,
        *,
        at: float,
        letters: Sequence[DeadLetter] = (),
        collected: bool = False,
    ) -> set[int]:
        """Swap placements where the document is still at its revision; everything else becomes garbage."""
        with self.writing() as connection:
            require(connection, lease)
            statement = select(_docs.doc_key, _docs.revision).where(
                self.among(_docs.doc_key, [new.doc_key for new in placements])
            )
            if isinstance(lease, Range):
                # An edit that is logged just now waits: else the holder of another range could read the document at
                # its new revision without the placement that is committed here.
                statement = statement.order_by(_docs.doc_key).with_for_update(read=True)
            current = {row[0]: row[1] for row in rows(connection, statement)}
            valid = [new for new in placements if current.get(new.doc_key) == new.revision]
            late = [new for new in placements if current.get(new.doc_key) != new.revision]
            _place(connection, generation, valid, at)
            dropped = b"".join(new.dropped for new in valid)
            if not collected:
                _drop(connection, generation, dropped + _written(late, token), at)
            elif dropped:
                _number_drop(connection)
            if token is not None:
                connection.execute(delete(schema.intents).where(schema.intents.c.token == token))
            if isinstance(lease, Range):
                free_texts(connection, lease, [key for new in placements for key in new.new_text_keys])
            bury_letters(connection, letters)
            committed = {new.doc_key for new in valid}
            forget_letters(connection, generation, self.among(_docs.doc_key, list(committed)))
            return committed

    def abandon_writes(self, generation: int, lease: Lease, *, at: float) -> int:
        """Turn what crashed attempts left in ``intents`` into garbage; not what those who hold a lease are writing."""
        intents = schema.intents.c
        alive = select(schema.leases.c.token).where(schema.leases.c.token != lease.token)
        theirs = or_(intents.lease.is_(None), intents.lease.not_in(alive))
        with self.writing() as connection:
            require(connection, lease)
            left = rows(
                connection,
                select(intents.token, intents.chunk_ids).where(intents.generation == generation, theirs),
            )
            entries = b"".join(
                ids[i : i + ID_BYTES] + write_token(token) for token, ids in left for i in range(0, len(ids), ID_BYTES)
            )
            _drop(connection, generation, entries, at)
            connection.execute(delete(schema.intents).where(self.among(intents.token, [token for token, _ in left])))
            return len(entries) // ENTRY_BYTES

    def garbage(self, generation: int, limit: int = 200) -> list[Garbage]:
        """The oldest garbage."""
        table = schema.garbage.c
        statement = (
            select(table.id, table.entries).where(table.generation == generation).order_by(table.id).limit(limit)
        )
        with self.glancing() as connection:
            return [Garbage(*row) for row in connection.execute(statement)]

    def clear_garbage(self, ids: Sequence[int]) -> None:
        """Forget garbage that the store has deleted."""
        with self.writing() as connection:
            connection.execute(delete(schema.garbage).where(self.among(schema.garbage.c.id, ids)))

    def demand_rewrite(self, generation: int, doc_ids: Sequence[str]) -> int:
        """Mark placements so that reconcile writes all their points anew."""
        return self._mark(generation, self.among(_docs.doc_id, doc_ids))

    def demand_replay(self, generation: int, since: float) -> int:
        """Mark the placements of all documents changed since a time."""
        return self._mark(generation, _docs.changed_at >= since)

    def demand_payloads(self, generation: int, keys: Sequence[str]) -> int:
        """Mark the placements of documents whose metadata has a value under one of these keys."""
        return self._mark(generation, holds_any_of(_docs.metadata, keys) & _docs.deleted.is_(False), REPAY)

    def _mark(self, generation: int, condition: Any, mark: int = REWRITE) -> int:
        chosen = select(_docs.doc_key).where(condition)
        unmarked = _placed.revision >= (0 if mark == REPAY else REPAY)  # a rewrite brings the payload with it
        with self.writing() as connection:
            hold_generation(connection, generation)
            marked = connection.execute(
                update(schema.placements)
                .where(_placed.generation == generation, _placed.doc_key.in_(chosen), unmarked)
                .values(revision=mark)
            ).rowcount
            if marked:
                lowest = connection.execute(select(func.min(_docs.revision)).where(condition)).scalar()
                lower_watermark(connection, generation, lowest)
            return marked


def hold_generation(connection: Connection, generation: int) -> int:
    """The watermark, which nobody else moves until the transaction ends."""
    table = schema.generations.c
    held = select(table.watermark).where(table.number == generation).with_for_update(key_share=True)
    return int(connection.execute(held).scalar() or 0)


def lower_watermark(connection: Connection, generation: int, revision: int | None) -> None:
    """Make reconcile look again at everything from a revision on."""
    if revision is not None:
        table = schema.generations
        connection.execute(
            update(table)
            .where(table.c.number == generation, table.c.watermark >= revision)
            .values(watermark=revision - 1)
        )


_FENCE_COLUMNS = (
    _docs.doc_id, _docs.deleted, _docs.access, _docs.metadata, _docs.revision, _placed.chunks,
    (_placed.revision == _docs.revision).label("current"),
)  # fmt: skip
# Built once, since every search runs it. The outer join keeps SQLite from walking all placements of the generation
# first: it must look up k ids.
_FENCE = (
    select(*_FENCE_COLUMNS)
    .join_from(
        schema.documents,
        schema.placements,
        and_(_placed.generation == bindparam("generation"), _placed.doc_key == _docs.doc_key),
        isouter=True,
    )
    .where(among(_docs.doc_id, bindparam("ids", type_=Listed())))
)


def _behind_statement(generation: int, after: int, upto: int, chosen: list[Any], cut: Cut | None) -> Select[Any]:
    """Keys and sizes of what is behind, by revision."""
    statement = (
        select(_docs.doc_key, func.coalesce(_contents.size, 0))
        .join_from(schema.documents, schema.placements, _join(generation), isouter=True)
        .join(schema.contents, _contents.content_hash == _docs.content_hash, isouter=True)
        .where(_docs.revision > after, _docs.revision <= upto, _is_behind(), ~_is_dead_letter(generation), *chosen)
        .order_by(_docs.revision)
    )
    if cut is None:
        return statement
    return statement.join(schema.usage, schema.usage.c.doc_key == _docs.doc_key, isouter=True).where(in_cut(cut))


def first_behind(generation: int, above: int, upto: int) -> Select[Any]:
    """The lowest revision that is behind."""
    due = _behind_statement(generation, above, upto, [], None)
    return due.with_only_columns(_docs.revision).limit(1)


def sizes_behind(generation: int, above: int, upto: int, *, limit: int) -> Any:
    """The next revisions that are behind, numbered by ``place`` from 1 on."""
    due = _behind_statement(generation, above, upto, [], None)
    place = func.row_number().over(order_by=_docs.revision).label("place")
    return due.with_only_columns(_docs.revision, place).limit(limit).subquery()


def _within(found: Iterable[tuple[int, int]], max_bytes: int) -> list[int]:
    """Keys first, so that the texts of one batch stay within ``max_bytes`` whatever their size; at least one."""
    keys: list[int] = []
    total = 0
    for key, size in found:
        total += size
        if keys and total > max_bytes:
            break
        keys.append(key)
    return keys


def _join(generation: int) -> Any:
    return and_(_placed.generation == generation, _placed.doc_key == _docs.doc_key)


def _is_behind() -> Any:
    """Deleted and still placed, or alive and not placed at its revision."""
    return or_(
        and_(_docs.deleted.is_(True), _placed.revision.is_not(None)),
        and_(_docs.deleted.is_(False), or_(_placed.revision.is_(None), _placed.revision != _docs.revision)),
    )


def _is_dead_letter(generation: int) -> Any:
    return exists().where(
        _letters.generation == generation, _letters.doc_id == _docs.doc_id, _letters.revision == _docs.revision
    )


def _work(row: Any, read: Callable[[bytes], str]) -> Work:
    placement = None if row[12] is None else Placement(*row[12:17])
    text = "" if row[11] is None or row[3] else read(row[11])
    access = None if row[7] is None else row[7].encode()
    return Work(
        row[0],
        row[1],
        row[2],
        row[3],
        text,
        row[4],
        row[5].encode(),
        row[6],
        access,
        row[8],
        row[9],
        row[10],
        placement,
    )


def _fence_entry(row: Any) -> FenceEntry:
    return FenceEntry(row[0], row[1], row[2] and row[2].encode(), row[3].encode(), row[4], row[5], bool(row[6]))


def _place(connection: Connection, generation: int, placements: Iterable[NewPlacement], at: float) -> None:
    placed: list[tuple[Any, ...]] = []
    removed: list[tuple[int, int]] = []
    held: list[tuple[int, int, int]] = []
    unheld: list[tuple[int, int, int]] = []
    for new in placements:
        key, now = new.doc_key, new.placement
        if now is None:
            removed.append((generation, key))
        else:
            placed.append(
                (generation, key, now.revision, now.input_hash, now.payload_hash, now.chunks, now.text_keys, at)
            )
        unheld += [(generation, text, key) for text in new.old_text_keys]
        held += [(generation, text, key) for text in new.new_text_keys]
    held.sort()  # sorted keys: fewer pages touched, and no deadlocks
    _UNPLACE.run(connection, removed)
    _PLACE.run(connection, placed)
    _UNHOLD.run(connection, unheld)
    _HOLD.run(connection, held)


def _written(late: Iterable[NewPlacement], token: int | None) -> bytes:
    """The entries that this attempt wrote for documents that have moved on."""
    if token is None:
        return b""
    mine = write_token(token)
    return pack(
        [
            (new.placement.chunks[i : i + ID_BYTES], mine)
            for new in late
            if new.placement is not None
            for i in range(0, len(new.placement.chunks), ENTRY_BYTES)
            if new.placement.chunks[i + ID_BYTES : i + ENTRY_BYTES] == mine
        ]
    )


def _drop(connection: Connection, generation: int, entries: bytes, at: float) -> None:
    if entries:
        number = _number_drop(connection)
        connection.execute(
            insert(schema.garbage).values(id=number, generation=generation, entries=entries, dropped_at=at)
        )


def _number_drop(connection: Connection) -> int:
    """Tell readers that points have ceased to be named: see ``CatalogReader.drops``."""
    return allocate(connection, "garbage", 1)
