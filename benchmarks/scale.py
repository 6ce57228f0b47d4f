"""One size after another through an index's life: time, memory and bytes a document should not grow with the corpus.

    python -m benchmarks.scale [--documents 10000 100000] [--stages load nothing edit derived embedded switch search]
                               [--folder FOLDER] [--results FILE]

Each stage of each size runs in a process of its own, over the state that the one before it has left, so a long run may
be stopped and gone on with: a stage whose result is in the file of results is not run again. ``--folder`` keeps the
state (default: a temporary folder). What the store does for itself when all is written (compaction, the vector index)
is timed apart, as ``upkeep``: it begins at a size of its own, and readers do not wait for it. ``--exact`` builds no
vector index. Seconds of the processor are kept beside the clock's: where others work on the machine, only they compare.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
from benchmarks.workload import Meter, MixedSource, TrivialEmbedder, load, median
from rich.console import Console
from rich.table import Table

from regen.core.recipe import Chunking
from regen.index import Index
from regen.registry import make_embedder

STAGES = ("load", "nothing", "edit", "derived", "embedded", "switch", "search")
PER_DOCUMENT = {"load", "nothing", "edit", "derived", "embedded"}
QUERIES = 200
WARM, USUAL, SETTLED_SECONDS, ENOUGH_SECONDS = 20, 100, 5.0, 60.0
"""So many searches before those that count, and at least so many and for so long before the first switch; after so
long fewer searches are enough."""
MIN_ROWS = "REGEN_SCALE_MIN_ROWS"
"""Tells a stage's process from which size on a vector index is built."""


class OtherModel(TrivialEmbedder):
    """The same work under another name, so that a migration to it embeds everything."""

    model_name = "trivial-other/384"


@contextmanager
def index_over(folder: Path, source: MixedSource | None, embedder: TrivialEmbedder, **more: Any) -> Iterator[Index]:
    """One chunk a document. Both models are known, so that each generation has its own."""
    with Index(
        embedder=embedder, store="lancedb://vectors", catalog="sqlite:///catalog.db", source=source,
        chunking=Chunking("whole"), root=folder, index={"min_rows": int(os.environ.get(MIN_ROWS, "50000"))},
        models={make_embedder(model).info.name: model for model in (TrivialEmbedder(), OtherModel())}, **more,
    ) as index:  # fmt: skip
        yield index


class TimedUpkeep:
    """Takes the store's upkeep out of the time and the memory of what is measured."""

    def __init__(self, index: Index, meter: Meter) -> None:
        self.seconds, self.cpu, self.told = 0.0, 0.0, list[str]()
        store: Any = index._stores.configured  # noqa: SLF001 - no public call says when upkeep begins
        inner = store.maintain

        def maintain(collection: str, *, force: bool = False) -> list[str]:
            meter.phase, started, cpu = "upkeep", time.perf_counter(), time.process_time()
            try:
                done: list[str] = inner(collection, force=force)
            finally:
                self.seconds += time.perf_counter() - started
                self.cpu += time.process_time() - cpu
                meter.phase = "after"  # what upkeep has left behind is not the work's
            self.told += done
            return done

        store.maintain = maintain


def timed(index: Index, work: Callable[[], Any], embedder: TrivialEmbedder) -> dict[str, Any]:
    """Seconds, texts and memory of one call."""
    before, cpu = embedder.texts, time.process_time()
    with Meter() as meter:
        meter.phase = "work"
        upkeep = TimedUpkeep(index, meter)
        work()
    return {
        "seconds": meter.seconds - upkeep.seconds, "cpu": time.process_time() - cpu - upkeep.cpu,
        "upkeep": upkeep.seconds, "upkeep_cpu": upkeep.cpu,
        "upkeep_did": upkeep.told, "texts": embedder.texts - before, "base": meter.base, "memory": meter.phases,
    }  # fmt: skip


def load_or_sync(folder: Path, count: int, *, edited: bool) -> dict[str, Any]:
    """One sync of all documents."""
    embedder = TrivialEmbedder()
    source = MixedSource(load("v1"), count, edited=edited)
    with index_over(folder, source, embedder) as index:
        return timed(index, index.sync, embedder)


