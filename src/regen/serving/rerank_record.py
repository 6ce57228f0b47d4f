"""What this process counts of reranking, written in sets, and whether judging has switched the reranker off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal, TypeAlias

from regen.errors import CatalogError
from regen.ports.catalog import Catalog
from regen.ports.reranking import KeptReranker, RerankCounts

Outcome: TypeAlias = Literal["reranked", "skipped", "timeouts", "failures"]
SEARCHES: Final = 500
SECONDS: Final = 10.0
"""Counts are written, and a judgement is looked up, after so many searches or so long; a killed process loses them."""


class RerankRecord:
    """One reranker's entry in the catalog. Safe for threads.

    ``fingerprint`` is of the settings: a judgement of others says nothing.
    """

    def __init__(
        self, catalog: Catalog, alias: str, model: str, fingerprint: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._catalog, self._alias, self._model, self._fingerprint = catalog, alias, model, fingerprint
        self._clock, self._lock = clock, threading.Lock()
        self._counts, self._waiting = RerankCounts(), 0
        self._known: KeptReranker | None = None
        self._looked: float | None = None

    def note(self, outcome: Outcome, error: str = "") -> None:
        """One search more has fared so; ``error`` tells what went wrong."""
        with self._lock:
            counts = replace(self._counts, **{outcome: getattr(self._counts, outcome) + 1})
            self._counts = replace(counts, last_error=error, failed_at=time.time()) if error else counts
            self._waiting += 1
            due = self._waiting >= SEARCHES
        if due:
            self.flush()

    @property
    def off(self) -> str | None:
        """Why judging has switched the reranker off, None where it has not."""
        known = self._judgement()
        if known is None or known.helps:
            return None
        return str(known.result.get("reason", "it does not help on the judged queries"))

    @property
    def judged_on(self) -> int | None:
        """The generation that it was judged on with the settings as they are, None where it was not."""
        known = self._judgement()
        return None if known is None else known.result.get("generation")

    @property
    def judged(self) -> bool:
        """Whether it was judged with the settings as they are."""
        return self._judgement() is not None

    def total(self) -> RerankCounts:
        """What all processes have counted, this one up to now."""
        self.flush()
        known = self._current()
        return known.counts if known else RerankCounts()

    def judge(self, *, helps: bool, result: dict[str, object]) -> None:
        """Keep a judgement; it holds for this process at once, for others within seconds."""
        self._catalog.judge_reranker(
            self._alias, self._model, helps=helps, fingerprint=self._fingerprint, at=time.time(), result=result
        )
        with self._lock:
            self._looked = None

    def flush(self) -> None:
        """Write what was counted; should the catalog be busy, it is kept for the next time."""
        with self._lock:
            counts, self._counts, self._waiting = self._counts, RerankCounts(), 0
        if counts != RerankCounts():
            try:
                self._catalog.count_reranking(self._alias, self._model, counts)
            except CatalogError:  # a search must not fail because it cannot be counted
                with self._lock:
                    self._counts = _sum(counts, self._counts)
                return
        with self._lock:
            self._looked = None

    def _judgement(self) -> KeptReranker | None:
        known = self._current()
        return known if known and known.helps is not None and known.fingerprint == self._fingerprint else None

    def _current(self) -> KeptReranker | None:
        with self._lock:
            now = self._clock()
            if self._looked is not None and now - self._looked < SECONDS:
                return self._known
            self._looked = now
        try:
            found = self._catalog.reranker(self._alias, self._model)
        except CatalogError:  # what was known is still the best there is
            return self._known
        with self._lock:
            self._known = found
        return found


def _sum(earlier: RerankCounts, later: RerankCounts) -> RerankCounts:
    newest = later if later.failed_at is not None else earlier
    return RerankCounts(
        earlier.reranked + later.reranked,
        earlier.skipped + later.skipped,
        earlier.timeouts + later.timeouts,
        earlier.failures + later.failures,
        newest.last_error,
        newest.failed_at,
    )
