"""Judging a reranker: the live generation's answers to the judged queries, as they are and as it orders them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from regen.core.documents import UNRESTRICTED
from regen.core.results import Hit, Progress
from regen.errors import ConfigError, NotFound, RegenError
from regen.evaluation.judged import JudgedCollection, JudgedQuery
from regen.evaluation.measures import check_measures, depth_needed, measure
from regen.evaluation.outcome import QueryOutcome
from regen.evaluation.reranking import RerankJudgement, judge_reranking, too_slow
from regen.quality.gating import QualitySide
from regen.quality.running import Ranking
from regen.quality.subject import Subject
from regen.serving.reranking import FEWEST, Reranking

OnProgress = Callable[[Progress], None]
SHOWN: Final = 10
TRIED: Final = 3
"""By so many queries it is measured how many texts fit the budget."""


@dataclass(slots=True)
class _Sides:
    """Rankings of one collection without and with the reranker, and how the calls went."""

    without: dict[str, Ranking] = field(default_factory=dict)
    reranked: dict[str, Ranking] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)
    errors: list[RegenError] = field(default_factory=list)


def judge_reranker(
    quality: QualitySide, reranking: Reranking, *, progress: OnProgress | None = None
) -> RerankJudgement:
    """Judge on all judged collections, by the first of the configured measures, and keep what was found.

    Both sides have the same candidates. Raises ConfigError without collections, NotFound before anything is live,
    EvaluationError, and what the reranker raises when it fails for every query.
    """
    settings = quality.settings
    collections, measures = settings.judged(), settings.measures
    if not collections or not measures:
        raise ConfigError(
            "there is nothing to judge a reranker on", hint="name judged queries: evaluation.collections in regen.yaml"
        )
    check_measures(measures)
    subject = _live(quality)
    runner = _Runner(subject, reranking, max(depth_needed(measures), SHOWN), progress, collections)
    depth = runner.affordable()
    outcomes: list[QueryOutcome] = []
    sides = [runner.run(item, max(depth, FEWEST)) for item in collections]
    for item, side in zip(collections, sides, strict=True):
        outcomes += _outcomes(item, side, measures)
    errors = [error for side in sides for error in side.errors]
    if len(errors) == len(outcomes):
        raise errors[0]
    times = [each for side in sides for each in side.milliseconds]
    found = replace(
        judge_reranking(reranking.reranker.name, subject.number, outcomes, measures[0], seed=settings.seed),
        depth=depth,
        milliseconds={name: float(np.percentile(times, share)) for name, share in (("p50", 50), ("p95", 95))},
        failures=len(errors),
        notes=_notes(reranking, depth, runner.offered, errors),
    )
    if depth < FEWEST:
        found = too_slow(found, reranking.settings.budget_ms)
    reranking.record.judge(helps=found.helps, result=found.to_dict())
    return found


def _live(quality: QualitySide) -> Subject:
    live = quality.catalog.route(quality.alias).live
    generation = next((item for item in quality.current() if item.number == live), None)
    if generation is None:
        raise NotFound(f"index {quality.alias!r} is not live yet", hint="run `regen sync` first")
    reader = quality.reader
    return Subject(generation, reader.store_of(generation), reader.embedder_for(generation), quality.catalog, reader)


@dataclass(slots=True)
class _Runner:
    """Asks the live generation each judged query once, and orders the answer."""

    subject: Subject
    reranking: Reranking
    documents: int
    progress: OnProgress | None
    collections: Sequence[JudgedCollection]
    done: int = 0
    offered: int = 0

    def affordable(self) -> int:
        """How many texts fit the budget here, measured on the first queries' own candidates."""
        self.reranking.warm()
        depth = 0
        for query in self.collections[0].judged[:TRIED]:
            hits = self._candidates(query)
            self.offered = max(self.offered, len(hits))
            depth = self.reranking.affordable(query.text, hits)
        return depth

    def run(self, collection: JudgedCollection, depth: int) -> _Sides:
        """Both sides' rankings for a collection. A query that the reranker fails for is answered as it was."""
        sides = _Sides()
        for query in collection.judged:
            hits = self._candidates(query)
            started = time.perf_counter()
            try:
                ordered = self.reranking.ordered(query.text, hits, depth)
            except RegenError as error:
                ordered = hits
                sides.errors.append(error)
            sides.milliseconds.append((time.perf_counter() - started) * 1e3)
            sides.without[query.id], sides.reranked[query.id] = _ranking(hits), _ranking(ordered)
            self._step()
        return sides

    def _candidates(self, query: JudgedQuery) -> list[Hit]:
        wanted = max(self.documents, self.reranking.settings.depth)
        k = math.ceil(wanted * min(self.subject.chunks_per_document(), 4.0))
        principals = UNRESTRICTED if query.principals is None else query.principals
        return self.subject.search(query.text, k, principals).hits

    def _step(self) -> None:
        self.done += 1
        if self.progress is not None:
            total = sum(len(item.judged) for item in self.collections)
            self.progress(Progress("rerank", self.done, total, "queries"))


def _ranking(hits: Sequence[Hit]) -> Ranking:
    """Documents in the order of their first hits. The scores only say that order: those of hits have two scales."""
    documents = dict.fromkeys(hit.doc_id for hit in hits)
    return [(doc, -float(place)) for place, doc in enumerate(documents)]


def _outcomes(collection: JudgedCollection, sides: _Sides, measures: Sequence[str]) -> list[QueryOutcome]:
    without = measure(collection, sides.without, measures)
    reranked = measure(collection, sides.reranked, measures)
    return [
        QueryOutcome(
            collection=collection.name,
            query_id=query.id,
            text=query.text,
            tags=query.tags,
            baseline={name: values[query.id] for name, values in without.items()},
            candidate={name: values[query.id] for name, values in reranked.items()},
            baseline_documents=tuple(doc for doc, _ in sides.without[query.id][:SHOWN]),
            candidate_documents=tuple(doc for doc, _ in sides.reranked[query.id][:SHOWN]),
            grades=collection.qrels[query.id],
        )
        for query in collection.judged
    ]


def _notes(reranking: Reranking, depth: int, offered: int, errors: Sequence[RegenError]) -> tuple[str, ...]:
    settings, notes = reranking.settings, []
    if depth < min(settings.depth, offered):
        notes.append(
            f"judged with {max(depth, FEWEST)} texts a query: {settings.budget_ms:g} ms allow no more here, "
            f"of the {settings.depth} that rerank.depth asks for"
        )
    if errors:
        notes.append(f"the reranker failed for {len(errors)} queries, which kept their order: {errors[0].message}")
    return tuple(notes)
