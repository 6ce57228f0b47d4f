"""How vectors of each precision lie in a Lance table, measured with LanceDB 0.40. See docs/adr/0002.

    float32   list of float32, 4 bytes a number
    float16   list of float16, 2 bytes: searched and indexed by LanceDB as it is
    int8      list of float16 as well: LanceDB sends every query as float32 and refuses to compare it with int8 lists.
              Whole numbers to 127 are exact in 16 bits
    binary    packed bits in a list of uint8, 1/8 byte: LanceDB finds the nearest by Hamming distance, and the best of
              those are scored again by the cosine of the query itself with the signs

Two stages for binary vectors: Yamada et al. 2021, "Efficient Passage Retrieval with Hashing".
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from regen.core.recipe import Precision
from regen.ports import Vector, Vectors

CANDIDATES_A_HIT: Final = 40
"""Measured on scifact, WordLlama of 256 dimensions: of the 10 best by cosine with the signs .998 are found with 40
candidates a hit, .985 with 16, .863 with 4."""
MIN_CANDIDATES: Final = 400
_TYPES: Final = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.float16(), "binary": pa.uint8()}
_BYTES: Final = {"float32": 4.0, "float16": 2.0, "int8": 2.0}
_GRAPH_BYTES: Final = 180
"""Bytes a point that the vector index takes beside one for each number, measured at the default degree."""


def vector_type(dimensions: int, precision: Precision) -> pa.DataType:
    """The type of the vector column."""
    return pa.list_(_TYPES[precision], -(-dimensions // 8) if precision == "binary" else dimensions)


def vector_bytes(dimensions: int, precision: Precision) -> float:
    """Bytes of one vector in the table."""
    size = vector_type(dimensions, precision).list_size
    return float(size) if precision == "binary" else size * _BYTES[precision]


def index_bytes(dimensions: int, precision: Precision) -> float:
    """Bytes that the vector index adds for one point: it keeps each number in a byte. Binary vectors have none."""
    return 0.0 if precision == "binary" else float(dimensions + _GRAPH_BYTES)


def encoded(vectors: Vectors, precision: Precision) -> pa.FixedSizeListArray:
    """Vectors of shape (rows, dimensions), already of the precision, as the table's column."""
    if precision == "binary":
        return _lists(packed(vectors))
    return _lists(vectors if precision == "float32" else vectors.astype(np.float16))


def decoded(column: pa.ChunkedArray, dimensions: int, precision: Precision) -> Vectors:
    """A vector column as a matrix of shape (rows, dimensions)."""
    if precision != "binary":
        return vectors_of(column, dimensions)
    parts = [np.asarray(chunk.flatten()).reshape(-1, -(-dimensions // 8)) for chunk in column.chunks]
    return signs(np.concatenate(parts), dimensions) if parts else np.empty((0, dimensions), np.float32)


def _lists(rows: NDArray[np.generic]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows).reshape(-1)), rows.shape[1])


def vectors_of(column: pa.ChunkedArray, dimensions: int) -> Vectors:
    """A column of numbers as a matrix of shape (rows, dimensions)."""
    parts = [np.asarray(chunk.flatten(), dtype=np.float32).reshape(-1, dimensions) for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.empty((0, dimensions), np.float32)


def packed(vectors: Vectors) -> NDArray[np.uint8]:
    """The signs as bits, shape (rows, dimensions / 8 rounded up)."""
    return np.packbits(vectors > 0, axis=-1)


def signs(bits: NDArray[np.uint8], dimensions: int) -> Vectors:
    """Packed bits as -1 and 1, shape (rows, dimensions)."""
    ones = np.unpackbits(bits, axis=-1, count=dimensions)
    return np.where(ones, np.float32(1), np.float32(-1))


def cosine_with_signs(query: Vector, vectors: Vectors) -> Vector:
    """The cosine of a query with vectors of -1 and 1, shape (rows,)."""
    scores: Vector = vectors @ query / (np.linalg.norm(query) * np.sqrt(np.float32(len(query))))
    return scores
