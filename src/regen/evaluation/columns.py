"""Per-query outcomes as columns: for each collection the values of each measure, in one order of the queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regen.errors import EvaluationError
from regen.evaluation.answers import ANSWER_MEASURES
from regen.evaluation.outcome import ALL, QueryOutcome
from regen.evaluation.resampling import Floats


@dataclass(frozen=True)
class Columns:
    """One collection's values: ``baseline`` and ``candidate`` map a measure to an array of shape (queries,).

    ``baseline`` is empty where there is no generation to compare with. Not every query has an answer that was judged:
    the measures of answers are NaN where there is none, on both sides alike.
    """

    name: str
    queries: tuple[QueryOutcome, ...]
    baseline: Mapping[str, Floats]
    candidate: Mapping[str, Floats]

    @property
    def paired(self) -> bool:
        """Whether there is a baseline."""
        return bool(self.baseline)

    @cached_property
    def slices(self) -> Mapping[str, NDArray[np.int64]]:
        """The positions of each slice's queries: "all" first, then each tag, sorted by name."""
        rows: dict[str, list[int]] = {}
        for row, query in enumerate(self.queries):
            for tag in dict.fromkeys(query.tags):
                rows.setdefault(tag, []).append(row)
        found = {ALL: np.arange(len(self.queries), dtype=np.int64)}
        return found | {tag: np.array(rows[tag], dtype=np.int64) for tag in sorted(rows)}

    def rows(self, part: str, measure: str) -> NDArray[np.int64]:
        """The positions of a slice's queries that have a value of the measure."""
        own = self.slices[part]
        return own[~np.isnan(self.candidate[measure][own])]


def find_collections(queries: Iterable[QueryOutcome]) -> tuple[Columns, ...]:
    """The collections in the order in which their first queries come.

    Raises EvaluationError for a query that comes twice, or lacks a measure or the baseline that others have.
    """
    grouped: dict[str, list[QueryOutcome]] = {}
    for query in queries:
        grouped.setdefault(query.collection, []).append(query)
    return tuple(_columns(name, own) for name, own in grouped.items())


def _columns(name: str, queries: Sequence[QueryOutcome]) -> Columns:
    seen: set[str] = set()
    for query in queries:
        if query.query_id in seen:
            raise EvaluationError(f"query {query.query_id!r} of collection {name!r} was measured twice")
        seen.add(query.query_id)
    baseline = _values(name, {query.query_id: query.baseline for query in queries})
    candidate = _values(name, {query.query_id: query.candidate for query in queries})
    differing = baseline.keys() ^ candidate.keys() if baseline else set[str]()
    shared = baseline.keys() & candidate.keys()
    differing |= {key for key in shared if not np.array_equal(np.isnan(baseline[key]), np.isnan(candidate[key]))}
    if differing:
        raise EvaluationError(f"only one side of collection {name!r} was measured by {', '.join(sorted(differing))}")
    return Columns(name, tuple(queries), baseline, candidate)


def _values(name: str, measured: Mapping[str, Mapping[str, float]]) -> dict[str, Floats]:
    measures = list(dict.fromkeys(measure for values in measured.values() for measure in values))
    wanted_of_all = set(next(iter(measured.values()))) - set(ANSWER_MEASURES)
    for query, values in measured.items():
        if values.keys() - set(ANSWER_MEASURES) != wanted_of_all:
            found, wanted = ", ".join(values) or "nothing", ", ".join(sorted(wanted_of_all)) or "nothing"
            raise EvaluationError(
                f"query {query!r} of collection {name!r} was measured by {found}, others by {wanted}",
                hint="both sides need a value for each query; a query without results counts as 0",
            )
    return {
        measure: np.array([values.get(measure, np.nan) for values in measured.values()], dtype=float)
        for measure in measures
    }


def choose(
    collections: Sequence[Columns], collection: str | None, part: str, measure: str, condition: str
) -> list[Columns]:
    """The collections that a condition is about. Raises EvaluationError that tells which names there are."""
    if not collections:
        raise EvaluationError(
            f"the gate asks for {condition}, and there is no judged collection",
            hint="name queries and qrels under evaluation.collections in regen.yaml, or take the condition out",
        )
    chosen = [own for own in collections if collection in {None, own.name}]
    if not chosen:
        raise _unknown("collection", str(collection), [own.name for own in collections], condition)
    with_slice = [own for own in chosen if part in own.slices]
    if not with_slice:
        raise _unknown("slice", part, [name for own in chosen for name in own.slices], condition, empty=True)
    for own in with_slice:
        if measure not in own.candidate and measure not in ANSWER_MEASURES:
            raise _unknown("measure", measure, list(own.candidate), condition)
    measured = [own for own in with_slice if measure in own.candidate and own.rows(part, measure).size]
    if not measured:
        raise EvaluationError(
            f"the gate asks for {condition}, but no answer to a query of it was judged",
            hint="name answers of these queries under evaluation.collections, and a judge under evaluation.judge",
        )
    return measured


def _unknown(what: str, name: str, valid: Sequence[str], condition: str, *, empty: bool = False) -> EvaluationError:
    listed = ", ".join(dict.fromkeys(valid)) or "none"
    near = get_close_matches(name, valid, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    found = f"slice {name!r} is empty: no judged query carries this tag" if empty else f"there is no {what} {name!r}"
    return EvaluationError(f"the gate asks for {condition}, but {found}", hint=f"{meant}{what}s there are: {listed}")
