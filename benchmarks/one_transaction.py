"""What one transaction for catalog and vectors brings and costs, beside writing them apart, in one run.

    python -m benchmarks.one_transaction [--rounds 5] [--documents 2000] [--json FILE]

Both write to the same PostgreSQL (our own, which does not wait for the disk), through a proxy that counts round trips
and can make each take time. They take turns, each in a database of its own, round by round; medians are reported.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from regen import Chunking, Document
from regen.catalog.postgres import open_catalog
from regen.embedders.hashing import HashingEmbedder
from regen.engine.joint import Joint
from regen.index import Index
from regen.testing.postgres_server import PostgresServer
from regen.testing.proxy import Proxy

DIMENSIONS, SENTENCES = 384, 6
TOGETHER = Joint.of


@contextmanager
def written(*, together: bool) -> Iterator[None]:
    """Write together, or apart although it could be together."""
    Joint.of = TOGETHER if together else classmethod(lambda *_: None)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        Joint.of = TOGETHER  # type: ignore[method-assign]


def documents(first: int, count: int, version: int = 0) -> list[Document]:
    """Documents of six chunks each, half of which differ from version to version."""
    return [
        Document(f"d{at}", " ".join(
            f"Sentence {part} of document {at} in version {version if part % 2 else 0} is like no other one here."
            for part in range(SENTENCES)), {"version": version})
        for at in range(first, first + count)
    ]  # fmt: skip


class Bench:
    """One index for each way of writing."""

    def __init__(self, proxy: Proxy, root: Path) -> None:
        self.proxy, self.root = proxy, root
        self.taken: dict[tuple[str, bool], list[tuple[float, int]]] = {}

    def index(self, database: str) -> Index:
        """An index on a database behind the proxy."""
        url = f"postgresql://postgres@127.0.0.1:{self.proxy.port}/{database}"
        return Index(embedder=HashingEmbedder(DIMENSIONS), chunking=Chunking("sentences", 24), catalog=url, store=url,
                     index={"min_rows": 1 << 30}, root=self.root)  # fmt: skip

    def time(self, what: str, work: Callable[[], object], *, together: bool, calls: int = 1) -> None:
        """Seconds and round trips a call."""
        turns, started = self.proxy.turns, time.perf_counter()
        work()
        spent = time.perf_counter() - started
        self.taken.setdefault((what, together), []).append((spent / calls, round((self.proxy.turns - turns) / calls)))


def measure(bench: Bench, indexes: dict[bool, Index], rounds: int, count: int) -> None:
    """Loads, batches, single pushes, deletions and other metadata, in turn."""
    for turn in range(rounds + 1):
        for together, index in indexes.items():
            with written(together=together):
                bench.proxy.delay = 0.0
                fresh = documents(turn * count, count)
                bench.time(f"load of {count} documents", lambda: index.upsert(fresh), together=together)  # noqa: B023
                for delay, name in ((0.0, ""), (0.0005, ", 1 ms away")):
                    bench.proxy.delay = delay
                    version = 2 * turn + 1 + bool(delay)
                    some = documents(0, 100, version)
                    bench.time(f"edit of 100{name}", lambda: index.upsert(some), together=together)  # noqa: B023
                    one = [[Document("one", f"This is text {version}.{at} of one document.")] for at in range(10)]
                    bench.time(f"push of one{name}", lambda: [index.upsert(each) for each in one],  # noqa: B023
                               together=together, calls=10)  # fmt: skip
                    gone = [item.id for item in documents(count - 60 + 30 * bool(delay), 30)]
                    bench.time(f"deletion of 30{name}", lambda: index.delete(gone), together=together)  # noqa: B023
                    index.upsert(documents(count - 60 + 30 * bool(delay), 30))
        if turn == 0:
            bench.taken.clear()  # the first round makes tables and connections


def main() -> None:
    """Measure and print ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=2_000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with PostgresServer() as server, TemporaryDirectory() as folder:
        for database in ("together", "apart"):
            server.execute(f"CREATE DATABASE {database}")
            server.execute("CREATE EXTENSION vector", database)
            open_catalog(server.url(database)).close()
        proxy = Proxy(server.socket)
        bench = Bench(proxy, Path(folder))
        with bench.index("together") as together, bench.index("apart") as apart:
            measure(bench, {True: together, False: apart}, given.rounds, given.documents)
        proxy.close()
    report(bench.taken, given.json)


def report(taken: dict[tuple[str, bool], list[tuple[float, int]]], file: Path | None) -> None:
    """A line for each kind of work: medians of both ways, and their ratio."""
    table = Table("", "apart", "round trips", "together", "round trips", "ratio of times")
    told: dict[str, Any] = {}
    for what, together in taken:
        if together:
            (apart_s, apart_n), (both_s, both_n) = (
                (median(one[0] for one in taken[what, way]), median(one[1] for one in taken[what, way]))
                for way in (False, True)
            )
            told[what] = {"apart": [apart_s, apart_n], "together": [both_s, both_n], "ratio": both_s / apart_s}
            table.add_row(what, f"{apart_s * 1e3:.1f} ms", f"{apart_n:.0f}", f"{both_s * 1e3:.1f} ms", f"{both_n:.0f}",
                          f"{both_s / apart_s:.2f}")  # fmt: skip
    Console(width=120).print(table)
    if file is not None:
        file.write_text(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
