"""A backfill beside what its model alone could do in the same run: ratios, not absolute times.

    python -m benchmarks.backfill [--documents 10000] [--large 100000] [--call-texts 16] [--rounds 3] [--json FILE]

A live generation (of another model) is there; a second one is built by ``apply``. The floor is the model's own time
for the same texts: WordLlama's library as it comes, handed in and by itself; regen's adapter of it, which remembers
words and has seen every text once before either is timed, beside the library and beside itself; a simulated API that
answers after 20 ms to eight calls at a time. Memory is the highest size
above that before the build, each size in a process of its own; ``--large`` adds another.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.workload import Peak, load, median
from rich.console import Console
from rich.table import Table
from wordllama import WordLlama

from regen.core.documents import Document
from regen.core.recipe import Chunking
from regen.embedders.hashing import HashingEmbedder
from regen.embedders.wordllama import WordLlamaEmbedder, package
from regen.engine.allocations import give_back
from regen.index import Index
from regen.ports import Embedder, ModelInfo

TARGETS = {"library": 0.95, "wordllama": 0.95, "api": 0.99}
NO_INDEX = {"min_rows": 1 << 30}  # the graph is built once all is there, and takes as long whatever filled the table
CALL_SECONDS, CONCURRENCY, API_DIMENSIONS = 0.020, 8, 256


class SimulatedApi:
    """Answers each call after 20 ms with next to no work of its own; eight calls at a time are allowed."""

    def __init__(self, texts_a_call: int) -> None:
        self.info = ModelInfo(
            name="simulated/api", dimensions=API_DIMENSIONS, max_batch_texts=texts_a_call, concurrency=CONCURRENCY
        )
        self._counts = HashingEmbedder(8)
        self._vectors = np.random.default_rng(7).standard_normal((4_096, API_DIMENSIONS)).astype(np.float32)

    def embed_documents(self, texts: Sequence[str]) -> Any:
        """One of 4,096 vectors for each text, 20 ms later."""
        started = time.perf_counter()
        vectors = self._vectors[[hash(text) % 4_096 for text in texts]]
        time.sleep(max(0.0, CALL_SECONDS - (time.perf_counter() - started)))
        return vectors

    def embed_query(self, text: str) -> Any:
        """As a document."""
        return self.embed_documents([text])[0]

    def token_starts(self, texts: Sequence[str]) -> Any:
        """Words."""
        return self._counts.token_starts(texts)


class Library:
    """WordLlama's own ``embed``, as anybody would call it."""

    def __init__(self) -> None:
        self.info = ModelInfo(name="wordllama/library", dimensions=256, local=True)
        self._counts = HashingEmbedder(8)
        self._model: Any = WordLlama.load(cache_dir=package(), disable_download=True, dim=256)

    def embed_documents(self, texts: Sequence[str]) -> Any:
        """Vectors, of the library's usual batches."""
        return self._model.embed(list(texts)) if texts else np.empty((0, 256), dtype=np.float32)

    def embed_query(self, text: str) -> Any:
        """As a document."""
        return self.embed_documents([text])[0]

    def token_starts(self, texts: Sequence[str]) -> Any:
        """Words."""
        return self._counts.token_starts(texts)


