"""Exact scores, as a store's ``StoreHit.score`` means them, and how far a store's own may be from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regen.core.recipe import Metric, Recipe
from regen.ports import Vectors

Scores = NDArray[np.float64]
"""Shape (queries, points); higher is better."""


def exact_scores(metric: Metric, queries: Vectors, points: Vectors) -> Scores:
    """The score of every point for every query; minus infinity where cosine is undefined (a zero vector)."""
    asked, held = queries.astype(np.float64), points.astype(np.float64)
    products: Scores = asked @ held.T
    if metric == "dot":
        return products
    ours, theirs = np.square(asked).sum(axis=1)[:, None], np.square(held).sum(axis=1)[None, :]
    if metric == "l2":
        distances: Scores = np.maximum(ours + theirs - 2 * products, 0.0)
        return -distances
    lengths = np.sqrt(ours * theirs)
    scores = np.full_like(products, -np.inf)
    np.divide(products, lengths, out=scores, where=lengths > 0)
    return scores


def slack(recipe: Recipe, score: float) -> float:
    """By how much equal scores may differ: rounding, more of it where vectors are kept in fewer bits."""
    share = 1e-5 if recipe.embedding.precision == "float32" else 2e-3
    return share * max(1.0, abs(score))
