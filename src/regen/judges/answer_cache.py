"""What models have answered, in a file: an evaluation that is repeated costs nothing and says the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Final

from regen.errors import JudgeError
from regen.judges.prompts import Message, digest_of
from regen.sqlite_files import open_cache

FORMAT: Final = 1
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
        # No write-ahead log: writes are rare here, as each waits for a model, and no second file is left behind.
        self._connection = open_cache(self.path, "cache of answers", FORMAT, _SCHEMA, hint=_DELETE)

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

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise JudgeError(f"the cache of answers {self.path} failed: {error}", hint=_DELETE) from error


def _key(asked: str, messages: tuple[Message, ...]) -> str:
    return digest_of(asked, *(part for message in messages for part in message))
