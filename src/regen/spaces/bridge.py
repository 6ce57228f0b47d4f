"""Whether a bridge, new-model queries mapped into the old space, is worth using, and how much of it.

A bridged query is blended with the old model's own: w · bridged + (1 − w) · old. Weight 0 is what there was before, so
a weight is used only when measured queries show, with confidence, that it is better; else the bridge is off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regen.errors import EvaluationError, SpaceMismatch
from regen.spaces.calibrate import Scores
from regen.spaces.fitting import pairs_needed
from regen.spaces.vectors import normalize

Vectors: TypeAlias = NDArray[np.float32]
WEIGHTS: Final = (0.25, 0.5, 0.75, 1.0)
"""The blends that are measured; 1.0 is the naive bridge."""
MOST_QUERIES: Final = 300
"""More judged queries than this are sampled: each is searched for once without a bridge and once with each blend."""
MARGIN: Final = 1.5
"""Pairs that are used beyond the fewest that a map needs: twice as many numbers as unknowns is little."""
FEWEST: Final = 20
"""Fewer queries give no interval that means anything."""
_RESAMPLES: Final = 2_000
_FOLDS: Final = 5


@dataclass(frozen=True, slots=True)
class BridgeDecision:
    """The weight to use (0: the bridge is off) and what was measured.

    ``gain`` is what the chosen blend is expected to add to the mean measure, by cross-validation: each query's blend
    was chosen on other queries. ``low`` is the lower confidence bound of the best blend's gain, for all blends at once.
    ``nothing`` is the mean without a bridge, ``means`` that of each blend, so a naive bridge that loses is in view.
    """

    weight: float
    gain: float
    low: float
    nothing: float
    means: Mapping[float, float]
    queries: int
    reason: str


def sample_size(source_dimensions: int, target_dimensions: int) -> int:
    """How many texts, embedded by both models, a bridge's map is fitted on."""
    return ceil(MARGIN * pairs_needed("ridge", source_dimensions, target_dimensions))


def blend(old: Vectors, bridged: Vectors, weight: float) -> Vectors:
    """Blend queries: weight · bridged + (1 − weight) · old, both (n, d) first brought to unit length, as is the result.

    Raises SpaceMismatch for unequal shapes: a bridged query lies in the old space.
    """
    if old.shape != bridged.shape:
        raise SpaceMismatch(f"queries of shape {bridged.shape} cannot be blended with old ones of shape {old.shape}")
    return normalize(np.float32(weight) * normalize(bridged) + np.float32(1 - weight) * normalize(old))


def choose_weight(
    nothing: Scores, blends: Mapping[float, Scores], *, seed: int, confidence: float = 0.95
) -> BridgeDecision:
    """Choose the blend that is better than doing nothing, or none.

    ``nothing`` (n,) holds each query's value (higher for better) as things are, ``blends`` those with each weight,
    query by query. A weight is chosen when the lower bound of its mean gain is above zero, by a paired bootstrap whose
    bound holds for all weights at once (the maximum over weights, Westfall & Young 1993), and choosing among weights
    has also gained on queries that the choice did not see.

    Raises EvaluationError for fewer than 20 queries or unequal lengths.
    """
    weights = sorted(blends)
    if len(nothing) < FEWEST or not weights or any(len(blends[weight]) != len(nothing) for weight in weights):
        raise EvaluationError(
            f"{len(nothing)} queries without a bridge and {[len(blends[weight]) for weight in weights]} with one",
            hint=f"measure at least {FEWEST} queries, the same ones with every weight",
        )
    gains = np.stack([np.asarray(blends[weight]) - nothing for weight in weights], axis=1)
    rng = np.random.default_rng(seed)
    lows = _lower_bounds(gains, rng, confidence)
    best = int(np.argmax(lows))
    unseen = _unseen_gain(gains, rng)
    use = bool(lows[best] > 0 and unseen > 0)
    sure = f"{confidence:.0%} sure"
    reason = (
        f"blend {weights[best]:g} gains {gains[:, best].mean():.4f}, {sure} of more than {lows[best]:.4f}"
        if use
        else f"no blend is {sure} to gain: the best bound is {lows[best]:.4f} at weight {weights[best]:g}"
    )
    return BridgeDecision(
        weights[best] if use else 0.0, unseen if use else 0.0, float(lows[best]), float(np.mean(nothing)),
        {weight: float(np.mean(blends[weight])) for weight in weights}, len(nothing), reason,
    )  # fmt: skip


def _lower_bounds(gains: Scores, rng: np.random.Generator, confidence: float) -> Scores:
    mean, count = gains.mean(axis=0), len(gains)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES) / count
    error = np.where(gains.std(axis=0) > 0, gains.std(axis=0, ddof=1) / np.sqrt(count), 1.0)
    worst = np.max((drawn @ gains - mean) / error, axis=1)
    return np.asarray(mean - np.quantile(worst, confidence) * error * (gains.std(axis=0) > 0))


def _unseen_gain(gains: Scores, rng: np.random.Generator) -> float:
    """The mean gain when each fold's weight is the best (or none) of the other folds."""
    order = rng.permutation(len(gains))
    total = 0.0
    for fold in np.array_split(order, _FOLDS):
        others = np.setdiff1d(order, fold)
        means = gains[others].mean(axis=0)
        best = int(np.argmax(means))
        total += float(gains[fold, best].sum()) if means[best] > 0 else 0.0
    return total / len(gains)


def known_item_values(queries: Vectors, documents: Vectors, own: NDArray[np.int64], k: int = 10) -> Scores:
    """Per query (n,), nDCG@k when exactly document ``own[i]`` is relevant: 1 / log2(1 + rank), 0 beyond rank k.

    For where nothing is judged: held-out documents are asked for by a part of their text (a title, a first sentence).
    Vectors are compared by inner product; a tie counts against the document.
    """
    scores = np.asarray(queries @ documents.T, dtype=np.float64)
    mine = scores[np.arange(len(own)), own]
    ranks = np.sum(scores >= mine[:, None], axis=1)
    return np.where(ranks <= k, 1 / np.log2(1 + ranks), 0.0)
