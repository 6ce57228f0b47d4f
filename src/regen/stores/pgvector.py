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

import orjson
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
    Payload,
    Points,
    StoredPayload,
    StoreHit,
    Vector,
    Vectors,
)
from regen.postgres import Address
from regen.stores.batches import checked_points, checked_query
from regen.stores.pgvector_connections import Connections, missing, retried
from regen.stores.pgvector_filters import condition
from regen.stores.pgvector_foreign import foreign_rows, foreign_tables
from regen.stores.pgvector_layout import (
    LONGEST_NAME,
    MARK,
    IndexSettings,
    Layout,
    changed_rows,
    field_columns,
    payload_page,
    point_rows,
    scanned,
)
from regen.stores.pgvector_search import best
from regen.stores.pgvector_upkeep import is_indexed, maintain
from regen.stores.pgvector_vectors import decoded

DEFAULT_SCHEMA: Final = "regen_vectors"
_ALIAS: Final = "regen alias: "
_LOCK: Final = 0x7265_6765_6F
_OLDEST: Final = (0, 8)
_LOOK_AGAIN_SECONDS: Final = 30.0
"""How long a store may not know that another process has built an index. Answers are right without it."""
_COMMENTS: Final = (
    "SELECT c.relname, obj_description(c.oid, 'pg_class') "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = %s AND c.relkind = %s AND obj_description(c.oid, 'pg_class') LIKE %s"
)
_ONE: Final = f"{_COMMENTS} AND c.relname = %s"


