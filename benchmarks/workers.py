"""How much more 2, 4 and 8 workers do than one, with a model that is waited for: 20 ms a call, one call at a time.

    python -m benchmarks.workers [--store lancedb pgvector] [--workers 1 2 4 8] [--texts 1] [--rounds 2] [--seconds 12]
                                 [--write]

Real ``regen worker`` processes bring one generation in step: one chunk a document, every text its own. Throughput is
the texts that the models were sent within a window that begins when every worker has done a range. Each size has its
turn in every round, so that whatever else the machine does meets all alike; the best round of each counts. Seconds of
the processor, of the workers and of the database's server, tell what bounds the rest. When the workers have been
stopped, every text that was sent must have been placed, and none sent twice. ``--write`` puts the table into
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil  # type: ignore[import-untyped]
from benchmarks.page import put
from rich.console import Console

import regen
from regen.core.documents import Document
from regen.index import Index
from regen.ports import ModelInfo
from regen.testing.postgres_server import PostgresServer

TARGET: Final = 0.9
HEAD: Final = (
    "| store | texts a call | workers | texts/s | of linear | of what the model can | ms CPU a text: workers | server "
    "| cores used | |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)
CALL_SECONDS: Final = 0.02
DIMENSIONS: Final = 384
SENT, TEXTS = "REGEN_BENCH_SENT", "REGEN_BENCH_TEXTS"
PROSE: Final = (
    "an index is kept in step with what it was made from so that nobody who searches ever reads what is not there any "
    "more and whoever changes a page finds it again under its new words a moment after the change was logged"
)


class Api:
    """A remote model as its callers see it: a call takes 20 ms, whatever is in it, and no processor.

    A byte for each text that it was sent is appended to a file of this process.
    """

    def __init__(self) -> None:
        most = int(os.environ.get(TEXTS, "1"))
        self.info = ModelInfo(name="python:api", dimensions=DIMENSIONS, max_batch_texts=most, concurrency=1)
        folder = os.environ.get(SENT)
        place = os.devnull if folder is None else f"{folder}/{os.getpid()}"
        self._sent = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def embed_documents(self, texts: Sequence[str]) -> Any:
        """A vector a text, drawn by the text."""
        time.sleep(CALL_SECONDS)
        os.write(self._sent, b"." * len(texts))
        drawn = [np.random.default_rng(zlib.crc32(text.encode())).standard_normal(DIMENSIONS) for text in texts]
        return np.asarray(drawn, dtype=np.float32)

    def embed_query(self, text: str) -> Any:
        """As a document."""
        return self.embed_documents([text])[0]


def documents(count: int) -> list[Document]:
    """About 500 characters each, no two alike."""
    words = PROSE.split() * 2
    return [
        Document(f"d{n}", f"{n} " + " ".join(f"{word}{n * 7919 % (at + 41)}" for at, word in enumerate(words)))
        for n in range(count)
    ]


@dataclass
class Server:
    """Where the indexes of one store lie: each run has a place of its own."""

    store: str
    postgres: PostgresServer | None = None

    @contextmanager
    def place(self, folder: Path) -> Iterator[dict[str, str]]:
        """Catalog and store of one index."""
        if self.postgres is None:
            yield {"catalog": f"sqlite:///{folder}/catalog.db", "store": f"lancedb://{folder}/vectors"}
            return
        with self.postgres.database() as url:
            self.postgres.execute("CREATE EXTENSION vector", url.split("/")[3].split("?")[0])
            yield {"catalog": url, "store": url}

    def cpu(self) -> float:
        """Seconds of the processor that the database's own processes have used."""
        if self.postgres is None:
            return 0.0
        first = psutil.Process(self.postgres.pid)
        ended = first.cpu_times()
        return float(ended.children_user + ended.children_system) + sum(map(used, [first, *first.children()]))


@contextmanager
def served(store: str) -> Iterator[Server]:
    """The server that a store needs."""
    if store == "lancedb":
        yield Server(store)
        return
    with PostgresServer({"shared_buffers": "256MB"}) as postgres:
        yield Server(store, postgres)


def used(process: Any) -> float:
    """Seconds of the processor of one process."""
    times = process.cpu_times()
    return float(times.user + times.system)


