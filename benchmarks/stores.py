"""Each store through regen beside its own client in the same run: writes, searches and recall, as ratios.

    python -m benchmarks.stores [--stores lancedb,milvus-server] [--points 20000] [--results FILE] [--write]

The same unit vectors in clusters, 384 numbers each, with a document's id and a text of 500 characters, go through
regen's adapter and through the vendor's client with the same index settings; both get the text back from a search. The
client writes nothing else (regen: revisions, tokens and access, too), and waits for nothing. No filter, no access.
Targets: 10 % on writes, 15 % or 1 ms on searches. Random Gaussian vectors would break every graph index, so recall is
measured on the clusters.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.floors import binary
from benchmarks.page import put

from regen.core.documents import UNRESTRICTED
from regen.ports import CollectionSpec, MaintainedStore, Payload, Points, Vectors
from regen.registry import make_store
from regen.testing.chroma_server import ChromaServer
from regen.testing.milvus_server import MilvusServer, install, obstacle
from regen.testing.postgres_server import PostgresServer

DIMENSIONS, BATCH, QUERIES, K = 384, 500, 100, 10
PROSE = "An index is kept in step with what it was made from, so that nobody who searches reads what is gone. " * 6
HEAD = (
    "| store | points | rows written a second | | search: median, p95 in ms | | recall@10 |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)
WRITE_TARGET, SEARCH_TARGET, SEARCH_SLACK_MS = 1.10, 1.15, 1.0
URLS = {
    "lancedb": ("lancedb", "lancedb://regen.lance"),
    "pgvector": ("psycopg", "a server of our own"),
    "qdrant": ("qdrant_client", "qdrant+file://regen"),
    "chroma": ("chromadb", "chroma+file://regen"),
    "milvus": ("pymilvus", "milvus+file://regen.db"),
    "chroma-server": ("chromadb", "a server of our own"),
    "milvus-server": ("pymilvus", "a server of our own"),
}


def clustered(count: int, seed: int) -> Vectors:
    """Unit vectors around two hundred centres: what embeddings look like to an index."""
    centres = np.random.default_rng(0).standard_normal((200, DIMENSIONS))
    generator = np.random.default_rng(seed)
    vectors = centres[generator.integers(0, 200, count)] + 0.5 * generator.standard_normal((count, DIMENSIONS))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def points(vectors: Vectors, start: int, end: int) -> Points:
    """A batch as the engine writes it."""
    count = end - start
    ids = named(start, end)
    payload = Payload(ids, [1] * count, ids, texts(start, end), [0] * count, [1] * count, [{}] * count, [None] * count)
    return Points(ids, vectors[start:end], payload)


def texts(start: int, end: int) -> list[str]:
    """Texts of 500 characters."""
    return [f"{at} {PROSE}"[:500] for at in range(start, end)]


def named(start: int, end: int) -> list[str]:
    """The ids of documents."""
    return [f"{at:032x}" for at in range(start, end)]


Bare = Callable[[Path], tuple[Callable[[int, int], None], Callable[[], None], Callable[[Any], list[int]]]]
"""A folder -> how to write rows, how to build what a search needs, how to search for the best rows."""


def bare_lancedb(vectors: Vectors) -> Bare:
    """LanceDB's own table."""

    def opened(folder: Path) -> Any:
        import lancedb
        import pyarrow as pa

        kind = pa.list_(pa.float32(), DIMENSIONS)
        more = [pa.field("doc_id", pa.string()), pa.field("text", pa.string())]
        fields = [pa.field("id", pa.string(), nullable=False), pa.field("vector", kind), *more]
        table = lancedb.connect(str(folder / "bare.lance")).create_table("bare", schema=pa.schema(fields))

        def write(start: int, end: int) -> None:
            flat = pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(vectors[start:end])), DIMENSIONS)
            told = {"id": [str(at) for at in range(start, end)], "vector": flat, "doc_id": named(start, end)}
            rows = pa.table(told | {"text": texts(start, end)}, schema=pa.schema(fields))
            table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)

        def search(query: Any) -> list[int]:
            asked: Any = table.search(query)
            found = asked.distance_type("dot").limit(K).select(["id", "doc_id", "text", "_distance"]).to_arrow()
            return [int(name) for name in found.column("id").to_pylist()]

        return write, lambda: None, search

    return opened


