"""Running the queries of a judged collection through a generation: document rankings, timed, failures counted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from regen.core.documents import UNRESTRICTED
from regen.core.results import SearchResult
from regen.errors import RegenError
from regen.evaluation.judged import JudgedCollection, JudgedQuery
from regen.evaluation.measures import rank_documents
from regen.quality.subject import Subject

GROWTH: Final = 4
MOST_CHUNKS: Final = 20_000
"""How many chunks are asked for at most to fill one ranking of documents."""

Ranking = list[tuple[str, float]]
OnQuery = Callable[[], None]


@dataclass(slots=True)
class Run:
    """What a generation answered to a collection's queries.

    ``rankings`` hold documents with the scores of their best chunks, best first, for every query that was answered;
    ``passages`` the texts of the best chunks, for what reads them. ``failures`` are error messages by query id: a query
    that failed has an empty ranking and scores zero, it is never dropped.
    """

    rankings: dict[str, Ranking] = field(default_factory=dict)
    passages: dict[str, tuple[str, ...]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)


def run_collection(
    subject: Subject,
    collection: JudgedCollection,
    depth: int,
    *,
    only: Collection[str] | None = None,
    passages: int = 0,
    on_query: OnQuery | None = None,
) -> Run:
    """Answer every judged query to the given depth of documents. ``only`` keeps to a part of the documents (a pilot).

    ``passages`` is how many of the best chunks' texts are kept for each query.
    """
    run = Run()
    chunks = subject.chunks_per_document()
    for query in collection.judged:
        started = time.perf_counter()
        try:
            ranking, result = _documents(subject, query, depth, chunks, only)
        except RegenError as error:
            ranking, result = [], None
            run.failures[query.id] = str(error)
        run.milliseconds.append((time.perf_counter() - started) * 1e3)
        run.rankings[query.id] = ranking
        if passages and result is not None:
            run.passages[query.id] = tuple(hit.text for hit in result.hits[:passages])
        if on_query is not None:
            on_query()
    return run


def _documents(
    subject: Subject, query: JudgedQuery, depth: int, chunks: float, only: Collection[str] | None
) -> tuple[Ranking, SearchResult]:
    """As many documents as ``depth`` asks for, or all that the generation has: more chunks are asked for until then."""
    principals = UNRESTRICTED if query.principals is None else query.principals
    most = min(MOST_CHUNKS, max(depth, subject.catalog.counts(subject.number).chunks)) if only is not None else None
    k = math.ceil(depth * min(chunks, 4.0)) if most is None else min(most, depth * GROWTH**2)
    while True:
        result = subject.search(query.text, k, principals)
        found = [(hit.doc_id, hit.score) for hit in result.hits if only is None or hit.doc_id in only]
        ranking = rank_documents(found)[:depth]
        if len(ranking) >= depth or len(result.hits) < k or k >= (most or MOST_CHUNKS):
            return ranking, result
        k = min(k * GROWTH, most or MOST_CHUNKS)


@dataclass(frozen=True, slots=True)
class Load:
    """The same searches put to several generations in turn, so that all of them bear the same load."""

    texts: Sequence[str]
    k: int = 10
    rounds: int = 1


def run_load(subjects: Sequence[Subject], load: Load) -> list[tuple[list[float], int]]:
    """Milliseconds of each answered search and the number that failed, for each subject.

    Subjects take turns query by query, and the order changes with every query, so that neither has the warmer caches.
    """
    found: list[tuple[list[float], int]] = [([], 0) for _ in subjects]
    for position, text in enumerate(list(load.texts) * load.rounds):
        order = range(len(subjects)) if position % 2 == 0 else reversed(range(len(subjects)))
        for which in order:
            times, failed = found[which]
            started = time.perf_counter()
            try:
                subjects[which].search(text, load.k)
            except RegenError:
                found[which] = (times, failed + 1)
            else:
                times.append((time.perf_counter() - started) * 1e3)
    return found
