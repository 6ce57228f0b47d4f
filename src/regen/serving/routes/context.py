"""What a route is given, and what it gives back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from regen.core.results import SearchResult
from regen.errors import NotFound, RegenError
from regen.ports.catalog import Generation, Route
from regen.ports.rollouts import Rollout
from regen.serving.search import FenceReader

if TYPE_CHECKING:
    from regen.serving.reading import Asked, ReadSide

BASELINE: Final = "baseline"
CANDIDATE: Final = "candidate"
AT_ONCE: Final = 16
"""Searches whose candidate is asked beside the live generation; of more at once each asks one after the other."""
_slots = threading.BoundedSemaphore(AT_ONCE)
_pool = ThreadPoolExecutor(AT_ONCE, "regen-candidate")


class Tried(NamedTuple):
    """The candidate's answer (or None), why it failed (or None), and how many milliseconds it took."""

    found: SearchResult | None
    failure: str | None
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Answered:
    """A route's answer, and what the analysis wants to know of it.

    ``arm`` is the side that answered (empty for both), ``failed`` whether the candidate failed to. ``teams`` tells for
    each document of an interleaved list which side placed it (None: neither). ``then`` is told what users are shown,
    which is a reranker's choice of this result where there is one.
    """

    result: SearchResult
    arm: str
    milliseconds: float
    failed: bool = False
    teams: Mapping[str, str | None] = field(default_factory=dict)
    then: Callable[[SearchResult], None] | None = None


@dataclass(frozen=True, slots=True)
class Serving:
    """One search of a rollout: both generations, and the way to ask each."""

    reader: ReadSide
    asked: Asked
    route: Route
    rollout: Rollout
    live: Generation
    candidate: Generation
    query_id: str

    @property
    def key(self) -> str:
        """What decides the caller's side: the caller's own key, or, for who gives none, this search alone."""
        return self.asked.key or self.query_id

    def ask(
        self, generation: Generation, *, k: int | None = None, facts: FenceReader | None = None
    ) -> SearchResult | None:
        """One generation's answer; None when it was given up meanwhile.

        ``k`` asks for more than the caller did, who needs no more than that. ``facts`` may hold the fence to more.
        """
        asked = self.asked if k is None else replace(self.asked, k=k)
        kind = self.rollout.kind
        return self.reader.answer(asked, generation, self.route, kind, enough=self.asked.k, facts=facts)

    def try_candidate(self, *, k: int | None = None, facts: FenceReader | None = None) -> Tried:
        """The candidate's answer. One that fails must not fail the search: the live one answers, and says so (I10)."""
        started = time.perf_counter()
        try:
            found, failure = self.ask(self.candidate, k=k, facts=facts), None
        except NotFound:
            found, failure = None, None
        except Exception as error:  # noqa: BLE001 - whatever goes wrong with the candidate is no reason to fail
            found, failure = (
                None,
                error.message if isinstance(error, RegenError) else f"{type(error).__name__}: {error}",
            )
        return Tried(found, failure, (time.perf_counter() - started) * 1e3)

    def ask_both(self, *, k: int | None = None, facts: FenceReader | None = None) -> tuple[SearchResult | None, Tried]:
        """The live generation's answer, and the candidate's (held to ``facts``), each asked while the other is."""
        if not _slots.acquire(blocking=False):
            return self.ask(self.live, k=k), self.try_candidate(k=k, facts=facts)
        try:
            beside = _pool.submit(copy_context().run, self.try_candidate, k=k, facts=facts)
            try:
                live = self.ask(self.live, k=k)
            finally:
                tried = beside.result()
        finally:
            _slots.release()
        return live, tried

    def fall_back(self, why: str | None) -> SearchResult | None:
        """The live generation's answer in the candidate's place."""
        found = self.ask(self.live)
        return None if found is None else self.alone(found, why)

    def alone(self, live: SearchResult, why: str | None) -> SearchResult:
        """The live generation's answer, which says why the candidate has no part in it."""
        told = f"generation {self.candidate.number} failed: {why}" if why else "the candidate was given up"
        return replace(live, explanation=replace(live.explanation, fallback=told))
