"""Reconcile's statements: what is behind, write intents, placements, garbage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import (
    Connection,
    case,
    delete,
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
from regen.catalog.document_rows import decompress
from regen.catalog.leases import free_texts, require
from regen.catalog.sets import holds_any_of
from regen.catalog.work_statements import (
    DUE,
    DUE_OF_A_LANE,
    FENCE,
    HOLDERS,
    PLACED,
    PLACED_IDS,
    REVISIONS,
    REVISIONS_HELD,
    WORK,
    behind,
)
from regen.core.chunks import ENTRY_BYTES, ID_BYTES, pack, write_token
from regen.core.placing import REPAY, REWRITE
from regen.core.priority import Cut
from regen.core.results import DeadLetter
from regen.ports.placements import FenceEntry, Garbage, Holder, Lease, NewPlacement, Placement, Range, Work

_docs, _placed, _contents = schema.documents.c, schema.placements.c, schema.contents.c
_letters, _texts = schema.dead_letters.c, schema.chunk_texts.c

_BYTES_AT_ONCE: Final = 4_000_000
"""Of longer texts there are few in a batch: row by row they wait little, and lie in memory but once."""

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
            asked = {"generation": generation, "after": after, "upto": upto, "limit": limit}
            if cut is not None or ids is not None:
                chosen = [] if lane is None else [_docs.lane == lane]
                chosen += [] if ids is None else [self.among(_docs.doc_id, ids)]
                found = behind(generation, after, upto, chosen, cut, dialect=connection.dialect.name)
                due: Sequence[Any] = rows(connection, found.limit(limit))
            elif lane is None:
                due = DUE.rows(connection, **asked)
            else:
                due = DUE_OF_A_LANE.rows(connection, lane=lane, **asked)
            keys, size = _within(due, max_bytes)
            if not keys:
                return []
            read = WORK.rows if size <= _BYTES_AT_ONCE else WORK.one_by_one
            return _works(read(connection, generation=generation, keys=keys))

    def holders(self, generation: int, text_keys: Sequence[int]) -> list[Holder]:
        """Which documents of the generation hold texts with these keys."""
        with self.glancing() as connection:
            return [Holder(*row) for row in HOLDERS.rows(connection, generation=generation, keys=text_keys)]

    def fence(self, generation: int, ids: Sequence[str]) -> dict[str, FenceEntry]:
        """The fence's facts for those of the ids that the generation places, of one moment."""
        with self.glancing() as connection:
            found = FENCE.rows(connection, generation=generation, ids=ids)
        return {row[0]: _fence_entry(row) for row in found if row[5] is not None}

    def placements(self, generation: int, batch: int = 2000) -> Iterator[list[tuple[FenceEntry, Placement]]]:
        """All placements of a generation with their documents' facts, in pages by key."""
        after = -1
        while True:
            with self.glancing() as connection:
                page = PLACED.rows(connection, generation=generation, after=after, limit=batch)
            if not page:
                return
            after = page[-1][-1]
            yield [(_fence_entry(row), Placement(*row[7:12])) for row in page]

    def placed(self, generation: int, ids: Sequence[str]) -> dict[str, Placement]:
        """The placements of those of the ids that the generation holds."""
        with self.glancing() as connection:
            found = PLACED_IDS.rows(connection, generation=generation, ids=ids)
        return {row[0]: Placement(*row[1:]) for row in found if row[1] is not None}

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
            # An edit that is logged just now waits for the holder of a range: else that of another range could read the
            # document at its new revision without the placement that is committed here.
            read = REVISIONS_HELD if isinstance(lease, Range) else REVISIONS
            current = {row[0]: row[1] for row in read.rows(connection, keys=[new.doc_key for new in placements])}
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


def _within(found: Iterable[Sequence[int]], max_bytes: int) -> tuple[list[int], int]:
    """Keys first, so that the texts of one batch stay within ``max_bytes`` whatever their size; at least one."""
    keys: list[int] = []
    total = 0
    for key, size in found:
        if keys and total + size > max_bytes:
            break
        total += size
        keys.append(key)
    return keys, total


def _works(found: Sequence[Any]) -> list[Work]:
    kept = [row for row in found if row[11] is not None and not row[3]]
    texts = dict(zip((row[0] for row in kept), decompress([row[11] for row in kept]), strict=True))
    return [_work(row, texts.get(row[0], "")) for row in found]


def _work(row: Any, text: str) -> Work:
    key, doc_id, revision, deleted, content, metadata, metadata_hash, access, access_hash, version, at = row[:11]
    placement = None if row[12] is None else Placement(*row[12:17])
    access = None if access is None else access.encode()
    return Work(
        key, doc_id, revision, deleted, text, content, metadata.encode(), metadata_hash, access, access_hash, version,
        at, placement,
    )  # fmt: skip


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
