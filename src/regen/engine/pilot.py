"""Whether a slice of a generation is sound: what every pilot must pass before the rest is paid for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from regen.core.chunks import point_id, unpack
from regen.core.documents import UNRESTRICTED
from regen.core.priority import Cut
from regen.engine import probes
from regen.errors import ModelChanged
from regen.ports import Embedder, Store, StoreHit, Vector
from regen.ports.catalog import CatalogReader, Generation

SAMPLE: Final = 50
"""Chunks that are looked for by their own vectors."""
HITS: Final = 10
TIE: Final = 1e-4
"""Scores that differ by less, as a share, are one score: chunks of equal vectors have no order."""
ENOUGH_TEXTS: Final = 8
"""Distinct texts from which on equal vectors say something about the model."""


@dataclass(frozen=True, slots=True)
class PilotVerdict:
    """Whether the rest is worth building; the reasons, for or against."""

    passed: bool
    reasons: tuple[str, ...] = ()

    def plus(self, other: PilotVerdict) -> PilotVerdict:
        """Both together: passed if both are; the reasons of the one that is not."""
        if self.passed and not other.passed:
            return other
        return PilotVerdict(self.passed and other.passed, (*self.reasons, *other.reasons))


def check_pilot(
    generation: Generation, cut: Cut, head: int, reader: CatalogReader, store: Store, embedder: Embedder
) -> PilotVerdict:
    """Whether the model is the same still, every document of the slice came through, and chunks find themselves.

    ``head`` is the revision that the slice was brought up to.
    """
    try:
        probes.check(reader, generation, embedder)
    except ModelChanged as error:
        return PilotVerdict(False, (error.message,))
    left = reader.behind(generation.number, after=0, upto=head, lane=None, limit=1, max_bytes=1, cut=cut)
    counts, dead = reader.counts(generation.number), len(reader.buried(generation.number))
    problems = [f"{left[0].doc_id} of the slice is not in it yet"] if left else []
    if dead and not counts.documents:
        problems.append(f"none of its {dead:,} documents could be processed: `regen status` tells why")
    sample = _sample(generation, counts.documents, reader)
    problems += _lost(generation, store, sample)
    if problems:
        return PilotVerdict(False, tuple(problems))
    letters = f", {dead:,} more could not be processed" if dead else ""
    found = f"{len(sample):,} of their chunks, looked for by their own vectors, came first"
    return PilotVerdict(True, (f"{counts.documents:,} documents are in it{letters}; {found}",))


def _sample(generation: Generation, documents: int, reader: CatalogReader) -> list[str]:
    """Point ids of the first chunks of documents spread over all that are placed."""
    every = max(1, documents // SAMPLE)
    entries = (placement.chunks for page in reader.placements(generation.number) for _, placement in page)
    filled = [chunks for chunks in entries if chunks]
    return [point_id(*unpack(chunks)[0]) for chunks in filled[::every][:SAMPLE]]


def _lost(generation: Generation, store: Store, sample: list[str]) -> Iterator[str]:
    """What is wrong with the points of a sample."""
    if not sample:
        return
    ids, vectors = store.fetch(generation.collection, sample)
    if missing := len(set(sample) - set(ids)):
        yield f"{missing:,} of {len(sample):,} chunks that were placed are not in the store"
        return
    if generation.recipe.metric == "dot" and not generation.recipe.embedding.normalize:
        return  # a longer vector of another chunk may rightly come before a chunk's own
    hits = [_search(generation, store, vector) for vector in vectors]
    astray = sum(not _finds_itself(own, found) for own, found in zip(ids, hits, strict=True))
    if astray:
        yield f"{astray:,} of {len(ids):,} chunks do not come first when they are looked for by their own vectors"
    texts = {hit.text for found in hits for hit in found if hit.point_id in ids}
    distinct = len(np.unique(vectors, axis=0))
    if len(texts) >= ENOUGH_TEXTS and distinct < len(texts) / 2:
        yield f"{len(texts):,} different texts have only {distinct:,} different vectors: the model confuses them"


def _search(generation: Generation, store: Store, vector: Vector) -> list[StoreHit]:
    return store.search(generation.collection, vector, HITS, principals=UNRESTRICTED)


def _finds_itself(own: str, found: list[StoreHit]) -> bool:
    """Whether a point is the best hit, or as good as the best one."""
    if not found:
        return False
    tie = TIE * max(1.0, abs(found[0].score))
    # One that is not among the hits at all may be as good as all of them: the store chose among equals.
    mine = next((hit for hit in found if hit.point_id == own), found[-1])
    return abs(found[0].score - mine.score) <= tie
