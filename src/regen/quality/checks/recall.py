"""Whether the store's search finds the nearest neighbours that exact search finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regen.core.chunks import point_id, unpack
from regen.core.documents import UNRESTRICTED
from regen.evaluation.lines import counted
from regen.evaluation.outcome import CheckResult
from regen.ports import StoreHit, Vector
from regen.quality.checks.context import Context
from regen.quality.checks.held import has_collection, held
from regen.quality.checks.scoring import Scores, exact_scores, slack
from regen.quality.checks.telling import failed, passed
from regen.quality.subject import Subject
from regen.serving.search import embed_query

NAME = "index_recall"
QUERIES: Final = 40
PAGE: Final = 4_000
"""How many vectors are fetched and scored at a time."""
NOISE: Final = 0.5
"""How far a query lies from the stored vector that it is made of, as a share of that vector's length."""


@dataclass(slots=True)
class _Asked:
    """One query: what the store returned, and the best of all other points that were scored exactly."""

    vector: Vector
    returned: dict[str, float] = field(default_factory=dict)
    """Point id → exact score."""
    others: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """The best exact scores of points that were not returned."""


def index_recall(context: Context) -> CheckResult:
    """Recall@k of the store's search against exact scores of all points, or of a random part of many.

    A point that was scored, was not returned and is nearer than the last one returned is a miss; of a part of the
    points, each miss stands for as many as there are points for each that was looked at.
    """
    subject = context.candidate
    total = context.catalog.counts(subject.number).chunks
    if not total or not has_collection(subject):
        return passed(NAME, "there are no points")
    asked = _queries(context, subject)
    if not asked:
        return passed(NAME, "there is no vector to search by")
    pages = list(_pages(context, subject, total))  # before the searches: what is written meanwhile is nobody's miss
    for item in asked:
        _search(context, subject, item)
    scored = _score(context, subject, asked, pages)
    total = scored if total <= context.exact_points else total
    if not scored:
        return passed(NAME, "there are no points")
    k = min(context.k, total)
    missed = [_missed(subject, item, k, total / scored) for item in asked]
    recall = max(0.0, 1.0 - float(np.mean(missed)) / k)
    of = f"all {total:,} points" if scored >= total else f"{scored:,} of {total:,} points"
    told = f"recall@{k} is {recall:.3f} in {counted(len(asked), 'search', 'searches')}, against exact search of {of}"
    if recall >= context.recall:
        return passed(NAME, told)
    return failed(
        NAME,
        [f"{told}; at least {context.recall} is wanted"],
        "`regen gc --now` builds the store's index anew; its parameters stand under `index:` in regen.yaml",
    )


def _queries(context: Context, subject: Subject) -> list[_Asked]:
    """Vectors near stored ones, and those of real queries where some are known."""
    drawn = context.catalog.sampled(QUERIES, seed=context.seed + 1)
    points = held(subject, [item.doc_id for item in drawn], chunks=1)
    near = [_near(item.vectors[0], np.random.default_rng([context.seed, at])) for at, item in enumerate(points.values())
            if item.usable]  # fmt: skip
    recipe = subject.generation.recipe
    real = [embed_query(text, recipe, subject.embedder) for text in _texts(context)]
    return [_Asked(vector) for vector in [*near, *real] if vector.any()]


def _near(vector: Vector, draw: np.random.Generator) -> Vector:
    noise = draw.standard_normal(vector.shape[0])
    moved: Vector = (vector + noise * (NOISE * np.linalg.norm(vector) / np.linalg.norm(noise))).astype(np.float32)
    return moved


def _texts(context: Context) -> list[str]:
    known = [query.text for query in context.known]
    judged = [query.text for item in context.collections for query in item.judged]
    return [*known, *judged][: context.texts]


def _search(context: Context, subject: Subject, item: _Asked) -> None:
    """Ask the store itself, and score what it returns exactly."""
    collection = subject.generation.collection
    hits: list[StoreHit] = subject.store.search(collection, item.vector, context.k, principals=UNRESTRICTED)
    ids, vectors = subject.store.fetch(collection, [hit.point_id for hit in hits])
    item.returned = {hit.point_id: hit.score for hit in hits}  # should one be deleted meanwhile
    if ids:
        scores = exact_scores(subject.generation.recipe.metric, item.vector[None, :], vectors)[0]
        item.returned |= zip(ids, scores.tolist(), strict=True)


def _score(context: Context, subject: Subject, asked: list[_Asked], pages: Sequence[list[str]]) -> int:
    """Score points exactly, a page at a time, and keep the best that were not returned; how many were scored."""
    queries = np.stack([item.vector for item in asked])
    metric, scored = subject.generation.recipe.metric, 0
    for page in pages:
        ids, vectors = subject.store.fetch(subject.generation.collection, page)
        scored += len(ids)
        if ids:
            _keep_best(asked, ids, exact_scores(metric, queries, vectors), context.k)
    return scored


def _keep_best(asked: list[_Asked], ids: list[str], scores: Scores, k: int) -> None:
    rows = {point: row for row, point in enumerate(ids)}
    for item, own in zip(asked, scores, strict=True):
        own[[rows[point] for point in item.returned if point in rows]] = -np.inf
        best = own[np.argpartition(-own, k - 1)[:k]] if len(own) > k else own
        item.others = np.sort(np.concatenate([item.others, best]))[::-1][:k]


def _pages(context: Context, subject: Subject, total: int) -> Iterator[list[str]]:
    """Point ids: all that placements name, or those of random documents."""
    page: list[str] = []
    for chunks in _placed(context, subject, total):
        page += [point_id(*entry) for entry in unpack(chunks)]
        while len(page) >= PAGE:
            yield page[:PAGE]
            page = page[PAGE:]
    if page:
        yield page


def _placed(context: Context, subject: Subject, total: int) -> Iterator[bytes]:
    if total <= context.exact_points:
        for page in subject.catalog.placements(subject.number):
            yield from (placement.chunks for _, placement in page)
        return
    documents = int(context.exact_points / subject.chunks_per_document())
    drawn = [item.doc_id for item in context.catalog.sampled(max(1, documents), seed=context.seed + 2)]
    for at in range(0, len(drawn), PAGE):
        yield from (item.chunks for item in subject.catalog.placed(subject.number, drawn[at : at + PAGE]).values())


def _missed(subject: Subject, item: _Asked, k: int, weight: float) -> float:
    """How many of the k nearest were not returned; each point of a sample stands for ``weight`` points."""
    returned = sorted(item.returned.values(), reverse=True)[:k]
    missed = above = 0.0
    for score in item.others:
        before = sum(own + slack(subject.generation.recipe, own) >= score for own in returned)
        if before + above >= k:
            break  # as many are nearer: it is none of the k
        if before == len(returned):
            break  # farther than all that was returned: the list is short, which is counted below
        missed += weight
        above += weight
    return max(missed, k - len(returned))
