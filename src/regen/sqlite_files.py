"""What SQLite files have in common, whoever keeps one: opening a cache of a known format, and write-ahead logging."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from regen.errors import ConfigError

BUSY_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.02


def open_cache(
    path: Path, kind: str, version: int, schema: str, *, hint: str, logged: bool = False
) -> sqlite3.Connection:
    """Open the cache at ``path``, or make it: ``schema`` is made where it is not there, all of it or nothing.

    ``kind`` names it in errors ("embedding cache"); ``version`` is the file's ``user_version``. ``logged`` chooses
    write-ahead logging, for a cache that many write to; the last entries may then be lost when the power fails. The
    connection commits by itself and may be handed between threads. Raises ConfigError, with ``hint``, for a file that
    is something else.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"the {kind} {path} cannot be opened: {error}") from None
    try:
        _require_format(connection, path, kind, version, hint)
        if logged:
            write_ahead(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
        with transaction(connection):
            for statement in schema.strip().split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version:d}")
    except sqlite3.Error as error:
        connection.close()
        raise ConfigError(f"{path} is no {kind}: {error}", hint=hint) from None
    except ConfigError:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that takes the write lock at once, and is taken back when the block raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _require_format(connection: sqlite3.Connection, path: Path, kind: str, version: int, hint: str) -> None:
    connection.execute("BEGIN")  # both are read of one moment: another process may be making the file
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
    connection.execute("COMMIT")
    if found != version and (found or tables):
        raise ConfigError(f"{path} is no {kind} of format {version}: its format is {found}", hint=hint)


def write_ahead(connection: sqlite3.Connection, wait: float = BUSY_SECONDS) -> None:
    """Switch the file to write-ahead logging, in which readers never wait for the writer.

    SQLite's own waiting does not cover this switch, so two processes that make the same file take turns here.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return