def bare_pgvector(vectors: Vectors) -> Bare:
    """A table of pgvector's by psycopg, its index built after the load."""

    def opened(_folder: Path) -> Any:
        import psycopg

        link = psycopg.connect(URLS["pgvector"][1], autocommit=True)
        link.execute("CREATE EXTENSION IF NOT EXISTS vector")
        link.execute(f"CREATE TABLE bare (id text PRIMARY KEY, vector vector({DIMENSIONS}), doc_id text, text text)")

        def write(start: int, end: int) -> None:
            told = zip(range(start, end), named(start, end), texts(start, end), strict=True)
            rows = [(str(at), binary(vectors[at]), doc_id, text) for at, doc_id, text in told]
            with link.transaction(), link.cursor() as cursor:
                cursor.execute("CREATE TEMP TABLE new (LIKE bare) ON COMMIT DROP")
                with cursor.copy("COPY new FROM STDIN (FORMAT BINARY)") as copy:
                    copy.set_types(["text", "bytea", "text", "text"])
                    for row in rows:
                        copy.write_row(row)
                cursor.execute(
                    "INSERT INTO bare SELECT * FROM new ON CONFLICT (id) DO UPDATE "
                    "SET vector = excluded.vector, doc_id = excluded.doc_id, text = excluded.text"
                )

        def build() -> None:
            link.execute("SET maintenance_work_mem = '512MB'")
            made = "CREATE INDEX ON bare USING hnsw (vector vector_cosine_ops) WITH (m = 16, ef_construction = 128)"
            link.execute(made)
            link.execute("ANALYZE bare")
            link.execute("SET hnsw.ef_search = 100")

        def search(query: Any) -> list[int]:
            asked = f"SELECT id, doc_id, text FROM bare ORDER BY vector <=> %s::vector LIMIT {K}"
            return [int(row[0]) for row in link.execute(asked.encode(), [str(query.tolist())]).fetchall()]

        return write, build, search

    return opened


def bare_qdrant(vectors: Vectors) -> Bare:
    """Qdrant's own client, in a folder."""

    def opened(folder: Path) -> Any:
        from qdrant_client import QdrantClient, models

        client = QdrantClient(path=str(folder / "bare"))
        client.create_collection("bare", models.VectorParams(size=DIMENSIONS, distance=models.Distance.DOT))

        def write(start: int, end: int) -> None:
            told = [{"doc_id": a, "text": b} for a, b in zip(named(start, end), texts(start, end), strict=True)]
            batch = models.Batch(ids=list(range(start, end)), vectors=vectors[start:end].tolist(), payloads=told)
            client.upsert("bare", batch)

        def search(query: Any) -> list[int]:
            return [int(point.id) for point in client.query_points("bare", query.tolist(), limit=K).points]

        return write, lambda: None, search

    return opened


def bare_chroma(vectors: Vectors, name: str = "chroma") -> Bare:
    """Chroma's own client, in a folder or of a server."""

    def opened(folder: Path) -> Any:
        import chromadb

        settings = chromadb.config.Settings(anonymized_telemetry=False)
        if name == "chroma":
            client = chromadb.PersistentClient(str(folder / "bare"), settings=settings)
        else:
            client = chromadb.HttpClient(port=int(URLS[name][1].rpartition(":")[2]), settings=settings)
        graph = {"space": "ip", "max_neighbors": 16, "ef_construction": 128, "ef_search": 128}
        held = client.create_collection("bare", configuration={"hnsw": graph}, embedding_function=None)

        def write(start: int, end: int) -> None:
            told: Any = [{"doc_id": name} for name in named(start, end)]
            held.upsert([str(at) for at in range(start, end)], vectors[start:end], told, texts(start, end))

        def search(query: Any) -> list[int]:
            return [
                int(name)
                for name in held.query(query[None, :], n_results=K, include=["documents", "metadatas"])["ids"][0]
            ]

        return write, lambda: None, search

    return opened


def bare_milvus(vectors: Vectors, name: str = "milvus") -> Bare:
    """Milvus's own client, in a file or of a server; nobody waits until a write is seen."""

    def opened(folder: Path) -> Any:
        from pymilvus import DataType, MilvusClient

        server = URLS[name][1].replace("milvus://", "http://")
        client = MilvusClient(str(folder / "bare.db") if name == "milvus" else server)
        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSIONS)
        schema.add_field("doc_id", DataType.VARCHAR, max_length=64)
        schema.add_field("text", DataType.VARCHAR, max_length=1_000)
        index = client.prepare_index_params()
        graph = {"M": 16, "efConstruction": 128}
        index.add_index("vector", index_type="HNSW", metric_type="IP", params=graph)
        client.create_collection("bare", schema=schema, index_params=index)

        def write(start: int, end: int) -> None:
            told = zip(
                range(start, end), vectors[start:end].tolist(), named(start, end), texts(start, end), strict=True
            )
            client.upsert("bare", [dict(zip(("id", "vector", "doc_id", "text"), row, strict=True)) for row in told])

        def search(query: Any) -> list[int]:
            told: Any = {"metric_type": "IP", "params": {"ef": 128}}
            wanted = ["doc_id", "text"]
            found = client.search("bare", [query.tolist()], limit=K, search_params=told, output_fields=wanted)
            return [int(hit["id"]) for hit in found[0]]

        return write, lambda: None, search

    return opened


