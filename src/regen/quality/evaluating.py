"""Evaluate: a candidate beside the live generation on the same queries, documents and load, judged by the gate."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from regen.core.documents import canonical_json, digest
from regen.core.results import Progress
from regen.errors import EvaluationError
from regen.evaluation.answers import ANSWER_MEASURES
from regen.evaluation.gate import judge
from regen.evaluation.judged import JudgedCollection, problems_with
from regen.evaluation.keeping import to_kept
from regen.evaluation.measures import check_measures, depth_needed, evidence_kept, means, measure
from regen.evaluation.outcome import Arm, CheckResult, Evaluation, Latency, QueryOutcome, Signal
from regen.evaluation.signals import drift
from regen.ports.catalog import Catalog
from regen.ports.rollouts import KeptEvaluation
from regen.quality.answering import NAME as ANSWERS
from regen.quality.answering import JudgedAnswers, Side, is_about_answers, judge_answers
from regen.quality.running import Load, Run, run_collection, run_load
from regen.quality.settings import EvaluationSettings
from regen.quality.subject import Subject

OnProgress = Callable[[Progress], None]
RunChecks = Callable[[Subject, Subject | None, Sequence[JudgedCollection]], Sequence[CheckResult]]
SHOWN: Final = 10
"""How many documents of each side an evaluation keeps for every query."""
CONTEXT: Final = 5
"""How many documents a RAG context is taken to hold."""
_METHOD: Final = {
    "test": "paired randomisation test over queries",
    "interval": "paired bootstrap (BCa) widened to the randomisation test's own, simultaneous over all comparisons",
    "correction": "step-down with the joint distribution (Holm's order)",
}


@dataclass(slots=True)
class _Side:
    """One generation's answers to all collections."""

    subject: Subject
    runs: dict[str, Run]
    values: dict[str, dict[str, dict[str, float]]]
    """Collection → measure → query → value."""
    latency: Latency | None = None


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Measures generations and keeps what it found in the catalog. ``check`` runs the checks on live data."""

    alias: str
    catalog: Catalog
    settings: EvaluationSettings
    check: RunChecks

    def evaluate(
        self,
        candidate: Subject,
        baseline: Subject | None,
        *,
        only: Collection[str] | None = None,
        progress: OnProgress | None = None,
    ) -> tuple[Evaluation, int]:
        """Judge ``candidate`` against ``baseline`` (None: there is none), and keep it; the evaluation and its id.

        ``only`` keeps to a part of the documents, for a pilot. Raises EvaluationError for what cannot be judged.
        """
        started, head = time.perf_counter(), self.catalog.head()
        collections = [_part(item, only) for item in self.settings.judged()]
        measures = self.settings.all_measures()
        check_measures(measures)
        subjects = [subject for subject in (baseline, candidate) if subject is not None]
        report = _Reporter(progress, sum(len(item.judged) for item in collections) * len(subjects))
        sides = [self._run(subject, collections, measures, only, report) for subject in subjects]
        answers = self._answers(sides, collections, progress) if only is None else JudgedAnswers([{} for _ in sides])
        self._time(sides, collections)
        after, before = sides[-1], sides[0] if baseline is not None else None
        checks = [] if only is not None else [*self.check(candidate, baseline, collections)]
        queries = tuple(_outcomes(collections, before, after))
        judged_by = [item for item in self.settings.gate if answers.may_gate or not is_about_answers(item)]
        decision = judge(
            queries,
            judged_by,
            checks=[*checks, *_failures(sides), *([answers.check] if answers.check else [])],
            baseline_latency=before.latency if before else None,
            candidate_latency=after.latency,
            unmeasured=[] if answers.may_gate else [ANSWERS],
            seed=self.settings.seed,
        )
        evaluation = Evaluation(
            baseline=self._arm(before) if before else None,
            candidate=self._arm(after),
            comparisons=decision.comparisons,
            checks=decision.checks,
            verdict=decision.verdict,
            reasons=decision.reasons,
            queries=queries,
            signals=_signals(before, after),
            problems=(*self._problems(collections), *answers.problems),
            notes=(*_notes(collections, only), *_evidence(collections, before, after)),
            catalog_revision=head,
            recipe=candidate.generation.recipe.fingerprint,
            alias=self.alias,
            evaluated_at=time.time(),
            seconds=time.perf_counter() - started,
            method={**_METHOD, "seed": str(self.settings.seed)},
            answers=answers.told,
        )
        return evaluation, self._keep(evaluation, collections, candidate, baseline)

    def kept(self, candidate: Subject, baseline: Subject | None) -> KeptEvaluation | None:
        """The newest evaluation of a candidate that a promotion may rest on: same gate, same live one, recent."""
        wanted = self._fingerprint(candidate, baseline, self.settings.judged())
        for item in self.catalog.evaluations(self.alias, candidate.number, limit=1):
            recent = time.time() - item.evaluated_at <= self.settings.max_age
            same = item.fingerprint == wanted and item.against == (baseline.number if baseline else None)
            if same and (recent or item.head == self.catalog.head()):
                return item
        return None

    def _run(
        self,
        subject: Subject,
        collections: Sequence[JudgedCollection],
        measures: Sequence[str],
        only: Collection[str] | None,
        report: _Reporter,
    ) -> _Side:
        depth = max(depth_needed(measures), SHOWN)
        runs = {
            item.name: run_collection(
                subject,
                item,
                depth,
                only=only,
                passages=CONTEXT if item.name in self.settings.answers else 0,
                on_query=report.step,
            )
            for item in collections
        }
        values = {item.name: measure(item, runs[item.name].rankings, measures) for item in collections}
        return _Side(subject, runs, values)

    def _answers(
        self, sides: Sequence[_Side], collections: Sequence[JudgedCollection], progress: OnProgress | None
    ) -> JudgedAnswers:
        """Have the answers judged, and put what was found beside the other measures."""
        found = judge_answers(
            self.settings.judge,
            self._answer_files(collections),
            collections,
            [Side(side.subject.number, side.runs) for side in sides],
            catalog=self.catalog,
            gates=any(map(is_about_answers, self.settings.gate)),
            progress=progress,
        )
        for side, values in zip(sides, found.values, strict=True):
            for name, by_query in values.items():
                for query, measured in by_query.items():
                    for key, value in measured.items():
                        side.values[name].setdefault(key, {})[query] = value
        return found

    def _answer_files(self, collections: Sequence[JudgedCollection]) -> dict[str, str]:
        """The files with answers, by collection. Raises EvaluationError for a collection that is not there."""
        names = [item.name for item in collections]
        for name in self.settings.answers:
            if name not in names:
                raise EvaluationError(
                    f"there are answers to the collection {name!r}, which is not there",
                    hint=f"collections there are: {', '.join(names) or 'none'}",
                )
        return dict(self.settings.answers)

    def _time(self, sides: Sequence[_Side], collections: Sequence[JudgedCollection]) -> None:
        """Put the same searches to both generations in turn, as users would."""
        texts = [query.text for item in collections for query in item.judged]
        if not texts or not self.settings.searches:
            return
        picked = np.random.default_rng(self.settings.seed).permutation(len(texts))[: self.settings.searches]
        load = Load([texts[which] for which in picked])
        for side, (times, failed) in zip(sides, run_load([side.subject for side in sides], load), strict=True):
            side.latency = latency(times, failed)

    def _arm(self, side: _Side) -> Arm:
        subject = side.subject
        recipe, counts = subject.generation.recipe, self.catalog.counts(subject.number)
        collections = {name: means(values) for name, values in side.values.items()}
        names = {name for found in collections.values() for name in found}
        ordered = [name for name in (*self.settings.all_measures(), *ANSWER_MEASURES) if name in names]
        return Arm(
            generation=subject.number,
            measures={
                name: float(np.mean([found[name] for found in collections.values() if name in found]))
                for name in ordered
            },
            collections=collections,
            latency=side.latency,
            model=recipe.embedding.model,
            space=recipe.space,
            documents=counts.documents,
            chunks=counts.chunks,
            cost_usd=self.catalog.spent_on(subject.number),
        )

    def _problems(self, collections: Sequence[JudgedCollection]) -> Iterator[str]:
        def known(ids: Sequence[str]) -> set[str]:
            return {name for name, found in self.catalog.known(ids).items() if not found.deleted}

        for item in collections:
            yield from item.problems
            yield from problems_with(item, known)

    def _keep(
        self,
        evaluation: Evaluation,
        collections: Sequence[JudgedCollection],
        candidate: Subject,
        baseline: Subject | None,
    ) -> int:
        return self.catalog.record_evaluation(
            self.alias,
            candidate.number,
            against=baseline.number if baseline else None,
            verdict=evaluation.verdict,
            fingerprint=self._fingerprint(candidate, baseline, collections),
            head=evaluation.catalog_revision,
            at=evaluation.evaluated_at,
            result=to_kept(evaluation),
        )

    def _fingerprint(
        self, candidate: Subject, baseline: Subject | None, collections: Sequence[JudgedCollection]
    ) -> str:
        numbers = [candidate.number, *([baseline.number] if baseline else [])]
        parts = (candidate.generation.recipe.fingerprint, self.settings.fingerprint(collections, numbers))
        return digest(canonical_json(parts)).hex()[:16]


@dataclass(slots=True)
class _Reporter:
    """Counts queries for whoever watches."""

    progress: OnProgress | None
    total: int
    done: int = 0

    def step(self) -> None:
        """One query more is answered."""
        self.done += 1
        if self.progress is not None:
            self.progress(Progress("evaluate", self.done, self.total, "queries"))


def latency(times: Sequence[float], failed: int) -> Latency:
    """Percentiles of search times in milliseconds, and the share of searches that failed."""
    count = len(times) + failed
    p50, p95, p99 = np.percentile(times, [50, 95, 99]) if times else (0.0, 0.0, 0.0)
    return Latency(float(p50), float(p95), float(p99), failed / max(1, count), count)


def _part(collection: JudgedCollection, only: Collection[str] | None) -> JudgedCollection:
    """A collection as far as a part of the documents can answer it."""
    if only is None:
        return collection
    held = {
        query: {doc: grade for doc, grade in grades.items() if doc in only}
        for query, grades in collection.qrels.items()
    }
    kept = {query: grades for query, grades in held.items() if any(grade > 0 for grade in grades.values())}
    return replace(collection, qrels=kept)


def _failures(sides: Sequence[_Side]) -> Iterator[CheckResult]:
    """A query that could not be answered at all is no measure's business only: somebody must look at it."""
    for side in sides[-1:]:
        failures = {query: why for run in side.runs.values() for query, why in run.failures.items()}
        if failures:
            first = next(iter(failures))
            yield CheckResult(
                "search_errors", passed=False, detail=f"{len(failures)} queries failed; {first!r}: {failures[first]}"
            )


