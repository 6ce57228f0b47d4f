"""Judged collections: queries, and which documents answer them how well. Documents are judged, not chunks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from regen.errors import EvaluationError
from regen.evaluation.lines import counted, some
from regen.evaluation.outcome import ALL

Qrels: TypeAlias = Mapping[str, Mapping[str, int]]
"""Query id → document id → grade. A grade above 0 is relevant; a document that is not named is not judged."""


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """One query. ``tags`` name the slices it belongs to, as ``key=value`` or a plain word.

    ``principals`` are on whose behalf it is asked: None when the file does not say, ``()`` for somebody who sees public
    documents only. ``fresh`` marks a query whose answer must be the current revision of a document.
    """

    id: str
    text: str
    tags: tuple[str, ...] = ()
    principals: tuple[str, ...] | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class JudgedCollection:
    """A named set of queries with judgments, and everything about it that a reader must know (``problems``).

    ``qrels`` hold only queries of this collection. Queries without judgments stay in ``queries``; they can be searched,
    but no measure, mean or slice holds them.
    """

    name: str
    queries: tuple[JudgedQuery, ...]
    qrels: Qrels
    problems: tuple[str, ...] = field(default=())

    @property
    def judged(self) -> tuple[JudgedQuery, ...]:
        """The queries that have at least one judgment, in the collection's order."""
        return tuple(query for query in self.queries if self.qrels.get(query.id))

    def slices(self) -> dict[str, tuple[JudgedQuery, ...]]:
        """The judged queries by slice: "all" first, then each tag that a judged query carries, sorted by name."""
        judged = self.judged
        tags = sorted({tag for query in judged for tag in query.tags})
        return {ALL: judged} | {tag: tuple(query for query in judged if tag in query.tags) for tag in tags}

    def relevant(self, query_id: str) -> frozenset[str]:
        """The documents that are relevant (grade 1 or more) to a query; none for an unknown query."""
        return frozenset(doc for doc, grade in self.qrels.get(query_id, {}).items() if grade > 0)


def assemble(name: str, queries: Sequence[JudgedQuery], qrels: Qrels, problems: Sequence[str] = ()) -> JudgedCollection:
    """Put queries and judgments together; what does not match is an error or becomes one of the problems.

    Raises EvaluationError for no queries, a query id twice, an empty id or text, a tag called "all", and when no query
    at all is judged.
    """
    _check_queries(name, queries)
    known = {query.id for query in queries}
    kept = {query: dict(grades) for query, grades in qrels.items() if query in known and grades}
    if not kept:
        _refuse_unjudged(name, queries, qrels)
    found = [*problems, *_strangers(name, known, qrels), *_unjudged(name, queries, kept), *_barren(name, kept)]
    return JudgedCollection(name, tuple(queries), kept, tuple(found))


def problems_with(
    collection: JudgedCollection, known_documents: Callable[[Sequence[str]], set[str]]
) -> tuple[str, ...]:
    """Report judgments that name documents unknown to the index, with counts and examples.

    ``known_documents`` is asked once with every judged id, sorted, and returns those that exist. The judgments stay: a
    relevant document that is not there is missed recall, for every generation alike.
    """
    judged = sorted({doc for grades in collection.qrels.values() for doc in grades})
    missing = set(judged) - known_documents(judged)
    if not missing:
        return ()
    relevant = {query: missing & collection.relevant(query) for query in collection.qrels}
    lost = {query for query, documents in relevant.items() if documents}
    hopeless = [query for query in lost if relevant[query] == collection.relevant(query)]
    detail = f"{len(set().union(*relevant.values())):,} of them relevant, to {counted(len(lost), 'query', 'queries')}"
    if hopeless:
        detail += f", of which {len(hopeless):,} have no relevant document left"
    report = (
        f"{collection.name}: {len(missing):,} of {counted(len(judged), 'judged document')} are not in the index "
        f"({detail}): {some(sorted(missing))}. They stay judged, and count as not found."
    )
    return (report,)


def _check_queries(name: str, queries: Sequence[JudgedQuery]) -> None:
    if not queries:
        raise EvaluationError(
            f"{name}: no queries were found. Valid: at least one.",
            hint='A query is a line such as {"_id": "q1", "text": "how do I reset my password"}.',
        )
    seen: set[str] = set()
    for query in queries:
        if not query.id.strip() or not query.text.strip():
            raise EvaluationError(f"{name}: query {query.id!r} has no id or no text. Valid: both, and not empty.")
        if query.id in seen:
            raise EvaluationError(f"{name}: query id {query.id!r} occurs twice. Valid: each id once.")
        if ALL in query.tags:
            raise EvaluationError(
                f"{name}: query {query.id!r} has the tag {ALL!r}. Valid: any other tag.",
                hint=f"The slice {ALL!r} holds every query by itself.",
            )
        seen.add(query.id)


def _refuse_unjudged(name: str, queries: Sequence[JudgedQuery], qrels: Qrels) -> None:
    judged = f"the judgments are of queries {some(sorted(qrels))}" if qrels else "there are no judgments"
    asked = some(query.id for query in queries)
    raise EvaluationError(
        f"{name}: none of {counted(len(queries), 'query', 'queries')} ({asked}) is judged; "
        f"{judged}. Valid: judgments whose query ids are ids of the queries.",
        hint="Do both files belong to the same collection, and are the query ids spelt alike?",
    )


def _strangers(name: str, known: set[str], qrels: Qrels) -> list[str]:
    unknown = {query: len(grades) for query, grades in qrels.items() if query not in known}
    if not unknown:
        return []
    judgments, strangers = counted(sum(unknown.values()), "judgment"), counted(len(unknown), "query", "queries")
    return [f"{name}: {judgments} of {strangers} that it does not have: {some(sorted(unknown))}. They are not used."]


def _unjudged(name: str, queries: Sequence[JudgedQuery], kept: Qrels) -> list[str]:
    without = [query for query in queries if query.id not in kept]
    found = []
    if without:
        found.append(
            f"{name}: {len(without):,} of {counted(len(queries), 'query', 'queries')} without judgments: "
            f"{some(query.id for query in without)}. No mean counts them."
        )
    judged = {tag for query in queries if query.id in kept for tag in query.tags}
    empty = sorted({tag for query in without for tag in query.tags} - judged)
    if empty:
        found.append(
            f"{name}: {counted(len(empty), 'tag')} with no judged query: {some(empty)}. There is no such slice."
        )
    return found


def _barren(name: str, kept: Qrels) -> list[str]:
    barren = [query for query, grades in kept.items() if max(grades.values()) <= 0]
    if not barren:
        return []
    judged = counted(len(kept), "judged query", "judged queries")
    report = (
        f"{name}: {len(barren):,} of {judged} without a relevant document: {some(barren)}. "
        "They score 0 whatever is returned, and pull every mean and difference towards 0."
    )
    return [report]
