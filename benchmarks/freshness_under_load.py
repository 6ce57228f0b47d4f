"""How soon a written document is found while a second generation is being filled and searches go on.

    python -m benchmarks.freshness_under_load [--store lancedb|pgvector] [--seconds 600] [--documents 20000]

Documents become due at a fixed rate, whether the index keeps up or not. A writer hands over all that are due in one
``upsert``, as a consumer of a queue does; the delay counts from when a document was due until a search for its words
has returned it. A process beside it fills one generation after another, each by another model. The target is 2 s at
the 99th percentile, with no search failed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from benchmarks.workload import documents, load

from regen.core.documents import Document
from regen.core.recipe import Chunking
from regen.index import Index
from regen.testing.postgres_server import PostgresServer

TARGET_SECONDS = 2.0
MODELS = ("hashing/64", "hashing/96", "hashing/128")


@contextmanager
def urls(store: str, folder: Path) -> Iterator[dict[str, str]]:
    """Catalog and store of an index."""
    if store == "lancedb":
        yield {"store": f"lancedb://{folder}/vectors", "catalog": f"sqlite:///{folder}/catalog.db"}
        return
    with PostgresServer() as server, server.database() as url:
        server.execute("CREATE EXTENSION vector", url.split("/")[3].split("?")[0])
        yield {"store": url, "catalog": url}


def opened(model: str, where: dict[str, str]) -> Index:
    """One chunk a document."""
    return Index(embedder=model, chunking=Chunking("whole"), store=where["store"], catalog=where["catalog"])


def backfill(where: dict[str, str], until: float) -> None:
    """Fill one generation after the other; each is given up when the next one begins."""
    turn = 0
    while time.time() < until:
        turn += 1
        with opened(MODELS[1 + turn % 2], where) as index:
            index.apply()
            newest = index.status().generations[-1].number
            index.retire(newest)
    print(json.dumps({"backfills": turn}))


class Load:
    """Writes at a fixed rate, and searches all the while."""

    def __init__(self, index: Index, seconds: float, rate: float) -> None:
        self._index, self._seconds, self._rate = index, seconds, rate
        self.delays: list[float] = []
        self.searches = 0
        self.failures: list[str] = []
        self._stop = threading.Event()

    def run(self) -> None:
        """Write until the time is over, then wait for what was due."""
        searcher = threading.Thread(target=self._search)
        searcher.start()
        started, sent = time.perf_counter(), 0
        total = int(self._seconds * self._rate)
        while sent < total:
            due = min(total, int((time.perf_counter() - started) * self._rate))
            if due == sent:
                time.sleep(0.005)
                continue
            numbers = range(sent, due)
            self._index.upsert([Document(f"new/{n}", f"fresh{n} words{n} of number{n}") for n in numbers])
            self._find(numbers[-1])
            now = time.perf_counter()
            self.delays += [now - (started + (n + 1) / self._rate) for n in numbers]
            sent = due
        self._stop.set()
        searcher.join()

    def _find(self, number: int) -> None:
        hits = self._index.search(f"fresh{number} words{number} of number{number}", 3)
        if f"new/{number}" not in {hit.doc_id for hit in hits}:
            self.failures.append(f"new/{number} was not found when its upsert had returned")

    def _search(self) -> None:
        while not self._stop.wait(0.02):
            try:
                self._index.search("a library to read files", 10)
            except Exception as error:  # noqa: BLE001 - counted, and shown
                self.failures.append(f"{type(error).__name__}: {error}")
            self.searches += 1


def measure(given: argparse.Namespace) -> dict[str, object]:
    """One run."""
    with tempfile.TemporaryDirectory(prefix="regen-bench-") as made, ExitStack() as stack:
        where = stack.enter_context(urls(given.store, Path(made)))
        index = stack.enter_context(opened(MODELS[0], where))
        index.upsert(documents(load("v1")[: given.documents]))
        command = [sys.executable, "-m", "benchmarks.freshness_under_load", "--backfill", json.dumps(where)]
        until = time.time() + given.seconds
        filler = subprocess.Popen([*command, "--until", str(until)], stdout=subprocess.PIPE, text=True)
        told = ""
        try:
            work = Load(index, given.seconds, given.rate)
            work.run()
        finally:
            told, _ = filler.communicate(timeout=600)
        delays = np.asarray(work.delays)
        return {
            "store": given.store, "writes": len(delays), "p50": float(np.percentile(delays, 50)),
            "p99": float(np.percentile(delays, 99)), "max": float(delays.max()), "searches": work.searches,
            "failures": len(work.failures), "first_failures": work.failures[:3],
            **json.loads(told.splitlines()[-1] if told.strip() else '{"backfills": "the backfill failed"}'),
        }  # fmt: skip


def main() -> None:
    """Run, and say whether the target is met."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", choices=("lancedb", "pgvector"), default="lancedb")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--backfill", help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.backfill:
        backfill(json.loads(given.backfill), given.until)
        return
    found = measure(given)
    met = float(str(found["p99"])) < TARGET_SECONDS and not found["failures"]
    print(json.dumps({**found, "target": "met" if met else "a miss"}))


if __name__ == "__main__":
    main()
