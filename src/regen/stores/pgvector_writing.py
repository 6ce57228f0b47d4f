"""What writes to collections of PostgreSQL: points, payloads, fields and aliases.

Each call is one transaction of the store's own, or a part of one of the catalog's (``pgvector_connections``). Rows are
written in the order of their ids, so that writers of the same points wait for each other and do not deadlock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson
import psycopg
from psycopg import errors, sql

from regen.errors import StoreError
from regen.ports import FieldKind, Payload, Points
from regen.postgres import Address
from regen.stores.batches import checked_points
from regen.stores.pgvector_connections import Lender, missing
from regen.stores.pgvector_layout import LONGEST_NAME, MARK, Layout, changed_rows, field_columns, point_rows

_ALIAS: Final = "regen alias: "
_LOCK: Final = 0x7265_6765_6F
_VIEW_SECONDS: Final = 2
"""How long an alias waits for transactions that have read its view and are not over: new readers wait behind it."""
COMMENTS: Final = (
    "SELECT c.relname, obj_description(c.oid, 'pg_class') "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = %s AND c.relkind = %s AND obj_description(c.oid, 'pg_class') LIKE %s"
)
_ONE: Final = f"{COMMENTS} AND c.relname = %s"


class PgvectorWriter:
    """Implements ``regen.ports.transactions.StoreWriter`` and the powers that write."""

    def __init__(self, address: Address, lender: Lender) -> None:
        self._address, self._lender = address, lender

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
        self._lender.run(collection, lambda connection: connection.execute(statement.encode(), [sorted(ids)]))

    def update_payload(self, collection: str, ids: Sequence[str], payload: Payload) -> None:
        """Replace metadata, access and revision of the points that exist, in one transaction."""
        table = self._table(collection)

        def update(connection: psycopg.Connection[Any]) -> None:
            layout = self._read(connection, collection)
            changed = ", ".join(f"{name} = new.{name}" for name in layout.changeable if name != "id")
            locked = f"SELECT 1 FROM {table} JOIN new USING (id) ORDER BY id FOR UPDATE OF {_last(table)}"  # noqa: S608
            statement = f"UPDATE {table} AS held SET {changed} FROM new WHERE held.id = new.id"  # noqa: S608 - quoted
            if rows := changed_rows(ids, payload, layout):
                _stage(connection, table, layout.changeable, rows)
                connection.execute(locked.encode())
                connection.execute(statement.encode())
                connection.execute(b"DROP TABLE new")

        self._lender.transact(collection, update)

    def add_fields(self, collection: str, fields: dict[str, FieldKind]) -> None:
        """Add a column for each new key; points that are there hold null in it. Aliases show it too."""

        def add(connection: psycopg.Connection[Any]) -> None:
            self._alone(connection)
            layout = self._read(connection, collection)
            grown = layout.with_fields(fields)
            new = {key: held for key, held in grown.fields.items() if key not in layout.fields}
            if new:
                aliases = self._aliases_of(connection, collection)
                for alias in aliases:  # before the table: who reads through a view takes the two in that order
                    connection.execute(f"DROP VIEW {self._table(alias)}".encode())
                columns = ", ".join(f"ADD COLUMN {column}" for column in field_columns(new))
                connection.execute(f"ALTER TABLE {self._table(collection)} {columns}".encode())
                self._describe(connection, "TABLE", collection, grown.comment)
                for alias in aliases:
                    self._point(connection, alias, collection)

        self._lender.transact(collection, add)

    def set_alias(self, alias: str, collection: str) -> None:
        """Make the view of that name show this collection, in one transaction; its readers wait for it, none fails.

        Raises StoreError when somebody keeps a transaction open in which the view was read.
        """
        check_name(alias)

        def point(connection: psycopg.Connection[Any]) -> None:
            connection.execute(f"SET LOCAL lock_timeout = '{_VIEW_SECONDS}s'".encode())
            try:
                self._alone(connection)
                self._read(connection, collection)
                self._point(connection, alias, collection)
            except errors.LockNotAvailable as error:
                raise StoreError(
                    f"the view {self._table(alias)} could not be switched within {_VIEW_SECONDS} seconds: "
                    "a transaction that has read it is not over",
                    hint="pg_stat_activity shows which (state 'idle in transaction'); end it, and the next run "
                    "switches the view",
                ) from error

        self._lender.transact(collection, point)

    def alias_target(self, alias: str) -> str | None:
        """The collection that the view of that name shows."""
        comment = self._lender.run(alias, lambda connection: self._comment(connection, alias, "v", _ALIAS))
        return None if comment is None else str(orjson.loads(comment.removeprefix(_ALIAS)))

    # ── tables ──

    def _write(self, collection: str, points: Points, *, fresh: bool) -> None:
        table = self._table(collection)

        def write(connection: psycopg.Connection[Any]) -> None:
            layout = self._read(connection, collection)
            checked = checked_points(collection, points, layout.dimensions, layout.precision)
            if not checked.ids:
                return
            rows, columns = point_rows(checked, layout), layout.columns
            if fresh:
                _copy(connection, table, columns, rows)
            else:
                _stage(connection, table, columns, rows)
                connection.execute(_merge(table, columns).encode())
                connection.execute(b"DROP TABLE new")

        self._lender.transact(collection, write)

    def _point(self, connection: psycopg.Connection[Any], alias: str, collection: str) -> None:
        # CREATE OR REPLACE cannot change a column's type, and another model's vectors have another one.
        view = self._table(alias)
        try:
            connection.execute(f"DROP VIEW IF EXISTS {view}".encode())
            connection.execute(f"CREATE VIEW {view} AS SELECT * FROM {self._table(collection)}".encode())  # noqa: S608
        except (errors.WrongObjectType, errors.DuplicateTable) as error:
            raise StoreError(
                f"the alias {alias!r} cannot be set: {view} is a table", hint="choose another alias, or another schema"
            ) from error
        self._describe(connection, "VIEW", alias, _ALIAS + orjson.dumps(collection).decode())

    def _describe(self, connection: psycopg.Connection[Any], kind: str, name: str, comment: str) -> None:
        table = sql.Identifier(self._address.schema, name)
        connection.execute(sql.SQL("COMMENT ON {} {} IS {}").format(sql.SQL(kind), table, sql.Literal(comment)))

    def _aliases_of(self, connection: psycopg.Connection[Any], collection: str) -> list[str]:
        found = connection.execute(COMMENTS, [self._address.schema, "v", f"{_ALIAS}%"])
        wanted = _ALIAS + orjson.dumps(collection).decode()
        return [row[0] for row in found if row[1] == wanted]

    def _comment(self, connection: psycopg.Connection[Any], name: str, kind: str, mark: str) -> str | None:
        found = connection.execute(_ONE, [self._address.schema, kind, f"{mark}%", name]).fetchone()
        return None if found is None else str(found[1])

    def _read(self, connection: psycopg.Connection[Any], collection: str) -> Layout:
        """The layout as it is now: another process may have added a field."""
        comment = self._comment(connection, collection, "r", MARK)
        if comment is None:
            raise missing(collection, self._address.url)
        return Layout.read(comment)

    def _alone(self, connection: psycopg.Connection[Any]) -> None:
        """Until the transaction ends nobody else makes, changes or points at collections."""
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])

    def _table(self, name: str) -> str:
        return f"{quoted(self._address.schema)}.{quoted(name)}"


def check_name(name: str) -> None:
    """Raise StoreError for a name that PostgreSQL would cut."""
    if len(name.encode()) > LONGEST_NAME:
        raise StoreError(
            f"the name {name!r} is too long for PostgreSQL: {len(name.encode())} bytes",
            hint=f"up to {LONGEST_NAME} bytes; choose a shorter alias",
        )


def quoted(name: str) -> str:
    """A name as an identifier."""
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'


def _merge(table: str, columns: dict[str, str]) -> str:
    named = ", ".join(columns)
    replaced = ", ".join(f"{name} = excluded.{name}" for name in columns if name != "id")
    return (
        f"INSERT INTO {table} ({named}) SELECT {named} FROM new ORDER BY id "  # noqa: S608 - quoted
        f"ON CONFLICT (id) DO UPDATE SET {replaced}"
    )


def _stage(
    connection: psycopg.Connection[Any], table: str, columns: dict[str, str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Copy rows into a table ``new`` of this session's, to be dropped in the same transaction."""
    listed = ", ".join(columns)
    made = f"CREATE TEMP TABLE new AS SELECT {listed} FROM {table} WITH NO DATA"  # noqa: S608 - quoted
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
