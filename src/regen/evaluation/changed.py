"""The queries that a reviewer should see: the most changed ones, or without a baseline the weakest ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from regen.evaluation import wording
from regen.evaluation.outcome import Evaluation, QueryOutcome
from regen.evaluation.sections import Row, changes_of, measure_rows

MOST_QUERIES: Final = 10
MOST_DOCUMENTS: Final = 10
_LONGEST_QUERY: Final = 600


@dataclass(frozen=True, slots=True)
class Place:
    """One document in a result list: its rank, its grade (0: judged not relevant, None: not judged), where it was."""

    rank: str
    document: str
    grade: int | None
    move: str


@dataclass(frozen=True, slots=True)
class ResultList:
    """The top of one side's results, and what became of the relevant documents that are not in it."""

    places: tuple[Place, ...]
    below: tuple[Place, ...]
    missed: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class ShownQuery:
    """One query with what it measured and both result lists; ``baseline`` is None where there is none."""

    collection: str
    id: str
    text: str
    tags: tuple[str, ...]
    change: str
    tone: str
    measures: tuple[Row, ...]
    baseline: ResultList | None
    candidate: ResultList


def leading_measure(evaluation: Evaluation) -> str | None:
    """The measure by which queries are ordered: the first that the gate judges, else the first that was reported."""
    measured = dict.fromkeys(measure for query in evaluation.queries for measure in query.candidate)
    ranked = sorted(evaluation.comparisons, key=lambda item: item.condition is None)
    return next((item.measure for item in ranked if item.measure in measured), next(iter(measured), None))


def shown_queries(evaluation: Evaluation) -> tuple[ShownQuery, ...]:
    """At most MOST_QUERIES: those that changed most by the leading measure, the losses first among equals.

    Without a baseline nothing has changed: then those that the candidate answers worst.
    """
    measure = leading_measure(evaluation)
    if measure is None:
        return ()
    compared = evaluation.baseline is not None
    chosen = most_changed(evaluation.queries, measure) if compared else weakest(evaluation.queries, measure)
    return tuple(_shown(query, measure, compared=compared) for query in chosen)


def most_changed(queries: Sequence[QueryOutcome], measure: str) -> list[QueryOutcome]:
    """By the size of the change; among equals those that changed more by the other measures, then losses first."""
    changes = [(query, changes_of(query)) for query in queries]
    changed = [(query, found) for query, found in changes if abs(found.get(measure, 0.0)) > 1e-12]
    changed.sort(key=lambda item: _rank(item[0], item[1], measure))
    return [query for query, _ in changed[:MOST_QUERIES]]


def _rank(query: QueryOutcome, found: Mapping[str, float], measure: str) -> tuple[float, float, float, str, str]:
    size = round(abs(found[measure]), 9)
    others = round(sum(map(abs, found.values())), 9)
    return (-size, -others, found[measure], query.collection, query.query_id)


def weakest(queries: Sequence[QueryOutcome], measure: str) -> list[QueryOutcome]:
    """Those with the lowest values."""
    measured = [query for query in queries if measure in query.candidate]
    measured.sort(key=lambda query: (query.candidate[measure], query.collection, query.query_id))
    return measured[:MOST_QUERIES]


def _shown(query: QueryOutcome, measure: str, *, compared: bool) -> ShownQuery:
    change = changes_of(query).get(measure)
    old, new = query.baseline_documents, query.candidate_documents
    return ShownQuery(
        wording.visible(query.collection),
        wording.visible(query.query_id),
        wording.visible(query.text, _LONGEST_QUERY),
        tuple(wording.visible(tag) for tag in query.tags),
        wording.score(query.candidate[measure]) if change is None else wording.signed(change),
        "plain" if not change else "good" if change > 0 else "bad",
        measure_rows(query.baseline, query.candidate),
        _results(old, query.grades, None) if compared else None,
        _results(new, query.grades, old if compared else None),
    )


def _results(documents: Sequence[str], grades: Mapping[str, int], before: Sequence[str] | None) -> ResultList:
    old = None if before is None else {document: at for at, document in enumerate(before, start=1)}
    at_rank = {document: at for at, document in enumerate(documents, start=1)}
    relevant = sorted((document for document, grade in grades.items() if grade > 0), key=lambda key: -grades[key])
    below = sorted((key for key in relevant if at_rank.get(key, 0) > MOST_DOCUMENTS), key=lambda key: at_rank[key])
    missed = [document for document in relevant if document not in at_rank]

    def place(document: str) -> Place:
        rank = at_rank.get(document)
        move = "" if old is None or rank is None else _move(old.get(document), rank)
        return Place("" if rank is None else str(rank), wording.visible(document), grades.get(document), move)

    top = documents[:MOST_DOCUMENTS]
    return ResultList(*(tuple(map(place, part)) for part in (top, below[:MOST_DOCUMENTS], missed[:MOST_DOCUMENTS])))


def _move(old: int | None, new: int) -> str:
    """``new``, ``↑ 3``, ``↓ 12``, or nothing where the document kept its rank."""
    if old is None:
        return "new"
    return "" if old == new else f"↑ {old - new}" if old > new else f"↓ {new - old}"