@dataclass
class Crew:
    """Worker processes on one index. ``folder`` holds regen.yaml and what they say."""

    folder: Path
    texts: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, count: int) -> None:
        """Start so many."""
        (self.folder / "sent").mkdir()
        path = os.pathsep.join([str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {SENT: str(self.folder / "sent"), TEXTS: str(self.texts), "PYTHONPATH": path}
        command = [str(Path(sys.executable).with_name("regen")), "worker", "--json", "--concurrency", "1"]
        for number in range(count):
            place = self.folder / f"worker-{number}"
            with place.open("wb") as told, place.with_name(f"errors-{number}").open("wb") as bad:
                self.processes.append(
                    subprocess.Popen(command, cwd=self.folder, env=environment, stdout=told, stderr=bad)
                )

    def await_ranges(self) -> None:
        """Return when each has done one."""
        until = time.monotonic() + 120
        while not all(b'"range"' in (self.folder / f"worker-{n}").read_bytes() for n in range(len(self.processes))):
            for number, process in enumerate(self.processes):
                if process.poll() is not None:
                    sys.exit(f"a worker has ended:\n{(self.folder / f'errors-{number}').read_text()}")
            if time.monotonic() > until:
                sys.exit("not every worker has done a range within two minutes")
            time.sleep(0.05)

    def sent(self) -> int:
        """How many texts the models were sent so far."""
        return sum(path.stat().st_size for path in (self.folder / "sent").iterdir())

    def cpu(self) -> float:
        """Seconds of the processor that they have used."""
        return sum(used(psutil.Process(process.pid)) for process in self.processes)

    def stop(self) -> None:
        """End them in good order."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            if process.wait(60):
                sys.exit(f"a worker ended with {process.returncode}")


@dataclass(frozen=True)
class Measured:
    """One run. ``worker_ms`` and ``server_ms`` are of the processor, for each text."""

    workers: int
    per_second: float
    worker_ms: float
    server_ms: float


def measure(server: Server, workers: int, texts: int, seconds: float) -> Measured:
    """Let so many workers work on an index of their own, and look at a part of it."""
    with tempfile.TemporaryDirectory(prefix="regen-workers-") as made, ExitStack() as stack:
        folder, crew = Path(made), Crew(Path(made), texts)
        where = stack.enter_context(server.place(folder))
        settings = {
            "version": 1, "alias": "fleet", "source": {"kind": "push"}, "text": "{text}",
            "chunking": {"kind": "whole"}, "embedding": {"model": "python:benchmarks.workers:Api"},
            "store": {"url": where["store"]}, "catalog": {"url": where["catalog"]},
        }  # fmt: skip
        (folder / "regen.yaml").write_text(json.dumps(settings))
        index = stack.enter_context(regen.open(folder / "regen.yaml"))
        index.upsert([Document("first", "the first document makes the generation")])
        crew.start(workers)
        try:
            index.accept(documents(round(workers * texts / CALL_SECONDS * (seconds + 12))))
            crew.await_ranges()
            before = (time.perf_counter(), crew.sent(), crew.cpu(), server.cpu())
            time.sleep(seconds)
            after = (time.perf_counter(), crew.sent(), crew.cpu(), server.cpu())
        finally:
            crew.stop()
        require_all_placed(index, crew.sent())
    took, sent, own, its = (b - a for a, b in zip(before, after, strict=True))
    return Measured(workers, sent / took, own / sent * 1e3, its / sent * 1e3)


def require_all_placed(index: Index, sent: int) -> None:
    """End the program unless what was sent is what is there."""
    there = index.status().generations[0].documents - 1
    if there != sent:
        sys.exit(f"{sent} texts were sent to the models, and {there} documents are placed")


def best(runs: Sequence[Measured]) -> list[Measured]:
    """The quickest run of each number of workers."""
    return [max((run for run in runs if run.workers == count), key=lambda run: run.per_second)
            for count in sorted({run.workers for run in runs})]  # fmt: skip


def table(store: str, texts: int, found: Sequence[Measured]) -> list[str]:
    """Lines of Markdown."""
    one = found[0].per_second / found[0].workers
    lines = []
    for run in found:
        share = run.per_second / (one * run.workers)
        verdict = "" if run.workers == found[0].workers else "met" if share >= TARGET else "**a miss**"
        lines.append(
            f"| {store} | {texts} | {run.workers} | {run.per_second:,.0f} | {share:.2f} | "
            f"{run.per_second * CALL_SECONDS / texts / run.workers:.2f} | {run.worker_ms:.2f} | "
            f"{run.server_ms:.2f} | {run.per_second * (run.worker_ms + run.server_ms) / 1e3:.2f} | {verdict} |"
        )
    return lines


def main() -> None:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", nargs="+", choices=("lancedb", "pgvector"), default=["lancedb", "pgvector"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--texts", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    os.environ[TEXTS] = str(given.texts)
    for store in given.store:
        runs = []
        with served(store) as server:
            for _ in range(given.rounds):
                for count in given.workers:
                    runs.append(measure(server, count, given.texts, given.seconds))
                    Console(stderr=True).print(store, runs[-1])
        lines = "\n".join([HEAD, *table(store, given.texts, best(runs))])
        print(lines)
        if given.write:
            put(f"workers {store}", lines)


if __name__ == "__main__":
    main()
