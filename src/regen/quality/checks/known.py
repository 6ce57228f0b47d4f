"""Known queries: somebody said which documents answer them, and they must still do so."""

from __future__ import annotations

from regen.evaluation.judged import JudgedCollection, JudgedQuery
from regen.evaluation.known import KnownQuery
from regen.evaluation.lines import counted
from regen.evaluation.outcome import CheckResult
from regen.quality.checks.context import Context
from regen.quality.checks.held import held, own_score
from regen.quality.checks.scoring import slack
from regen.quality.checks.telling import failed, passed
from regen.quality.running import Ranking, Run, run_collection
from regen.quality.subject import Subject
from regen.serving.search import embed_query

NAME = "known_queries"
SHOWN = 3


def known_queries(context: Context) -> CheckResult:
    """Each known query returns all its documents within its rank tolerance; equal scores share a rank."""
    if not context.known:
        return passed(NAME, "no known queries are configured (evaluation.known_queries in regen.yaml)")
    run = _run(context)
    lost: list[str] = []
    documents: list[str] = []
    for position, query in enumerate(context.known):
        missing = _missing(context, query, str(position), run)
        documents += missing
        if missing:
            lost.append(_told(context, query, missing, run.rankings[str(position)], run.failures.get(str(position))))
    asked = counted(len(context.known), "known query", "known queries")
    if not lost:
        return passed(NAME, f"{asked}: all return their documents")
    more = [f"and {len(lost) - SHOWN} more"] if len(lost) > SHOWN else []
    return failed(
        NAME,
        [f"{len(lost):,} of {asked} lost documents: {lost[0]}", *lost[1:SHOWN], *more],
        "`regen search QUERY --generation G --explain` shows what is returned instead; if that is as good, change the "
        "known query",
        documents,
    )


def _run(context: Context) -> Run:
    queries = tuple(
        JudgedQuery(str(position), query.text, principals=query.principals)
        for position, query in enumerate(context.known)
    )
    qrels = {str(at): dict.fromkeys(query.documents, 1) for at, query in enumerate(context.known)}
    depth = max(query.within for query in context.known)
    return run_collection(context.candidate, JudgedCollection("known queries", queries, qrels), depth)


def _missing(context: Context, query: KnownQuery, key: str, run: Run) -> list[str]:
    """The documents of a query that are not within its tolerance."""
    ranking = run.rankings[key]
    recipe = context.candidate.generation.recipe
    scores = dict(ranking)
    # With fewer documents than the tolerance, whatever is returned at all is within it.
    last = ranking[query.within - 1][1] if len(ranking) >= query.within else float("-inf")
    bar = last - slack(recipe, last) if ranking and last > float("-inf") else last
    missing = [doc for doc in query.documents if doc not in scores or scores[doc] < bar]
    cut_off = [doc for doc in missing if doc not in scores and len(ranking) >= query.within]
    tied = _tied(context.candidate, query, cut_off, bar) if cut_off else set()
    return [doc for doc in missing if doc not in tied]


def _tied(subject: Subject, query: KnownQuery, cut_off: list[str], bar: float) -> set[str]:
    """Documents behind the end of the list that are as near as the last one within the tolerance."""
    if query.principals is not None:
        seen = {doc for doc, item in subject.catalog.facts(cut_off).items() if _may_see(item.access, query.principals)}
        cut_off = [doc for doc in cut_off if doc in seen]
    vector = embed_query(query.text, subject.generation.recipe, subject.embedder)
    found = held(subject, cut_off, chunks=64)
    return {doc for doc, points in found.items() if own_score(subject, points, vector) >= bar}


def _may_see(access: tuple[str, ...] | None, principals: tuple[str, ...]) -> bool:
    return access is None or bool(set(access) & set(principals))


def _told(context: Context, query: KnownQuery, missing: list[str], ranking: Ranking, failure: str | None) -> str:
    if failure is not None:
        return f"{query.text!r} failed: {failure}"
    first = missing[0]
    facts = context.catalog.facts([first])
    if first not in facts or facts[first].deleted:
        return f"{query.text!r} wants {first!r}, which is not in the index (any more)"
    ranks = [at for at, (doc, _) in enumerate(ranking, start=1) if doc == first]
    place = f"at rank {ranks[0]}" if ranks else f"not among the first {len(ranking)}"
    return f"{query.text!r} has {first!r} {place}, wanted within {query.within}"
