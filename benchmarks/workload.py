"""The 20,000 real documents that every sync benchmark uses, and how time and memory are measured.

The texts are long descriptions of Debian packages (mean 500 characters) beside the project, in ``../shared/peers/data``
or where ``REGEN_PEERS`` says: v1 is the base; v2 has 1 % edited, 0.5 % deleted, 0.5 % added; v3 is v2 with the metadata
of 10 % changed.
"""

from __future__ import annotations

import gzip
import importlib.util
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from regen.core.documents import Document
from regen.ports import KnownStamps, ScanBatch

PEERS = Path(os.environ.get("REGEN_PEERS", Path(__file__).resolve().parents[2] / "shared" / "peers"))
DIMENSIONS = 384


def load(name: str) -> list[dict[str, Any]]:
    """The documents of one version, as dictionaries with id, text and meta."""
    path = PEERS / "data" / f"{name}.jsonl.gz"
    if not path.exists():
        sys.exit(
            f"the workload is not there: {path}\nHint: set REGEN_PEERS to the folder that holds data/{name}.jsonl.gz"
        )
    with gzip.open(path, "rb") as lines:
        return [orjson.loads(line) for line in lines]


def documents(rows: Sequence[dict[str, Any]]) -> list[Document]:
    """The same as regen's documents."""
    return [Document(row["id"], row["text"], row["meta"]) for row in rows]


class ListSource:
    """A full source over documents in memory, as the peers are given theirs."""

    name, full = "list", True

    def __init__(self) -> None:
        self.documents: list[Document] = []

    def scan(self, known: KnownStamps) -> Iterator[ScanBatch]:  # noqa: ARG002 - nothing to stamp
        """Batches of 2,000."""
        for start in range(0, len(self.documents), 2_000):
            yield ScanBatch(self.documents[start : start + 2_000])


class TrivialEmbedder:
    """The peers' own embedder (384 dimensions, hashed 4-grams), so that all do the same work; counts its texts."""

    model_name = "trivial/384"

    def __init__(self) -> None:
        self._encode = _peers_workload().Embedder().encode
        self.texts = 0

    def embed_documents(self, texts: Sequence[str]) -> Any:
        """Vectors of shape (len(texts), 384)."""
        self.texts += len(texts)
        return self._encode(texts)

    def embed_query(self, text: str) -> Any:
        """As a document."""
        return self._encode([text])[0]


def _peers_workload() -> Any:
    spec = importlib.util.spec_from_file_location("peers_workload", PEERS / "workload.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Meter:
    """Wall seconds, and the highest resident memory above that at the start, in MB, sampled every 5 ms."""

    def __enter__(self) -> Meter:
        self.peak = self.base = _rss_mb()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        self._started = time.perf_counter()
        return self

    def _sample(self) -> None:
        while not self._stop.wait(0.005):
            self.peak = max(self.peak, _rss_mb())

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._started
        self._stop.set()
        self._thread.join()


def _rss_mb() -> float:
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def median(values: Sequence[float]) -> float:
    """The median."""
    return float(np.median(np.asarray(values)))
