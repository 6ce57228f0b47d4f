"""Sync of 20,000 real documents beside the floor of the same machine in the same run: ratios, not absolute times.

    python -m benchmarks.sync [--rounds 3] [--store lancedb] [--peers] [--json FILE] [--write]

What the floors are is told in ``benchmarks/floors.py``. On pgvector catalog and vectors are in one database, of a
server that is started for it. ``--write`` puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.floors import Floor, LanceFloor, PgvectorFloor, change, detect
from benchmarks.page import machine, put
from benchmarks.peers import STEPS, measure_peers, missing_peers
from benchmarks.workload import ListSource, Peak, TrivialEmbedder, documents, load, median

from regen.core.recipe import Chunking
from regen.index import Index
from regen.testing.postgres_server import PostgresServer

TARGETS = {"nothing changed": 2.0, "first load": 2.5, "search": 1.15}
SECONDS = {"1 % edited": 0.3, "metadata of 10 %": 0.5}


def open_index(folder: Path, floor: Floor, source: ListSource, embedder: TrivialEmbedder) -> Index:
    """An index as the peers are set up: one row a document."""
    return Index(
        embedder=embedder,
        store=floor.store,
        catalog=floor.catalog,
        source=source,
        chunking=Chunking(kind="whole"),
        root=folder,
    )


def measure(versions: dict[str, list[dict[str, Any]]], folder: Path, floor: Floor) -> dict[str, dict[str, float]]:
    """One round: load, nothing, edit, metadata, in one process; each beside its floor."""
    source, embedder = ListSource(), TrivialEmbedder()
    index = open_index(folder, floor, source, embedder)
    results: dict[str, dict[str, float]] = {}
    for name, version in (
        ("first load", "v1"),
        ("nothing changed", "v1"),
        ("1 % edited", "v2"),
        ("metadata of 10 %", "v3"),
    ):
        source.documents = documents(versions[version])
        before = embedder.texts
        with Peak() as meter:
            index.sync()
        results[name] = {"seconds": meter.seconds, "memory": meter.peak, "texts": embedder.texts - before}
    assert index.verify().consistent
    results["search"] = measure_search(index, floor, embedder, versions["v3"])
    results["first load"]["floor"] = floor.load(versions["v1"], folder, index)
    results["nothing changed"]["floor"] = detect(versions["v1"], folder)
    results["1 % edited"]["floor"] = change(floor, versions["v2"], folder, text=True)
    results["metadata of 10 %"]["floor"] = change(floor, versions["v3"], folder, text=False)
    index.close()
    return results


def measure_search(
    index: Index, floor: Floor, embedder: TrivialEmbedder, rows: list[dict[str, Any]], queries: int = 200
) -> dict[str, float]:
    """Median milliseconds of ``Index.search`` for a vector, beside the store's own call in turn."""
    mine, bare, space, ask = [], [], index.recipe.space, floor.ask(index)
    for number in range(queries):
        vector = np.asarray(embedder.embed_query(rows[number * 37]["text"]), dtype=np.float32)
        started = time.perf_counter()
        index.search(vector, 10, space=space)
        middle = time.perf_counter()
        ask(vector)
        mine.append((middle - started) * 1e3)
        bare.append((time.perf_counter() - middle) * 1e3)
    return {"seconds": median(mine) / 1e3, "floor": median(bare) / 1e3, "texts": 0, "memory": 0}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store", choices=("lancedb", "pgvector"), default="lancedb")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--peers", action="store_true", help="also run the peers that are installed (minutes)")
    arguments = parser.parse_args()
    versions, rounds = {name: load(name) for name in ("v1", "v2", "v3")}, []
    told = f"{machine('lancedb', 'psycopg', 'numpy')}; medians of {arguments.rounds}."
    with ExitStack() as stack:
        server = stack.enter_context(PostgresServer()) if arguments.store == "pgvector" else None
        for _ in range(arguments.rounds):
            folder = Path(tempfile.mkdtemp(prefix="regen-bench-"))
            floor: Floor = LanceFloor() if server is None else PgvectorFloor(stack.enter_context(server.database()))
            rounds.append(measure(versions, folder, floor))
            shutil.rmtree(folder)
    summary = {name: {key: median([r[name][key] for r in rounds]) for key in rounds[0][name]} for name in rounds[0]}
    peers = measure_peers() if arguments.peers else {}
    text = "\n".join([told, "", *lines(summary), *peer_lines(summary, peers)])
    print(text)
    if arguments.peers and (missing := missing_peers()):
        print(f"not installed: {', '.join(missing)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(summary, indent=2))
    if arguments.write:
        put(f"sync-{arguments.store}", text)


def lines(summary: dict[str, dict[str, float]]) -> list[str]:
    """A table: what was measured, beside its floor and its target."""
    made = [
        "| | seconds | floor | ratio | target | texts embedded | peak MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in summary.items():
        ratio = row["seconds"] / row["floor"] if "floor" in row else None
        floor = "" if ratio is None else f"{row['floor']:.4g} | {ratio:.2f}"
        counted = " | " if name == "search" else f"{row['texts']:,.0f} | {row['memory']:.0f}"
        made.append(f"| {name} | {row['seconds']:.4g} | {floor or ' | '} | {_judged(name, row, ratio)} | {counted} |")
    return made


def _judged(name: str, row: dict[str, float], ratio: float | None) -> str:
    """The target, and whether it is met."""
    if name == "search":
        assert ratio is not None
        target, met = f"{TARGETS[name]}, or 1 ms more", (row["seconds"] - row["floor"]) * 1e3 <= 1
        met = met or ratio <= TARGETS[name]
    elif ratio is not None and name in TARGETS:
        target, met = f"{TARGETS[name]} times the floor", ratio <= TARGETS[name]
    else:
        target, met = f"{SECONDS[name]:g} s", row["seconds"] <= SECONDS[name]
    return f"{target}: {'met' if met else '**a miss**'}"


def peer_lines(summary: dict[str, dict[str, float]], peers: dict[str, dict[str, tuple[float, int]]]) -> list[str]:
    """The peers' seconds, how many times regen's they are, and the texts that they embed."""
    if not peers:
        return []
    made = ["", f"| | {' | '.join(STEPS)} |", "| --- " * (len(STEPS) + 1) + "|"]
    for name, row in peers.items():
        cells = [
            f"{seconds:.1f} s ({seconds / summary[step]['seconds']:.0f} times), {texts:,} texts"
            for step, (seconds, texts) in row.items()
        ]
        made.append(f"| {name} | {' | '.join(cells)} |")
    return made


if __name__ == "__main__":
    main()
