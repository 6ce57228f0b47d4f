"""How long searches of the live generation take, measured while a backfill is under way."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from regen.core.documents import UNRESTRICTED
from regen.core.throttle import Throttle
from regen.engine import probes
from regen.engine.stores import Stores
from regen.errors import NotFound, RegenError
from regen.ports import Vectors
from regen.ports.catalog import CatalogReader, Generation

HITS: Final = 10
STORED: Final = 16
WARMING, BASELINE, SAMPLE = 4, 32, 3
"""Searches that are not counted, that make the baseline, and that make one later measurement."""
EVERY_SECONDS: Final = 1.0
LONGEST_BASELINE: Final = 5.0


@dataclass(slots=True)
class LiveSearches:
    """Puts searches to whatever generation is live, by vectors of its own; each call is one search, in seconds."""

    alias: str
    reader: CatalogReader
    stores: Stores
    _target: Generation | None = None
    _vectors: Vectors | None = None
    _next: int = 0

    def __call__(self) -> float:
        """The time of one search. Raises NotFound when nothing is live, StoreError."""
        target, vectors = self._look_up()
        self._next = (self._next + 1) % len(vectors)
        started = time.perf_counter()
        self.stores.of(target).search(target.collection, vectors[self._next], HITS, principals=UNRESTRICTED)
        return time.perf_counter() - started

    def _look_up(self) -> tuple[Generation, Vectors]:
        live = self.reader.route(self.alias).live
        if self._target is None or self._vectors is None or self._target.number != live:
            self._target = next((item for item in self.reader.generations() if item.number == live), None)
            if self._target is None:
                raise NotFound("nothing is live")
            self._vectors = self._of(self._target)
        return self._target, self._vectors

    def _of(self, generation: Generation) -> Vectors:
        """Its probe vectors, or some that it holds."""
        kept = probes.kept_vectors(self.reader, generation)
        if kept is not None:
            return kept[:, : generation.recipe.embedding.dimensions]
        store = self.stores.of(generation)
        for page in store.scan(generation.collection, STORED):
            return store.fetch(generation.collection, page.ids)[1]
        raise NotFound(f"generation {generation.number} holds nothing to search for")


def measure_baseline(search: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> float:
    """The median time of a few dozen searches, in seconds; of fewer where they take long."""
    until = clock() + LONGEST_BASELINE
    for _ in range(WARMING):
        search()
    times = [search() for _ in range(SAMPLE)]
    while len(times) < BASELINE and clock() < until:
        times.append(search())
    return statistics.median(times)


class Gauge:
    """Tells a throttle about every second how long searches take, in a thread that nothing else waits for."""

    def __init__(self, search: Callable[[], float], throttle: Throttle, every: float = EVERY_SECONDS) -> None:
        self._search, self._every = search, every
        self._stop = threading.Event()
        self.throttle = throttle
        self.problem: str | None = None

    def notes(self) -> list[str]:
        """What a reader of the result should know."""
        told = [self.throttle.words()]
        if self.problem is not None:
            told.append(f"the live generation's searches could not be measured any more: {self.problem}")
        return [text for text in told if text]

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure while the block runs."""
        thread = threading.Thread(target=self._measure, name="regen-gauge", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _measure(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self.throttle.observe(statistics.median(self._search() for _ in range(SAMPLE)))
            except RegenError as error:
                self.problem, self.throttle.smoothed = error.message, None  # not to wait for what nobody knows
                return
