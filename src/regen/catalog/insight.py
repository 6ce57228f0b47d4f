"""What people look back at: how quickly changes became searchable, what was spent, what was placed lately."""

from __future__ import annotations

from sqlalchemy import case, func, select

from regen.catalog import schema
from regen.catalog.database import Database, rows
from regen.core.chunks import ENTRY_BYTES
from regen.core.results import DeadLetter
from regen.ports.catalog import SOURCE_STAGE
from regen.ports.insight import Filled, Searchable, Spent

_docs, _gens, _placed = schema.documents.c, schema.generations.c, schema.placements.c
_costs, _letters = schema.costs.c, schema.dead_letters.c


class Insight(Database):
    """Statements that read several tables over time."""

    def searchable(self, generation: int, *, since: float, limit: int = 20_000) -> list[Searchable]:
        """The changes that became searchable in a generation since a time, oldest first."""
        completed = select(_gens.completed_at).where(_gens.number == generation).scalar_subquery()
        made = case((_docs.source_time.between(completed, _docs.changed_at), _docs.source_time), else_=_docs.changed_at)
        statement = (
            select(_placed.applied_at, _placed.applied_at - made)
            .join_from(schema.placements, schema.documents, _placed.doc_key == _docs.doc_key)
            .where(_placed.generation == generation, _placed.revision == _docs.revision)
            .where(_placed.applied_at >= since, _docs.changed_at >= completed)
            .where(_placed.applied_at >= _docs.changed_at)
            .order_by(_placed.applied_at.desc(), _placed.doc_key)
            .limit(limit)
        )
        with self.reading() as connection:
            found = rows(connection, statement)
        return [Searchable(at, max(0.0, seconds)) for at, seconds in reversed(found)]

    def spent(self, *, since: float, limit: int = 20_000) -> list[Spent]:
        """The entries of the account since a time, oldest first."""
        statement = (
            select(_costs.spent_at, _costs.generation, _costs.model, _costs.texts, _costs.tokens, _costs.usd)
            .where(_costs.spent_at >= since)
            .order_by(_costs.spent_at.desc(), _costs.id.desc())
            .limit(limit)
        )
        with self.reading() as connection:
            return [Spent(*row) for row in reversed(rows(connection, statement))]

    def filled(self, generation: int, *, since: float) -> Filled:
        """What was placed in a generation since a time."""
        statement = select(
            func.count(),
            func.coalesce(func.sum(func.length(_placed.chunks)), 0),
            func.min(_placed.applied_at),
            func.max(_placed.applied_at),
        ).where(_placed.generation == generation, _placed.applied_at >= since)
        with self.reading() as connection:
            documents, size, first, last = connection.execute(statement).one()
        return Filled(documents, size // ENTRY_BYTES, first, last)

    def letters_of(self, doc_id: str) -> list[DeadLetter]:
        """The dead letters of one document."""
        statement = select(
            _letters.doc_id, _letters.generation, _letters.revision, _letters.reason, _letters.attempts,
            _letters.failed_at,
        ).where(_letters.doc_id == doc_id).order_by(_letters.generation)  # fmt: skip
        with self.glancing() as connection:
            found = rows(connection, statement)
        return [DeadLetter(row[0], row[1] if row[1] != SOURCE_STAGE else None, *row[2:]) for row in found]
