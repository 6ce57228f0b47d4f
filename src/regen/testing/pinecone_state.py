"""What lies in the Pinecone of our tests: namespaces whose readers see a write some time after it was acknowledged."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from regen.ports import Vector, Vectors
from regen.testing.pinecone_filters import passes

Record: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class View:
    """What one kind of reader sees: the log up to ``lsn``. ``lag`` is how many seconds it is behind."""

    lag: float
    records: dict[str, Record] = field(default_factory=dict)
    lsn: int = 0
    waiting: deque[tuple[float, int, list[tuple[str, Record | None]]]] = field(default_factory=deque)
    _matrix: tuple[list[str], Vectors] | None = None

    def catch_up(self) -> None:
        """Apply what has become due."""
        while self.waiting and self.waiting[0][0] <= time.monotonic():
            _, self.lsn, changes = self.waiting.popleft()
            self._matrix = None
            for key, record in changes:
                if record is None:
                    self.records.pop(key, None)
                else:
                    self.records[key] = record

    def nearest(self, query: Vector, k: int, asked: Any, metric: str) -> list[tuple[str, float]]:
        """Ids and scores as Pinecone words them, the best first."""
        if self._matrix is None:
            vectors = np.array([record["values"] for record in self.records.values()], np.float32)
            self._matrix = list(self.records), vectors.reshape(len(self.records), len(query))
        ids, vectors = self._matrix
        rows = [at for at, one in enumerate(ids) if not asked or passes(self.records[one]["metadata"], asked)]
        scores = _scores(vectors[rows].astype(np.float64), query.astype(np.float64), metric)
        order = np.argsort(scores if metric == "euclidean" else -scores, kind="stable")[:k]
        return [(ids[rows[at]], float(scores[at])) for at in order]


@dataclass(slots=True)
class Namespace:
    """A log of writes, and its readers: those who query, and those who fetch and list."""

    queried: View
    fetched: View
    lsn: int = 0

    def write(self, changes: list[tuple[str, Record | None]]) -> int:
        """Take a write; its number."""
        self.lsn += 1
        for view in (self.queried, self.fetched):
            view.waiting.append((time.monotonic() + view.lag, self.lsn, changes))
        return self.lsn

    def catch_up(self) -> None:
        """Let readers see what has become due."""
        self.queried.catch_up()
        self.fetched.catch_up()


@dataclass(slots=True)
class IndexState:
    """One index: its dimensions and metric, namespaces, and aliases (target, and when it was set)."""

    name: str
    dimension: int
    metric: str
    tags: dict[str, str]
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    aliases: dict[str, tuple[str, str]] = field(default_factory=dict)

    def resolved(self, name: str) -> str:
        """The namespace that a reader means by a name or an alias."""
        return self.aliases[name][0] if name in self.aliases else name


def _scores(vectors: Any, query: Any, metric: str) -> Any:
    if metric == "euclidean":
        return np.square(vectors - query).sum(axis=1)
    scores = vectors @ query
    if metric == "cosine":
        scores /= np.linalg.norm(vectors, axis=1) * (np.linalg.norm(query) or 1.0)
    return scores
