"""What 100 million and a billion chunks would take on PostgreSQL with pgvector, by what a small index was measured to.

    python -m benchmarks.scale_model [--documents 4000] [--generations 2] [--core-hour 0.05] [--gigabyte-month 0.10]
                                     [--memory-month 3.0] [--million-tokens 0.02] [--write]

The measured part is a real index on a server of our own: texts of the sync benchmark, five a document, 768 dimensions
at half precision. The rest is multiplication, and what is more than that is said to be an estimate. Prices are
parameters, in US dollars: of an hour of one processor core, of a gigabyte of disk and of memory for a month, of a
million tokens.
``--write`` puts both tables into docs/concepts/scale.md.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg
from benchmarks.page import PAGE, put
from benchmarks.workers import Server, served
from benchmarks.workload import load

from regen.core.documents import Document
from regen.core.recipe import Chunking
from regen.index import Index
from regen.ports import ModelInfo

TEXTS_A_DOCUMENT: Final = 5
DIMENSIONS: Final = 768
CHARACTERS_A_TOKEN: Final = 4
SIZES: Final = (100_000_000, 1_000_000_000)
CATALOG: Final = ("documents", "contents", "changes", "placements", "chunk_texts")
A_GENERATION: Final = {"placements", "chunk_texts"}
"""What each generation has of its own."""


class Drawn:
    """A model that costs next to nothing: a vector drawn by the text."""

    info = ModelInfo(name="drawn/768", dimensions=DIMENSIONS, max_batch_texts=256)

    def embed_documents(self, texts: Sequence[str]) -> Any:
        """A vector a text."""
        made = [np.random.default_rng(zlib.crc32(text.encode())).standard_normal(DIMENSIONS) for text in texts]
        return np.asarray(made, dtype=np.float32)

    def embed_query(self, text: str) -> Any:
        """As a document."""
        return self.embed_documents([text])[0]


@dataclass(frozen=True)
class Measured:
    """Of one index. Bytes of the catalog are for each document by table; microseconds are of processors."""

    documents: int
    chunks: int
    characters: float
    catalog: dict[str, float]
    vector_bytes: float
    graph_bytes: float
    load_client: float
    load_server: float
    graph_server: float
    nothing: float


def corpus(count: int) -> list[Document]:
    """Documents of five texts each; the same texts again, told apart by a number, where there are not enough."""
    texts = [row["text"] for row in load("v1")]
    return [
        Document(
            f"d{number}",
            "\n\n".join(f"{texts[at % len(texts)]} ({at})" for at in range(number * 5, number * 5 + TEXTS_A_DOCUMENT)),
            {"part": number % 100, "lang": "en"},
            ["team:a"] if number % 10 == 0 else None,
        )
        for number in range(count)
    ]


def measure(server: Server, count: int) -> Measured:
    """Load, build the graph, and sync once more without a change."""
    given = corpus(count)
    with tempfile.TemporaryDirectory() as folder, server.place(Path(folder)) as where, Index(
        embedder=Drawn(), chunking=Chunking("sentences", 128), catalog=where["catalog"], store=where["store"],
        embedding={"precision": "float16"}, index={"min_rows": 1 << 30},
    ) as index:  # fmt: skip
        clocks = [(time.process_time(), server.cpu())]

        def lap() -> tuple[float, float]:
            clocks.append((time.process_time(), server.cpu()))
            (a, b), (c, d) = clocks[-2:]
            return (c - a) * 1e6, (d - b) * 1e6

        index.upsert(given)
        client, its = lap()
        index.upsert(given)
        nothing = sum(lap())
        chunks = index.status().generations[0].chunks
        with psycopg.connect(where["catalog"], autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            table = f"regen_vectors.{index._writer.live_or_newest().collection}"  # noqa: SLF001 - no public call names it
            catalog = {name: size(connection, f"regen.{name}") / count for name in CATALOG}
            vectors = size(connection, table)
            lap()
            connection.execute("SET maintenance_work_mem = '512MB'")
            connection.execute(f"CREATE INDEX ON {table} USING hnsw (vector halfvec_cosine_ops) "
                               "WITH (m = 16, ef_construction = 128)".encode())  # fmt: skip
            graph = size(connection, table) - vectors
            _, building = lap()  # while the connection is there: its process would be counted nowhere for a moment
    return Measured(
        count, chunks, sum(len(document.text) for document in given) / chunks, catalog, vectors / chunks,
        graph / chunks, client / chunks, its / chunks, building / chunks, nothing / count,
    )  # fmt: skip


def size(connection: psycopg.Connection[Any], table: str) -> int:
    """Bytes of a table with its indexes."""
    found = connection.execute("SELECT pg_total_relation_size(%s::regclass)", [table]).fetchone()
    assert found is not None
    return int(found[0])


def figures(found: Measured) -> list[str]:
    """What was measured, as a table."""
    a_chunk = found.chunks / found.documents
    rows = [(f"catalog: `{name}`, bytes a document", f"{found.catalog[name]:,.0f}") for name in CATALOG]
    rows += [
        ("vectors, text and payload in pgvector, bytes a chunk (`v`)", f"{found.vector_bytes:,.0f}"),
        ("graph (HNSW), bytes a chunk (`h`)", f"{found.graph_bytes:,.0f}"),
        ("first load without the model, µs a chunk: regen", f"{found.load_client:,.0f}"),
        ("first load, µs a chunk: the database's server", f"{found.load_server:,.0f}"),
        (f"building the graph at {found.chunks:,} chunks, µs a chunk", f"{found.graph_server:,.0f}"),
        ("documents pushed again without a change, µs a document, both", f"{found.nothing:,.0f}"),
    ]
    head = f"{found.documents:,} documents, {a_chunk:.2f} chunks each, of {found.characters:.0f} characters"
    return [f"| {head} | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]


def model(found: Measured, chunks: int, given: argparse.Namespace) -> list[str]:
    """A column of the model."""
    documents = chunks * found.documents / found.chunks
    once = sum(found.catalog[name] for name in CATALOG if name not in A_GENERATION) * documents / 1e9
    each = sum(found.catalog[name] for name in A_GENERATION) * documents / 1e9
    catalog = once + each * given.generations
    vectors, graph = found.vector_bytes * chunks / 1e9, found.graph_bytes * chunks / 1e9
    hours = (found.load_client + found.load_server) * chunks / 3.6e9
    building = found.graph_server * chunks / 3.6e9 * math.log(chunks) / math.log(found.chunks)
    tokens = found.characters / CHARACTERS_A_TOKEN * chunks / 1e6
    disk = catalog + given.generations * (vectors + graph)
    month = disk * given.gigabyte_month + graph * given.memory_month
    return [
        f"{documents / 1e6:,.0f} M",
        f"{once:,.0f} + {given.generations} × {each:,.0f} = {catalog:,.0f} GB",
        f"{vectors:,.0f} GB",
        f"{graph:,.0f} GB",
        f"{disk:,.0f} GB",
        f"{hours:,.0f} h",
        f"{building:,.0f} h",
        f"{found.nothing * documents / 3.6e9:,.1f} h",
        f"${tokens * given.million_tokens:,.0f} ({tokens:,.0f} M tokens)",
        f"${(hours + building) * given.core_hour:,.0f}",
        f"${month:,.0f}",
    ]


ROWS: Final = (
    "documents", "catalog, `once + G × each`", "vectors of one generation, `C × v`",
    "its graph, `C × h`: wants to be in memory", "disk in all, `G` generations",
    "first load, hours of one core, `C × (regen + server)`",
    "graph, hours of one core, `C × µs × ln C / ln C₀` (an estimate: the build was not run at that size)",
    "everything delivered again without a change, hours of one core",
    "the model, once, `C × tokens × price`", "processors for one generation, once",
    "a month of disk, and of memory for one graph",
)  # fmt: skip


def main() -> None:
    """Measure, multiply, and print or write both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=4_000)
    parser.add_argument("--generations", type=int, default=2)
    parser.add_argument("--core-hour", type=float, default=0.05)
    parser.add_argument("--gigabyte-month", type=float, default=0.10)
    parser.add_argument("--memory-month", type=float, default=3.0)
    parser.add_argument("--million-tokens", type=float, default=0.02)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    with served("pgvector") as server:
        found = measure(server, given.documents)
    columns = [model(found, chunks, given) for chunks in SIZES]
    prices = (
        f"G = {given.generations}; a core's hour ${given.core_hour}, a gigabyte and month of disk "
        f"${given.gigabyte_month}, of memory ${given.memory_month}, a million tokens ${given.million_tokens}"
    )
    lines = [
        f"| {prices} | {SIZES[0] // 10**6} M chunks | {SIZES[1] // 10**9} B chunks |", "| --- | --- | --- |",
        *(f"| {name} | {' | '.join(cells)} |" for name, *cells in zip(ROWS, *columns, strict=True)),
    ]  # fmt: skip
    for name, table in (("measured", figures(found)), ("model", lines)):
        print("\n".join(table))
        if given.write:
            put(name, "\n".join(table), PAGE.parent / "concepts" / "scale.md")


if __name__ == "__main__":
    main()
