"""The embedded catalog: one SQLite file in WAL mode, so that searches read while a sync writes."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from regen.catalog.catalog import SqlCatalog
from regen.catalog.migrate import migrate
from regen.errors import ConfigError
from regen.sqlite_files import write_ahead

BUSY_SECONDS: Final = 30.0

_PRAGMAS: Final = (
    "PRAGMA synchronous = NORMAL",  # safe against kill -9; a power cut may lose the last commits, never mix them
    "PRAGMA foreign_keys = OFF",  # rows are removed in sets by statements that know the order
    "PRAGMA wal_autocheckpoint = 8000",  # 32 MB: a checkpoint waits for the disk, so not at every thousandth page
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -8000",  # 8 MB a connection, whatever the corpus; what it lacks the system's cache has
)


def open_catalog(url: str, root: Path | None = None) -> SqlCatalog:
    """Open, and create or migrate if need be, the catalog at ``sqlite:///path`` (relative to ``root``) or ``sqlite://``.

    ``sqlite://`` is private and in memory. Raises ConfigError for another form, SchemaMismatch, CatalogError.
    """
    engine = make_engine(url, root)
    migrate(engine)
    return SqlCatalog(engine)


def make_engine(url: str, root: Path | None = None) -> Engine:
    """An SQLAlchemy engine with regen's pragmas and its two kinds of transaction."""
    if url == "sqlite://":
        # A database in memory is one connection's own: threads lend it to each other, one at a time.
        engine = create_engine(
            "sqlite://",
            poolclass=QueuePool,
            pool_size=1,
            max_overflow=0,
            pool_timeout=BUSY_SECONDS,
            connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
        )
    else:
        path = _path(url, root)
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            f"sqlite:///{path}",
            poolclass=QueuePool,
            pool_size=8,
            max_overflow=24,
            connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
        )
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _path(url: str, root: Path | None) -> Path:
    prefix = "sqlite:///"
    if not url.startswith(prefix) or not url.removeprefix(prefix):
        raise ConfigError(f"catalog url {url!r} is not understood", hint='for example "sqlite:///.regen/catalog.db"')
    return (root or Path()) / url.removeprefix(prefix)


def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where regen says so, not where the driver guesses
    write_ahead(connection, BUSY_SECONDS)
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _on_begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: a transaction that reads first and writes later could fail half-way.
    writes = connection.get_execution_options().get("regen_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
