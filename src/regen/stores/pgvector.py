"""``postgresql://…``: collections as tables of a PostgreSQL schema, their vectors pgvector's.

What the adapter leans on (docs/adr/0009): every call is one transaction, so a batch is there wholly or not at all and
seen by everybody when the call returns; rows are written in the order of their ids, so that writers of the same points
wait for each other and do not deadlock; the vector index is built after the load, beside readers and writers; an alias
is a view, dropped and made in one transaction, that applications query as they query a table.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from threading import Lock
from typing import Any, Final
from weakref import WeakKeyDictionary

import psycopg
from psycopg import sql

from regen.core.documents import Principal, Unrestricted
from regen.core.filters import Filter
from regen.errors import StoreError
from regen.ports import (
    CollectionSpec,
    FieldKind,
    ForeignColumns,
    ForeignRows,
    StoredPayload,
    StoreHit,
    Vector,
    Vectors,
)
from regen.postgres import IDENTITY, Address
from regen.stores.batches import checked_query
from regen.stores.layouts import check_made
from regen.stores.pgvector_connections import Connections, Lent
from regen.stores.pgvector_filters import condition
from regen.stores.pgvector_foreign import foreign_rows, foreign_tables
from regen.stores.pgvector_layout import (
    MARK,
    IndexSettings,
    Layout,
    payload_page,
    scanned,
)
from regen.stores.pgvector_search import best
from regen.stores.pgvector_upkeep import is_indexed, maintain
from regen.stores.pgvector_vectors import decoded
from regen.stores.pgvector_words import best_by_words
from regen.stores.pgvector_writing import COMMENTS, PgvectorWriter, check_name, quoted

DEFAULT_SCHEMA: Final = "regen_vectors"
_OLDEST: Final = (0, 8)
_LOOK_AGAIN_SECONDS: Final = 30.0
"""How long a store may not know that another process has built an index. Answers are right without it."""


class PgvectorStore(PgvectorWriter):
    """A schema of a PostgreSQL database. Safe to use from any number of threads and processes."""

    def __init__(self, address: Address) -> None:
        self._connections = Connections(address)
        super().__init__(address, self._connections)
        self._database = ""
        self._lock = Lock()
        self._layouts: dict[str, tuple[Layout, bool, float]] = {}
        self._efs: WeakKeyDictionary[psycopg.Connection[Any], int] = WeakKeyDictionary()

    @classmethod
    def from_url(cls, url: str) -> PgvectorStore:
        """Open ``postgresql://[user@]host/database``; nothing is connected to, or made, before it is needed.

        ``?schema=name`` names the schema, by default ``regen_vectors``. Raises ConfigError for the URL.
        """
        return cls(Address.of(url, DEFAULT_SCHEMA))

    @property
    def url(self) -> str:
        """Where the store lies."""
        return self._address.url

    # ── collections ──

    def create(self, collection: str, spec: CollectionSpec) -> None:
        """Make an empty table, or check that the one that is there has the same dimensions."""
        IndexSettings.of(spec.index)
        check_name(collection)
        # Two that make one schema or extension at once: the second finds the first one's name taken.
        make = partial(self._make, collection=collection, layout=Layout.new(spec))
        self._connections.transact(collection, make, psycopg.errors.UniqueViolation)
        self._forget(collection)
        check_made(collection, self._layout(collection).dimensions, spec.dimensions)

    def drop(self, collection: str) -> None:
        """Remove a table if it is there, and the aliases that point at it."""
        self._forget(collection)
        with self._connections.one(collection) as connection:
            if self._comment(connection, collection, "r", MARK) is not None:
                connection.execute(f"DROP TABLE IF EXISTS {self._table(collection)} CASCADE".encode())

    def collections(self) -> list[str]:
        """The names of all tables that are collections, sorted."""
        asked = [self._address.schema, "r", f"{MARK}%"]
        found = self._connections.ask("*", lambda connection: connection.execute(COMMENTS, asked).fetchall())
        return sorted(row[0] for row in found)

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    # ── points ──

    def fetch(self, collection: str, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """The points that exist, with the very bits of their vectors."""
        layout = self._layout(collection)
        statement = f"SELECT id, vector FROM {self._table(collection)} WHERE id = ANY(%s)"  # noqa: S608 - quoted

        def read(connection: psycopg.Connection[Any]) -> list[Any]:
            with connection.cursor(binary=True) as cursor:
                return cursor.execute(statement.encode(), [list(ids)]).fetchall()

        rows = self._connections.ask(collection, read)
        return [row[0] for row in rows], decoded([row[1] for row in rows], layout.dimensions, layout.precision)

    def count(self, collection: str) -> int:
        """How many points there are."""
        statement = f"SELECT count(*) FROM {self._table(collection)}"  # noqa: S608 - quoted
        found = self._connections.ask(collection, lambda connection: connection.execute(statement.encode()).fetchone())
        assert found is not None
        return int(found[0])

    def scan(self, collection: str, batch: int = 4096) -> Iterator[StoredPayload]:
        """All points that stay while the scan lasts, by id, a page of at most ``batch`` at a time."""
        layout = self._layout(collection, anew=True)
        columns = ", ".join(scanned(layout))
        after, beyond = "", ">="  # the empty string is an id too
        while True:
            statement = f"SELECT {columns} FROM {self._table(collection)} WHERE id {beyond} %s ORDER BY id LIMIT %s"  # noqa: S608
            page = self._connections.ask(collection, partial(_page, statement=statement, after=after, batch=batch))
            if not page:
                return
            after, beyond = page[-1][0], ">"
            yield payload_page(page, layout)

    def foreign(self, collection: str, columns: ForeignColumns, batch: int = 2048) -> Iterator[ForeignRows]:
        """All rows of a table, ``name`` or ``schema.name``, a page at a time; JSON columns are taken apart."""
        table = ".".join(map(quoted, collection.split(".", 1)))
        with self._connections.one(collection) as connection:
            yield from foreign_rows(connection, collection, table, columns, batch)

    def foreign_collections(self) -> list[str]:
        """Tables of the database that hold vectors and are not regen's; with their schema where it must be said."""
        with self._connections.one() as connection:
            return foreign_tables(connection, MARK)

    # ── search ──

    def search(
        self,
        collection: str,
        vector: Vector,
        k: int,
        *,
        where: Filter = (),
        principals: frozenset[Principal] | Unrestricted | None = None,
    ) -> list[StoreHit]:
        """The k best points that the filter and the principals let through."""
        layout, indexed = self._known(collection)
        if any(clause.key not in layout.fields for clause in where):
            layout, indexed = self._known(collection, anew=True)  # another process may have added the field
        query = checked_query(collection, vector, layout.dimensions)
        narrowed = condition(where, layout.fields, principals)
        if narrowed.never or k < 1:
            self._layout(collection, anew=True)  # a collection that is gone is said to be
            return []
        ef = max(IndexSettings.of(layout.index).ef, min(k, 1000))

        def read(connection: psycopg.Connection[Any]) -> list[StoreHit]:
            if indexed and self._efs.get(connection) != ef:
                connection.execute(f"SET hnsw.ef_search = {ef}".encode())
                self._efs[connection] = ef
            return best(connection, self._table(collection), layout, query, k, narrowed, indexed=indexed)

        return self._connections.ask(collection, read)

    def search_words(
        self,
        collection: str,
        query: str,
        k: int,
        *,
        where: Filter = (),
        principals: frozenset[Principal] | Unrestricted | None = None,
    ) -> list[StoreHit]:
        """The k best points by the words of their texts. The first such search of a collection makes its index."""
        layout = self._layout(collection)
        if any(clause.key not in layout.fields for clause in where):
            layout = self._layout(collection, anew=True)  # another process may have added the field
        narrowed = condition(where, layout.fields, principals)
        if narrowed.never or k < 1:
            self._layout(collection, anew=True)  # a collection that is gone is said to be
            return []
        table = self._table(collection)
        return self._connections.ask(
            collection, lambda connection: best_by_words(connection, collection, table, query, k, narrowed)
        )

    # ── powers ──

    def add_fields(self, collection: str, fields: dict[str, FieldKind]) -> None:
        """Add a column for each new key; points that are there hold null in it. Aliases show it too."""
        super().add_fields(collection, fields)
        self._forget(collection)

    def database(self) -> str:
        """Which database of which server the schema lies in, and as which user it is written."""
        if not self._database:
            found = self._connections.run("*", lambda connection: connection.execute(IDENTITY).fetchone())
            assert found is not None
            self._database = str(found[0])
        return self._database

    def within(self, transaction: object) -> PgvectorWriter:
        """What writes in a transaction of the catalog's, on its connection."""
        assert isinstance(transaction, psycopg.Connection), "catalogs of PostgreSQL hand out psycopg's connections"
        return PgvectorWriter(self._address, Lent(transaction, self._address.url))

    def maintain(self, collection: str, *, force: bool = False) -> list[str]:
        """Build the indexes that pay, clean and analyse, each if it pays now or ``force`` asks for it."""
        layout = self._layout(collection, anew=True)
        with self._connections.one(collection) as connection:
            done = maintain(connection, collection, self._table(collection), layout, force=force)
        self._forget(collection)
        return done

    # ── tables ──

    def _make(self, connection: psycopg.Connection[Any], collection: str, layout: Layout) -> None:
        self._alone(connection)
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self._address.schema)))
        _ensure_extension(connection)
        if self._comment(connection, collection, "r", MARK) is None:
            try:
                connection.execute(f"CREATE TABLE {self._table(collection)} ({layout.definition})".encode())
            except psycopg.errors.DuplicateTable as error:
                raise StoreError(
                    f"{self._table(collection)} exists and is no collection of regen's",
                    hint="give regen a schema of its own: ?schema=name in store.url",
                ) from error
            # Vectors do not compress; kept in the row if they fit, they are read without a detour.
            storage = f"ALTER TABLE {self._table(collection)} ALTER COLUMN vector SET STORAGE EXTERNAL"
            connection.execute(storage.encode())
            self._describe(connection, "TABLE", collection, layout.comment)

    def _known(self, collection: str, *, anew: bool = False) -> tuple[Layout, bool]:
        """A collection's layout, and whether it has a vector index, as they were when last looked at or ``anew``."""
        with self._lock:
            held = None if anew else self._layouts.get(collection)
        if held is None or (not held[1] and time.monotonic() - held[2] > _LOOK_AGAIN_SECONDS):
            self._forget(collection)
            layout, indexed = self._connections.ask(collection, partial(self._look, collection=collection))
            held = layout, indexed, time.monotonic()
            with self._lock:
                self._layouts[collection] = held
        return held[:2]

    def _look(self, connection: psycopg.Connection[Any], collection: str) -> tuple[Layout, bool]:
        layout = self._read(connection, collection)
        return layout, is_indexed(connection, collection, self._table(collection))

    def _layout(self, collection: str, *, anew: bool = False) -> Layout:
        return self._known(collection, anew=anew)[0]

    def _forget(self, collection: str) -> None:
        with self._lock:
            self._layouts.pop(collection, None)


def _page(connection: psycopg.Connection[Any], statement: str, after: str, batch: int) -> list[Any]:
    return connection.execute(statement.encode(), [after, batch]).fetchall()


def _ensure_extension(connection: psycopg.Connection[Any]) -> None:
    statement = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
    found = connection.execute(statement).fetchone()
    if found is None:
        try:
            connection.execute("CREATE EXTENSION vector WITH SCHEMA public")
        except psycopg.Error as error:
            raise StoreError(
                f"the extension pgvector is not there and cannot be made: {str(error).strip()}",
                hint="install pgvector on the server, then as its administrator: CREATE EXTENSION vector",
            ) from error
        found = connection.execute(statement).fetchone()
    assert found is not None
    if tuple(int(part) for part in found[0].split(".")[:2]) < _OLDEST:
        raise StoreError(
            f"pgvector is of version {found[0]}", hint="0.8 or newer is needed: ALTER EXTENSION vector UPDATE"
        )
