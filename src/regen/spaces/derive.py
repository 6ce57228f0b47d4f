"""Vectors made of other vectors of the same model: truncated, normalised, of lower precision. No text is embedded.

Truncation: Kusupati et al. 2022, "Matryoshka Representation Learning": the leading dimensions of a model trained for it
are an embedding of their own. Scalar and binary quantisation keep what cosine similarity needs: a vector's direction
(int8: components scaled by the largest one; binary: signs).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regen.spaces.vectors import normalize

Vectors: TypeAlias = NDArray[np.float32]
Precision: TypeAlias = Literal["float32", "float16", "int8", "binary"]


def derive(vectors: Vectors, *, dimensions: int, to_unit: bool, precision: Precision) -> Vectors:
    """The leading ``dimensions`` of vectors, brought to unit length if asked, at a precision; shape (n, dimensions).

    Whether that gives vectors of the wanted space ``core.transition.derivable`` decides.
    """
    derived = np.ascontiguousarray(vectors[:, :dimensions])
    # Truncated and normalised again, vectors of low precision are not of that precision any more.
    return quantize(normalize(derived) if to_unit else derived, precision)


def quantize(vectors: Vectors, precision: Precision) -> Vectors:
    """The nearest vectors that a precision can hold, as float32 of the same shape.

    int8 gives whole numbers from -127 to 127, binary -1 and 1: directions are kept, lengths are not, so both go with
    the cosine metric only.
    """
    if precision == "float32":
        return vectors
    if precision == "float16":
        rounded: Vectors = vectors.astype(np.float16).astype(np.float32)
        return rounded
    if precision == "int8":
        largest = np.abs(vectors).max(axis=1, keepdims=True)
        whole: Vectors = np.rint(vectors / np.maximum(largest, np.finfo(np.float32).tiny) * 127).astype(np.float32)
        return whole
    return np.where(vectors > 0, np.float32(1), np.float32(-1))


def neighbour_overlap(before: Vectors, after: Vectors, k: int = 10, *, queries: Vectors | None = None) -> float:
    """The mean share of each vector's k nearest neighbours (cosine) that it keeps, 0 to 1; for samples (n² work).

    ``queries``, of the shape of ``after``, are what is compared with ``after`` where that is not ``after`` itself: a
    search does not quantise its query.
    """
    if len(before) < 2:
        return 1.0
    k = min(k, len(before) - 1)
    first, second = _nearest(before, before, k), _nearest(after if queries is None else queries, after, k)
    return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(first, second, strict=True)]))


def _nearest(queries: Vectors, vectors: Vectors, k: int) -> NDArray[np.int64]:
    scores = normalize(queries) @ normalize(vectors).T
    np.fill_diagonal(scores, -np.inf)
    return np.argpartition(-scores, k - 1, axis=1)[:, :k].astype(np.int64)
