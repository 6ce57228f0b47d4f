"""What words add to vectors: nDCG@10 of vector, keyword and hybrid search on judged collections, through regen.

    python -m benchmarks.hybrid [--stores memory,lancedb,pgvector] [--models …] [--json FILE]

Each collection is indexed as whole documents, title and text, by each model; every judged query is asked in each mode
through ``Index.search``. ± is half of the 95 % interval (paired bootstrap over queries) of the difference to vectors.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ir_measures
import numpy as np
from ir_measures import nDCG
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from regen import UNRESTRICTED, Chunking, Document, Index
from regen.ports.keywords import SEARCH_MODES, SearchMode
from regen.testing.postgres_server import PostgresServer

COLLECTIONS = ("scifact", "cranfield")
MODELS = ("hashing/256", "wordllama/l2-supercat-256")
STORES = ("memory", "lancedb", "pgvector")
K, DRAWS = 10, 2_000


def collection(name: str) -> tuple[list[Document], dict[str, str], dict[str, dict[str, int]]]:
    """Documents, judged queries by id, and judgments."""
    folder = Path(os.environ.get("REGEN_DATA", Path(__file__).parents[2] / "shared" / "data")) / name
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    documents = [Document(row["_id"], f"{row.get('title', '')}\n{row['text']}".strip() or "-") for row in rows]
    judged: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels.tsv").read_text().splitlines()[1:]:
        query, doc, grade = line.split("\t")
        judged.setdefault(query, {})[doc] = int(grade)
    asked = (json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines())
    return documents, {row["_id"]: row["text"] for row in asked if row["_id"] in judged}, judged


@contextmanager
def urls(stores: list[str]) -> Iterator[dict[str, str]]:
    """Where each store lies; a PostgreSQL of our own runs meanwhile if it is asked for."""
    held = {"memory": "memory://", "lancedb": "lancedb://vectors"}
    if "pgvector" not in stores:
        yield held
        return
    with PostgresServer() as server, server.database() as url:
        yield held | {"pgvector": url}


def measured(
    index: Index, queries: dict[str, str], judged: dict[str, dict[str, int]], mode: SearchMode
) -> NDArray[np.float64]:
    """nDCG@10 of every query, in order."""
    run = {
        query: {hit.doc_id: hit.score for hit in index.search(text, K, principals=UNRESTRICTED, mode=mode)}
        for query, text in queries.items()
    }
    # A query with no hit counts as 0: ir_measures is shown a document that nobody judged.
    shown = {query: found or {"-": 0.0} for query, found in run.items()}
    values = {value.query_id: value.value for value in ir_measures.iter_calc([nDCG @ K], judged, shown)}
    return np.array([values[query] for query in queries])


def half_interval(difference: NDArray[np.float64]) -> float:
    """Half of the 95 % interval of a mean."""
    generator = np.random.default_rng(0)
    means = difference[generator.integers(0, len(difference), (DRAWS, len(difference)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(high - low) / 2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", default=",".join(STORES))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    stores = arguments.stores.split(",")
    console = Console()
    table, rows = Table("collection", "model", "store", *SEARCH_MODES, "ms a search (v/h/k)"), []
    with urls(stores) as places:
        for name in COLLECTIONS:
            documents, queries, judged = collection(name)
            for model in arguments.models.split(","):
                for store in stores:
                    row = measure_one(model, places[store], documents, queries, judged)
                    console.log(name, model, store, *told(row))
                    rows.append({"collection": name, "model": model, "store": store, **row})
                    table.add_row(name, model, store, *told(row))
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


def measure_one(
    model: str, url: str, documents: list[Document], queries: dict[str, str], judged: dict[str, dict[str, int]]
) -> dict[str, float]:
    """One index: means, half intervals and milliseconds, by mode."""
    row: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, Index(
        embedder=model, store=url, catalog="sqlite:///catalog.db", root=folder, chunking=Chunking("whole"),
        alias=f"bench{time.time_ns()}",
    ) as index:  # fmt: skip
        index.upsert(documents)
        values: dict[str, NDArray[np.float64]] = {}
        for mode in SEARCH_MODES:
            index.search("warm", mode=mode)
            started = time.perf_counter()
            values[mode] = measured(index, queries, judged, mode)
            row[f"{mode}_ms"] = (time.perf_counter() - started) * 1e3 / len(queries)
            row[mode] = float(values[mode].mean())
            row[f"{mode}_half"] = half_interval(values[mode] - values["vector"])
    return row


def told(row: dict[str, float]) -> list[str]:
    """The columns of a row."""
    plus = {mode: f" ({row[mode] - row['vector']:+.3f} ±{row[f'{mode}_half']:.3f})" for mode in SEARCH_MODES[1:]}
    means = [f"{row[mode]:.3f}{plus.get(mode, '')}" for mode in SEARCH_MODES]
    return [*means, " / ".join(f"{row[f'{mode}_ms']:.1f}" for mode in SEARCH_MODES)]


if __name__ == "__main__":
    main()