def corpus(count: int) -> list[Document]:
    """So many different documents: those of the sync benchmark, again and again with another number."""
    rows = load("v1")
    return [
        Document(f"{row['id']}-{turn}", f"{row['text']} ({turn})", row["meta"])
        for turn in range(-(-count // len(rows)))
        for row in rows
    ][:count]


def make(name: str, texts_a_call: int) -> Embedder:
    """The model to move to."""
    makers: dict[str, Callable[[], Embedder]] = {
        "library": Library,
        "wordllama": lambda: WordLlamaEmbedder(256),
        "api": lambda: SimulatedApi(texts_a_call),
    }
    return makers[name]()


def floor(embedder: Embedder, texts: Sequence[str]) -> float:
    """Seconds that the model takes for the texts by itself, as concurrently as it may."""
    size = embedder.info.max_batch_texts
    calls = [texts[start : start + size] for start in range(0, len(texts), size)]
    started = time.perf_counter()
    if embedder.info.concurrency > 1:
        with ThreadPoolExecutor(embedder.info.concurrency) as pool:
            list(pool.map(embedder.embed_documents, calls))
    else:
        for call in calls:
            embedder.embed_documents(call)
    return time.perf_counter() - started


def open_index(folder: Path, embedder: Embedder | str, model: Embedder) -> Index:
    """One chunk a document, so that the counts are plain."""
    return Index(
        embedder=embedder, store="lancedb://vectors", catalog="sqlite:///catalog.db", chunking=Chunking("whole"),
        root=folder, models={model.info.name: model}, index=NO_INDEX,
    )  # fmt: skip


class OwnMemory:
    """The highest anonymous memory above that at the start, in MB: without pages of mapped files, which cost nothing.

    SQLite maps up to 256 MB of the catalog, so the resident size grows with the corpus though nothing is kept.
    """

    peak: float = 0.0

    def filled(self, _: object) -> None:
        """Called whenever a batch is written: what comes after the last one is the store's upkeep."""
        self.filling = self.peak

    def __enter__(self) -> OwnMemory:
        self.filling = 0.0
        self.peak, self._base, self._stop = 0.0, anonymous_mb(), threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._stop.wait(0.05):
            self.peak = max(self.peak, anonymous_mb() - self._base)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def anonymous_mb() -> float:
    """What this process holds of its own, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1e3


def catalog_bytes(folder: Path) -> int:
    """What the catalog takes on disk, its write-ahead log included."""
    return sum(path.stat().st_size for path in folder.glob("catalog.db*"))


def measure(name: str, count: int, texts_a_call: int) -> dict[str, float]:
    """One backfill in this process, and the floor before and after it."""
    embedder = make(name, texts_a_call)
    documents = corpus(count)
    texts = [document.text.strip() for document in documents]
    embedder.embed_documents(texts if name == "wordllama" else texts[:600])
    with tempfile.TemporaryDirectory(prefix="regen-bench-") as made:
        folder = Path(made)
        with open_index(folder, "hashing/32", embedder) as index:
            for start in range(0, count, 10_000):
                index.upsert(documents[start : start + 10_000])
        del documents
        size, floors = catalog_bytes(folder), [floor(embedder, texts)]
        with open_index(folder, embedder, embedder) as index:
            give_back()  # else the build would seem to need less the more the corpus left behind
            with Peak() as meter, OwnMemory() as own:
                result = index.apply(progress=own.filled)
            assert result.embedded_texts == len(set(texts))
            chunks = result.chunks.written
        floors.append(floor(embedder, texts))
        library = floor(Library(), texts) if name == "wordllama" else 0.0
        grown = catalog_bytes(folder) - size
    return {
        "texts": len(texts), "seconds": meter.seconds, "floor": median(floors), "share": median(floors) / meter.seconds,
        "library": library / meter.seconds, "memory": meter.peak - meter.base, "own": own.filling, "upkeep": own.peak,
        "catalog": grown / chunks,
    }  # fmt: skip


def in_a_process(name: str, count: int, texts_a_call: int) -> dict[str, float]:
    """The same in a fresh process: what one run leaves in memory does not count for the next."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.backfill",
        "--one",
        name,
        "--documents",
        str(count),
        "--call-texts",
        str(texts_a_call),
    ]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def show(results: dict[str, dict[int, dict[str, float]]]) -> None:
    """A table of medians, beside their targets."""
    # "own MB" is of the filling, "with upkeep" of compacting what was written too; "memory" compares two sizes' own.
    table = Table(
        "model",
        "texts",
        "seconds",
        "alone",
        "share",
        "of the library's",
        "target",
        "own MB",
        "with upkeep",
        "memory",
        "catalog bytes a chunk",
    )
    for name, by_count in results.items():
        first = next(iter(by_count.values()))
        for count, row in by_count.items():
            ratio = "" if row is first else f"{row['own'] / first['own']:.2f} (≤ 1.10)"
            table.add_row(
                name, f"{count:,}", f"{row['seconds']:.2f}", f"{row['floor']:.2f}", f"{row['share']:.3f}",
                f"{row['library']:.2f}" if row["library"] else "",
                f"≥ {TARGETS[name]}", f"{row['own']:.0f}", f"{row['upkeep']:.0f}", ratio, f"{row['catalog']:.0f}",
            )  # fmt: skip
    Console(width=120).print(table)


def main() -> None:
    """Measure both models at one size, or two, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--large", type=int)
    parser.add_argument("--call-texts", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", choices=sorted(TARGETS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.documents, given.call_texts)))
        return
    results: dict[str, dict[int, dict[str, float]]] = {name: {} for name in TARGETS}
    for name, by_count in results.items():
        for count in filter(None, (given.documents, given.large)):
            rounds = [in_a_process(name, count, given.call_texts) for _ in range(given.rounds)]
            by_count[count] = {key: median([one[key] for one in rounds]) for key in rounds[0]}
    show(results)
    if given.json:
        given.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
