"""The 20,000 real documents that every sync benchmark uses, and how time and memory are measured.

The texts are long descriptions of Debian packages (mean 500 characters) beside the project, in ``../shared/peers/data``
or where ``REGEN_PEERS`` says: v1 is the base; v2 has 1 % edited, 0.5 % deleted, 0.5 % added; v3 is v2 with the metadata
of 10 % changed.
"""

from __future__ import annotations

import gzip
import importlib.util
import os
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


class MixedSource(ListSource):
    """As many different documents as are asked for, made of the real ones while they are delivered.

    The first are the real ones; each later one is the first half of one text and the second half of another. Of every
    hundred one is edited when ``edited`` is set: it gets a last sentence.
    """

    def __init__(self, rows: list[dict[str, Any]], count: int, *, edited: bool = False) -> None:
        super().__init__()
        self._rows, self._count, self.edited = rows, count, edited

    def scan(self, known: KnownStamps) -> Iterator[ScanBatch]:  # noqa: ARG002 - nothing to stamp
        """Batches of 2,000."""
        for start in range(0, self._count, 2_000):
            yield ScanBatch([self.document(number) for number in range(start, min(start + 2_000, self._count))])

    def document(self, number: int) -> Document:
        """One of the documents."""
        turn, place = divmod(number, len(self._rows))
        row = self._rows[place]
        text = row["text"]
        if turn:
            other = self._rows[(place * 7_919 + turn * 104_729) % len(self._rows)]["text"]
            text = f"{text[: len(text) // 2]}{other[len(other) // 2 :]} ({turn})"
        if self.edited and number % 100 == 0:
            text += " This sentence was added."
        return Document(f"{row['id']}/{turn}", text, row["meta"])


class Peak:
    """Wall seconds, and the highest resident memory of this process in MB, mapped files included.

    The kernel keeps it, so nothing runs beside what is measured. ``base`` is what was resident before.
    """

    def __enter__(self) -> Peak:
        Path("/proc/self/clear_refs").write_text("5")  # from here on
        self.base = _memory(os.getpid())["VmRSS"]
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._started
        self.peak = _memory(os.getpid())["VmHWM"]


class Meter:
    """Wall seconds, and the highest memory of each phase, in MB, sampled 20 times a second.

    A sample holds the interpreter: taken 200 times a second, it made a first load a third slower. ``base`` and
    ``peak`` are resident memory of this process, its mapped files included. ``phases`` has for each phase the highest
    of three: ``own`` (this process, without mapped files), ``resident`` (with them), and ``all`` (that of this process
    and of those that it started, together).
    """

    def __enter__(self) -> Meter:
        self.base = self.peak = process_memory(os.getpid())[1]
        self.phases: dict[str, dict[str, float]] = {}
        self.phase = "all"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        self._started = time.perf_counter()
        return self

    def _sample(self) -> None:
        while not self._stop.wait(0.05):
            own, resident = process_memory(os.getpid())
            every = resident + sum(process_memory(child)[1] for child in _children())
            self.peak = max(self.peak, resident)
            known = self.phases.setdefault(self.phase, dict.fromkeys(("own", "resident", "all"), 0.0))
            for name, now in (("own", own), ("resident", resident), ("all", every)):
                known[name] = max(known[name], now)

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._started
        self._stop.set()
        self._thread.join()


def process_memory(pid: int) -> tuple[float, float]:
    """What a process holds of its own and all that is resident, in MB; nothing for one that has ended."""
    found = _memory(pid)
    return found.get("RssAnon", 0.0), found.get("VmRSS", 0.0)


def _memory(pid: int) -> dict[str, float]:
    """What the kernel tells of a process's memory, in MB; nothing for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    told = (line.partition(":") for line in lines)
    return {key: int(value.split()[0]) / 1e3 for key, _, value in told if key in _KEPT}


_KEPT = {"RssAnon", "VmRSS", "VmHWM"}


def _children() -> list[int]:
    found: list[int] = []
    for path in Path("/proc/self/task").glob("*/children"):
        try:
            found += map(int, path.read_text().split())
        except (FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            continue
    return found


def median(values: Sequence[float]) -> float:
    """The median."""
    return float(np.median(np.asarray(values)))
