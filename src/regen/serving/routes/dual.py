"""Two complete generations asked the same, their lists made one: each document once, each text once."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from regen.core.results import Hit, SearchResult
from regen.serving.routes.context import Answered, Serving
from regen.serving.routes.rolling import HeldNow
from regen.spaces.merge import Method, Scored, distinct, fuse

DEPTH: Final = 100
METHOD: Final[Method] = "calibrated"
WEIGHT: Final = 0.5


def dual(serving: Serving) -> Answered | None:
    """Fuse by the rollout's ``method`` and ``weight`` (of the candidate); the score of a hit is what they make of both.

    Each document is shown by the chunk of the generation that weighs more, if both have found it. What the candidate
    holds of an older revision is not looked at.
    """
    started = time.perf_counter()
    depth = max(serving.asked.k, DEPTH)
    held = HeldNow(serving.reader.catalog, serving.candidate.number)
    live, (found, failure, _) = serving.ask_both(k=depth, facts=held)
    if live is None:
        return None
    result = serving.alone(live, failure) if found is None else replace(live, hits=_fused(serving, live, found))
    result = replace(result, hits=result.hits[: serving.asked.k])
    return Answered(result, "", (time.perf_counter() - started) * 1e3, failed=failure is not None)


def _fused(serving: Serving, live: SearchResult, found: SearchResult) -> list[Hit]:
    settings = serving.rollout.settings
    weight = float(settings.get("weight", WEIGHT))
    old, new = _best(live.hits), _best(found.hits)
    both = fuse(_scored(old), _scored(new), settings.get("method", METHOD), weight=weight)
    shown = {**new, **old} if weight < WEIGHT else {**old, **new}
    hits = [replace(shown[doc], score=float(score)) for doc, score in zip(both.ids, both.scores, strict=True)]
    return [hits[at] for at in distinct([hit.doc_id for hit in hits], [hit.text for hit in hits])]


def _best(hits: Iterable[Hit]) -> dict[str, Hit]:
    """Each document's best chunk: the first, since lists are best first."""
    best: dict[str, Hit] = {}
    for hit in hits:
        best.setdefault(hit.doc_id, hit)
    return best


def _scored(best: dict[str, Hit]) -> Scored:
    return Scored.of({doc: hit.score for doc, hit in best.items()})
