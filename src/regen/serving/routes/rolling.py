"""One list while a generation is filled: what it holds is answered by it, the rest by the complete live generation.

Two store queries, one to each. Looks at the catalog before and after the second decide for every document which
generation answers it: the new one if it holds the document as it is now, so one that was edited since counts as not
migrated until its new revision is there. Old scores are brought to the new scale by ``regen.spaces.rolling``; of the
best such documents ``serving/rescoring.py`` learns the new ones.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from regen.core.results import Explanation, Hit
from regen.ports.placements import FenceEntry
from regen.serving.routes.context import Answered, Serving
from regen.serving.routes.priors import Priors
from regen.serving.search import FenceReader
from regen.spaces.merge import Scored
from regen.spaces.rolling import Relevant
from regen.spaces.rolling import rolling as merge

DEPTH: Final = 100
"""Candidates that are taken from each generation; more if the caller wants more."""


def rolling(serving: Serving) -> Answered | None:
    """Ask both generations and merge. When the new one fails the live one answers alone, and says so (I10)."""
    started = time.perf_counter()
    depth = max(serving.asked.k, DEPTH)
    live = serving.ask(serving.live, k=depth)
    if live is None:
        return None
    held = HeldNow(serving.reader.catalog, serving.candidate.number, {hit.doc_id for hit in live.hits})
    found, failure, _ = serving.try_candidate(k=depth, facts=held)
    if found is None:
        result = serving.alone(live, failure)
    else:
        hits = merged(serving, live.hits, found.hits, held.current)
        explanation = _both(live.explanation, found.explanation)
        if found.hits:
            hits, explanation = rescored(serving, hits, explanation)
        result = replace(live, hits=hits, explanation=explanation)
    result = replace(result, hits=result.hits[: serving.asked.k])
    return Answered(result, "", (time.perf_counter() - started) * 1e3, failed=failure is not None)


class HeldNow:
    """The catalog's facts for the fence of a generation that may answer only what it holds at its present revision.

    ``also`` are documents of the other generation's list. ``current`` are those documents that this one answers: of the
    other list only those that it held the same way before its store was asked and after. One that was placed, or
    edited, in between may have been overlooked here, and is still answered there. So no document is lost, or shown
    from both sides, at the moment at which it changes sides.
    """

    def __init__(self, catalog: FenceReader, generation: int, also: Collection[str] = ()) -> None:
        self._catalog, self._also = catalog, set(also)
        self._before = {doc: entry.chunks for doc, entry in self._held(generation, self._also).items()}
        self.current: frozenset[str] = frozenset()

    def fence(self, generation: int, ids: Sequence[str]) -> Mapping[str, FenceEntry]:
        """The facts for those of the ids that this generation answers."""
        after = self._held(generation, {*ids, *self._also})
        now = {
            doc: entry for doc, entry in after.items() if doc not in self._also or self._before.get(doc) == entry.chunks
        }
        self.current = frozenset(now)
        return now

    def drops(self) -> int:
        """As the catalog's."""
        return self._catalog.drops()

    def _held(self, generation: int, ids: set[str]) -> dict[str, FenceEntry]:
        found = self._catalog.fence(generation, list(ids)) if ids else {}
        return {doc: entry for doc, entry in found.items() if entry.current}


def merged(serving: Serving, old: Sequence[Hit], new: Sequence[Hit], migrated: Collection[str]) -> list[Hit]:
    """Chunk hits of both sides, best first, on the new generation's scale; each side's own order is kept."""
    waiting = [hit for hit in old if hit.doc_id not in migrated]
    priors: Priors = serving.reader.memory.setdefault("priors", Priors())
    pair = serving.live.number, serving.candidate.number
    documents = _documents(old)
    found = merge(
        documents,
        _documents(new),
        [doc in migrated for doc in documents.ids],
        prior=priors.get(pair),
        relevant=_relevant(serving),
    )
    priors.put(pair, found.prior)
    if not new or not waiting:
        return [*new, *waiting]
    scores = found.calibration(np.array([hit.score for hit in waiting])) + found.lean
    calibrated = [replace(hit, score=float(score)) for hit, score in zip(waiting, scores, strict=True)]
    return _in_turn(new, calibrated)


def rescored(serving: Serving, hits: list[Hit], explanation: Explanation) -> tuple[list[Hit], Explanation]:
    """A merged list in which the best pending hits have the score that the new model itself gives them.

    They stay hits of the live generation, which has found them. Hits of equal score keep their order.
    """
    rescoring = serving.reader.rescoring
    pending = [at for at, hit in enumerate(hits) if hit.generation == serving.live.number]
    if rescoring is None or not pending:
        return hits, explanation
    scores, problem = rescoring.scores(
        str(serving.asked.query), serving.live, serving.candidate, [hits[at] for at in pending]
    )
    if problem is not None:
        return hits, replace(explanation, fallback=f"pending documents not rescored: {problem}")
    scored = list(hits)
    for at, score in zip(pending, scores.tolist(), strict=False):
        scored[at] = replace(scored[at], score=score)
    scored.sort(key=lambda hit: hit.score, reverse=True)
    return scored, replace(explanation, rescored=len(scores))


def _in_turn(first: Sequence[Hit], second: Sequence[Hit]) -> list[Hit]:
    """Two lists, each best first, made one; neither's order is changed, whatever its scores."""
    result: list[Hit] = []
    left, right = list(reversed(first)), list(reversed(second))
    while left and right:
        result.append((left if left[-1].score >= right[-1].score else right).pop())
    return [*result, *reversed(left), *reversed(right)]


def _documents(hits: Iterable[Hit]) -> Scored:
    """Each document with its best chunk's score."""
    best: dict[str, float] = {}
    for hit in hits:
        best[hit.doc_id] = max(hit.score, best.get(hit.doc_id, hit.score))
    return Scored.of(best)


def _relevant(serving: Serving) -> Relevant | None:
    """Where judged relevant documents lie, as the process that fills the generation has found it last."""
    known = serving.rollout.state.get("relevant")
    return Relevant(int(known["pending"]), int(known["total"])) if known else None


def _both(live: Explanation, found: Explanation) -> Explanation:
    """What both store queries took, and all that the fence has dropped."""
    dropped = {reason: live.dropped.get(reason, 0) + found.dropped.get(reason, 0)
               for reason in (*live.dropped, *found.dropped)}  # fmt: skip
    return replace(
        live,
        embed_ms=live.embed_ms + found.embed_ms,
        store_ms=live.store_ms + found.store_ms,
        fence_ms=live.fence_ms + found.fence_ms,
        rounds=live.rounds + found.rounds,
        candidates=live.candidates + found.candidates,
        dropped=dropped,
    )