class PgvectorStore:
    """A schema of a PostgreSQL database. Safe to use from any number of threads and processes."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connections = Connections(address)
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
        _check_name(collection)
        with self._connections.one(collection) as connection:
            # Two that make one schema or extension at once: the second finds the first one's name taken.
            make = partial(self._make, connection, collection, Layout.new(spec))
            retried(make, psycopg.errors.UniqueViolation)
        self._forget(collection)
        found = self._layout(collection).dimensions
        if found != spec.dimensions:
            raise StoreError(
                f"collection {collection!r} exists with {found} dimensions, not {spec.dimensions}",
                hint="drop it first, or choose another name",
            )

    def drop(self, collection: str) -> None:
        """Remove a table if it is there, and the aliases that point at it."""
        self._forget(collection)
        with self._connections.one(collection) as connection:
            if self._comment(connection, collection, "r", MARK) is not None:
                connection.execute(f"DROP TABLE IF EXISTS {self._table(collection)} CASCADE".encode())

    def collections(self) -> list[str]:
        """The names of all tables that are collections, sorted."""
        with self._connections.one() as connection:
            found = connection.execute(_COMMENTS, [self._address.schema, "r", f"{MARK}%"])
            return sorted(row[0] for row in found)

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    # ── points ──

    def upsert(self, collection: str, points: Points) -> None:
        """Write points in one transaction, replacing those of equal id."""
        self._write(collection, points, fresh=False)

    def insert(self, collection: str, points: Points) -> None:
        """Write points of fresh ids by COPY: no look at what is there."""
        self._write(collection, points, fresh=True)

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Remove points in one transaction."""
        table = self._table(collection)
        # Locked in order first: a DELETE alone takes its rows in any order, and two of them could deadlock.
        locked = f"SELECT id FROM {table} WHERE id = ANY(%s) ORDER BY id FOR UPDATE"  # noqa: S608 - quoted
        statement = f"DELETE FROM {table} WHERE id IN ({locked})"  # noqa: S608 - quoted
        with self._connections.one(collection) as connection:
            retried(lambda: connection.execute(statement.encode(), [sorted(ids)]))

    def fetch(self, collection: str, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """The points that exist, with the very bits of their vectors."""
        layout = self._layout(collection)
        statement = f"SELECT id, vector FROM {self._table(collection)} WHERE id = ANY(%s)"  # noqa: S608 - quoted
        with self._connections.one(collection) as connection, connection.cursor(binary=True) as cursor:
            rows = cursor.execute(statement.encode(), [list(ids)]).fetchall()
        return [row[0] for row in rows], decoded([row[1] for row in rows], layout.dimensions, layout.precision)

    def count(self, collection: str) -> int:
        """How many points there are."""
        with self._connections.one(collection) as connection:
            statement = f"SELECT count(*) FROM {self._table(collection)}"  # noqa: S608 - quoted
            found = connection.execute(statement.encode()).fetchone()
            assert found is not None
            return int(found[0])

    def scan(self, collection: str, batch: int = 4096) -> Iterator[StoredPayload]:
        """All points that stay while the scan lasts, by id, a page of at most ``batch`` at a time."""
        layout = self._layout(collection, anew=True)
        columns = ", ".join(scanned(layout))
        after, beyond = "", ">="  # the empty string is an id too
        while True:
            statement = f"SELECT {columns} FROM {self._table(collection)} WHERE id {beyond} %s ORDER BY id LIMIT %s"  # noqa: S608
            with self._connections.one(collection) as connection:
                page = connection.execute(statement.encode(), [after, batch]).fetchall()
            if not page:
                return
            after, beyond = page[-1][0], ">"
            yield payload_page(page, layout)

    def foreign(self, collection: str, columns: ForeignColumns, batch: int = 2048) -> Iterator[ForeignRows]:
        """All rows of a table, ``name`` or ``schema.name``, a page at a time; JSON columns are taken apart."""
        table = ".".join(map(_quoted, collection.split(".", 1)))
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
        with self._connections.one(collection) as connection:
            narrowed = condition(where, layout.fields, principals)
            if narrowed.never or k < 1:
                self._layout(collection, anew=True)  # a collection that is gone is said to be
                return []
            ef = max(IndexSettings.of(layout.index).ef, min(k, 1000))
            if indexed and self._efs.get(connection) != ef:
                connection.execute(f"SET hnsw.ef_search = {ef}".encode())
                self._efs[connection] = ef
            return best(connection, self._table(collection), layout, query, k, narrowed, indexed=indexed)

    # ── powers ──

    def update_payload(self, collection: str, ids: Sequence[str], payload: Payload) -> None:
        """Replace metadata, access and revision of the points that exist, in one transaction."""
        layout, table = self._layout(collection, anew=True), self._table(collection)
        rows = changed_rows(ids, payload, layout)
        changed = ", ".join(f"{name} = new.{name}" for name in layout.changeable if name != "id")
        locked = f"SELECT 1 FROM {table} JOIN new USING (id) ORDER BY id FOR UPDATE OF {_last(table)}"  # noqa: S608
        statement = f"UPDATE {table} AS held SET {changed} FROM new WHERE held.id = new.id"  # noqa: S608 - quoted

        def update(connection: psycopg.Connection[Any]) -> None:
            with connection.transaction():
                _stage(connection, table, layout.changeable, rows)
                connection.execute(locked.encode())
                connection.execute(statement.encode())

        if rows:
            with self._connections.one(collection) as connection:
                retried(partial(update, connection))

    def add_fields(self, collection: str, fields: dict[str, FieldKind]) -> None:
        """Add a column for each new key; points that are there hold null in it. Aliases show it too."""

        def add(connection: psycopg.Connection[Any]) -> None:
            with connection.transaction():
                _alone(connection)
                layout = self._read(connection, collection)
                grown = layout.with_fields(fields)
                new = {key: held for key, held in grown.fields.items() if key not in layout.fields}
                if new:
                    columns = ", ".join(f"ADD COLUMN {column}" for column in field_columns(new))
                    connection.execute(f"ALTER TABLE {self._table(collection)} {columns}".encode())
                    self._describe(connection, "TABLE", collection, grown.comment)
                    for alias in self._aliases_of(connection, collection):
                        self._point(connection, alias, collection)

        with self._connections.one(collection) as connection:
            retried(partial(add, connection))
        self._forget(collection)

    def set_alias(self, alias: str, collection: str) -> None:
        """Make the view of that name show this collection, in one transaction; its readers wait for it, none fails."""
        _check_name(alias)

        def point(connection: psycopg.Connection[Any]) -> None:
            with connection.transaction():
                _alone(connection)
                self._read(connection, collection)
                self._point(connection, alias, collection)

        with self._connections.one(collection) as connection:
            retried(partial(point, connection))

    def alias_target(self, alias: str) -> str | None:
        """The collection that the view of that name shows."""
        with self._connections.one(alias) as connection:
            comment = self._comment(connection, alias, "v", _ALIAS)
        return None if comment is None else str(orjson.loads(comment.removeprefix(_ALIAS)))

    def maintain(self, collection: str, *, force: bool = False) -> list[str]:
        """Build the indexes that pay, clean and analyse, each if it pays now or ``force`` asks for it."""
        layout = self._layout(collection, anew=True)
        with self._connections.one(collection) as connection:
            done = maintain(connection, collection, self._table(collection), layout, force=force)
        self._forget(collection)
        return done

    # ── tables ──

    def _write(self, collection: str, points: Points, *, fresh: bool) -> None:
        layout, table = self._layout(collection, anew=True), self._table(collection)
        points = checked_points(collection, points, layout.dimensions, layout.precision)
        if not points.ids:
            return
        rows, columns = point_rows(points, layout), layout.columns
        named = ", ".join(columns)
        replaced = ", ".join(f"{name} = excluded.{name}" for name in columns if name != "id")
        merge = (
            f"INSERT INTO {table} ({named}) SELECT {named} FROM new ORDER BY id "  # noqa: S608 - quoted
            f"ON CONFLICT (id) DO UPDATE SET {replaced}"
        )

        def write(connection: psycopg.Connection[Any]) -> None:
            with connection.transaction():
                if fresh:
                    _copy(connection, table, columns, rows)
                else:
                    _stage(connection, table, columns, rows)
                    connection.execute(merge.encode())

        with self._connections.one(collection) as connection:
            retried(partial(write, connection))

    def _make(self, connection: psycopg.Connection[Any], collection: str, layout: Layout) -> None:
        with connection.transaction():
            _alone(connection)
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

    def _describe(self, connection: psycopg.Connection[Any], kind: str, name: str, comment: str) -> None:
        table = sql.Identifier(self._address.schema, name)
        connection.execute(sql.SQL("COMMENT ON {} {} IS {}").format(sql.SQL(kind), table, sql.Literal(comment)))

    def _point(self, connection: psycopg.Connection[Any], alias: str, collection: str) -> None:
        # CREATE OR REPLACE cannot change a column's type, and another model's vectors have another one.
        view = self._table(alias)
        try:
            connection.execute(f"DROP VIEW IF EXISTS {view}".encode())
            connection.execute(f"CREATE VIEW {view} AS SELECT * FROM {self._table(collection)}".encode())  # noqa: S608
        except (psycopg.errors.WrongObjectType, psycopg.errors.DuplicateTable) as error:
            raise StoreError(
                f"the alias {alias!r} cannot be set: {view} is a table", hint="choose another alias, or another schema"
            ) from error
        self._describe(connection, "VIEW", alias, _ALIAS + orjson.dumps(collection).decode())

    def _aliases_of(self, connection: psycopg.Connection[Any], collection: str) -> list[str]:
        found = connection.execute(_COMMENTS, [self._address.schema, "v", f"{_ALIAS}%"])
        wanted = _ALIAS + orjson.dumps(collection).decode()
        return [row[0] for row in found if row[1] == wanted]

    def _comment(self, connection: psycopg.Connection[Any], name: str, kind: str, mark: str) -> str | None:
        found = connection.execute(_ONE, [self._address.schema, kind, f"{mark}%", name]).fetchone()
        return None if found is None else str(found[1])

    def _read(self, connection: psycopg.Connection[Any], collection: str) -> Layout:
        comment = self._comment(connection, collection, "r", MARK)
        if comment is None:
            self._forget(collection)
            raise missing(collection, self._address.url)
        return Layout.read(comment)

    def _known(self, collection: str, *, anew: bool = False) -> tuple[Layout, bool]:
        """A collection's layout, and whether it has a vector index, as they were when last looked at or ``anew``."""
        with self._lock:
            held = None if anew else self._layouts.get(collection)
        if held is None or (not held[1] and time.monotonic() - held[2] > _LOOK_AGAIN_SECONDS):
            with self._connections.one(collection) as connection:
                layout = self._read(connection, collection)
                indexed = is_indexed(connection, collection, self._table(collection))
            held = layout, indexed, time.monotonic()
            with self._lock:
                self._layouts[collection] = held
        return held[:2]

    def _layout(self, collection: str, *, anew: bool = False) -> Layout:
        return self._known(collection, anew=anew)[0]

    def _forget(self, collection: str) -> None:
        with self._lock:
            self._layouts.pop(collection, None)

    def _table(self, name: str) -> str:
        return f"{_quoted(self._address.schema)}.{_quoted(name)}"


def _check_name(name: str) -> None:
    if len(name.encode()) > LONGEST_NAME:
        raise StoreError(
            f"the name {name!r} is too long for PostgreSQL: {len(name.encode())} bytes",
            hint=f"up to {LONGEST_NAME} bytes; choose a shorter alias",
        )


def _alone(connection: psycopg.Connection[Any]) -> None:
    """Until the transaction ends nobody else makes, changes or points at collections."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


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


def _stage(
    connection: psycopg.Connection[Any], table: str, columns: dict[str, str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Copy rows into a table ``new`` that is there until the transaction ends."""
    listed = ", ".join(columns)
    made = f"CREATE TEMP TABLE new ON COMMIT DROP AS SELECT {listed} FROM {table} WITH NO DATA"  # noqa: S608 - quoted
    connection.execute(made.encode())
    _copy(connection, "new", columns, rows)


def _copy(
    connection: psycopg.Connection[Any], table: str, columns: dict[str, str], rows: Sequence[tuple[Any, ...]]
) -> None:
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        copy.set_types(list(columns.values()))
        for row in rows:
            copy.write_row(row)


def _last(table: str) -> str:
    return table.rpartition(".")[2]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'
