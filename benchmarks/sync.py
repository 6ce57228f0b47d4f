"""Sync of 20,000 real documents beside the floor of the same machine in the same run: ratios, not absolute times.

    python -m benchmarks.sync [--rounds 3] [--json FILE]

The floor of a no-change sync is to hash everything and compare it with the hashes read from SQLite; of a first load, it
is to embed everything and write it to LanceDB in batches of 1,000, with nothing else.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import xxhash
from benchmarks.peers import STEPS, measure_peers, missing_peers
from benchmarks.workload import DIMENSIONS, ListSource, Meter, TrivialEmbedder, documents, load, median
from rich.console import Console
from rich.table import Table

from regen.core.recipe import Chunking
from regen.index import Index

TARGETS = {"nothing changed": 2.0, "first load": 2.5, "search": 1.15}


def floor_load(rows: list[dict[str, Any]], folder: Path) -> float:
    """Seconds to embed all texts and write them to LanceDB."""
    embedder = TrivialEmbedder()
    started = time.perf_counter()
    table = None
    for start in range(0, len(rows), 1_000):
        part = rows[start : start + 1_000]
        vectors = embedder.embed_documents([row["text"] for row in part])
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
            table = lancedb.connect(str(folder)).create_table("floor", data)
        else:
            table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(data)
    return time.perf_counter() - started


def floor_detect(rows: list[dict[str, Any]], folder: Path) -> float:
    """Seconds to hash every document and compare with the hashes that SQLite holds."""

    def hashed(data: bytes) -> bytes:
        digest: bytes = xxhash.xxh3_128_digest(data)
        return digest

    def canonical(row: dict[str, Any]) -> bytes:
        text = f"{row['id']}\0{row['text']}\0{json.dumps(row['meta'], sort_keys=True)}"
        return text.encode()

    connection = sqlite3.connect(folder / "floor.db")
    connection.execute("create table if not exists h (id text primary key, h blob) without rowid")
    connection.executemany("insert or replace into h values (?, ?)", [(r["id"], hashed(canonical(r))) for r in rows])
    connection.commit()
    started = time.perf_counter()
    old = dict(connection.execute("select id, h from h"))
    new = {row["id"]: hashed(canonical(row)) for row in rows}
    changed = [key for key, value in new.items() if old.get(key) != value]
    gone = old.keys() - new.keys()
    seconds = time.perf_counter() - started
    assert not changed
    assert not gone
    return seconds


def open_index(folder: Path, source: ListSource, embedder: TrivialEmbedder) -> Index:
    """An index as the peers are set up: one row a document."""
    return Index(
        embedder=embedder,
        store="lancedb://vectors",
        catalog="sqlite:///catalog.db",
        source=source,
        chunking=Chunking(kind="whole"),
        root=folder,
    )


def measure(versions: dict[str, list[dict[str, Any]]], folder: Path) -> dict[str, dict[str, float]]:
    """One round: load, nothing, edit, metadata, in one process; each beside its floor."""
    source, embedder = ListSource(), TrivialEmbedder()
    index = open_index(folder, source, embedder)
    results: dict[str, dict[str, float]] = {}
    for name, version in (
        ("first load", "v1"),
        ("nothing changed", "v1"),
        ("1 % edited", "v2"),
        ("metadata of 10 %", "v3"),
    ):
        source.documents = documents(versions[version])
        before = embedder.texts
        with Meter() as meter:
            index.sync()
        results[name] = {"seconds": meter.seconds, "memory": meter.peak, "texts": embedder.texts - before}
    assert index.verify().consistent
    results["search"] = measure_search(index, embedder, versions["v3"])
    index.close()
    results["first load"]["floor"] = floor_load(versions["v1"], folder / "floor")
    results["nothing changed"]["floor"] = floor_detect(versions["v1"], folder)
    return results


def measure_search(
    index: Index, embedder: TrivialEmbedder, rows: list[dict[str, Any]], queries: int = 200
) -> dict[str, float]:
    """Median milliseconds of ``Index.search`` for a vector, beside the store's own call in turn."""
    collection = index._writer.live_or_newest().collection  # noqa: SLF001 - the floor is the store below the facade
    path = next(Path(index._root).glob("vectors/*.lance"))  # noqa: SLF001
    table: Any = lancedb.connect(str(path.parent), read_consistency_interval=_ALWAYS).open_table(collection)
    mine, bare, space = [], [], index.recipe.space
    for number in range(queries):
        vector = np.asarray(embedder.embed_query(rows[number * 37]["text"]), dtype=np.float32)
        started = time.perf_counter()
        index.search(vector, 10, space=space)
        middle = time.perf_counter()
        table.search(vector).distance_type("cosine").limit(10).select(["id", "text", "doc_id", "_distance"]).to_list()
        mine.append((middle - started) * 1e3)
        bare.append((time.perf_counter() - middle) * 1e3)
    return {"seconds": median(mine) / 1e3, "floor": median(bare) / 1e3, "texts": 0, "memory": 0}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peers", action="store_true", help="also run the peers that are installed (minutes)")
    arguments = parser.parse_args()
    versions = {name: load(name) for name in ("v1", "v2", "v3")}
    rounds = []
    for _ in range(arguments.rounds):
        folder = Path(tempfile.mkdtemp(prefix="regen-bench-"))
        rounds.append(measure(versions, folder))
        shutil.rmtree(folder)
    summary = {name: {key: median([r[name][key] for r in rounds]) for key in rounds[0][name]} for name in rounds[0]}
    show(summary)
    peers = measure_peers() if arguments.peers else {}
    show_peers(summary, peers)
    if arguments.json:
        arguments.json.write_text(json.dumps(summary, indent=2))


def show_peers(summary: dict[str, dict[str, float]], peers: dict[str, dict[str, tuple[float, int]]]) -> None:
    """Seconds, times regen's, and texts embedded."""
    if not peers:
        return
    table = Table("", *STEPS, title="peers on the same documents: seconds (times regen's), texts embedded")
    for name, row in peers.items():
        cells = [
            f"{seconds:.1f} ({seconds / summary[step]['seconds']:.0f}×), {texts:,}"
            for step, (seconds, texts) in row.items()
        ]
        table.add_row(name, *cells)
    Console().print(table)
    if missing := missing_peers():
        Console().print(f"not installed: {', '.join(missing)}")


def show(summary: dict[str, dict[str, float]]) -> None:
    table = Table(
        "", "seconds", "floor", "ratio", "target", "texts embedded", "peak MB", title="20,000 documents, medians"
    )
    for name, row in summary.items():
        floor = row.get("floor")
        ratio = f"{row['seconds'] / floor:.2f}" if floor else ""
        target = f"≤ {TARGETS[name]}" if name in TARGETS else ""
        if name == "search":
            target = "≤ 1.15, or 1 ms more"
        table.add_row(
            name, f"{row['seconds']:.4f}", f"{floor:.4f}" if floor else "", ratio, target,
            f"{row['texts']:.0f}", f"{row['memory']:.0f}" if row["memory"] else "",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    from datetime import timedelta

    _ALWAYS = timedelta(0)
    main()
