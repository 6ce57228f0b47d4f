"""The shared catalog: a schema of a PostgreSQL database (14 or newer), for any number of processes on any hosts.

Searches read one moment (repeatable read, read-only: they wait for nobody and cannot fail). Writers run at read
committed; those that decide by what they read first take turns on a row of ``counters``, and who writes under a lease
holds its row, so that it cannot be taken over in between. A deadlock or a failed serialisation takes a transaction
back as a whole: it is run again. A process that stands still in a transaction is put out of it by the server, so that
it keeps no lock for longer than a lease lasts; when it goes on, it finds the connection gone and runs the call again.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial, wraps
from inspect import getmembers, isfunction, isgeneratorfunction
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, bindparam, create_engine, event, select, text
from sqlalchemy.exc import DBAPIError, DisconnectionError

from regen.catalog import schema
from regen.catalog.catalog import SqlCatalog
from regen.catalog.database import (
    COLLIDED,
    LOCKED,
    Collision,
    Database,
    allocate,
    locked,
    translated,
    unreachable,
)
from regen.catalog.migrate import migrate, verify
from regen.errors import CatalogError, CatalogUnreachable
from regen.postgres import AT_LEISURE, IDENTITY, REFUSED, Address, hung_up

T = TypeVar("T")

WAIT_SECONDS: Final = 30.0
ATTEMPTS: Final = 10
_OLDEST: Final = 140_000
LOCK_SECONDS: Final = 60
"""Nobody of ours keeps a lock for so long, see ``STANDSTILL_SECONDS``; somebody else may, and then we say so."""
_ENDED: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03"})
"""PostgreSQL's codes for: I end this connection."""
_REPEATABLE: Final = frozenset({"acquire", "renew", "release", "claim_range", "beat", "leave"})
"""What comes to the same if it is done twice: a lease whose taker does not learn of it keeps all others waiting.

A claim does where who claims is among the dead of its own claim, as the engine has it: it takes its own range again.
"""
_BROKEN: Final = "another command is already in progress"
_LOCK: Final = 0x7265_6765_6E  # "regen": who migrates takes this lock first


def open_catalog(url: str, root: Path | None = None, *, migrating: bool = True) -> PostgresCatalog:  # noqa: ARG001 - the registry's form
    """Open the catalog in a schema (``?schema=``, default ``regen``) of a database that exists.

    With ``migrating`` it is made, or brought to this version's schema, if need be; without, it is only checked: that is
    for services, whose database user may not be allowed to change a schema. Raises ConfigError for the URL,
    SchemaMismatch, CatalogError when the server cannot be reached, does not let this user in, or is too old.
    """
    address = Address.of(url)
    engine = make_engine(address)
    try:
        _refuse_old(engine)
        if migrating:
            migrate(engine, lambda connection: _prepare(connection, address.schema))
        else:
            verify(engine)
    except BaseException:
        engine.dispose()
        raise
    return PostgresCatalog(engine)


def make_engine(address: Address) -> Engine:
    """An SQLAlchemy engine on the schema of an address."""
    engine = create_engine(
        "postgresql+psycopg://",
        creator=partial(address.connect, bounds={"lock_timeout": f"{LOCK_SECONDS}s"}),
        use_native_hstore=False,
        pool_size=8,
        max_overflow=24,
        pool_timeout=WAIT_SECONDS,
    )
    event.listen(engine, "checkout", _refuse_dead)
    event.listen(engine, "handle_error", _note_ended)
    return engine


