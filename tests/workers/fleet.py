"""Worker processes on one index, and what they leave: compared with what one run alone makes of the same documents."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.crash.worlds import Snapshot, snapshot

from regen import registry
from regen.core.documents import Document
from regen.core.recipe import Chunking
from regen.embedders.hashing import HashingEmbedder
from regen.engine.probes import TEXTS as PROBES
from regen.index import Index
from regen.ports import ModelInfo
from regen.testing.faults import CrashAt, Steps

CHUNKING = Chunking("sentences", 16)
LANCE = "lancedb://vectors"
SQLITE = "sqlite:///catalog.db"
SIGNS = 30.0
"""Seconds within which something must happen, on the slowest machine."""

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["tests.workers.forked", "tests.workers.fleet", "regen.stores.lancedb", "regen.stores.pgvector",
     "regen.catalog.sqlite", "regen.catalog.postgres", "regen.engine.working"]
)  # fmt: skip


class Counting:
    """The hashing model, some milliseconds slower, writing down every text that it is sent; one text a call."""

    def __init__(self, log: Path, seconds: float = 0.0, dimensions: int = 32, price: float = 0.0) -> None:
        self._inner, self._log, self._seconds = HashingEmbedder(dimensions), log, seconds
        info = self._inner.info
        self.info = ModelInfo(
            name=info.name, dimensions=dimensions, revision=info.revision, max_batch_texts=4,
            price_per_million_tokens=price,
        )  # fmt: skip

    def embed_documents(self, texts: Sequence[str]) -> Any:
        """As the model inside."""
        lines = "".join(json.dumps(text) + "\n" for text in texts)
        file = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, lines.encode())
        os.close(file)
        time.sleep(self._seconds)
        return self._inner.embed_documents(texts)

    def embed_query(self, text: str) -> Any:
        """As the model inside; not written down."""
        return self._inner.embed_query(text)

    def token_starts(self, texts: Sequence[str]) -> Any:
        """As the model inside."""
        return self._inner.token_starts(texts)


@dataclass(frozen=True)
class Place:
    """Where an index lies, for any process."""

    root: Path
    catalog: str = SQLITE
    store: str = LANCE
    seconds: float = 0.0
    dimensions: int = 32
    settings: dict[str, Any] = field(default_factory=dict)

    def index(self, steps: Steps | None = None, **more: Any) -> Index:
        """Open it; its ports wrapped, if a process is to die at one of their steps."""
        catalog = registry.make_catalog(self.catalog, self.root)
        store = registry.make_store(self.store, self.root)
        embedder: Any = Counting(self.log, self.seconds, self.dimensions)
        if steps is not None:
            catalog, store = steps.wrap(catalog, "catalog"), steps.wrap(store, "store")
            embedder = steps.wrap(embedder, "embedder")
        given = {"chunking": CHUNKING, "text": "{text}", **self.settings, **more}
        return Index(embedder=embedder, catalog=catalog, store=store, root=self.root, **given)

    @property
    def log(self) -> Path:
        """Where the model writes down its texts."""
        return self.root / "embedded.jsonl"

    def embedded(self) -> Counter[str]:
        """How often each text was sent to the model, but for those by which the model itself is tried."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return Counter(text for text in map(json.loads, lines) if text not in PROBES)


def documents(count: int, first: int = 0) -> list[Document]:
    """Documents of three sentences: one of its own, one that every seventh has, one that all have."""
    return [
        Document(
            f"d{number}",
            f"The {number}th river carries stones of its own to the sea every spring again. "
            f"Some {number % 7} mills along its quiet banks have been standing for hundreds of years. "
            "Nobody who lives here remembers a summer in which it had run dry at all.",
            {"number": number, "lang": "en" if number % 2 else "de"},
        )
        for number in range(first, first + count)
    ]


def log_only(index: Index, *changed: Document, deleted: Sequence[str] = ()) -> None:
    """Log documents as a sync would, and leave the rest to the workers."""
    writer = index._writer
    with writer._logging():
        if changed:
            index._log_pushed(list(changed))
        if deleted:
            index._catalog.tombstone(list(deleted), at=time.time())
    if not writer.current():
        writer.create(index.recipe)


def clean(root: Path, wanted: Sequence[Document]) -> Snapshot:
    """What a run alone makes of the documents."""
    root.mkdir()
    place = Place(root, store="memory://")
    with place.index() as index:
        index.upsert(wanted)
        return snapshot(index)


def assert_as_clean(place: Place, wanted: Sequence[Document], root: Path, name: str = "clean") -> None:
    """I5: the same documents, chunks, texts, payloads and vectors; nothing twice, nothing left over."""
    with place.index() as index:
        index.gc()
        report = index.verify()
        assert report.consistent, report
        found = snapshot(index)
        assert not index._catalog.leases()
        assert not index._catalog.ranges(1)
    expected = clean(root / name, wanted)
    assert found["documents"].keys() == expected["documents"].keys()
    assert found == expected


@dataclass
class Fleet:
    """The worker processes of a test; none outlives it."""

    place: Place
    processes: list[BaseProcess] = field(default_factory=list)

    def start(
        self, *, until_idle: bool = True, lease: float = 30.0, crash: tuple[str, int] | None = None
    ) -> BaseProcess:
        """Start one more worker."""
        process = PROCESSES.Process(target=live, args=(self.place, until_idle, lease, crash), daemon=True)
        process.start()
        self.processes.append(process)
        return process

    def end(self) -> list[int | None]:
        """Wait until all are through; how each ended."""
        for process in self.processes:
            process.join(SIGNS * 4)
        return [process.exitcode for process in self.processes]

    def kill(self) -> None:
        """Leave none."""
        for process in self.processes:
            if process.is_alive() and process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            process.join(SIGNS)


@contextlib.contextmanager
def fleet(place: Place) -> Iterator[Fleet]:
    """Workers that are gone when the block ends."""
    workers = Fleet(place)
    try:
        yield workers
    finally:
        workers.kill()


def live(place: Place, until_idle: bool, lease: float, crash: tuple[str, int] | None) -> None:
    """One worker's life, in a process of its own."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    steps = None if crash is None else Steps(CrashAt(*crash, kill=True))
    with place.index(steps) as index, (place.root / f"worker-{os.getpid()}").open("w") as file:
        done = index.work(
            stop, until_idle=until_idle, lease=lease,
            told=lambda event: print(json.dumps(event.to_dict()), file=file, flush=True),
        )  # fmt: skip
        print(json.dumps({"event": "end", **done.to_dict()}), file=file, flush=True)


def events(place: Place, process: BaseProcess) -> list[dict[str, Any]]:
    """What a worker has told so far."""
    path = place.root / f"worker-{process.pid}"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def stop_in_peace(place: Place, process: BaseProcess) -> None:
    """Stop a process where it holds no lock of the database: SQLite has one for all."""
    while True:
        os.kill(process.pid or 0, signal.SIGSTOP)
        if not place.catalog.startswith("sqlite"):
            return
        with contextlib.closing(sqlite3.connect(place.root / "catalog.db", timeout=0.2)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                os.kill(process.pid or 0, signal.SIGCONT)
                time.sleep(0.01)
            else:
                return
