"""Both generations answer with one list, drafted by turns: whose documents are clicked tells who is better."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from regen.core.results import Hit, SearchResult
from regen.evaluation.interleave import team_draft
from regen.serving.routes.context import BASELINE, CANDIDATE, Answered, Serving


def interleaved(serving: Serving) -> Answered | None:
    """Team-draft interleaving by document: ranks are merged, scores of two spaces are never compared (I1).

    Each hit keeps the generation, space and score that it was found with, so scores do not fall monotonically.
    """
    started = time.perf_counter()
    live, (found, failure, took) = serving.ask_both()
    if live is None:
        return None
    if found is None:
        return Answered(serving.alone(live, failure), "", took, failed=failure is not None)
    rankings = {BASELINE: _documents(live), CANDIDATE: _documents(found)}
    if not (rankings[BASELINE] or rankings[CANDIDATE]):
        return Answered(live, "", (time.perf_counter() - started) * 1e3)
    shown = team_draft(rankings, seed=serving.query_id, k=serving.asked.k)
    teams = dict(zip(shown.documents, shown.teams, strict=True))
    merged = replace(live, hits=_hits(shown.documents, teams, live, found, serving.asked.k))
    return Answered(merged, "", (time.perf_counter() - started) * 1e3, teams=teams)


def _documents(result: SearchResult) -> list[str]:
    return list(dict.fromkeys(hit.doc_id for hit in result.hits))


def _hits(
    documents: Sequence[str], teams: dict[str, str | None], live: SearchResult, found: SearchResult, k: int
) -> list[Hit]:
    """The best chunk of each document, as the side found it that placed it; then what room is left for others."""
    best: dict[str, dict[str, Hit]] = {BASELINE: {}, CANDIDATE: {}}
    for side, result in ((BASELINE, live), (CANDIDATE, found)):
        for hit in result.hits:
            best[side].setdefault(hit.doc_id, hit)
    hits = []
    for doc in documents[:k]:
        side = teams[doc] or (BASELINE if doc in best[BASELINE] else CANDIDATE)
        hits.append(best[side][doc])
    return hits