def _again(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, run anew after a collision or a lost connection, a little later each time.

    Either took the transaction back, unless the connection was lost in its commit: then only what may be done twice is
    run anew. Of a joint one the whole is run.
    """
    twice = method.__name__ in _REPEATABLE

    @wraps(method)
    def persistent(self: PostgresCatalog, *arguments: Any, **options: Any) -> Any:
        for attempt in range(1 if self._joined else ATTEMPTS):
            try:
                return method(self, *arguments, **options)
            except Collision:
                pause = min(0.01 * 2**attempt, 0.5)
                if self._joined or attempt == ATTEMPTS - 1:
                    raise
            except CatalogUnreachable as error:
                pause = min(0.05 * 2**attempt, 2.0)  # a server that was restarted is back within seconds
                if self._joined or attempt == ATTEMPTS - 1 or (error.unknown and not twice):
                    raise
            time.sleep(random.uniform(0.5, 1.0) * pause)  # noqa: S311 - no secret
        raise AssertionError("the last attempt returns or raises")

    return persistent


class PostgresCatalog(SqlCatalog):
    """Implements ``regen.ports.catalog.Catalog``; each call is run again when it collided with another one.

    And ``regen.ports.transactions.TransactionalCatalog``: a store of the same database writes on its connection.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True))
        self._write_engine = engine.execution_options(isolation_level="READ COMMITTED")
        self._glance_engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._thread = threading.local()
        self._database = ""

    @property
    def _joined(self) -> Connection | None:
        """The connection of this thread's joint transaction, if one is under way."""
        return getattr(self._thread, "joined", None)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction of its own, or the joint one."""
        with translated(), nullcontext(self._joined) if self._joined else super().reading() as connection:
            yield connection

    @contextmanager
    def glancing(self) -> Iterator[Connection]:
        """One round trip instead of three."""
        with translated(), nullcontext(self._joined) if self._joined else self._glance_engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self, counter: str | None = None) -> Iterator[Connection]:
        """A transaction of its own, or the joint one."""
        if self._joined is None:
            over = False
            try:
                with super().writing(counter) as connection:
                    yield connection
                    over = True
            except CatalogUnreachable as error:
                error.unknown = over
                raise
            return
        with translated():
            if counter is not None:
                self.hold(self._joined, counter)
            yield self._joined

    def hold(self, connection: Connection, counter: str) -> None:
        """Lock the counter's row until the transaction ends."""
        connection.execute(_HOLD, {"counter": counter})

    def at_leisure(self, connection: Connection) -> None:
        """Let this transaction stand still."""
        connection.execute(text(AT_LEISURE))

    def database(self) -> str:
        """Which database of which server this is, and as which user."""
        if not self._database:
            with self.glancing() as connection:
                self._database = str(connection.execute(text(IDENTITY)).scalar_one())
        return self._database

    def together(self, work: Callable[[object], T], *, switching: bool = False) -> T:
        """Run ``work`` in one transaction, which is handed to it as psycopg's connection."""
        result: T = self._together(work, switching)
        return result

    @_again
    def _together(self, work: Callable[[object], T], switching: bool) -> T:
        assert self._joined is None, "one joint transaction at a time"
        with self.writing("generation" if switching else None) as connection:
            self._thread.joined = connection
            try:
                return work(connection.connection.driver_connection)
            except psycopg.Error as error:  # the store's, which leaves it to us to run the transaction again
                if error.sqlstate == LOCKED:
                    raise locked(error) from error
                raise (Collision.of(error) if error.sqlstate in COLLIDED else unreachable(error)) from error
            finally:
                self._thread.joined = None

    @_again
    def reserve_tokens(self, count: int) -> int:
        """The first of so many write tokens."""
        with self.writing() as connection:
            return allocate(connection, "token", count)

    def clock(self) -> float:
        """The server's time."""
        with self.glancing() as connection:
            return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())


def _refuse_dead(raw: Any, _record: Any, _proxy: Any) -> None:
    """Notice a server that was restarted before a statement fails by it, and without asking it."""
    if hung_up(raw):
        raise DisconnectionError


def _note_ended(context: Any) -> None:
    """Take a connection that its server has ended for lost, though the driver has not noticed yet.

    Else the transaction would be rolled back on it, and that, not what had happened, would be what is raised.
    """
    error = context.original_exception
    if getattr(error, "sqlstate", None) in _ENDED or _BROKEN in str(error):
        context.is_disconnect, context.invalidate_pool_on_disconnect = True, False  # the others are asked one by one


_counters = schema.counters.c
_HOLD = select(_counters.value).where(_counters.name == bindparam("counter")).with_for_update()


for _name, _method in getmembers(SqlCatalog, isfunction):
    # Each is one transaction. A generator's pages are transactions that only read: they collide with nobody.
    if not _name.startswith("_") and not hasattr(Database, _name) and not isgeneratorfunction(_method):
        setattr(PostgresCatalog, _name, _again(_method))


def _refuse_old(engine: Engine) -> None:
    try:
        with engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            version = raw.info.server_version
    except (DBAPIError, psycopg.Error) as error:
        text = str(getattr(error, "orig", error)).strip()
        if REFUSED.search(text):
            raise CatalogError(
                f"the catalog's PostgreSQL refuses the credentials: {text}",
                hint="check the user of catalog.url, and its password in PGPASSWORD or ~/.pgpass",
            ) from error
        raise CatalogUnreachable(
            f"the catalog's PostgreSQL cannot be reached: {text}",
            hint="check host, port, database and user of catalog.url, and PGPASSWORD or ~/.pgpass",
        ) from error
    if version < _OLDEST:
        raise CatalogError(
            f"the catalog's PostgreSQL is of version {version // 10_000}",
            hint=f"{_OLDEST // 10_000} or newer is needed",
        )


def _prepare(connection: Connection, name: str) -> None:
    """One process migrates, the others wait, however long it takes, and find it done."""
    connection.execute(text("SET LOCAL lock_timeout = 0"))
    connection.execute(text(AT_LEISURE))
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    raw: Any = connection.connection.driver_connection
    raw.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name)))
