"""Transactions. Reads see one moment; writes are serialised; every error speaks of the catalog, not of its driver."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, Select, update
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.sql.elements import ColumnElement

from regen.catalog import schema
from regen.catalog.sets import among
from regen.errors import CatalogBusy, CatalogError, CatalogUnreachable


class Collision(CatalogBusy):
    """Two transactions could not both be had: this one was taken back as a whole, and may be run again."""

    @classmethod
    def of(cls, error: object) -> Collision:
        """Made of what a driver raised."""
        return cls(f"other writers of the catalog were in the way: {str(error).strip()}", hint="try again")


class Database:
    """An engine with regen's two kinds of transaction. Dialect differences are hooks of this class."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._write_engine = engine.execution_options(regen_write=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment and changes nothing."""
        with translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def glancing(self) -> Iterator[Connection]:
        """For one statement that only reads: it sees one moment without a transaction around it."""
        with self.reading() as connection:
            yield connection

    @contextmanager
    def writing(self, counter: str | None = None) -> Iterator[Connection]:
        """A transaction that writes; one that decides by what it reads first names the counter that it holds.

        Of those that name one counter, each sees what the one before it has committed.
        """
        with translated(), self._write_engine.begin() as connection:
            if counter is not None:
                self.hold(connection, counter)
            yield connection

    def close(self) -> None:
        """Release connections. Idempotent."""
        self._engine.dispose()

    def clock(self) -> float:
        """The time as the catalog has it: this host's, where the catalog is a file of it."""
        return time.time()

    @staticmethod
    def among(column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
        """``column IN values`` for any number of strings or integers, as one bound parameter."""
        return among(column, values)

    def hold(self, connection: Connection, counter: str) -> None:
        """Make writers that hold the same counter take turns until the end of the transaction.

        Nothing to do where every writer waits for every other: that is SQLite, and the default.
        """

    def at_leisure(self, connection: Connection) -> None:
        """Let a transaction go at the pace of something else than this database.

        Nothing to do where the database ends no transaction that stands still: that is SQLite, and the default.
        """


def allocate(connection: Connection, name: str, count: int) -> int:
    """Take ``count`` numbers of a counter; returns the first. Serialises writers of that counter on any database."""
    table = schema.counters
    taken = connection.execute(
        update(table).where(table.c.name == name).values(value=table.c.value + count).returning(table.c.value)
    ).scalar_one()
    return int(taken) - count + 1


COLLIDED: Final = frozenset({"40001", "40P01"})
"""PostgreSQL's codes: serialisation failure, deadlock."""
LOCKED: Final = "55P03"
"""Its code for: the lock could not be had within ``lock_timeout``."""
_STOOD_STILL: Final = "25P03"
"""Its code for: a transaction was idle for too long."""


def rows(connection: Connection, statement: Select[Any]) -> list[Any]:
    """All rows of a statement."""
    return list(connection.execute(statement).fetchall())


@contextmanager
def translated() -> Iterator[None]:
    """Turn what SQLAlchemy raises into CatalogError and its kinds."""
    try:
        yield
    except OperationalError as error:
        raise _explain(error) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise unreachable(error.orig) from error
        raise CatalogError(f"the catalog refused a statement: {error.orig}") from error


def unreachable(told: object) -> CatalogUnreachable:
    """The error for a server that does not answer (any more)."""
    if getattr(told, "sqlstate", None) == _STOOD_STILL:
        return CatalogUnreachable(
            "this process stood still in the middle of a transaction, which the catalog's server therefore took back",
            hint="run the same command again: nothing that is indexed was lost. A machine that sleeps or swaps does "
            "that; `?options=-c idle_in_transaction_session_timeout=…` in catalog.url allows for longer",
        )
    return CatalogUnreachable(
        f"the connection to the catalog's server was lost: {str(told).strip()}",
        hint="run the same command again when the server answers; nothing that is indexed was lost",
    )


def locked(told: object) -> CatalogBusy:
    """The error for a lock that somebody does not give back."""
    return CatalogBusy(
        f"the catalog's tables or rows are locked, and not by regen, which gives its locks back: {str(told).strip()}",
        hint="`SELECT pid, state, query FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'` shows whose "
        "transaction is not over; end it and run the same command again",
    )


def _explain(error: OperationalError) -> CatalogError:
    text = str(error.orig).strip()
    state = getattr(error.orig, "sqlstate", None)
    if state in COLLIDED:
        return Collision.of(text)
    if state == LOCKED:
        return locked(text)
    if "locked" in text or "busy" in text:
        return CatalogBusy(
            f"the catalog is locked by another process: {text}", hint="wait until the other regen command has finished"
        )
    if "full" in text or "disk I/O" in text or "No space left" in text:
        return CatalogError(
            f"the catalog cannot be written: {text}",
            hint="free some disk space and run the same command again; nothing that is indexed was lost",
        )
    if error.connection_invalidated or "connection" in text:
        return unreachable(error.orig)
    if "readonly" in text or "unable to open" in text:
        return CatalogError(
            f"the catalog cannot be opened for writing: {text}", hint="check the path and its permissions"
        )
    return CatalogError(f"the catalog failed: {text}")
