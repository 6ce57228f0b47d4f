"""Pending candidates scored by the new model on the spot: so it is no matter in which order documents are migrated.

A document that the new generation lacks has an old score only, and no merge can tell from that whether the new model
would have put it first. It can be asked: the few best pending candidates are embedded while the search waits, within a
stated time, and their vectors are kept in the embedding cache, where the build finds them. Whatever goes wrong, the
merged list is returned as it was, and says so (I10).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regen.core.documents import digest
from regen.core.pace import Pace
from regen.core.results import Hit
from regen.errors import RegenError
from regen.ports import Vector, Vectors
from regen.ports.catalog import Generation
from regen.ports.reranking import Reranker, Scores
from regen.serving.deadline import Attempt

STRANDED: Final = 2
"""So many calls that missed their deadline and still run mean that the next one would miss it too."""
PROBE_EVERY: Final = 20
"""When nothing fits the time any more, every so many searches one text is tried, which nobody waits for."""
MOST_BYTES: Final = 64_000_000

Found: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scorer:
    """A candidate generation's model as it orders texts, and the text that its recipe would embed for a hit."""

    reranker: Reranker
    render: Callable[[Hit], str]


@dataclass(slots=True)
class Rescoring:
    """Scores pending hits in the new space. Safe for threads.

    At most ``texts`` a search, and as many as should take ``budget_ms``. ``make`` gives the scorer of a (live,
    candidate) pair, or says why there is none.
    """

    texts: int
    budget_ms: float
    make: Callable[[Generation, Generation], Scorer | str]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _made: dict[tuple[int, int], Scorer | str] = field(default_factory=dict)
    _paces: dict[tuple[int, int], Pace] = field(default_factory=dict)
    _stranded: int = 0
    _skipped: int = 0

    def off(self, live: Generation, candidate: Generation) -> str | None:
        """Why hits of this pair of generations are not rescored; None where they are."""
        found = self._scorer(live, candidate)
        return found if isinstance(found, str) else None

    def scores(
        self, query: str, live: Generation, candidate: Generation, hits: Sequence[Hit]
    ) -> tuple[Found, str | None]:
        """The new scores of the first of these hits, (some,), and why there are none although there should be."""
        scorer = self._scorer(live, candidate)
        if isinstance(scorer, str) or not hits:
            return np.empty(0), None
        pace = self._paces[live.number, candidate.number]
        depth, problem = self._depth(pace, len(hits))
        texts = [scorer.render(hit) for hit in hits[: depth or 1]]
        if problem is not None:
            if depth:
                self._begin(pace, scorer.reranker, query, texts).wait(0.0)
            return np.empty(0), problem
        attempt = self._begin(pace, scorer.reranker, query, texts)
        if not attempt.wait(self.budget_ms / 1e3):
            return np.empty(0), f"{len(texts)} texts took more than {self.budget_ms:g} ms"
        if attempt.result is None:
            error = attempt.error
            told = error.message if isinstance(error, RegenError) else f"{type(error).__name__}: {error}"
            return np.empty(0), f"the new model failed: {told}"
        return np.asarray(attempt.result, dtype=np.float64), None

    def _scorer(self, live: Generation, candidate: Generation) -> Scorer | str:
        with self._lock:
            pair = live.number, candidate.number
            if pair not in self._made:
                self._made[pair], self._paces[pair] = self.make(live, candidate), Pace()
            return self._made[pair]

    def _depth(self, pace: Pace, hits: int) -> tuple[int, str | None]:
        """How many texts to take, and why not to wait for them: then it is one to be tried, or none."""
        with self._lock:
            if self._stranded >= STRANDED:
                return 0, f"{self._stranded} calls that missed their deadline are still under way"
            if depth := pace.fits(self.budget_ms, min(self.texts, hits)):
                return depth, None
            probe, self._skipped = self._skipped % PROBE_EVERY == 0, self._skipped + 1
            return int(probe), f"{self.budget_ms:g} ms are too short for a single text"

    def _begin(self, pace: Pace, reranker: Reranker, query: str, texts: list[str]) -> Attempt[Scores]:
        def ended(attempt: Attempt[Scores], given_up: bool) -> None:
            with self._lock:
                self._stranded -= given_up
                if attempt.error is None:
                    learn = pace.kept if attempt.milliseconds <= self.budget_ms else pace.late
                    learn(len(texts), attempt.milliseconds)

        def given_up(attempt: Attempt[Scores]) -> None:
            with self._lock:
                self._stranded += 1
                pace.missed(len(texts), attempt.milliseconds)

        return Attempt(lambda: reranker.rerank(query, texts), ended, given_up)


class RecentVectors:
    """Vectors by space and text, kept in memory: what searches have embedded, for the background that places it.

    A cache for an index that has no file for one; what was kept longest goes when there is too much. Safe for threads.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._bytes = most_bytes, 0
        self._lock = threading.Lock()
        self._held: dict[tuple[str, bytes], Vector] = {}

    def get_many(self, space: str, texts: Sequence[str]) -> dict[int, Vector]:
        """The vectors that are there, by position in ``texts``."""
        keys = [(space, digest(text.encode())) for text in texts]
        with self._lock:
            return {at: self._held[key] for at, key in enumerate(keys) if key in self._held}

    def put_many(self, space: str, texts: Sequence[str], vectors: Vectors) -> None:
        """Keep vectors."""
        with self._lock:
            for text, vector in zip(texts, np.array(vectors, dtype=np.float32), strict=True):
                key = space, digest(text.encode())
                if key not in self._held:
                    self._held[key] = vector
                    self._bytes += vector.nbytes
            while self._bytes > self._most:
                self._bytes -= self._held.pop(next(iter(self._held))).nbytes

    def close(self) -> None:
        """Forget everything. Idempotent."""
        with self._lock:
            self._held.clear()
            self._bytes = 0
