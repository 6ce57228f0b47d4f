"""Current content is preferred where a query is marked as sensitive to freshness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from regen.core.documents import UNRESTRICTED
from regen.core.results import Hit
from regen.evaluation.judged import JudgedCollection, JudgedQuery
from regen.evaluation.lines import counted
from regen.evaluation.measures import rank_documents
from regen.evaluation.outcome import CheckResult
from regen.quality.checks.context import Context
from regen.quality.checks.held import current_text
from regen.quality.checks.recent import is_outdated
from regen.quality.checks.scoring import slack
from regen.quality.checks.telling import examples, failed, passed
from regen.quality.subject import Subject

NAME = "current_preferred"


@dataclass(slots=True)
class _Answers:
    """What a generation answered to the marked queries: documents with old text, and queries led by old documents."""

    outdated: list[str] = field(default_factory=list)
    outranked: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Query text → (the older document in front, the current one behind it)."""


def current_preferred(context: Context) -> CheckResult:
    """Marked queries return the newest revision's text, and the relevant document changed last before older ones.

    Documents whose changes lie less than ``context.outdated`` seconds apart are equally current. With a live
    generation to compare with, the candidate must not lead with older documents on queries where that does not.
    """
    marked = list(_marked(context))
    if not marked:
        return passed(NAME, 'no query is marked as sensitive to freshness ("fresh": true)')
    answers = _ask(context, context.candidate, marked)
    worse = answers.outranked
    if worse and context.baseline is not None:
        before = _ask(context, context.baseline, [item for item in marked if item[1].text in worse]).outranked
        worse = {text: pair for text, pair in worse.items() if text not in before}
    told = counted(len(marked), "marked query", "marked queries")
    problems = []
    if answers.outdated:
        problems.append(f"returned with a text or revision that is not the newest: {examples(answers.outdated)}")
    if worse:
        text, (older, current) = next(iter(worse.items()))
        problems.append(f"{len(worse)} lead with an older document: {text!r} has {older!r} before {current!r}")
    if not problems:
        kept = len(answers.outranked)
        return passed(NAME, told + (f"; {kept} lead with an older document, as the live generation does" * bool(kept)))
    return failed(
        NAME,
        [f"of {told}: {problems[0]}", *problems[1:]],
        "`regen verify --repair` writes old points anew; an old document that should not answer is best deleted, or "
        "is no relevant one",
        [*answers.outdated, *(current for _, current in worse.values())],
    )


def _marked(context: Context) -> Iterator[tuple[JudgedCollection, JudgedQuery]]:
    """As many of the marked queries as may be looked at."""
    found = ((item, query) for item in context.collections for query in item.judged if query.fresh)
    for _, pair in zip(range(context.sample), found, strict=False):
        yield pair


def _ask(context: Context, subject: Subject, marked: list[tuple[JudgedCollection, JudgedQuery]]) -> _Answers:
    answers = _Answers()
    for collection, query in marked:
        principals = UNRESTRICTED if query.principals is None else query.principals
        result = subject.search(query.text, 2 * context.k, principals)
        facts = context.catalog.facts(list({hit.doc_id for hit in result.hits}))
        if suspects := _outdated(context, result.hits):
            again = _outdated(context, subject.search(query.text, 2 * context.k, principals).hits)
            answers.outdated += [doc for doc in suspects if doc in again and not _is_on_its_way(context, subject, doc)]
        ranking = rank_documents([(hit.doc_id, hit.score) for hit in result.hits])
        times = {doc: facts[doc].changed_at for doc in _best_judged(collection, query) if doc in facts}
        ranked = [(doc, score) for doc, score in ranking if doc in times]
        if (pair := _led_by_older(context, subject, ranked, times)) is not None:
            answers.outranked[query.text] = pair
    answers.outdated = list(dict.fromkeys(answers.outdated))
    return answers


def _outdated(context: Context, hits: Sequence[Hit]) -> list[str]:
    """Documents of which an older text is returned, or a revision that is not the newest."""
    facts = context.catalog.facts(list({hit.doc_id for hit in hits}))
    texts = {doc: current_text(context.catalog, doc, item.revision) for doc, item in facts.items()}
    found = [
        hit.doc_id
        for hit in hits
        if hit.doc_id not in facts or is_outdated(hit, facts[hit.doc_id].revision, texts[hit.doc_id])
    ]
    return list(dict.fromkeys(found))


def _is_on_its_way(context: Context, subject: Subject, doc_id: str) -> bool:
    """Whether a writer at work has not come to the document's newest revision yet."""
    placed = subject.catalog.placed(subject.number, [doc_id]).get(doc_id)
    facts = context.catalog.facts([doc_id]).get(doc_id)
    behind = placed is None or facts is None or placed.revision != facts.revision
    return behind and context.is_followed()


def _best_judged(collection: JudgedCollection, query: JudgedQuery) -> set[str]:
    """The documents of the best grade: only among equals does the newer one come first."""
    grades = collection.qrels[query.id]
    best = max(grades.values(), default=0)
    return {doc for doc, grade in grades.items() if grade == best > 0}


def _led_by_older(
    context: Context, subject: Subject, ranked: list[tuple[str, float]], times: dict[str, float]
) -> tuple[str, str] | None:
    """The first document and the newest one behind it, if it is older by more than the tolerance and truly ahead."""
    if len(ranked) < 2:
        return None
    newest = max(ranked, key=lambda item: times[item[0]])
    first, score = ranked[0]
    older = times[newest[0]] - times[first] > context.outdated
    ahead = score - newest[1] > slack(subject.generation.recipe, score)
    return (first, newest[0]) if older and ahead else None
