"""Callers divided between two generations, each caller always on the same side: canary and A/B test."""

from __future__ import annotations

import time

from regen.evaluation.routing import Split
from regen.serving.routes.context import BASELINE, CANDIDATE, Answered, Serving


def canary(serving: Serving) -> Answered | None:
    """The rollout's weight is the share of callers that the candidate answers; as it grows nobody is moved back."""
    weight = serving.rollout.weight
    return _answer(serving, Split({BASELINE: 1 - weight, CANDIDATE: weight}, f"rollout {serving.rollout.id}"))


def ab(serving: Serving) -> Answered | None:
    """As a canary, but meant to compare: the weight stays, and each caller counts once."""
    return canary(serving)


def _answer(serving: Serving, split: Split) -> Answered | None:
    if split.arm(serving.key) == CANDIDATE:
        found, failure, took = serving.try_candidate()
        if found is not None:
            return Answered(found, CANDIDATE, took)
        instead = serving.fall_back(failure)
        return None if instead is None else Answered(instead, CANDIDATE, took, failed=failure is not None)
    started = time.perf_counter()
    result = serving.ask(serving.live)
    return None if result is None else Answered(result, BASELINE, (time.perf_counter() - started) * 1e3)
