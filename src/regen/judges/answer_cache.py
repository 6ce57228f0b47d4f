"""What models have answered, in a file: an evaluation that is repeated costs nothing and says the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Final

from regen.errors import ConfigError, JudgeError
from regen.judges.prompts import Message, digest_of

FORMAT: Final = 1
BUSY_SECONDS: Final = 60.0
_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, asked TEXT NOT NULL, answer TEXT NOT NULL)"
_DELETE: Final = "it holds only what can be asked again: delete the file, and it is made anew"


class AnswerCache:
    """An SQLite file of (who was asked, the whole question) -> answer. Safe for threads and processes.

    The question holds the prompt's version, the claim and everything else that was sent, so that no answer is taken for
    another question. Raises ConfigError for a file that is no such cache, JudgeError when the file fails later.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = RLock()
        self._connection = self._open()

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        with self._using() as connection:
            return int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])

    def get(self, asked: str, messages: tuple[Message, ...]) -> str | None:
        """What was answered, None if it was never asked."""
        with self._using() as connection:
            row = connection.execute("SELECT answer FROM answers WHERE key = ?", (_key(asked, messages),)).fetchone()
        return None if row is None else str(row[0])

    def put(self, asked: str, messages: tuple[Message, ...], answer: str) -> None:
        """Keep an answer; one that is there already stays, so that every reader has the same."""
        with self._using() as connection:
            connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", (_key(asked, messages), asked, answer))

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            self._connection.close()

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"the cache of answers {self.path} cannot be opened: {error}") from None
        try:
            self._prepare(connection)
        except sqlite3.Error as error:
            connection.close()
            raise ConfigError(f"{self.path} is no cache of answers: {error}", hint=_DELETE) from None
        except ConfigError:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
        if found != FORMAT and (found or tables):
            raise ConfigError(
                f"{self.path} is no cache of answers of format {FORMAT}: its format is {found}", hint=_DELETE
            )
        # The rollback journal: writes are rare here, as each waits for a model, and no second file is left behind.
        connection.execute(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {FORMAT}")

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise JudgeError(f"the cache of answers {self.path} failed: {error}", hint=_DELETE) from error


def _key(asked: str, messages: tuple[Message, ...]) -> str:
    return digest_of(asked, *(part for message in messages for part in message))
