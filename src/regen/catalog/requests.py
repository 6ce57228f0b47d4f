"""Runs that somebody asked for, and answers that are given again to a request that comes again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from regen.catalog import schema
from regen.catalog.database import Database
from regen.errors import LeaseLost, NotFound
from regen.ports.service import KeptAnswer, RequestedRun

_runs, _answers = schema.requested_runs.c, schema.answers.c
UNFINISHED = ("queued", "running")


class Requests(Database):
    """Statements on ``requested_runs`` and ``answers``."""

    def requested_run(self, number: int) -> RequestedRun:
        """One run."""
        with self.glancing() as connection:
            row = connection.execute(select(schema.requested_runs).where(_runs.id == number)).first()
        if row is None:
            raise NotFound(f"there is no run {number}", hint="GET /v1/runs lists them")
        return _run(row)

    def requested_runs(self, limit: int = 50, *, unfinished: bool = False) -> list[RequestedRun]:
        """Runs, newest first."""
        statement = select(schema.requested_runs).order_by(_runs.id.desc()).limit(limit)
        if unfinished:
            statement = statement.where(_runs.state.in_(UNFINISHED))
        with self.glancing() as connection:
            return [_run(row) for row in connection.execute(statement)]

    def request_run(
        self, verb: str, arguments: Mapping[str, Any], *, actor: str, at: float, once: str | None = None
    ) -> RequestedRun:
        """Ask for a run, once under one word."""
        with self.writing("revision") as connection:
            if once is not None:
                before = connection.execute(select(schema.requested_runs).where(_runs.once == once)).first()
                if before is not None:
                    return _run(before)
            added = insert(schema.requested_runs).values(
                verb=verb,
                arguments=_json(arguments),
                actor=actor,
                state="queued",
                created_at=at,
                owner="",
                attempts=0,
                version=1,
                once=once,
            )
            return _run(connection.execute(added.returning(*schema.requested_runs.c)).one())

    def claim_run(self, owner: str, *, at: float, stale: float, dead: Sequence[str] = ()) -> RequestedRun | None:
        """Take up the oldest run that nobody is at."""
        forsaken = or_(_runs.beat_at < stale, self.among(_runs.owner, list(dead)))
        free = or_(_runs.state == "queued", (_runs.state == "running") & forsaken)
        with self.writing("revision") as connection:
            row = connection.execute(select(_runs.id, _runs.started_at).where(free).order_by(_runs.id)).first()
            if row is None:
                return None
            return _changed(
                connection,
                (_runs.id == row.id,),
                state="running",
                owner=owner,
                beat_at=at,
                started_at=at if row.started_at is None else row.started_at,
                attempts=_runs.attempts + 1,
            )

    def beat_run(
        self, number: int, owner: str, *, at: float, progress: Mapping[str, Any] | None = None
    ) -> RequestedRun:
        """Say that we are at it, and how far."""
        told = {} if progress is None else {"progress": _json(progress)}
        return self._ours(number, owner, beat_at=at, **told)

    def finish_run(
        self,
        number: int,
        owner: str,
        *,
        at: float,
        result: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> RequestedRun:
        """End a run with a result, or an error."""
        return self._ours(
            number,
            owner,
            state="failed" if error is not None else "succeeded",
            finished_at=at,
            result=None if result is None else _json(result),
            error=None if error is None else _json(error),
        )

    def release_run(self, number: int, owner: str, *, at: float) -> None:
        """Put a run back."""
        with self.writing() as connection:
            ours = (_runs.id == number, _runs.owner == owner, _runs.state == "running")
            _changed(connection, ours, state="queued", owner="", beat_at=at)

    def _ours(self, number: int, owner: str, **values: Any) -> RequestedRun:
        with self.writing() as connection:
            ours = (_runs.id == number, _runs.owner == owner, _runs.state == "running")
            found = _changed(connection, ours, **values)
        if found is None:
            raise LeaseLost(f"run {number} was taken up by another server")
        return found

    def kept_answer(self, caller: str, key: str) -> KeptAnswer | None:
        """The answer that a caller was given under an idempotency key."""
        with self.glancing() as connection:
            return _answer(connection, caller, key)

    def keep_answer(self, caller: str, key: str, answer: KeptAnswer, *, at: float) -> KeptAnswer:
        """Keep an answer, unless there is one."""
        with self.writing("revision") as connection:
            before = _answer(connection, caller, key)
            if before is not None:
                return before
            connection.execute(
                insert(schema.answers).values(
                    caller=caller,
                    key=key,
                    fingerprint=answer.fingerprint,
                    status=answer.status,
                    body=answer.body,
                    answered_at=at,
                )
            )
            return answer

    def forget_answers(self, before: float) -> int:
        """Remove answers that were given before a time."""
        with self.writing() as connection:
            return connection.execute(delete(schema.answers).where(_answers.answered_at < before)).rowcount


def _changed(connection: Connection, conditions: Sequence[Any], **values: Any) -> RequestedRun | None:
    """Change the run that satisfies the conditions, and count the change."""
    changed = update(schema.requested_runs).where(*conditions).values(version=_runs.version + 1, **values)
    row = connection.execute(changed.returning(*schema.requested_runs.c)).first()
    return None if row is None else _run(row)


def _run(row: Row[Any]) -> RequestedRun:
    return RequestedRun(
        row.id, row.verb, orjson.loads(row.arguments), row.actor, row.state, row.created_at, row.started_at,
        row.finished_at, row.owner, row.beat_at, row.attempts, row.version,
        *(None if text is None else orjson.loads(text) for text in (row.progress, row.result, row.error)),
    )  # fmt: skip


def _answer(connection: Connection, caller: str, key: str) -> KeptAnswer | None:
    statement = select(_answers.fingerprint, _answers.status, _answers.body)
    row = connection.execute(statement.where(_answers.caller == caller, _answers.key == key)).first()
    return None if row is None else KeptAnswer(*row)


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
