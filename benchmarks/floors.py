"""What a sync and a search are measured beside: the same work done by the store's own client, with nothing else.

The floor of a first load is to embed everything and write it in batches of 1,000, with the index that searches use; of
a sync in which nothing changed, to hash everything and compare it with the hashes read from SQLite; of one in which
something did, the same, and to embed and write what is new, to delete what is gone, and to write other metadata beside
the vectors that are there; of a search, the store's own call for the same vector on the same collection.
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
_COLUMNS: Final = f"id text, text text, version text, section text, vector vector({DIMENSIONS})"


class Floor(Protocol):
    """A store's own client, and where regen keeps its part of the same store."""

    store: str
    catalog: str

    def load(self, rows: list[dict[str, Any]], folder: Path, index: Index) -> float:
        """Seconds to embed and write all rows, indexed as the index's own collection is."""
        ...

    def replace(self, rows: list[dict[str, Any]], gone: list[str]) -> None:
        """Embed and write some rows, whether they are new or not, and delete others, in what ``load`` has written."""
        ...

    def describe(self, rows: list[dict[str, Any]]) -> None:
        """Write the metadata of some rows; their vectors stay."""
        ...

    def ask(self, index: Index) -> Ask:
        """The call that searches the index's live collection."""
        ...


class LanceFloor:
    """LanceDB's own calls."""

    store, catalog = "lancedb://vectors", "sqlite:///catalog.db"

    def load(self, rows: list[dict[str, Any]], folder: Path, index: Index) -> float:  # noqa: ARG002 - no index at this size
        """Tables of Arrow, merged in."""
        started = time.perf_counter()
        for at, (part, vectors) in enumerate(_embedded(rows, TrivialEmbedder())):
            if at:
                self._merge(part, vectors)
            else:
                database = lancedb.connect(str(folder / "floor"))
                self._table: Any = database.create_table("floor", _arrow(part, vectors))
        return time.perf_counter() - started

    def replace(self, rows: list[dict[str, Any]], gone: list[str]) -> None:
        """A merge, and one condition that names all that are gone."""
        for part, vectors in _embedded(rows, TrivialEmbedder()):
            self._merge(part, vectors)
        if gone:
            self._table.delete(f"id IN ({', '.join(repr(name) for name in gone)})")

    def describe(self, rows: list[dict[str, Any]]) -> None:
        """A merge of the columns that change."""
        changed = _arrow(rows, None).drop_columns(["text"])
        self._table.merge_insert("id").when_matched_update_all().execute(changed)

    def _merge(self, rows: list[dict[str, Any]], vectors: Any) -> None:
        merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        merge.execute(_arrow(rows, vectors))

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
        link, like = self._link, self._made_like(index)
        started = time.perf_counter()
        link.execute("DROP TABLE IF EXISTS floor")
        link.execute(f"CREATE TABLE floor ({_COLUMNS}, PRIMARY KEY (id))".encode())
        for part, vectors in _embedded(rows, TrivialEmbedder()):
            self._stage(part, vectors, "INSERT INTO floor SELECT * FROM new ON CONFLICT (id) DO NOTHING")
        if like is not None:
            link.execute("SET maintenance_work_mem = '512MB'")
            link.execute(f"CREATE INDEX ON floor {like}".encode())
            link.execute("ANALYZE floor")
        return time.perf_counter() - started

    def replace(self, rows: list[dict[str, Any]], gone: list[str]) -> None:
        """As a load; and one statement that names all that are gone."""
        merged = ", ".join(f"{name} = excluded.{name}" for name in ("text", "version", "section", "vector"))
        for part, vectors in _embedded(rows, TrivialEmbedder()):
            self._stage(part, vectors, f"INSERT INTO floor SELECT * FROM new ON CONFLICT (id) DO UPDATE SET {merged}")
        if gone:
            self._link.execute("DELETE FROM floor WHERE id = ANY(%s)", [gone])

    def describe(self, rows: list[dict[str, Any]]) -> None:
        """One statement for all rows."""
        self._stage(
            rows,
            None,
            "UPDATE floor SET version = new.version, section = new.section FROM new WHERE floor.id = new.id",
        )

    def _stage(self, rows: list[dict[str, Any]], vectors: Any, then: str) -> None:
        """Copy rows (without vectors: empty ones) into a table ``new``, and run a statement that reads it."""
        with self._link.transaction(), self._link.cursor() as cursor:
            cursor.execute(f"CREATE TEMP TABLE new ({_COLUMNS}) ON COMMIT DROP".encode())
            with cursor.copy("COPY new FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["text", "text", "text", "text", "bytea"])
                for row, vector in zip(rows, [None] * len(rows) if vectors is None else vectors, strict=True):
                    copy.write_row(_columns(row, vector))
            cursor.execute(then.encode())

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


def change(floor: Floor, rows: list[dict[str, Any]], folder: Path, *, text: bool) -> float:
    """Seconds to find what differs from what was last written, and to write it: texts, or only their metadata."""
    connection = sqlite3.connect(folder / "floor.db")
    started = time.perf_counter()
    changed, gone = _difference(connection, rows)
    if text:
        floor.replace(changed, gone)
    else:
        assert not gone
        floor.describe(changed)
    _keep(connection, changed)
    seconds = time.perf_counter() - started
    connection.executemany("delete from h where id = ?", [(name,) for name in gone])
    connection.commit()
    assert changed
    return seconds


def detect(rows: list[dict[str, Any]], folder: Path) -> float:
    """Seconds to hash every document and compare with the hashes that SQLite holds: those of the same documents."""
    connection = sqlite3.connect(folder / "floor.db")
    connection.execute("create table if not exists h (id text primary key, h blob) without rowid")
    _keep(connection, rows)
    started = time.perf_counter()
    changed, gone = _difference(connection, rows)
    seconds = time.perf_counter() - started
    assert not changed
    assert not gone
    return seconds


def _difference(connection: sqlite3.Connection, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    old = dict(connection.execute("select id, h from h"))
    new = {row["id"]: _hashed(row) for row in rows}
    return [row for row in rows if old.get(row["id"]) != new[row["id"]]], list(old.keys() - new.keys())


def _keep(connection: sqlite3.Connection, rows: list[dict[str, Any]]) -> None:
    connection.executemany("insert or replace into h values (?, ?)", [(row["id"], _hashed(row)) for row in rows])
    connection.commit()


def _hashed(row: dict[str, Any]) -> bytes:
    text = f"{row['id']}\0{row['text']}\0{json.dumps(row['meta'], sort_keys=True)}"
    digest: bytes = xxhash.xxh3_128_digest(text.encode())
    return digest


def _embedded(rows: list[dict[str, Any]], embedder: TrivialEmbedder) -> Iterator[tuple[list[dict[str, Any]], Any]]:
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        yield part, embedder.embed_documents([row["text"] for row in part])


def _arrow(rows: list[dict[str, Any]], vectors: Any) -> pa.Table:
    columns: dict[str, Any] = {
        "id": [row["id"] for row in rows],
        "text": [row["text"] for row in rows],
        "version": [row["meta"]["version"] for row in rows],
        "section": [row["meta"]["section"] for row in rows],
    }
    if vectors is not None:
        columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(vectors)), DIMENSIONS)
    return pa.table(columns)


def _columns(row: dict[str, Any], vector: Any) -> tuple[object, ...]:
    meta = row["meta"]
    held = None if vector is None else binary(vector)
    return row["id"], row["text"], meta["version"], meta["section"], held


def binary(vector: Vector) -> bytes:
    """A vector in pgvector's binary form."""
    return struct.pack(">HH", len(vector), 0) + vector.astype(">f4").tobytes()


def _collection(index: Index) -> str:
    return index._writer.live_or_newest().collection  # noqa: SLF001 - the floor is the store below the facade
