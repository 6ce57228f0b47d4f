"""The live generation answers; the candidate is asked the same in the background, and the difference is logged."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from regen.core.results import SearchResult
from regen.evaluation.signals import overlap_at
from regen.ports.rollouts import LoggedQuery
from regen.serving.routes.context import BASELINE, CANDIDATE, Answered, Serving

WAITING: Final = 64
"""Searches that may wait for their shadow; more are answered without one, so that a slow candidate delays nobody."""
_slots = threading.BoundedSemaphore(WAITING)
_pool = ThreadPoolExecutor(2, "regen-shadow")


def shadow(serving: Serving) -> Answered | None:
    """Nobody sees the candidate's answer; nobody waits for it."""
    started = time.perf_counter()
    result = serving.ask(serving.live)
    if result is None:
        return None
    if _slots.acquire(blocking=False):
        _pool.submit(_compare, serving, result)
    return Answered(result, BASELINE, (time.perf_counter() - started) * 1e3)


def _compare(serving: Serving, result: SearchResult) -> None:
    """Ask the candidate, and log its answer beside the live one's, with how far they agree."""
    try:
        found, failure, took = serving.try_candidate()
        returned = tuple(dict.fromkeys(hit.doc_id for hit in found.hits)) if found else ()
        live = tuple(dict.fromkeys(hit.doc_id for hit in result.hits))
        agreement = overlap_at(live, returned, serving.asked.k)
        serving.reader.log.note(
            LoggedQuery(
                f"{serving.query_id}-shadow",
                str(serving.asked.query),
                serving.candidate.number,
                returned,
                (),
                time.time(),
                serving.rollout.id,
                CANDIDATE,
                took,
                failure is not None,
                (f"overlap@{serving.asked.k}={agreement:.4f}",),
            )
        )
    finally:
        _slots.release()
