"""Vectors as rows of a matrix: unit length, and which rows cannot be used at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def normalize(vectors: Vectors) -> Vectors:
    """Scale the rows to unit length: a new float32 array of the same shape (n, dimensions).

    A zero row stays zero: it has no direction to keep. Rows with NaN or infinity come out unusable, without a warning.
    """
    rows = np.asarray(vectors, dtype=np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    lengths[lengths == 0.0] = 1.0
    with np.errstate(invalid="ignore", over="ignore"):
        unit: Vectors = (rows / lengths[:, None]).astype(np.float32)
    return unit


def unusable_rows(vectors: Vectors) -> dict[int, str]:
    """Row number -> reason, for rows that no search could rank: NaN, infinity, or all zero."""
    finite = np.isfinite(vectors).all(axis=1)
    good = finite & vectors.any(axis=1)
    if good.all():
        return {}
    return {int(row): _reason(vectors[row]) for row in np.flatnonzero(~good)}


def _reason(vector: NDArray[np.float32]) -> str:
    if np.isnan(vector).any():
        return "contains NaN"
    return "contains infinity" if np.isinf(vector).any() else "is a zero vector"
