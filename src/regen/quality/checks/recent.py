"""New and edited documents are retrievable, as they are now."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from regen.core.results import Hit
from regen.evaluation.lines import counted
from regen.evaluation.outcome import CheckResult
from regen.ports.auditing import DocumentFacts
from regen.quality.checks.context import Context
from regen.quality.checks.held import Held, current_text, excerpt, held, look_for, stands
from regen.quality.checks.reembedding import Compared, compared, mistaken
from regen.quality.checks.telling import examples, failed, passed
from regen.quality.subject import Subject
from regen.serving.search import embed_query

NAME = "recent_documents"


@dataclass(slots=True)
class _Findings:
    """Documents by what is wrong with them."""

    unplaced: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unfound: list[str] = field(default_factory=list)
    unfound_by_text: list[str] = field(default_factory=list)
    outdated: list[str] = field(default_factory=list)
    compared: list[Compared] = field(default_factory=list)
    mistaken: list[str] = field(default_factory=list)
    searches: int = 0

    @property
    def wrong(self) -> bool:
        """Whether anything is."""
        return bool(self.missing or self.unfound or self.unfound_by_text or self.outdated)

    def add(self, other: _Findings) -> None:
        """Take over what was found of one document."""
        for name in ("missing", "unfound", "unfound_by_text", "outdated", "compared"):
            getattr(self, name).extend(getattr(other, name))
        self.searches += other.searches


def recent_documents(context: Context) -> CheckResult:
    """The documents changed last, and a sample of all, are found: by their own vectors and by their own texts.

    What is returned of them is the newest revision's text, and a few stored vectors are those that the model gives for
    their texts now. Dead letters are left to the check of coverage.
    """
    subject = context.candidate
    wanted = _sample(context, subject)
    if not wanted:
        return passed(NAME, "there are no documents")
    found, points = _Findings(), held(subject, list(wanted))
    placed = subject.catalog.placed(subject.number, list(wanted))
    followed = context.is_followed()
    for at, (doc_id, facts) in enumerate(wanted.items()):
        if doc_id not in placed:
            if not followed:
                found.unplaced.append(doc_id)
        elif doc_id in points:
            _examine_twice(context, facts, points[doc_id], found, by_text=at < context.texts)
    found.mistaken = mistaken(subject, found.compared)
    return _judged(context, found, len(wanted))


def _sample(context: Context, subject: Subject) -> dict[str, DocumentFacts]:
    """Half of it the newest, half of it any."""
    catalog = context.catalog
    newest = catalog.newest(context.sample // 2)
    drawn = catalog.sampled(context.sample - len(newest), seed=context.seed)
    buried = set(catalog.buried(subject.number))
    return {item.doc_id: item for item in _alternating(newest, drawn) if item.doc_id not in buried}


def _alternating(first: list[DocumentFacts], second: list[DocumentFacts]) -> list[DocumentFacts]:
    """So that of the few that are searched by text some are new and some are any."""
    pairs = [item for pair in zip(first, second, strict=False) for item in pair]
    both = min(len(first), len(second))
    return [*pairs, *first[both:], *second[both:]]


def _examine_twice(context: Context, facts: DocumentFacts, points: Held, found: _Findings, *, by_text: bool) -> None:
    """Once more if something is wrong: the document may have been changed since the sample was drawn."""
    one = _Findings()
    _examine(context, facts, points, one, by_text=by_text)
    if one.wrong:
        one = _Findings(searches=one.searches)
        now = context.catalog.facts([facts.doc_id]).get(facts.doc_id)
        again = held(context.candidate, [facts.doc_id]).get(facts.doc_id)
        if now is not None and not now.deleted and again is not None:
            _examine(context, now, again, one, by_text=by_text)
            if one.wrong and not stands(context, now, again):
                one = _Findings(searches=one.searches)
    found.add(one)


def _examine(context: Context, facts: DocumentFacts, points: Held, found: _Findings, *, by_text: bool) -> None:
    subject, doc_id = context.candidate, facts.doc_id
    text = current_text(context.catalog, doc_id, facts.revision)
    if points.missing:
        found.missing.append(doc_id)
    hits: list[Hit] = []
    usable = np.flatnonzero(points.vectors.any(axis=1))
    if usable.size:
        row = int(usable[0])
        answer = look_for(subject, points, points.vectors[row], context.k, chunks=[points.chunks[row]])
        found.searches += 1
        hits += answer.of(doc_id)
        if not answer.found:
            found.unfound.append(doc_id)
        if by_text and points.revision == facts.revision:
            found.compared += compared(answer.of(doc_id), points, row)
    elif points.chunks:
        found.unfound.append(doc_id)  # vectors without a direction are near to nothing
    if by_text and text and text.strip() and usable.size:
        vector = embed_query(excerpt(text), subject.generation.recipe, subject.embedder)
        answer = look_for(subject, points, vector, context.k)
        found.searches += 1
        hits += answer.of(doc_id)
        if not answer.found:
            found.unfound_by_text.append(doc_id)
    if any(is_outdated(hit, facts.revision, text) for hit in hits):
        found.outdated.append(doc_id)


def is_outdated(hit: Hit, revision: int, text: str | None) -> bool:
    """Whether a hit is not of the document's newest revision: another number, or a text that it does not have."""
    return hit.revision != revision or (text is not None and hit.text not in text)


def _judged(context: Context, found: _Findings, looked: int) -> CheckResult:
    allowed = context.misses_allowed(looked)
    unfound = list(dict.fromkeys([*found.unfound, *found.unfound_by_text]))
    problems = []
    if found.unplaced:
        problems.append(f"not in the generation: {examples(found.unplaced)}")
    if found.missing:
        problems.append(f"points missing in the store: {examples(found.missing)}")
    if len(unfound) > allowed:
        problems.append(f"not found by their own vector or text: {examples(unfound)}")
    if found.mistaken:
        problems.append(f"the stored vectors are not those of their texts: {examples(found.mistaken)}")
    if found.outdated:
        problems.append(f"returned with a text or revision that is not the newest: {examples(found.outdated)}")
    told = counted(looked, "document")
    if not problems:
        missed = f", {len(unfound)} missed by the approximate index" if unfound else ""
        return passed(NAME, f"{told} looked for in {counted(found.searches, 'search', 'searches')}{missed}")
    return failed(
        NAME,
        [f"of {told}: {problems[0]}", *problems[1:]],
        "`regen sync` places what waits, `regen verify --repair` mends what the store has lost or mixed up, "
        "`regen retry --document ID` embeds a document anew",
        [
            *found.unplaced,
            *found.missing,
            *(unfound if len(unfound) > allowed else []),
            *found.mistaken,
            *found.outdated,
        ],
    )
