"""Evaluations that promotions rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, func, insert, select

from regen.catalog import schema
from regen.catalog.database import Database
from regen.ports.rollouts import KeptEvaluation

_kept = schema.evaluations.c


class Evaluations(Database):
    """Statements on ``evaluations``, and what one generation has cost."""

    def evaluations(self, alias: str, generation: int | None = None, limit: int = 20) -> list[KeptEvaluation]:
        """Evaluations, of one generation or of all, newest first."""
        wanted = [] if generation is None else [_kept.generation == generation]
        return self._evaluations(alias, limit, wanted)

    def evaluation(self, alias: str, number: int) -> KeptEvaluation | None:
        """One evaluation by its id."""
        return next(iter(self._evaluations(alias, 1, [_kept.id == number])), None)

    def _evaluations(self, alias: str, limit: int, wanted: Sequence[ColumnElement[bool]]) -> list[KeptEvaluation]:
        statement = select(
            _kept.id, _kept.alias, _kept.generation, _kept.against, _kept.verdict, _kept.fingerprint, _kept.head,
            _kept.evaluated_at, _kept.result,
        ).where(_kept.alias == alias, *wanted)  # fmt: skip
        with self.glancing() as connection:
            found = connection.execute(statement.order_by(_kept.id.desc()).limit(limit))
            return [KeptEvaluation(*row[:8], orjson.loads(row[8])) for row in found]

    def record_evaluation(
        self,
        alias: str,
        generation: int,
        *,
        against: int | None,
        verdict: str,
        fingerprint: str,
        head: int,
        at: float,
        result: Mapping[str, Any],
    ) -> int:
        """Keep an evaluation; its id."""
        with self.writing() as connection:
            added = connection.execute(
                insert(schema.evaluations).values(
                    alias=alias,
                    generation=generation,
                    against=against,
                    verdict=verdict,
                    fingerprint=fingerprint,
                    head=head,
                    evaluated_at=at,
                    result=orjson.dumps(dict(result)).decode(),
                )
            )
            assert added.inserted_primary_key is not None
            return int(added.inserted_primary_key[0])

    def spent_on(self, generation: int) -> float:
        """US dollars that one generation has cost so far."""
        costs = schema.costs.c
        statement = select(func.coalesce(func.sum(costs.usd), 0.0)).where(costs.generation == generation)
        with self.glancing() as connection:
            return float(connection.execute(statement).scalar_one())
