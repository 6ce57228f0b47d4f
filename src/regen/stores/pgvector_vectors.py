"""Vectors in pgvector's binary form: two 16-bit numbers (dimensions, unused), then the numbers, big-endian."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from regen.core.recipe import Metric, Precision
from regen.ports import Vector, Vectors

INDEXED_DIMENSIONS: Final = {"vector": 2_000, "halfvec": 4_000}
"""Up to how many dimensions pgvector builds an index."""
OPERATORS: Final[dict[Metric, str]] = {"cosine": "<=>", "dot": "<#>", "l2": "<->"}
OPERATOR_CLASSES: Final[dict[Metric, str]] = {"cosine": "cosine_ops", "dot": "ip_ops", "l2": "l2_ops"}
LARGEST_HALF: Final = 65_504.0


def vector_type(precision: Precision) -> str:
    """The type of a collection's vectors. Half precision holds int8 and signs exactly: whole numbers to 2,048."""
    return "vector" if precision == "float32" else "halfvec"


def encoded(vectors: Vectors, precision: Precision) -> list[bytes]:
    """Each vector of shape (n, dimensions) as pgvector receives it."""
    count, dimensions = vectors.shape
    numbers = np.ascontiguousarray(vectors, dtype=">f4" if precision == "float32" else ">f2")
    head = np.broadcast_to(np.array([dimensions, 0], ">u2").view(np.uint8), (count, 4))
    rows = np.concatenate([head, numbers.view(np.uint8).reshape(count, -1)], axis=1)
    width, whole = rows.shape[1], rows.tobytes()
    return [whole[at : at + width] for at in range(0, len(whole), width)]


def decoded(rows: Sequence[bytes], dimensions: int, precision: Precision) -> Vectors:
    """Vectors as pgvector sends them, as float32 of shape (rows, dimensions)."""
    if not rows:
        return np.empty((0, dimensions), np.float32)
    whole = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)[:, 4:]
    return np.ascontiguousarray(whole).view(">f4" if precision == "float32" else ">f2").astype(np.float32)


def literal(vector: Vector) -> str:
    """A query as text: the shortest digits that give each float32 back."""
    return f"[{','.join(map(str, vector))}]"


def scores(distances: Sequence[float], metric: Metric) -> list[float]:
    """Distances as scores: cosine, inner product, or minus squared L2."""
    if metric == "cosine":
        return [1.0 - distance for distance in distances]
    if metric == "dot":
        return [-distance for distance in distances]
    return [-distance * distance for distance in distances]
