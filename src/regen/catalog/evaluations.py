"""Evaluations that promotions rest on, and the log of queries and clicks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import delete, func, insert, select, update

from regen.catalog import schema
from regen.catalog.database import Database
from regen.errors import NotFound
from regen.ports.catalog import KeptEvaluation, LoggedQuery

_kept, _queries = schema.evaluations.c, schema.queries.c


class Evaluations(Database):
    """Statements on ``evaluations`` and ``queries``, and what one generation has cost."""

    def evaluations(self, alias: str, generation: int | None = None, limit: int = 20) -> list[KeptEvaluation]:
        """Evaluations, of one generation or of all, newest first."""
        statement = select(
            _kept.id, _kept.alias, _kept.generation, _kept.against, _kept.verdict, _kept.fingerprint, _kept.head,
            _kept.evaluated_at, _kept.result,
        ).where(_kept.alias == alias)  # fmt: skip
        if generation is not None:
            statement = statement.where(_kept.generation == generation)
        with self.reading() as connection:
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

    def logged_queries(self, alias: str, *, since: float = 0.0, limit: int = 10_000) -> list[LoggedQuery]:
        """The query log, newest first."""
        statement = (
            select(
                _queries.id, _queries.text, _queries.generation, _queries.returned, _queries.clicked, _queries.asked_at
            )
            .where(_queries.alias == alias, _queries.asked_at >= since)
            .order_by(_queries.asked_at.desc(), _queries.id)
            .limit(limit)
        )
        with self.reading() as connection:
            return [
                LoggedQuery(*row[:3], tuple(orjson.loads(row[3])), tuple(orjson.loads(row[4])), row[5])
                for row in connection.execute(statement)
            ]

    def log_queries(self, alias: str, queries: Sequence[LoggedQuery]) -> None:
        """Keep searches for the query log."""
        values = [
            {
                "id": query.id,
                "alias": alias,
                "text": query.text,
                "generation": query.generation,
                "returned": orjson.dumps(query.returned).decode(),
                "clicked": orjson.dumps(query.clicked).decode(),
                "asked_at": query.asked_at,
            }
            for query in queries
        ]
        if values:
            with self.writing() as connection:
                connection.execute(insert(schema.queries), values)

    def note_clicks(self, query_id: str, doc_ids: Sequence[str]) -> None:
        """Record which documents a user took from a logged search."""
        with self.writing() as connection:
            found = connection.execute(select(_queries.clicked).where(_queries.id == query_id)).scalar()
            if found is None:
                raise NotFound(
                    f"there is no logged query {query_id!r}",
                    hint="queries are logged with `usage: {keep_queries: 30d}`, and forgotten after that time",
                )
            clicked = list(dict.fromkeys([*orjson.loads(found), *doc_ids]))
            connection.execute(
                update(schema.queries).where(_queries.id == query_id).values(clicked=orjson.dumps(clicked).decode())
            )

    def forget_queries(self, before: float) -> None:
        """Remove logged queries older than a time."""
        with self.writing() as connection:
            connection.execute(delete(schema.queries).where(_queries.asked_at < before))

    def spent_on(self, generation: int) -> float:
        """US dollars that one generation has cost so far."""
        costs = schema.costs.c
        statement = select(func.coalesce(func.sum(costs.usd), 0.0)).where(costs.generation == generation)
        with self.reading() as connection:
            return float(connection.execute(statement).scalar_one())
