"""What a sync and a search are measured beside: the same work done by the store's own client, with nothing else.

The floor of a first load is to embed everything and write it in batches of 1,000, with the index that searches use; of
a sync in which nothing changed, to hash everything and compare it with the hashes read from SQLite; of a search, the
store's own call for the same vector on the same collection.
"""

from __future__ import annotations

import json
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import lancedb
import numpy as np
import pyarrow as pa
import xxhash
from benchmarks.workload import DIMENSIONS, TrivialEmbedder

from regen.index import Index
from regen.ports import Vector

BATCH, K = 1_000, 10
Ask = Callable[[Any], object]
_ALWAYS: Final = timedelta(0)


class Floor(Protocol):
    """A store's own client, and where regen keeps its part of the same store."""

    store: str
    catalog: str

    def load(self, rows: list[dict[str, Any]], folder: Path, index: Index) -> float:
        """Seconds to embed and write all rows, indexed as the index's own collection is."""
        ...

    def ask(self, index: Index) -> Ask:
        """The call that searches the index's live collection."""
        ...


class LanceFloor:
    """LanceDB's own calls."""

    store, catalog = "lancedb://vectors", "sqlite:///catalog.db"

    def load(self, rows: list[dict[str, Any]], folder: Path, index: Index) -> float:  # noqa: ARG002 - no index at this size
        """Tables of Arrow, merged in."""
        embedder = TrivialEmbedder()
        started = time.perf_counter()
        table = None
        for part, vectors in _embedded(rows, embedder):
            data = pa.table(
                {
                    "id": [row["id"] for row in part],
                    "text": [row["text"] for row in part],
                    "version": [row["meta"]["version"] for row in part],
                    "section": [row["meta"]["section"] for row in part],
                    "vector": pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(vectors)), DIMENSIONS),
                }
            )
            if table is None:
                table = lancedb.connect(str(folder / "floor")).create_table("floor", data)
            else:
                table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(data)
        return time.perf_counter() - started

    def ask(self, index: Index) -> Ask:
        """One query of the table."""
        path = next(Path(index.root).glob("vectors/*.lance"))
        table: Any = lancedb.connect(str(path.parent), read_consistency_interval=_ALWAYS).open_table(_collection(index))
        told = ["id", "text", "doc_id", "_distance"]
        return lambda vector: table.search(vector).distance_type("cosine").limit(K).select(told).to_list()


class PgvectorFloor:
    """psycopg's own calls on a database that regen has its catalog and its vectors in, too."""

    def __init__(self, url: str) -> None:
        import psycopg

        self.store = self.catalog = url
        self._link = psycopg.connect(url, autocommit=True)
        self._link.execute("CREATE EXTENSION IF NOT EXISTS vector")

    def load(self, rows: list[dict[str, Any]], folder: Path, index: Index) -> float:  # noqa: ARG002 - a server's table
        """COPY into a temporary table, and from there by one statement; then the index."""
        embedder, link = TrivialEmbedder(), self._link
        like = self._made_like(index)
        started = time.perf_counter()
        link.execute("DROP TABLE IF EXISTS floor")
        columns = f"id text, text text, version text, section text, vector vector({DIMENSIONS})"
        link.execute(f"CREATE TABLE floor ({columns}, PRIMARY KEY (id))".encode())
        for part, vectors in _embedded(rows, embedder):
            with link.transaction(), link.cursor() as cursor:
                cursor.execute(f"CREATE TEMP TABLE new ({columns}) ON COMMIT DROP".encode())
                with cursor.copy("COPY new FROM STDIN (FORMAT BINARY)") as copy:
                    copy.set_types(["text", "text", "text", "text", "bytea"])
                    for row, vector in zip(part, vectors, strict=True):
                        copy.write_row(_columns(row, vector))
                cursor.execute("INSERT INTO floor SELECT * FROM new ON CONFLICT (id) DO NOTHING")
        if like is not None:
            link.execute("SET maintenance_work_mem = '512MB'")
            link.execute(f"CREATE INDEX ON floor {like}".encode())
            link.execute("ANALYZE floor")
        return time.perf_counter() - started

    def ask(self, index: Index) -> Ask:
        """One statement on regen's own table, prepared as psycopg does by itself."""
        collection, link = _collection(index), self._link
        schema = self._value("SELECT schemaname FROM pg_tables WHERE tablename = %s", collection)
        link.execute("SET hnsw.ef_search = 100")  # as regen's own searches
        told = f'SELECT id, text, doc_id, vector <=> %s::vector FROM "{schema}"."{collection}" ORDER BY 4 LIMIT {K}'
        return lambda vector: link.execute(told.encode(), [str(vector.tolist())]).fetchall()

    def _made_like(self, index: Index) -> str | None:
        """How the vectors of regen's collection are indexed; None where they are not."""
        found = self._value(
            "SELECT indexdef FROM pg_indexes WHERE tablename = %s AND indexdef LIKE '%%USING hnsw%%'",
            _collection(index),
        )
        return None if found is None else str(found)[str(found).index("USING hnsw") :]

    def _value(self, statement: str, *parameters: object) -> Any:
        row = self._link.execute(statement.encode(), parameters).fetchone()
        return None if row is None else row[0]


def detect(rows: list[dict[str, Any]], folder: Path) -> float:
    """Seconds to hash every document and compare with the hashes that SQLite holds."""
    connection = sqlite3.connect(folder / "floor.db")
    connection.execute("create table if not exists h (id text primary key, h blob) without rowid")
    connection.executemany("insert or replace into h values (?, ?)", [(row["id"], _hashed(row)) for row in rows])
    connection.commit()
    started = time.perf_counter()
    old = dict(connection.execute("select id, h from h"))
    new = {row["id"]: _hashed(row) for row in rows}
    changed = [key for key, value in new.items() if old.get(key) != value]
    gone = old.keys() - new.keys()
    seconds = time.perf_counter() - started
    assert not changed
    assert not gone
    return seconds


def _hashed(row: dict[str, Any]) -> bytes:
    text = f"{row['id']}\0{row['text']}\0{json.dumps(row['meta'], sort_keys=True)}"
    digest: bytes = xxhash.xxh3_128_digest(text.encode())
    return digest


def _embedded(rows: list[dict[str, Any]], embedder: TrivialEmbedder) -> Iterator[tuple[list[dict[str, Any]], Any]]:
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        yield part, embedder.embed_documents([row["text"] for row in part])


def _columns(row: dict[str, Any], vector: Any) -> tuple[object, ...]:
    meta = row["meta"]
    return row["id"], row["text"], meta["version"], meta["section"], binary(vector)


def binary(vector: Vector) -> bytes:
    """A vector in pgvector's binary form."""
    return struct.pack(">HH", len(vector), 0) + vector.astype(">f4").tobytes()


def _collection(index: Index) -> str:
    return index._writer.live_or_newest().collection  # noqa: SLF001 - the floor is the store below the facade
