"""Connections to a PostgreSQL store: lent one at a time, found out when they are dead, and what goes wrong on them."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import psycopg
import stamina
from psycopg import errors
from sqlalchemy.pool import QueuePool

from regen.errors import CollectionMissing, StoreError, StoreUnreachable
from regen.postgres import REFUSED, Address, hung_up

T = TypeVar("T")

_WAIT_SECONDS: Final = 30.0
_ATTEMPTS: Final = 12
_PAUSES: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 2.0, 2.0)
"""Seconds between the attempts to ask a server that does not answer."""
_PASSING: Final = (
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.LockNotAvailable,
)
_SETTINGS: Final = (
    "SET hnsw.iterative_scan = 'strict_order'",  # off, a narrow filter would get fewer than k (docs/adr/0009)
    "SET hnsw.scan_mem_multiplier = 2",
    "SET plan_cache_mode = force_custom_plan",  # whether a filter is narrow depends on its values
)
_EXTENSION_SCHEMA: Final = (
    "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
)


Work: TypeAlias = Callable[[psycopg.Connection[Any]], T]


class Lender(Protocol):
    """Who lends a connection for a statement or a transaction. What goes wrong is named after the collection."""

    def run(self, collection: str, statement: Work[T]) -> T:
        """Run one statement."""
        ...

    def transact(self, collection: str, work: Work[T]) -> T:
        """Run several statements as one."""
        ...


class Connections:
    """A pool of connections to one schema, each in autocommit mode: who needs a transaction says so."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._pool = QueuePool(
            partial(_connect, address), pool_size=8, max_overflow=24, timeout=_WAIT_SECONDS, reset_on_return=None
        )
        weakref.finalize(self, self._pool.dispose)  # a store that nobody closed leaves no open connection

    @contextmanager
    def one(self, collection: str = "*") -> Iterator[psycopg.Connection[Any]]:
        """Lend a connection that works. What it raises is named after the collection."""
        with named(collection, self._address.url):
            lent = self._pool.connect()
            while hung_up(lent.driver_connection):  # the server was restarted meanwhile
                lent.invalidate()
                lent = self._pool.connect()
            raw: Any = lent.driver_connection
            try:
                yield raw
            finally:
                if raw.closed or raw.broken:
                    lent.invalidate()
                else:
                    lent.close()

    def ask(self, collection: str, question: Work[T]) -> T:
        """Run what only reads, again if the server was restarted meanwhile: it is back within seconds."""
        for pause in _PAUSES:
            try:
                with self.one(collection) as connection:
                    return question(connection)
            except StoreUnreachable:
                time.sleep(pause)
        with self.one(collection) as connection:
            return question(connection)

    def run(self, collection: str, statement: Work[T]) -> T:
        """Run one statement, again if others were in its way."""
        with self.one(collection) as connection:
            return retried(lambda: statement(connection))

    def transact(self, collection: str, work: Work[T], *also: type[Exception]) -> T:
        """Run a transaction, again if others, or one of ``also``, were in its way."""
        with self.one(collection) as connection:

            def once() -> T:
                with connection.transaction():
                    return work(connection)

            return retried(once, *also)

    def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        self._pool.dispose()


class Lent:
    """A connection within somebody else's transaction. Whoever runs that commits it, or runs all of it again.

    So what others' transactions, or a lost connection, made fail is raised as it is.
    """

    def __init__(self, connection: psycopg.Connection[Any], url: str) -> None:
        self._connection, self._url = connection, url

    def run(self, collection: str, statement: Work[T]) -> T:
        """Run one statement."""
        try:
            return statement(self._connection)
        except _PASSING:
            raise
        except (psycopg.Error, UnicodeEncodeError) as error:
            if self._connection.closed:
                raise
            raise translated(error, collection, self._url) from error

    def transact(self, collection: str, work: Work[T]) -> T:
        """Do a part of the transaction."""
        return self.run(collection, work)


def _connect(address: Address) -> Any:
    connection = address.connect(path=("public",), autocommit=True)
    found = connection.execute(_EXTENSION_SCHEMA).fetchone()
    if found is not None and found[0] not in {address.schema, "public"}:
        connection.close()
        connection = address.connect(path=("public", found[0]), autocommit=True)
    for setting in _SETTINGS:
        connection.execute(setting.encode())
    return connection


def retried(transaction: Callable[[], T], *also: type[Exception]) -> T:
    """Run a transaction again while others' make it fail, at most 12 times within a minute.

    ``also`` are further errors that only mean that somebody else was quicker.
    """
    for attempt in stamina.retry_context(
        on=(*_PASSING, *also), attempts=_ATTEMPTS, timeout=60.0, wait_initial=0.01, wait_max=1.0, wait_jitter=0.05
    ):
        with attempt:
            return transaction()
    raise AssertionError("stamina either returns or raises")


@contextmanager
def named(collection: str, url: str) -> Iterator[None]:
    """Turn what psycopg raises into StoreError or CollectionMissing."""
    try:
        yield
    except (psycopg.Error, UnicodeEncodeError) as error:
        raise translated(error, collection, url) from error


def missing(collection: str, url: str) -> CollectionMissing:
    """The error for a collection that is not there."""
    return CollectionMissing(
        f"there is no collection {collection!r} in {url}",
        hint="it was dropped, or the database was restored; `regen verify --repair` writes it again",
    )


def translated(error: Exception, collection: str, url: str) -> StoreError:
    """What an error of PostgreSQL means for a collection."""
    text = str(error).strip()
    if isinstance(error, errors.UndefinedTable | errors.InvalidSchemaName):
        return missing(collection, url)
    if isinstance(error, UnicodeEncodeError):
        return StoreError(f"collection {collection!r} cannot hold a text of this batch: {text}", hint="valid Unicode")
    if isinstance(error, errors.DiskFull):
        return StoreError(
            f"the disk of {url} is full; nothing acknowledged in collection {collection!r} is lost",
            hint="free some space and run again",
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return StoreError(
            f"{url} cannot be written (collection {collection!r}): {text}",
            hint="the database user needs CREATE on the schema, and once on the database to make schema and extension",
        )
    if isinstance(error, _PASSING):
        return StoreError(
            f"other writers kept changing collection {collection!r} in {url}: {text}", hint="nothing is lost; run again"
        )
    if isinstance(error, psycopg.OperationalError) and REFUSED.search(text):
        return StoreError(
            f"PostgreSQL at {url} refuses the credentials: {text}",
            hint="check the user of store.url, and its password in PGPASSWORD or ~/.pgpass",
        )
    if isinstance(error, psycopg.OperationalError):
        return StoreUnreachable(
            f"PostgreSQL at {url} cannot be reached: {text}",
            hint="check host, port, database and user of store.url, and PGPASSWORD or ~/.pgpass; then run again",
        )
    return StoreError(f"PostgreSQL failed on collection {collection!r} in {url}: {text}")
