"""Rollouts, and the log of queries and clicks that they are judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, delete, insert, select, update

from regen.catalog import schema
from regen.catalog.database import Database
from regen.errors import AliasMoved, NotFound, NotPromotable
from regen.ports.rollouts import LoggedQuery, Rollout, RolloutStatus, RouteKind

_queries, _rollouts, _aliases = schema.queries.c, schema.rollouts.c, schema.aliases.c
_QUERY = (
    _queries.id, _queries.text, _queries.generation, _queries.returned, _queries.clicked, _queries.asked_at,
    _queries.rollout, _queries.arm, _queries.milliseconds, _queries.failed, _queries.teams, _queries.key,
)  # fmt: skip
UNDER_WAY = ("running", "paused")


class Rollouts(Database):
    """Statements on ``rollouts`` and ``queries``."""

    def rollout(self, alias: str) -> Rollout | None:
        """The rollout that is running or paused."""
        found = self._find(alias, 1, (_rollouts.status.in_(UNDER_WAY),))
        return found[0] if found else None

    def rollouts(self, alias: str, limit: int = 20) -> list[Rollout]:
        """All rollouts, newest first."""
        return self._find(alias, limit, ())

    def _find(self, alias: str, limit: int, conditions: Sequence[Any]) -> list[Rollout]:
        statement = select(schema.rollouts).where(_rollouts.alias == alias, *conditions)
        with self.glancing() as connection:
            return [_rollout(row) for row in connection.execute(statement.order_by(_rollouts.id.desc()).limit(limit))]

    def start_rollout(
        self,
        alias: str,
        kind: RouteKind,
        candidate: int,
        *,
        weight: float,
        settings: Mapping[str, Any],
        state: Mapping[str, Any],
        actor: str,
        reason: str,
        at: float,
    ) -> Rollout:
        """Begin to answer searches by two generations."""
        with self.writing("generation") as connection:
            running = connection.execute(
                select(schema.rollouts).where(_rollouts.alias == alias, _rollouts.status.in_(UNDER_WAY))
            ).fetchone()
            if running is not None:
                raise NotPromotable(
                    f"a rollout of generation {running.candidate} ({running.kind}) is {running.status}",
                    hint="`regen promote` or `regen rollback` ends it",
                )
            live = connection.execute(select(_aliases.live).where(_aliases.alias == alias)).scalar()
            if live is None or live == candidate:
                raise NotPromotable(
                    f"generation {candidate} cannot serve beside the live one, which is {live}",
                    hint="a rollout needs a live generation and another one",
                )
            added = connection.execute(
                insert(schema.rollouts).values(
                    alias=alias,
                    kind=kind,
                    candidate=candidate,
                    weight=weight,
                    settings=_json(settings),
                    state=_json(state),
                    status="running",
                    version=1,
                    actor=actor,
                    reason=reason,
                    started_at=at,
                    changed_at=at,
                )
            )
            assert added.inserted_primary_key is not None
            number = int(added.inserted_primary_key[0])
            _point(connection, alias, number, 1)
        return Rollout(
            number, alias, kind, candidate, weight, dict(settings), dict(state), "running", 1, actor, reason, at, at
        )

    def change_rollout(
        self,
        rollout: Rollout,
        *,
        at: float,
        status: RolloutStatus | None = None,
        weight: float | None = None,
        state: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> Rollout:
        """Change a rollout that is still at this version."""
        values = {
            "status": status,
            "weight": weight,
            "state": None if state is None else _json(state),
            "reason": reason,
        }
        changed = {name: value for name, value in values.items() if value is not None}
        with self.writing("generation") as connection:
            updated = connection.execute(
                update(schema.rollouts)
                .where(_rollouts.id == rollout.id, _rollouts.version == rollout.version)
                .values(**changed, version=rollout.version + 1, changed_at=at)
            )
            if updated.rowcount != 1:
                raise AliasMoved(
                    f"the rollout of generation {rollout.candidate} was changed meanwhile",
                    hint="look at it again with `regen status` and decide anew",
                )
            row = connection.execute(select(schema.rollouts).where(_rollouts.id == rollout.id)).one()
            if row.status in UNDER_WAY:
                _point(connection, rollout.alias, rollout.id, row.version)
            else:
                _point(connection, rollout.alias, None, None)
        return _rollout(row)

    def logged_queries(
        self,
        alias: str,
        *,
        since: float = 0.0,
        until: float | None = None,
        rollout: int | None = None,
        limit: int = 10_000,
    ) -> list[LoggedQuery]:
        """The query log, newest first."""
        statement = select(*_QUERY).where(_queries.alias == alias, _queries.asked_at >= since)
        if until is not None:
            statement = statement.where(_queries.asked_at < until)
        if rollout is not None:
            statement = statement.where(_queries.rollout == rollout)
        with self.glancing() as connection:
            found = connection.execute(statement.order_by(_queries.asked_at.desc(), _queries.id).limit(limit))
            return [_logged(row) for row in found]

    def logged_query(self, query_id: str) -> LoggedQuery | None:
        """One search of the query log."""
        with self.glancing() as connection:
            row = connection.execute(select(*_QUERY).where(_queries.id == query_id)).fetchone()
        return None if row is None else _logged(row)

    def log_queries(self, alias: str, queries: Sequence[LoggedQuery]) -> None:
        """Keep searches for the query log."""
        values = [
            {
                "id": query.id,
                "alias": alias,
                "text": query.text,
                "generation": query.generation,
                "returned": _json(query.returned),
                "clicked": _json(query.clicked),
                "asked_at": query.asked_at,
                "rollout": query.rollout,
                "arm": query.arm,
                "milliseconds": query.milliseconds,
                "failed": query.failed,
                "teams": _json(query.teams),
                "key": query.key,
            }
            for query in queries
        ]
        if values:
            with self.writing() as connection:
                connection.execute(insert(schema.queries), values)

    def note_clicks(self, query_id: str, doc_ids: Sequence[str]) -> None:
        """Record which documents a user took from a logged search."""
        with self.writing() as connection:
            noted = select(_queries.clicked).where(_queries.id == query_id).with_for_update()
            found = connection.execute(noted).scalar()
            if found is None:
                raise NotFound(
                    f"there is no logged query {query_id!r}",
                    hint="queries are logged during a rollout and with `usage: {keep_queries: 30d}`, for that time",
                )
            clicked = list(dict.fromkeys([*orjson.loads(found), *doc_ids]))
            connection.execute(update(schema.queries).where(_queries.id == query_id).values(clicked=_json(clicked)))

    def forget_queries(self, before: float) -> None:
        """Remove logged queries older than a time."""
        with self.writing() as connection:
            connection.execute(delete(schema.queries).where(_queries.asked_at < before))


def end_rollout(connection: Connection, alias: str, why: str, at: float) -> None:
    """End what is under way, because the alias itself is switched. In the transaction of the switch."""
    connection.execute(
        update(schema.rollouts)
        .where(_rollouts.alias == alias, _rollouts.status.in_(UNDER_WAY))
        .values(status="ended", reason=why, version=_rollouts.version + 1, changed_at=at)
    )


def abandon_candidate(connection: Connection, generation: int, why: str) -> None:
    """End the rollout of a generation that is given up, in the same transaction."""
    _end_of_candidate(connection, generation, why, [])


def end_bridge(connection: Connection, generation: int, at: float) -> None:
    """End the stop-gap that lasted as long as a generation was being filled, in the transaction that completes it."""
    why = f"generation {generation} is complete: the backfill has ended"
    _end_of_candidate(connection, generation, why, [_rollouts.kind == "bridge"], changed_at=at)


def _end_of_candidate(
    connection: Connection, generation: int, why: str, conditions: Sequence[Any], **values: float
) -> None:
    running = connection.execute(
        select(_rollouts.id, _rollouts.alias).where(
            _rollouts.candidate == generation, _rollouts.status.in_(UNDER_WAY), *conditions
        )
    ).fetchone()
    if running is not None:
        connection.execute(
            update(schema.rollouts)
            .where(_rollouts.id == running.id)
            .values(status="ended", reason=why, version=_rollouts.version + 1, **values)
        )
        _point(connection, running.alias, None, None)


def _point(connection: Connection, alias: str, rollout: int | None, version: int | None) -> None:
    """Let the alias name its rollout, so that a search reads both at one moment."""
    connection.execute(
        update(schema.aliases).where(_aliases.alias == alias).values(rollout=rollout, rollout_version=version)
    )


def _rollout(row: Sequence[Any]) -> Rollout:
    number, alias, kind, candidate, weight, settings, state, *rest = row
    return Rollout(number, alias, kind, candidate, weight, orjson.loads(settings), orjson.loads(state), *rest)


def _logged(row: Sequence[Any]) -> LoggedQuery:
    name, text, generation, returned, clicked, asked_at, rollout, arm, milliseconds, failed, teams, key = row
    return LoggedQuery(
        name,
        text,
        generation,
        tuple(orjson.loads(returned)),
        tuple(orjson.loads(clicked)),
        asked_at,
        rollout,
        arm,
        milliseconds,
        failed,
        tuple(orjson.loads(teams)),
        key,
    )


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
