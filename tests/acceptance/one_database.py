"""What a third connection sees where catalog and vectors share a database: whether the two ever disagree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson
import psycopg
from psycopg import sql

from regen.core.chunks import point_id, unpack
from regen.postgres import Address
from regen.stores.pgvector import DEFAULT_SCHEMA

_VIEW: Final = (
    "SELECT obj_description(c.oid, 'pg_class') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = %s AND c.relname = %s AND c.relkind = 'v'"
)
_CURRENT: Final = "SELECT number, collection FROM generations WHERE state IN ('building', 'ready', 'live', 'retained')"


@dataclass(frozen=True)
class Observer:
    """Looks at a catalog and at the vectors beside it, as any program could."""

    url: str
    alias: str = "default"
    vectors: str = DEFAULT_SCHEMA

    @contextmanager
    def moment(self) -> Iterator[psycopg.Connection[Any]]:
        """One snapshot of everything in the database."""
        with Address.of(self.url).connect() as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield connection

    def torn(self) -> list[str]:
        """What disagrees in one moment: points without placement, placements without points, a view that strays."""
        with self.moment() as connection:
            wrong = [
                told
                for number, collection in connection.execute(_CURRENT).fetchall()
                for told in self._compare(connection, number, collection)
            ]
            live = connection.execute(
                "SELECT collection FROM aliases JOIN generations ON live = number WHERE aliases.alias = %s",
                [self.alias],
            ).fetchone()
            shown = connection.execute(_VIEW, [self.vectors, self.alias]).fetchone()
            found = None if shown is None else str(orjson.loads(shown[0].removeprefix("regen alias: ")))
            wanted = None if live is None else live[0]
            return wrong + [f"the view shows {found}, the alias {wanted}"] * (found != wanted)

    def _compare(self, connection: psycopg.Connection[Any], number: int, collection: str) -> list[str]:
        placed = connection.execute("SELECT chunks FROM placements WHERE generation = %s", [number]).fetchall()
        named = {point_id(*entry) for (chunks,) in placed for entry in unpack(bytes(chunks))}
        table = sql.Identifier(self.vectors, collection)
        try:
            with connection.transaction():
                rows = connection.execute(sql.SQL("SELECT id FROM {}").format(table)).fetchall()
        except psycopg.errors.UndefinedTable:  # not made yet; or given up since: no snapshot keeps a dropped table
            if not self._is_current(number):
                return []
            rows = []
        held = {row[0] for row in rows}
        return [
            f"generation {number}: {len(held - named)} points without, {len(named - held)} placed without points"
        ] * (held != named)

    def _is_current(self, number: int) -> bool:
        """Whether a generation has not been given up by now: that is committed before its collection is dropped."""
        with self.moment() as connection:
            return number in {row[0] for row in connection.execute(_CURRENT).fetchall()}

    def left(self) -> dict[str, int]:
        """How many intents and how much garbage there is to collect."""
        with self.moment() as connection:
            counts = {}
            for table in ("intents", "garbage"):
                found = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
                assert found is not None
                counts[table] = int(found[0])
            return counts

    def view_and_route(self) -> tuple[Any, Any, set[int]]:
        """Generation and version of the alias before and after its view is read, and the generations of its rows."""
        route = "SELECT live, version FROM aliases WHERE alias = %s"
        with Address.of(self.url).connect(autocommit=True) as connection:
            before = connection.execute(route, [self.alias]).fetchone()
            view = sql.Identifier(self.vectors, self.alias)
            statement = sql.SQL("SELECT DISTINCT (audit ->> 'generation')::int FROM {}").format(view)
            shown = {row[0] for row in connection.execute(statement)}
            after = connection.execute(route, [self.alias]).fetchone()
            return before, after, shown
