"""What monitoring asks: sums over placements, costs and dead letters."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, case, func, literal, select

from regen.catalog import schema
from regen.catalog.database import Database, rows
from regen.catalog.sets import value_under
from regen.core.chunks import ENTRY_BYTES
from regen.core.observations import Behind, ModelCost

_docs, _placed, _gens = schema.documents.c, schema.placements.c, schema.generations.c
_costs, _letters = schema.costs.c, schema.dead_letters.c


class Observations(Database):
    """Statements that only count and add."""

    def behind_of(self, generation: int) -> Behind:
        """What a generation holds that the change log has moved on from."""
        size = func.length(_placed.chunks)
        statement = select(
            func.coalesce(func.sum(case((_docs.deleted.is_(False), size), else_=0)), 0), func.count()
        ).join_from(schema.placements, schema.documents, _placed.doc_key == _docs.doc_key)
        moved_on = (_placed.generation == generation, _placed.revision != _docs.revision)
        with self.glancing() as connection:
            held, mismatched = connection.execute(statement.where(*moved_on)).one()
        return Behind(int(held) // ENTRY_BYTES, int(mismatched))

    def became_searchable(self, generation: int, *, after: int, upto: int, limit: int = 50_000) -> list[float]:
        """Seconds from change to placement; the source's own time counts from when the generation was complete on."""
        completed = select(_gens.completed_at).where(_gens.number == generation).scalar_subquery()
        since = case(
            (_docs.source_time.between(completed, _docs.changed_at), _docs.source_time), else_=_docs.changed_at
        )
        statement = (
            select(_placed.applied_at - since)
            .join_from(schema.documents, schema.placements, _placed.doc_key == _docs.doc_key)
            .where(_docs.revision > after, _docs.revision <= upto, _placed.generation == generation)
            .where(_placed.revision == _docs.revision, _placed.applied_at >= _docs.changed_at)
            .where(func.length(_placed.chunks) > 0)
            .limit(limit)
        )
        with self.glancing() as connection:
            return [max(0.0, float(row[0])) for row in connection.execute(statement)]

    def costs_by_model(self) -> list[ModelCost]:
        """What was paid, by generation and model."""
        statement = select(
            _costs.generation, _costs.model, func.sum(_costs.texts), func.sum(_costs.tokens), func.sum(_costs.usd)
        ).group_by(_costs.generation, _costs.model)
        with self.glancing() as connection:
            return [
                ModelCost(row[0], row[1], int(row[2]), int(row[3]), float(row[4]))
                for row in rows(connection, statement)
            ]

    def chunks_by_owner(self, generation: int, tenant: str | None) -> dict[tuple[str, str], int]:
        """How many chunks a generation holds of each source and tenant."""
        named: ColumnElement[Any] = literal("") if tenant is None else value_under(_docs.metadata, tenant)
        owner = named.label("owner")
        statement = (
            select(_docs.source, owner, func.sum(func.length(_placed.chunks)))
            .join_from(schema.placements, schema.documents, _placed.doc_key == _docs.doc_key)
            .where(_placed.generation == generation)
            .group_by(_docs.source, owner)
        )
        with self.glancing() as connection:
            found = rows(connection, statement)
        return {(row[0], "" if row[1] is None else str(row[1])): int(row[2]) // ENTRY_BYTES for row in found}

    def letters_by_generation(self) -> dict[int, int]:
        """How many dead letters each generation has."""
        statement = select(_letters.generation, func.count()).group_by(_letters.generation)
        with self.glancing() as connection:
            return {int(row[0]): int(row[1]) for row in rows(connection, statement)}
