"""Cosine as an inner product, for stores that would normalise what they are given and so change it.

Vectors of unit length, which is what regen writes unless a recipe says otherwise, are kept as they are. Any other is
written as the unit vector of its direction, with its own numbers beside it: what is fetched is what was written.
A zero vector has no direction: it is kept, and never found.
"""

from __future__ import annotations

import base64
from typing import Final

import numpy as np

from regen.core.recipe import Metric, Precision
from regen.ports import Vector, Vectors

EXACT: Final = "exact"
"""The key of a record under which the numbers lie of a vector that was not of unit length."""
ZERO: Final = "zero"
"""The key of a record that says that its vector has no direction."""
_UNIT: Final = 2e-5
"""So far from 1 a length may be for the inner product to be the cosine to 1e-4."""
_TYPES: Final[dict[Precision, str]] = {"float32": "<f4", "float16": "<f2", "int8": "i1", "binary": "i1"}


def as_units(vectors: Vectors, metric: Metric, precision: Precision) -> tuple[Vectors, dict[int, str]]:
    """What to write for vectors of shape (n, dimensions), and by row the exact numbers of those that were changed."""
    if metric != "cosine":
        return vectors, {}
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    odd = np.flatnonzero(np.abs(lengths - 1.0) > _UNIT)
    if not len(odd):
        return vectors, {}
    written = vectors.copy()
    for row in odd:
        written[row] = _unit(vectors[row], float(lengths[row]))
    return written, {int(row): _packed(vectors[row], precision) for row in odd}


def as_unit(query: Vector, metric: Metric) -> Vector | None:
    """What to search by for a query; None when it has no direction, so that nothing can be found."""
    if metric != "cosine":
        return query
    length = float(np.linalg.norm(query.astype(np.float64)))
    return None if length == 0 else _unit(query, length)


def is_zero(vector: Vector, metric: Metric) -> bool:
    """Whether a vector has no direction where directions are compared."""
    return metric == "cosine" and not vector.any()


def exact(packed: str, precision: Precision) -> Vector:
    """The numbers that were written, from what was kept beside the unit vector."""
    return np.frombuffer(base64.b85decode(packed), _TYPES[precision]).astype(np.float32)


def _unit(vector: Vector, length: float) -> Vector:
    return np.asarray(vector / (length or 1.0), np.float32)


def _packed(vector: Vector, precision: Precision) -> str:
    return base64.b85encode(vector.astype(_TYPES[precision]).tobytes()).decode()
