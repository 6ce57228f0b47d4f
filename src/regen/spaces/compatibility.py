"""Whether two models are compatible: their vectors of the same texts, compared in every way that is allowed.

Vectors are compared under the metric of their own model. A model whose metric is the dot product puts meaning into
length, so its vectors are never compared by cosine unless they all have unit length; the lengths are reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regen.errors import MapRefused
from regen.spaces.agreement import SAME, are_normalized
from regen.spaces.fitting import MapKind, pairs_needed
from regen.spaces.maps import MapScore, fit
from regen.spaces.vectors import normalize

Vectors: TypeAlias = NDArray[np.float32]
SpaceMetric: TypeAlias = Literal["cosine", "dot", "l2"]
Word: TypeAlias = Literal["identical", "truncated", "mappable", "poorly mappable", "unrelated", "cannot tell"]
_MOST: Final = 2_000


@dataclass(frozen=True, slots=True)
class Magnitudes:
    """Lengths of a sample of vectors. ``spread`` is the standard deviation over the mean: 0 for unit length."""

    median: float
    low: float
    high: float
    spread: float


@dataclass(frozen=True, slots=True)
class Compatibility:
    """What two models have in common, from vectors of the same texts.

    ``cosine`` is the median cosine of a text's two vectors, None where that means nothing (other dimensions, or lengths
    that carry meaning). ``overlap`` is the mean share of a text's ten nearest texts that both models agree on, each by
    its own metric: it depends on no map. ``map_kind`` and ``map_score`` are of the best map from the first to the
    second, None when there are too few texts. ``word`` is the verdict, ``detail`` says it in a sentence.
    """

    dimensions: tuple[int, int]
    metrics: tuple[SpaceMetric, SpaceMetric]
    magnitudes: tuple[Magnitudes, Magnitudes]
    cosine: float | None
    overlap: float
    map_kind: MapKind | None
    map_score: MapScore | None
    word: Word
    detail: str
    notes: tuple[str, ...] = ()


def compare(
    a: Vectors, b: Vectors, *, metric_a: SpaceMetric = "cosine", metric_b: SpaceMetric = "cosine", seed: int = 0
) -> Compatibility:
    """Compare the vectors (n, d1) of one model with those (n, d2) of another, row i of both being the same text.

    A few hundred texts tell identity and overlap; a map needs ``fitting.pairs_needed``. At most 2,000 texts are used
    for the overlap. Raises MapRefused when the rows do not pair.
    """
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b) or len(a) < 2:
        raise MapRefused(f"vectors of shapes {a.shape} and {b.shape} do not pair", hint="row i of both: the same text")
    kind, score = _best_map(a, b, seed)
    cosine = _cosine(a, b, metric_a, metric_b)
    sample = np.random.default_rng(seed).permutation(len(a))[:_MOST]
    overlap = _overlap(a[sample], metric_a, b[sample], metric_b)
    word, detail = _verdict(a, b, cosine, overlap, score)
    return Compatibility(
        (a.shape[1], b.shape[1]), (metric_a, metric_b), (_magnitudes(a), _magnitudes(b)), cosine, overlap, kind, score,
        word, detail, _notes(a, metric_a, "first") + _notes(b, metric_b, "second"),
    )  # fmt: skip


def _magnitudes(vectors: Vectors) -> Magnitudes:
    lengths = np.linalg.norm(np.asarray(vectors, dtype=np.float64), axis=1)
    low, median, high = np.percentile(lengths, [0, 50, 100])
    mean = float(lengths.mean())
    return Magnitudes(float(median), float(low), float(high), float(lengths.std() / mean) if mean else 0.0)


def _cosine(a: Vectors, b: Vectors, metric_a: SpaceMetric, metric_b: SpaceMetric) -> float | None:
    if a.shape[1] != b.shape[1] or not (_directional(a, metric_a) and _directional(b, metric_b)):
        return None
    return float(np.median(np.sum(normalize(a) * normalize(b), axis=1)))


def _directional(vectors: Vectors, metric: SpaceMetric) -> bool:
    return metric == "cosine" or are_normalized(vectors)


def _overlap(a: Vectors, metric_a: SpaceMetric, b: Vectors, metric_b: SpaceMetric) -> float:
    k = min(10, len(a) - 1)
    first, second = _nearest(a, metric_a, k), _nearest(b, metric_b, k)
    return float(np.mean([np.intersect1d(one, two).size / k for one, two in zip(first, second, strict=True)]))


def _nearest(vectors: Vectors, metric: SpaceMetric, k: int) -> NDArray[np.int64]:
    rows = normalize(vectors) if metric == "cosine" else np.asarray(vectors, dtype=np.float32)
    scores = rows @ rows.T
    if metric == "l2":
        scores = 2 * scores - np.sum(rows**2, axis=1)[None, :]
    np.fill_diagonal(scores, -np.inf)
    return np.argpartition(-scores, k - 1, axis=1)[:, :k].astype(np.int64)


def _best_map(a: Vectors, b: Vectors, seed: int) -> tuple[MapKind | None, MapScore | None]:
    kinds: tuple[MapKind, ...] = ("ridge", "procrustes" if a.shape[1] == b.shape[1] else "semi_orthogonal")
    scores = {
        kind: fit(kind, a, b, seed=seed).score for kind in kinds if len(a) >= pairs_needed(kind, a.shape[1], b.shape[1])
    }
    if not scores:
        return None, None
    best = max(scores, key=lambda kind: scores[kind].recall)
    return best, scores[best]


def _verdict(a: Vectors, b: Vectors, cosine: float | None, overlap: float, score: MapScore | None) -> tuple[Word, str]:
    if a.shape == b.shape and (np.allclose(a, b, rtol=1e-2, atol=1e-4) or (cosine is not None and cosine >= SAME)):
        return "identical", "the same vectors but for rounding: one space, nothing to migrate"
    shared = min(a.shape[1], b.shape[1])
    leading = np.median(np.sum(normalize(a[:, :shared]) * normalize(b[:, :shared]), axis=1))
    if a.shape[1] != b.shape[1] and leading >= SAME:
        return "truncated", (
            f"one is the leading {shared} dimensions of the other: the smaller is derived from the larger without "
            "embedding, the larger must be embedded"
        )
    if score is None:
        needed = pairs_needed("semi_orthogonal", a.shape[1], b.shape[1])
        return (
            "cannot tell",
            f"{len(a)} texts are too few for a map ({needed} at least); neighbours agree {overlap:.0%}",
        )
    found = f"a map finds {score.recall:.0%} of a text's true neighbours (shuffled pairs: {score.shuffled_recall:.0%})"
    if score.problem is not None:
        return "unrelated", f"{found}: no better than chance; the texts or a prefix may differ between the two"
    if score.recall >= 0.5:
        return "mappable", f"{found}: a bridge is worth measuring; vectors are still never compared directly"
    return "poorly mappable", f"{found}: a bridge would lose most of the difference between the models"


def _notes(vectors: Vectors, metric: SpaceMetric, which: str) -> tuple[str, ...]:
    if _directional(vectors, metric):
        return ()
    sizes = _magnitudes(vectors)
    note = (
        f"the {which} model's metric is {metric} and its vectors are {sizes.low:.3g} to {sizes.high:.3g} long "
        f"(median {sizes.median:.3g}): lengths carry meaning, so it is not compared by cosine"
    )
    return (note,)