def _outcomes(collections: Sequence[JudgedCollection], before: _Side | None, after: _Side) -> Iterator[QueryOutcome]:
    for item in collections:
        for query in item.judged:
            yield QueryOutcome(
                collection=item.name,
                query_id=query.id,
                text=query.text,
                tags=query.tags,
                baseline=_of(before, item.name, query.id) if before else {},
                candidate=_of(after, item.name, query.id),
                baseline_documents=_top(before, item.name, query.id) if before else (),
                candidate_documents=_top(after, item.name, query.id),
                grades=item.qrels[query.id],
            )


def _of(side: _Side, collection: str, query: str) -> dict[str, float]:
    return {name: values[query] for name, values in side.values[collection].items() if query in values}


def _top(side: _Side, collection: str, query: str) -> tuple[str, ...]:
    return tuple(doc for doc, _ in side.runs[collection].rankings[query][:SHOWN])


def _signals(before: _Side | None, after: _Side) -> tuple[Signal, ...]:
    """How much the answers differ."""
    return drift(_lists(before), _lists(after)) if before is not None else ()


def _evidence(collections: Sequence[JudgedCollection], before: _Side | None, after: _Side) -> Iterator[str]:
    """Whether the context of an answer still holds its evidence."""
    for item in collections:
        held = evidence_kept(item, after.runs[item.name].rankings, CONTEXT).any_share
        told = f"{item.name}: the first {CONTEXT} documents hold the evidence of {held:.1%} of the queries"
        if before is not None:
            was = evidence_kept(item, before.runs[item.name].rankings, CONTEXT).any_share
            told += f", with generation {before.subject.number} of {was:.1%}"
        yield told


def _lists(side: _Side) -> dict[str, list[str]]:
    return {
        f"{name}/{query}": [doc for doc, _ in ranking]
        for name, run in side.runs.items()
        for query, ranking in run.rankings.items()
    }


def _notes(collections: Sequence[JudgedCollection], only: Collection[str] | None) -> tuple[str, ...]:
    notes = []
    if not collections:
        notes.append("no judged collection is configured: only the checks speak (evaluation.collections in regen.yaml)")
    if only is not None:
        notes.append(f"a pilot on {len(only):,} documents: both generations were searched for these only")
    return tuple(notes)
