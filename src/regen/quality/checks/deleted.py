"""Deleted documents are gone: from every generation, from every search, and from the stores themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from regen.core.chunks import names, write_token
from regen.core.documents import UNRESTRICTED
from regen.evaluation.lines import counted
from regen.evaluation.outcome import CheckResult
from regen.ports import StoreHit, Vector
from regen.ports.auditing import DocumentFacts
from regen.quality.checks.context import Context
from regen.quality.checks.held import current_text, excerpt, has_collection
from regen.quality.checks.telling import examples, failed, passed
from regen.quality.subject import Subject
from regen.serving.search import embed_query

NAME = "deleted_documents"


@dataclass(slots=True)
class _Findings:
    """Deleted documents by where they still are, as ``'a' in generation 2``."""

    returned: dict[str, str] = field(default_factory=dict)
    placed: dict[str, str] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)
    queued: set[str] = field(default_factory=set)
    unsearched: int = 0

    def forget(self, returned_to_life: set[str]) -> None:
        """Leave out what was delivered anew while it was looked for."""
        for found in (self.returned, self.placed, self.stored):
            for doc_id in returned_to_life & found.keys():
                del found[doc_id]


def deleted_documents(context: Context) -> CheckResult:
    """What was deleted last is placed nowhere, returned by no search for its former text, and in no store.

    Points that wait in the queue of what is to be deleted are no fault: no search returns them.
    """
    gone = {item.doc_id: item for item in context.catalog.newest(context.sample, deleted=True)}
    if not gone:
        return passed(NAME, "no deletion is on record")
    texts = dict(_former_texts(context, gone))
    found = _Findings(unsearched=len(gone) - len(texts))
    there = [subject for subject in context.others if has_collection(subject)]
    for subject in there:
        _look(context, subject, gone, texts, found)
    found.forget({doc_id for doc_id, now in context.catalog.facts(list(gone)).items() if not now.deleted})
    return _judged(found, len(gone), len(there))


def _former_texts(context: Context, gone: Mapping[str, DocumentFacts]) -> Iterator[tuple[str, str]]:
    """What as many of the documents as may be searched for said before they were deleted, if that is kept."""
    left = context.texts
    for doc_id, facts in gone.items():
        if not left:
            return
        text = current_text(context.catalog, doc_id, facts.revision - 1)
        if text and text.strip():
            left -= 1
            yield doc_id, excerpt(text)


def _look(
    context: Context,
    subject: Subject,
    gone: Mapping[str, DocumentFacts],
    texts: Mapping[str, str],
    found: _Findings,
) -> None:
    where = f"generation {subject.number}"
    for doc_id in subject.catalog.placed(subject.number, list(gone)):
        if not context.is_followed():
            found.placed[doc_id] = where
    suspects: list[StoreHit] = []
    for text in texts.values():
        vector = embed_query(text, subject.generation.recipe, subject.embedder)
        for hit in subject.search(vector, context.k):
            if hit.doc_id in gone:
                found.returned[hit.doc_id] = where
        suspects += _physical(context, subject, vector, gone)
    for point in suspects:
        if _is_queued(subject, point):
            found.queued.add(point.doc_id)
        elif subject.store.fetch(subject.generation.collection, [point.point_id])[0]:  # not deleted just now
            found.stored[point.doc_id] = where


def _physical(context: Context, subject: Subject, vector: Vector, gone: Mapping[str, DocumentFacts]) -> list[StoreHit]:
    """Points of deleted documents that the store itself still returns, without the fence."""
    collection = subject.generation.collection
    found = subject.store.search(collection, vector, 2 * context.k, principals=UNRESTRICTED)
    return [hit for hit in found if hit.doc_id in gone]


def _is_queued(subject: Subject, hit: StoreHit) -> bool:
    """Whether a point waits to be deleted, or its document's placement does."""
    entry = bytes.fromhex(hit.chunk_id) + write_token(hit.token)
    placed = subject.catalog.placed(subject.number, [hit.doc_id])
    if any(names(placement.chunks, entry) for placement in placed.values()):
        return True  # told as placed
    return any(names(item.entries, entry) for item in subject.catalog.garbage(subject.number, 10_000))


def _judged(found: _Findings, looked: int, generations: int) -> CheckResult:
    told = f"{counted(looked, 'deleted document')} in {counted(generations, 'generation')}"
    problems = []
    if found.returned:
        problems.append(f"searches return {_where(found.returned)}")
    if found.placed:
        problems.append(f"still placed: {_where(found.placed)}")
    if found.stored:
        problems.append(f"the store still holds and returns {_where(found.stored)}, held back by the fence")
    if problems:
        return failed(
            NAME,
            [f"of {told}: {problems[0]}", *problems[1:]],
            "`regen sync` carries a deletion out, `regen gc` and `regen verify --repair` remove what nothing names",
            [*found.returned, *found.placed, *found.stored],
        )
    queued = f"; points of {len(found.queued)} wait to be deleted" if found.queued else ""
    unsearched = f"; of {found.unsearched} no former text was searched for" if found.unsearched else ""
    return passed(NAME, f"{told}: gone{queued}{unsearched}")


def _where(found: Mapping[str, str]) -> str:
    first = next(iter(found))
    return f"{examples(list(found))}, first in {found[first]}"
