"""A stop-gap while a generation is built: queries of its model, mapped into the old space, ask the live generation.

Only where measured queries have shown that it helps: ``regen.spaces.bridge`` chose the weight.
"""

from __future__ import annotations

import base64
import time
from dataclasses import replace

from regen.core.results import SearchResult
from regen.errors import RegenError
from regen.ports import Vector
from regen.serving.routes.context import Answered, Serving
from regen.serving.search import embed_query
from regen.spaces.bridge import blend
from regen.spaces.maps import Map


def bridge(serving: Serving) -> Answered | None:
    """One store query, by a blend of the old model's query and the mapped one; the old alone if the new model fails."""
    started = time.perf_counter()
    live, reader = serving.live, serving.reader
    old = embed_query(str(serving.asked.query), live.recipe, reader.embedder_for(live))
    try:
        vector, failure = _blended(serving, old), None
    except RegenError as error:
        vector, failure = old, error.message
    embed_ms = (time.perf_counter() - started) * 1e3
    result = reader.answer_vector(serving.asked, vector, live, serving.route, serving.rollout.kind, embed_ms=embed_ms)
    if result is None:
        return None
    if failure is not None:
        result = _old_alone(result, failure)
    return Answered(result, "", (time.perf_counter() - started) * 1e3, failed=failure is not None)


def _blended(serving: Serving, old: Vector) -> Vector:
    """The query as it asks the old collection, shape (old dimensions,)."""
    recipe = serving.candidate.recipe
    new = embed_query(str(serving.asked.query), recipe, serving.reader.embedder_for(serving.candidate))
    bridged = _map(serving).apply(new, space=recipe.space)
    blended: Vector = blend(old[None], bridged[None], float(serving.rollout.state["weight"]))[0]
    return blended


def _map(serving: Serving) -> Map:
    """The rollout's map, read once in a process."""
    known: tuple[int, Map] | None = serving.reader.memory.get("bridge")
    if known is None or known[0] != serving.rollout.id:
        fitted = Map.from_bytes(base64.b64decode(serving.rollout.state["map"]))
        known = serving.reader.memory["bridge"] = (serving.rollout.id, fitted)
    return known[1]


def _old_alone(result: SearchResult, why: str) -> SearchResult:
    return replace(result, explanation=replace(result.explanation, fallback=f"the query was not bridged: {why}"))