def derived(folder: Path, count: int) -> dict[str, Any]:  # noqa: ARG001 - each stage is asked alike
    """A second generation of half the precision, made of the vectors that are there."""
    embedder = TrivialEmbedder()
    with index_over(folder, None, embedder, embedding={"precision": "float16"}) as index:
        return timed(index, index.apply, embedder)


def embedded(folder: Path, count: int) -> dict[str, Any]:  # noqa: ARG001 - each stage is asked alike
    """A third generation of another model."""
    embedder = OtherModel()
    with index_over(folder, None, embedder) as index:
        return timed(index, index.apply, embedder)


def switch(folder: Path, count: int) -> dict[str, Any]:
    """Promotion and rollback while four threads search: milliseconds, and whether a search took longer for it."""
    embedder, latencies, failures = OtherModel(), list[tuple[float, float]](), list[str]()
    stop = threading.Event()
    rows = load("v1")
    with index_over(folder, None, embedder) as index:
        newest = index.status().generations[-1].number

        def ask(offset: int) -> None:
            number = offset
            while not stop.is_set():
                number += 37
                started = time.perf_counter()
                try:
                    index.search(rows[number % len(rows)]["text"], 10)
                except Exception as error:  # noqa: BLE001 - counted, and shown
                    failures.append(f"{type(error).__name__}: {error}")
                latencies.append((started, (time.perf_counter() - started) * 1e3))

        threads = [threading.Thread(target=ask, args=(place * 1_000,)) for place in range(4)]
        for thread in threads:
            thread.start()
        try:
            until = time.monotonic() + SETTLED_SECONDS
            while len(latencies) < WARM + USUAL or time.monotonic() < until:
                time.sleep(0.1)
            switches = [switched(index, newest) for _ in range(5)]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    around = [
        ms for at, ms in latencies if any(start - 0.05 <= at <= start + 0.25 for s in switches for start in s[2:])
    ]
    usual = [ms for at, ms in latencies if at < switches[0][2]][WARM:]
    return {
        "documents": count,
        "promote_ms": median([s[0] for s in switches]), "rollback_ms": median([s[1] for s in switches]),
        "worst_switch_ms": max(max(s[:2]) for s in switches), "failures": failures[:3], "searches": len(latencies),
        "usual_p50_ms": float(np.percentile(usual, 50)), "usual_p99_ms": float(np.percentile(usual, 99)),
        "around_p99_ms": float(np.percentile(around, 99)), "around_max_ms": max(around), "searches_around": len(around),
    }  # fmt: skip


def switched(index: Index, newest: int) -> tuple[float, float, float, float]:
    """Milliseconds of a promotion and of the rollback after it, and when each began."""
    first = time.perf_counter()
    index.promote(newest, force=True, reason="measured")
    promoted = (time.perf_counter() - first) * 1e3
    time.sleep(0.5)
    second = time.perf_counter()
    index.rollback(reason="measured")
    back = (time.perf_counter() - second) * 1e3
    time.sleep(0.5)
    return promoted, back, first, second


def search(folder: Path, count: int) -> dict[str, Any]:
    """Milliseconds of a search, beside the store's own call for the same vector in turn."""
    embedder, rows = TrivialEmbedder(), load("v1")
    with index_over(folder, None, embedder) as index:
        collection = index._writer.live_or_newest().collection  # noqa: SLF001 - the floor is the store itself
        database = lancedb.connect(str(folder / "vectors"), read_consistency_interval=timedelta(0))
        table: Any = database.open_table(collection)
        mine, bare, until = list[float](), list[float](), time.monotonic() + ENOUGH_SECONDS
        for number in range(QUERIES):
            if len(mine) > 2 * WARM and time.monotonic() > until:
                break
            vector = np.asarray(embedder.embed_query(rows[number * 37]["text"]), dtype=np.float32)
            started = time.perf_counter()
            index.search(vector, 10, space=index.recipe.space)
            middle = time.perf_counter()
            query = table.search(vector).distance_type("cosine").limit(10).refine_factor(4).ef(200)
            query.select(["id", "chunk_id", "token", "doc_id", "text", "_distance"]).to_list()
            mine.append((middle - started) * 1e3)
            bare.append((time.perf_counter() - middle) * 1e3)
    warm = slice(20, None)
    return {
        "documents": count, "p50_ms": median(mine[warm]), "bare_p50_ms": median(bare[warm]),
        "p95_ms": float(np.percentile(mine[warm], 95)), "bare_p95_ms": float(np.percentile(bare[warm], 95)),
    }  # fmt: skip


