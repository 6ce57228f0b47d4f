"""What a generation holds of a few documents: their points with vectors, and whether a search finds them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from regen.core.chunks import point_id, unpack
from regen.core.documents import UNRESTRICTED, Principal, Unrestricted
from regen.core.results import Hit, SearchResult
from regen.errors import NotFound
from regen.ports import Vector, Vectors
from regen.ports.auditing import DocumentFacts
from regen.ports.catalog import CatalogReader
from regen.quality.checks.context import Context
from regen.quality.checks.scoring import exact_scores, slack
from regen.quality.subject import Subject

CHUNKS: Final = 8
"""How many chunks of one document are looked at."""
EXCERPT: Final = 300
"""How many characters of a document's text it is searched by."""


@dataclass(frozen=True, slots=True)
class Held:
    """The first chunks of one placed document: their ids (hexadecimal), and vectors of shape (found, dimensions).

    ``chunks`` and ``vectors`` go together; ``missing`` counts points that the store does not have.
    """

    doc_id: str
    revision: int
    chunks: tuple[str, ...]
    vectors: Vectors
    missing: int

    @property
    def usable(self) -> bool:
        """Whether there is a vector that a search could find."""
        return bool(self.vectors.any())


def held(subject: Subject, ids: Sequence[str], chunks: int = CHUNKS) -> dict[str, Held]:
    """What the generation holds of those of the ids that it places with any text."""
    placed = subject.catalog.placed(subject.number, ids)
    points = {
        doc_id: {point_id(*entry): entry[0].hex() for entry in unpack(placement.chunks)[:chunks]}
        for doc_id, placement in placed.items()
        if placement.chunks
    }
    wanted = [point for named in points.values() for point in named]
    if not wanted:
        return {}
    found, vectors = subject.store.fetch(subject.generation.collection, wanted)
    rows = {point: row for row, point in enumerate(found)}
    return {doc_id: _held(doc_id, placed[doc_id].revision, named, rows, vectors) for doc_id, named in points.items()}


def _held(doc_id: str, revision: int, named: dict[str, str], rows: dict[str, int], vectors: Vectors) -> Held:
    there = {point: chunk for point, chunk in named.items() if point in rows}
    return Held(
        doc_id, revision, tuple(there.values()), vectors[[rows[point] for point in there]], len(named) - len(there)
    )


def stands(context: Context, facts: DocumentFacts, points: Held) -> bool:
    """Whether a document is still as it was when it was looked at; if not, nothing is said about it."""
    now = context.catalog.facts([facts.doc_id]).get(facts.doc_id)
    placed = context.catalog.placed(context.candidate.number, [facts.doc_id]).get(facts.doc_id)
    if now is None or placed is None or now.deleted != facts.deleted or now.revision != facts.revision:
        return False
    on_its_way = placed.revision != now.revision and context.is_followed()
    return placed.revision == points.revision and not on_its_way


def has_collection(subject: Subject) -> bool:
    """Whether there is anything to search: a build makes its collection when it first writes."""
    building = subject.generation.state == "building"
    return not building or subject.generation.collection in subject.store.collections()


def current_text(catalog: CatalogReader, doc_id: str, revision: int) -> str | None:
    """A document's text at a revision, None when it is not kept."""
    try:
        return catalog.past_state(doc_id, revision).text
    except NotFound:
        return None


def excerpt(text: str) -> str:
    """The beginning of a text, cut between words: what a document is searched by."""
    text = text.strip()
    if len(text) <= EXCERPT:
        return text
    start, space, _ = text[:EXCERPT].rpartition(" ")
    return start.strip() if space else text[:EXCERPT]


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a search returned what it had to, and all that it returned."""

    found: bool
    result: SearchResult

    def of(self, doc_id: str) -> list[Hit]:
        """The hits of one document."""
        return [hit for hit in self.result.hits if hit.doc_id == doc_id]


def look_for(
    subject: Subject,
    wanted: Held,
    query: Vector,
    k: int,
    *,
    principals: Iterable[Principal] | Unrestricted = UNRESTRICTED,
    chunks: Collection[str] | None = None,
) -> Answer:
    """Search by a vector for a document, or for one of some of its chunks.

    It counts as found when it is among the k hits, or when all k are at least as near as it is itself: of documents
    with equal text only some can be returned.
    """
    result = subject.search(query, k, principals)
    sought = wanted.chunks if chunks is None else chunks
    if any(hit.doc_id == wanted.doc_id and hit.chunk_id in sought for hit in result.hits):
        return Answer(True, result)
    if any(hit.doc_id == wanted.doc_id for hit in result.hits) and chunks is None:
        return Answer(True, result)  # by a chunk that was not among those looked at
    return Answer(_is_outdone(subject, wanted, query, result, k), result)


def _is_outdone(subject: Subject, wanted: Held, query: Vector, result: SearchResult, k: int) -> bool:
    """Whether the list is full of what is at least as near as the document."""
    if len(result.hits) < k:
        return False
    own = own_score(subject, wanted, query)
    return result.hits[-1].score >= own - slack(subject.generation.recipe, own)


def own_score(subject: Subject, wanted: Held, query: Vector) -> float:
    """The best exact score of a document's chunks for a query; minus infinity for one without usable vectors."""
    if not wanted.usable:
        return float("-inf")
    metric = subject.generation.recipe.metric
    return float(exact_scores(metric, np.asarray(query, dtype=np.float32)[None, :], wanted.vectors).max())
