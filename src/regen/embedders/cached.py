"""A cache of vectors in a file of its own, keyed by space and text: what was embedded once is never paid for again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from threading import RLock
from typing import Final

import numpy as np

from regen.embedders.wrapping import EmbedderWrapper
from regen.errors import ConfigError, EmbedderError, SpaceMismatch
from regen.ports import Embedder, Vector, Vectors
from regen.spaces.vectors import unusable_rows
from regen.sqlite_files import open_cache, transaction

FORMAT: Final = 1
KEYS_PER_QUERY: Final = 900  # below SQLite's smallest limit of parameters

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS spaces (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE,
    dimensions INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS vectors (number INTEGER PRIMARY KEY, space INTEGER NOT NULL, key BLOB NOT NULL,
    vector BLOB NOT NULL, UNIQUE (space, key));
"""


class EmbeddingCache:
    """An SQLite file of (space fingerprint, digest of the text) -> float32 vector. Safe for threads and processes.

    Every ``put_many`` is one transaction: a killed process leaves all of it or nothing. With ``max_entries`` the oldest
    entries are dropped when there are more. Raises ConfigError for a file that is no cache, EmbedderError when the
    file fails later.
    """

    def __init__(self, path: str | Path, *, max_entries: int | None = None) -> None:
        if max_entries is not None and max_entries < 1:
            raise ConfigError(f"an embedding cache of {max_entries} entries", hint="at least 1, or None for no limit")
        self.path = Path(path)
        self._max_entries = max_entries
        self._lock = RLock()
        self._spaces: dict[str, tuple[int, int]] = {}
        self._connection = open_cache(self.path, "embedding cache", FORMAT, _SCHEMA, hint=_DELETE, logged=True)

    def __enter__(self) -> EmbeddingCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        with self._using() as connection:
            return int(connection.execute("SELECT count(*) FROM vectors").fetchone()[0])

    def get_many(self, space: str, texts: Sequence[str], *, dimensions: int | None = None) -> dict[int, Vector]:
        """Look up the vectors that are there: position in ``texts`` -> vector of shape (dimensions,).

        Raises SpaceMismatch when the space's vectors are not of the dimensions asked for.
        """
        with self._using() as connection:
            known = self._space(space)
            if known is None or not texts:
                return {}
            number, stored = known
            _require_equal(space, stored, stored if dimensions is None else dimensions)
            keys = [_key(text) for text in texts]
            found = self._read(connection, number, stored, list(dict.fromkeys(keys)))
        return {position: found[key] for position, key in enumerate(keys) if key in found}

    def put_many(self, space: str, texts: Sequence[str], vectors: Vectors) -> None:
        """Keep the vectors, shape (len(texts), dimensions), in one transaction; what is there already stays.

        Raises SpaceMismatch when the space holds vectors of other dimensions.
        """
        rows = np.ascontiguousarray(vectors, dtype="<f4")
        if rows.ndim != 2 or len(rows) != len(texts):
            raise ValueError(f"{len(texts)} texts with vectors of shape {rows.shape}")
        if not texts:
            return
        with self._using() as connection, transaction(connection):
            number, stored = self._space(space) or self._add_space(connection, space, rows.shape[1])
            _require_equal(space, stored, rows.shape[1])
            connection.executemany(
                "INSERT OR IGNORE INTO vectors (space, key, vector) VALUES (?, ?, ?)",
                ((number, _key(text), row.tobytes()) for text, row in zip(texts, rows, strict=True)),
            )
            self._evict(connection)

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            self._connection.close()

    # ── inside ──

    def _space(self, space: str) -> tuple[int, int] | None:
        """Look up (number, dimensions) of a space; None when nothing of it was ever kept."""
        if space not in self._spaces:
            row = self._connection.execute(
                "SELECT id, dimensions FROM spaces WHERE fingerprint = ?", (space,)
            ).fetchone()
            if row is None:
                return None
            self._spaces[space] = row
        return self._spaces[space]

    def _add_space(self, connection: sqlite3.Connection, space: str, dimensions: int) -> tuple[int, int]:
        # Not remembered here: the transaction may yet be rolled back.
        cursor = connection.execute("INSERT INTO spaces (fingerprint, dimensions) VALUES (?, ?)", (space, dimensions))
        return int(cursor.lastrowid or 0), dimensions

    def _read(
        self, connection: sqlite3.Connection, number: int, dimensions: int, keys: list[bytes]
    ) -> dict[bytes, Vector]:
        found: dict[bytes, Vector] = {}
        for first in range(0, len(keys), KEYS_PER_QUERY):
            part = keys[first : first + KEYS_PER_QUERY]
            marks = ",".join("?" * len(part))
            rows = connection.execute(
                f"SELECT key, vector FROM vectors WHERE space = ? AND key IN ({marks})",  # noqa: S608 - marks only
                (number, *part),
            )
            for key, blob in rows:
                if len(blob) != 4 * dimensions:
                    raise EmbedderError(
                        f"the embedding cache {self.path} is damaged: {len(blob)} bytes for {dimensions} dimensions",
                        hint=_DELETE,
                    )
                found[key] = np.frombuffer(blob, dtype="<f4").astype(np.float32)
        return found

    def _evict(self, connection: sqlite3.Connection) -> None:
        """Drop the oldest entries above the limit: a new entry always gets the largest number."""
        if self._max_entries is not None:
            connection.execute(
                "DELETE FROM vectors WHERE number <="
                " (SELECT number FROM vectors ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (self._max_entries,),
            )

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.ProgrammingError as error:
                raise EmbedderError(f"the embedding cache {self.path} was closed: {error}") from None
            except sqlite3.OperationalError as error:
                raise EmbedderError(f"the embedding cache {self.path} failed: {error}") from error
            except sqlite3.DatabaseError as error:
                raise EmbedderError(f"the embedding cache {self.path} is damaged: {error}", hint=_DELETE) from error


_DELETE: Final = (
    "it holds only what can be embedded again: delete the file (with its -wal and -shm), and it is made anew"
)


class CachedEmbedder(EmbedderWrapper):
    """Embeds only the distinct texts that the cache does not hold for ``space``, and keeps what it embeds.

    Queries are not cached: with a query prefix they are of another space. Unusable vectors (NaN, infinity, zero) are
    handed out but never kept.
    """

    def __init__(self, inner: Embedder, cache: EmbeddingCache, space: str) -> None:
        super().__init__(inner)
        self.cache = cache
        self.space = space

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dimensions), from the cache where it has them."""
        held = self.cache.get_many(self.space, texts, dimensions=self.info.dimensions)
        known = {texts[position]: vector for position, vector in held.items()}
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        if missing:
            made = self.inner.embed_documents(missing)
            bad = unusable_rows(made)
            good = [row for row in range(len(missing)) if row not in bad]
            self.cache.put_many(self.space, [missing[row] for row in good], made[good])
            known.update(zip(missing, made, strict=True))
        if not texts:
            return np.empty((0, self.info.dimensions), dtype=np.float32)
        return np.stack([known[text] for text in texts])


def _key(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _require_equal(space: str, stored: int, wanted: int) -> None:
    if stored != wanted:
        raise SpaceMismatch(
            f"the embedding cache holds vectors of {stored} dimensions for space {space}, and {wanted} were asked for",
            hint="the space fingerprint must change with the dimensions: it is computed from the recipe",
        )
