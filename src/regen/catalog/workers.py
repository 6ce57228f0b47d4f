"""Several processes share one generation: its documents in ranges, each a lease; who embeds which text; who is at work.

On PostgreSQL who looks for a range skips those that somebody is just taking or committing under (SKIP LOCKED); SQLite
has one writer at a time, which comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple
from typing import Any, Final

from sqlalchemy import Connection, delete, func, or_, select, update

from regen.catalog import schema
from regen.catalog.bulk import Adding, Merging
from regen.catalog.database import Database, allocate, rows
from regen.catalog.leases import NOBODY, free_texts, require
from regen.catalog.work import hold_generation
from regen.catalog.work_statements import first_behind, sizes_behind
from regen.errors import NotFound
from regen.ports.placements import Lease, Range
from regen.ports.workers import Laid, WorkerRecord

_leases, _gens, _claims, _workers = schema.leases.c, schema.generations.c, schema.text_claims.c, schema.workers.c
_RANGE: Final = (
    _leases.name, _leases.owner, _leases.token, _leases.expires_at, _leases.generation, _leases.above, _leases.upto,
)  # fmt: skip
_LAY: Final = Adding(schema.leases, schema.leases.c.keys())
_RESERVE: Final = Merging(schema.text_claims, ("generation", "text_key", "token"), ("generation", "text_key"))
_BEAT: Final = Merging(
    schema.workers,
    schema.workers.c.keys(),
    ("owner",),
    lambda new: {name: new[name] for name in ("seen_at", "documents", "generation", "failure")},
)


class Workers(Database):
    """Statements on ``text_claims``, ``workers``, and the rows of ``leases`` that are ranges."""

    def ranges(self, generation: int) -> list[Range]:
        """The ranges of a generation, free ones included."""
        with self.glancing() as connection:
            return _ranges(connection, generation)

    def lay_out(self, generation: int, whole: str, *, size: int, count: int, upto: int | None = None) -> Laid:
        """Raise the watermark, and cut what is behind and in no range into ranges."""
        with self.writing() as connection:
            watermark = hold_generation(connection, generation)
            counters = schema.counters.c
            head = int(connection.execute(select(counters.value).where(counters.name == "revision")).scalar_one())
            head = head if upto is None else min(head, upto)
            there = _ranges(connection, generation)
            free = [item for item in there if item.owner == NOBODY]
            raised = _raised(connection, generation, watermark, min([head, *(item.above for item in there)]))
            if raised > watermark:
                connection.execute(
                    update(schema.generations).where(_gens.number == generation).values(watermark=raised)
                )
            made: list[tuple[int, int]] = []
            for above, end in _gaps(there, raised, head):
                wanted = count - len(free) - len(made)
                made += _cut(connection, (generation, above, end), size, wanted) if wanted > 0 else []
            _LAY.run(
                connection,
                [(f"{whole}: changes {a + 1} to {b}", NOBODY, 0, 0.0, generation, a, b) for a, b in made],
            )
        return Laid(len(free) + len(made), len(there) - len(free), raised, head)

    def claim_range(
        self, generation: int, whole: str, owner: str, *, at: float, seconds: float, dead: Sequence[str] = ()
    ) -> Range | None:
        """Take the first range that nobody living holds."""
        mine = (
            select(*_RANGE)
            .where(_leases.generation == generation, _is_free(at, dead))
            .order_by(_leases.above)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        with self.writing() as connection:
            row = connection.execute(mine).fetchone()
            if row is None:
                return None
            # The counter makes us and who takes the whole wait for each other: one of the two sees the other.
            token = allocate(connection, "lease", 1)
            taken = select(_leases.name).where(_leases.name == whole, ~_is_free(at, dead))
            if connection.execute(taken).first() is not None:
                return None
            connection.execute(delete(schema.text_claims).where(_claims.token == row.token))
            expires_at = at + seconds
            connection.execute(
                update(schema.leases)
                .where(_leases.name == row.name)
                .values(owner=owner, token=token, expires_at=expires_at)
            )
        return Range(row.name, owner, token, expires_at, generation, row.above, row.upto)

    def clear_ranges(self, generation: int, lease: Lease, *, at: float, dead: Sequence[str] = ()) -> list[Range]:
        """Forget the ranges that nobody living holds; the others."""
        with self.writing() as connection:
            require(connection, lease)
            connection.execute(delete(schema.leases).where(_leases.generation == generation, _is_free(at, dead)))
            left = _ranges(connection, generation)
            tokens = [item.token for item in left]
            connection.execute(
                delete(schema.text_claims).where(_claims.generation == generation, _claims.token.not_in(tokens))
            )
        return left

    def reserve_texts(self, held: Range, text_keys: Sequence[int], *, at: float, dead: Sequence[str] = ()) -> set[int]:
        """Take the right to embed these texts, as far as nobody else who lives has it."""
        wanted = sorted(set(text_keys))
        these = (_claims.generation == held.generation) & self.among(_claims.text_key, wanted)
        with self.writing() as connection:
            require(connection, held)
            mine = _leases.token == held.token
            alive = select(_leases.token).where(_leases.generation == held.generation, mine | ~_is_free(at, dead))
            connection.execute(delete(schema.text_claims).where(these, _claims.token.not_in(alive)))
            _RESERVE.run(connection, [(held.generation, key, held.token) for key in wanted])
            others = select(_claims.text_key).where(these, _claims.token != held.token)
            return {row[0] for row in connection.execute(others)}

    def free_texts(self, held: Range, text_keys: Sequence[int] | None = None) -> None:
        """Give the right to embed texts back."""
        with self.writing() as connection:
            free_texts(connection, held, text_keys)

    def ask(self, generation: int, *, at: float | None) -> None:
        """Let workers fill the generation, or no longer."""
        with self.writing() as connection:
            asking = update(schema.generations).where(_gens.number == generation).values(asked_at=at)
            if not connection.execute(asking).rowcount:
                raise NotFound(f"there is no generation {generation}", hint="`regen status` lists them")

    def beat(self, worker: WorkerRecord) -> float:
        """Tell that a worker is alive."""
        with self.writing() as connection:
            _BEAT.run(connection, [astuple(worker)])
        return self.clock()

    def leave(self, owner: str) -> None:
        """Forget a worker, and give back what it still holds."""
        with self.writing() as connection:
            tokens = [row[0] for row in connection.execute(select(_leases.token).where(_leases.owner == owner))]
            if tokens:
                connection.execute(delete(schema.text_claims).where(_claims.token.in_(tokens)))
                connection.execute(delete(schema.leases).where(_leases.owner == owner))
            connection.execute(delete(schema.workers).where(_workers.owner == owner))

    def workers(self, alias: str) -> list[WorkerRecord]:
        """Who works, or did when last seen."""
        statement = select(schema.workers).where(_workers.alias == alias).order_by(_workers.since, _workers.owner)
        with self.glancing() as connection:
            return [WorkerRecord(*row) for row in connection.execute(statement)]


def _ranges(connection: Connection, generation: int) -> list[Range]:
    found = select(*_RANGE).where(_leases.generation == generation).order_by(_leases.above)
    return [Range(*row) for row in rows(connection, found)]


def _is_free(at: float, dead: Sequence[str]) -> Any:
    return or_(_leases.owner == NOBODY, _leases.expires_at <= at, _leases.owner.in_(list(dead)))


def _raised(connection: Connection, generation: int, watermark: int, bound: int) -> int:
    """The revision up to which all is placed or a dead letter, and in no range."""
    if bound <= watermark:
        return watermark
    first = connection.execute(first_behind(generation, watermark, bound, dialect=connection.dialect.name)).scalar()
    return bound if first is None else int(first) - 1


def _gaps(there: Sequence[Range], watermark: int, head: int) -> Iterator[tuple[int, int]]:
    """What lies in no range, in order."""
    above = watermark
    for item in there:
        if item.above > above:
            yield above, item.above
        above = max(above, item.upto)
    if above < head:
        yield above, head


def _cut(connection: Connection, gap: tuple[int, int, int], size: int, most: int) -> list[tuple[int, int]]:
    """At most so many ranges of the documents that are behind in a gap."""
    behind = sizes_behind(*gap, limit=size * most, dialect=connection.dialect.name)
    part = (behind.c.place - 1) // size
    ends = select(func.max(behind.c.revision)).group_by(part).order_by(func.max(behind.c.revision))
    made, above = [], gap[1]
    for (upto,) in connection.execute(ends).fetchall():
        made.append((above, int(upto)))
        above = int(upto)
    return made
