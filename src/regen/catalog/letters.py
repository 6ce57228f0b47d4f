"""Dead letters, runs, costs and upkeep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import Connection, delete, func, insert, select

from regen.catalog import schema
from regen.catalog.burial import bury_letters
from regen.catalog.database import Database, rows
from regen.catalog.documents import purge_changes, purge_contents
from regen.catalog.work import hold_generation, lower_watermark
from regen.core.results import DeadLetter
from regen.errors import BudgetExceeded
from regen.ports.catalog import SOURCE_STAGE, Cost, Purged

_letters, _docs = schema.dead_letters.c, schema.documents.c


ROUNDING: Final = 1e-9
"""US dollars by which sums of many small prices may differ from the price of the sum."""


class Letters(Database):
    """Statements on ``dead_letters``, ``runs`` and ``costs``, and ``purge``."""

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The newest dead letters first."""
        statement = select(
            _letters.doc_id, _letters.generation, _letters.revision, _letters.reason, _letters.attempts,
            _letters.failed_at, _letters.source,
        ).order_by(_letters.failed_at.desc(), _letters.doc_id)  # fmt: skip
        with self.glancing() as connection:
            found = rows(connection, statement.limit(limit))
        return [DeadLetter(row[0], row[1] if row[1] != SOURCE_STAGE else None, *row[2:]) for row in found]

    def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Record dead letters; a repeated one counts an attempt more."""
        if letters:
            with self.writing() as connection:
                bury_letters(connection, letters)

    def unearth(self, generation: int, ids: Sequence[str]) -> None:
        """Forget dead letters of documents that have been placed, or are gone."""
        if ids:
            with self.writing() as connection:
                connection.execute(
                    delete(schema.dead_letters).where(
                        _letters.generation == generation, self.among(_letters.doc_id, ids)
                    )
                )

    def buried(self, generation: int, source: str | None = None) -> list[str]:
        """The ids of all dead letters of one generation, or of the source stage: of one source, if it is named.

        Letters from before sources were noted are of any.
        """
        statement = select(_letters.doc_id).where(_letters.generation == generation)
        if source is not None:
            statement = statement.where(_letters.source.in_([source, ""]))
        with self.glancing() as connection:
            return [row[0] for row in connection.execute(statement)]

    def revive(self) -> int:
        """Give all dead letters of generations another try."""
        with self.writing() as connection:
            first = rows(
                connection,
                select(_letters.generation, func.min(_docs.revision))
                .join_from(schema.dead_letters, schema.documents, _docs.doc_id == _letters.doc_id)
                .where(_letters.generation != SOURCE_STAGE)
                .group_by(_letters.generation),
            )
            for generation, revision in sorted(first):
                hold_generation(connection, generation)
                lower_watermark(connection, generation, revision)
            # The letter stays, so that its attempts go on counting, but it no longer names the current revision.
            return connection.execute(
                schema.dead_letters.update().where(_letters.generation != SOURCE_STAGE).values(revision=-1)
            ).rowcount

    def record_run(
        self, verb: str, *, started: float, finished: float, result: Mapping[str, Any], costs: Sequence[Cost]
    ) -> None:
        """Keep what a verb did and what it cost."""
        with self.writing() as connection:
            connection.execute(
                insert(schema.runs).values(
                    verb=verb, started_at=started, finished_at=finished, result=orjson.dumps(result).decode()
                )
            )
            for cost in costs:
                connection.execute(
                    insert(schema.costs).values(
                        generation=cost.generation,
                        model=cost.model,
                        texts=cost.texts,
                        tokens=cost.tokens,
                        usd=cost.usd,
                        spent_at=finished,
                    )
                )

    def pay(self, entry: int | None, cost: Cost, *, at: float, within: float | None = None) -> int:
        """Add a call to an entry of the account, or (None) open one with it; the entry's id."""
        table = schema.costs
        values = {"texts": cost.texts, "tokens": cost.tokens, "usd": cost.usd}
        with self.writing() as connection:
            if within is not None:
                _require_within(connection, cost, within)
            if entry is None:
                opened = insert(table).values(generation=cost.generation, model=cost.model, spent_at=at, **values)
                return int(connection.execute(opened.returning(table.c.id)).scalar_one())
            added = {name: table.c[name] + value for name, value in values.items()}
            connection.execute(table.update().where(table.c.id == entry).values(spent_at=at, **added))
            return entry

    def copy_rate(self) -> float | None:
        """Chunks per second over the last builds that embedded nothing: all their vectors were copied or derived."""
        results = [result for result in self._last_runs("build") if not result.get("embedded_texts")]
        chunks = sum(result["chunks"]["written"] for result in results)
        seconds = sum(result["seconds"] for result in results if result["chunks"]["written"])
        return chunks / seconds if chunks and seconds else None

    def _last_runs(self, verb: str | None = None) -> list[dict[str, Any]]:
        runs = schema.runs.c
        statement = select(runs.result).order_by(runs.id.desc()).limit(20)
        if verb is not None:
            statement = statement.where(runs.verb == verb)
        with self.glancing() as connection:
            return [orjson.loads(row[0]) for row in connection.execute(statement)]

    def rate(self) -> float | None:
        """Embedded texts per second over the last runs that embedded any."""
        results = self._last_runs()
        texts = sum(result.get("embedded_texts", 0) for result in results)
        seconds = sum(result["seconds"] for result in results if result.get("embedded_texts"))
        return texts / seconds if texts and seconds else None

    def total_cost(self) -> float:
        """US dollars, all runs together."""
        with self.glancing() as connection:
            return float(connection.execute(select(func.coalesce(func.sum(schema.costs.c.usd), 0.0))).scalar_one())

    def purge(self, *, changes_before: float) -> Purged:
        """Remove old changes, contents that nothing names, and tombstones that no generation needs."""
        placed = select(schema.placements.c.doc_key)
        with self.writing("revision") as connection:
            purged = Purged(changes=purge_changes(connection, changes_before))
            logged = select(schema.changes.c.doc_key)
            # A tombstone's own change is its current one, which purge_changes spares: it goes with the tombstone.
            dead = select(_docs.doc_key).where(
                _docs.deleted.is_(True), _docs.changed_at < changes_before, _docs.doc_key.not_in(placed)
            )
            connection.execute(delete(schema.changes).where(schema.changes.c.doc_key.in_(dead)))
            purged.tombstones = connection.execute(
                delete(schema.documents).where(_docs.doc_key.in_(dead), _docs.doc_key.not_in(logged))
            ).rowcount
            purged.contents = purge_contents(connection)
        return purged


def _require_within(connection: Connection, cost: Cost, limit: float) -> None:
    """Whoever else pays for the generation waits until this call is written down."""
    hold_generation(connection, cost.generation)
    table = schema.costs.c
    spent = connection.execute(select(func.sum(table.usd)).where(table.generation == cost.generation)).scalar() or 0.0
    if spent + cost.usd > limit + ROUNDING:
        raise BudgetExceeded(
            f"the next call would cost ${cost.usd:.4f} and pass the budget of ${limit:.2f} "
            f"(spent on generation {cost.generation} by all workers: ${spent:.4f})",
            hint="raise limits.budget_usd for all workers: nothing is paid twice",
        )