BARE: dict[str, Callable[[Vectors], Bare]] = {
    "lancedb": bare_lancedb,
    "pgvector": bare_pgvector,
    "qdrant": bare_qdrant,
    "chroma": bare_chroma,
    "milvus": bare_milvus,
    "chroma-server": partial(bare_chroma, name="chroma-server"),
    "milvus-server": partial(bare_milvus, name="milvus-server"),
}


def through_regen(url: str, vectors: Vectors) -> Bare:
    """A store through the adapter of regen, searched as the engine does where no document is restricted."""

    def opened(folder: Path) -> Any:
        store = make_store(url, folder)
        store.create("g1", CollectionSpec(DIMENSIONS, index={"min_rows": 1_000_000} if "lancedb" in url else {}))

        def built() -> None:
            if isinstance(store, MaintainedStore):
                store.maintain("g1")

        def search(query: Any) -> list[int]:
            return [int(hit.point_id, 16) for hit in store.search("g1", query, K, principals=UNRESTRICTED)]

        return lambda start, end: store.upsert("g1", points(vectors, start, end)), built, search

    return opened


def measured(bare: Bare, count: int, queries: Vectors, best: list[set[int]]) -> dict[str, float]:
    """Rows a second, p50 and p95 of a search in ms, recall@10."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        write, build, search = bare(Path(folder))
        started = time.perf_counter()
        for start in range(0, count, BATCH):
            write(start, min(start + BATCH, count))
        rate = count / (time.perf_counter() - started)
        build()
        search(queries[0])
        took, found = [], 0
        for query, wanted in zip(queries, best, strict=True):
            started = time.perf_counter()
            hits = search(query)
            took.append(1000 * (time.perf_counter() - started))
            found += len(wanted.intersection(hits))
    p50, p95 = np.percentile(took, [50, 95])
    return {"rows_per_s": rate, "p50_ms": float(p50), "p95_ms": float(p95), "recall": found / (K * len(queries))}


def milvus_server(stack: ExitStack) -> str:
    """A real Milvus; its program goes with the run. Raises RuntimeError where none can be run."""
    if told := obstacle():
        raise RuntimeError(told)
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    return stack.enter_context(MilvusServer(install(Path(folder)))).url


SERVERS: dict[str, Callable[[ExitStack], str]] = {
    "pgvector": lambda stack: stack.enter_context(stack.enter_context(PostgresServer()).database()),
    "chroma-server": lambda stack: stack.enter_context(ChromaServer()).url,
    "milvus-server": milvus_server,
}


def main() -> None:
    """Measure, print all that is known, and say what misses its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    embedded = ",".join(name for name in URLS if not name.endswith("-server"))
    parser.add_argument("--stores", default=embedded, help=f"of {','.join(URLS)}; by default {embedded}")
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--results", type=Path, help="a file to which what is measured is added, and which is shown")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    given = parser.parse_args()
    vectors, queries = clustered(given.points, 1), clustered(QUERIES, 2)
    best = [set(np.argsort(-(vectors @ query))[:K].tolist()) for query in queries]
    known = given.results.read_text().splitlines() if given.results and given.results.exists() else []
    results: list[dict[str, Any]] = [json.loads(line) for line in known]
    for name in given.stores.split(","):
        library, url = URLS[name]
        if find_spec(library) is None:
            print(f"{name}: {library} is not installed", file=sys.stderr)
            continue
        with ExitStack() as stack:
            if name in SERVERS:
                URLS[name] = library, (url := SERVERS[name](stack))
            own = measured(BARE[name](vectors), given.points, queries, best)
            ours = measured(through_regen(url, vectors), given.points, queries, best)
        results.append({"store": name, "points": given.points, "bare": own, "regen": ours})
        print(row(results[-1]), file=sys.stderr)
        if given.results:
            with given.results.open("a") as file:
                file.write(json.dumps(results[-1]) + "\n")
    text = "\n".join([HEAD, *map(row, results)])
    print(text)
    if given.write:
        put("stores", text)


def row(result: dict[str, Any]) -> str:
    """A line of the table."""
    own, ours = result["bare"], result["regen"]
    writes, more = own["rows_per_s"] / ours["rows_per_s"], ours["p50_ms"] - own["p50_ms"]
    slow = ours["p50_ms"] / own["p50_ms"] > SEARCH_TARGET and more > SEARCH_SLACK_MS
    verdicts = ("**a miss**" if missed else "met" for missed in (writes > WRITE_TARGET, slow))
    cells = [
        result["store"], f"{result['points']:,}", f"{own['rows_per_s']:,.0f} → {ours['rows_per_s']:,.0f}",
        f"{writes:.2f} ×: {next(verdicts)}",
        f"{own['p50_ms']:.1f}, {own['p95_ms']:.1f} → {ours['p50_ms']:.1f}, {ours['p95_ms']:.1f}",
        f"{more:+.1f} ms: {next(verdicts)}", f"{own['recall']:.3f} → {ours['recall']:.3f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