RUN: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "load": lambda folder, count: load_or_sync(folder, count, edited=False),
    "nothing": lambda folder, count: load_or_sync(folder, count, edited=False),
    "edit": lambda folder, count: load_or_sync(folder, count, edited=True),
    "derived": derived,
    "embedded": embedded,
    "switch": switch,
    "search": search,
}


def bytes_in(folder: Path, pattern: str) -> int:
    """What the files take."""
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())


def run_stage(stage: str, folder: Path, count: int, *, exact: bool) -> dict[str, Any]:
    """One stage in a fresh process; the sizes of what it left."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.scale",
        "--one",
        stage,
        "--documents",
        str(count),
        "--folder",
        str(folder),
    ]
    environment = os.environ | ({MIN_ROWS: str(1 << 30)} if exact else {})
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"{stage} at {count:,} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {
        "stage": stage, "documents": count, "catalog_bytes": bytes_in(folder, "catalog.db*"),
        "store_bytes": bytes_in(folder, "vectors/**/*"), "load_average": os.getloadavg()[0], **found,
    }  # fmt: skip


def show(results: list[dict[str, Any]]) -> None:
    """Microseconds a document by stage and size, and memory."""
    sizes = sorted({row["documents"] for row in results})
    by = {(row["stage"], row["documents"]): row for row in results}
    for clock, title in (("seconds", "µs a document"), ("cpu", "µs of the processor a document")):
        table = Table("stage", *(f"{size:,}" for size in sizes), "largest / smallest", title=f"{title}, without upkeep")
        for stage in STAGES:
            times = [
                by[stage, size][clock] / size * 1e6 for size in sizes if stage in PER_DOCUMENT and (stage, size) in by
            ]
            if len(times) == len(sizes):
                table.add_row(stage, *(f"{value:.1f}" for value in times), f"{times[-1] / times[0]:.2f}")
        Console().print(table)
    columns = (
        "documents",
        "stage",
        "s",
        "upkeep s",
        "MB at start",
        "own MB",
        "with files",
        "upkeep: with files",
        "catalog B/doc",
    )
    memory = Table(*columns)
    for row in results:
        if row["stage"] in PER_DOCUMENT:
            work, upkeep = row["memory"].get("work", {}), row["memory"].get("upkeep", {})
            memory.add_row(
                f"{row['documents']:,}", row["stage"], f"{row['seconds']:.1f}", f"{row['upkeep']:.1f}",
                f"{row['base']:.0f}", f"{work.get('own', 0):.0f}", f"{work.get('resident', 0):.0f}",
                f"{upkeep.get('all', 0):.0f}", f"{row['catalog_bytes'] / row['documents']:.0f}",
            )  # fmt: skip
    Console().print(memory)
    for row in results:
        if row["stage"] not in PER_DOCUMENT:
            told = {key: round(value, 2) if isinstance(value, float) else value for key, value in row.items()}
            Console().print(told)


def main() -> None:
    """Run what has no result yet, and show all results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--exact", action="store_true", help="no vector index, whatever the size")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--one", choices=STAGES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(RUN[given.one](given.folder, given.documents[0])))
        return
    kept = given.results if given.results and given.results.exists() else None
    results: list[dict[str, Any]] = [json.loads(line) for line in kept.read_text().splitlines()] if kept else []
    done = {(row["stage"], row["documents"]) for row in results}
    with tempfile.TemporaryDirectory(prefix="regen-scale-") as made:
        for count in given.documents:
            folder = (given.folder or Path(made)) / str(count)
            folder.mkdir(parents=True, exist_ok=True)
            for stage in given.stages:
                if (stage, count) in done:
                    continue
                results.append(run_stage(stage, folder, count, exact=given.exact))
                print(f"{count:,} {stage}: {results[-1].get('seconds', 0):.1f} s", file=sys.stderr)
                if given.results:
                    with given.results.open("a") as file:
                        file.write(json.dumps(results[-1]) + "\n")
    show(results)


if __name__ == "__main__":
    main()
