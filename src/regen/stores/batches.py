"""What every store checks of its input before it writes or compares, so that all refuse the same things alike.

And how what is too much for one request is cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Final, TypeVar

import numpy as np

from regen.core.recipe import Precision
from regen.errors import SpaceMismatch, StoreError
from regen.ports import Payload, Points, Vector, Vectors

T = TypeVar("T")

_LARGEST_HALF: Final = 65_504.0
_LARGEST_BYTE: Final = 127.0


def checked_points(collection: str, points: Points, dimensions: int, precision: Precision = "float32") -> Points:
    """The points with contiguous float32 vectors of the right shape, and of points that share an id the last one only.

    Raises SpaceMismatch for another dimension, StoreError for unequal lengths, vectors that are not finite, or numbers
    that the collection's precision cannot hold.
    """
    vectors = np.ascontiguousarray(points.vectors, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(points.ids):
        raise StoreError(
            f"{len(points.ids)} points for collection {collection!r} came with vectors of shape {vectors.shape}",
            hint=f"vectors have the shape (points, dimensions), here ({len(points.ids)}, {dimensions})",
        )
    check_dimensions(collection, vectors.shape[1], dimensions)
    _check_lengths(collection, points)
    check_finite(collection, vectors)
    check_precision(collection, vectors, precision)
    points = replace(points, vectors=vectors)
    last = {point_id: row for row, point_id in enumerate(points.ids)}
    return points if len(last) == len(points.ids) else _take(points, sorted(last.values()))


def checked_query(collection: str, vector: Vector, dimensions: int) -> Vector:
    """The query as a contiguous float32 vector of shape (dimensions,). Raises as :func:`checked_points` does."""
    query = np.ascontiguousarray(vector, dtype=np.float32).reshape(-1)
    check_dimensions(collection, len(query), dimensions)
    check_finite(collection, query)
    return query


def check_dimensions(collection: str, found: int, dimensions: int) -> None:
    """Raise SpaceMismatch unless the two are equal."""
    if found != dimensions:
        raise SpaceMismatch(
            f"a vector of {found} dimensions met collection {collection!r}, whose vectors have {dimensions}",
            hint="embed with the model of the collection's generation; another model needs a generation of its own",
        )


def check_finite(collection: str, vectors: Vectors | Vector) -> None:
    """Raise StoreError for NaN or infinity: no store would ever find such a vector again."""
    if not np.isfinite(vectors).all():
        raise StoreError(
            f"a vector for collection {collection!r} holds NaN or infinity",
            hint="every number of a vector must be finite; look at what the embedder returned for this text",
        )


def check_precision(collection: str, vectors: Vectors, precision: Precision) -> None:
    """Raise StoreError for numbers that are not of the precision: kept in fewer bits they would become others."""
    problem = None
    if precision == "float16" and (np.abs(vectors) > _LARGEST_HALF).any():
        problem = f"a number above {_LARGEST_HALF:.0f}"
    elif precision == "int8" and not ((np.abs(vectors) <= _LARGEST_BYTE) & (np.rint(vectors) == vectors)).all():
        problem = "a number that is not whole, or beyond 127"
    elif precision == "binary" and not (np.abs(vectors) == 1).all():
        problem = "a number other than -1 and 1"
    if problem is not None:
        raise StoreError(
            f"a vector for collection {collection!r} holds {problem}, and the collection keeps {precision}",
            hint="vectors are brought to a precision before they are written: regen.spaces.derive.quantize does it",
        )


def _check_lengths(collection: str, points: Points) -> None:
    columns = {part.name: getattr(points.payload, part.name) for part in fields(Payload) if part.name != "audit"}
    columns |= {f"audit[{key!r}]": values for key, values in points.payload.audit.items()}
    for name, values in columns.items():
        if len(values) != len(points.ids):
            raise StoreError(
                f"payload column {name} has {len(values)} entries for {len(points.ids)} points of {collection!r}",
                hint="every payload column holds one entry a point",
            )


def _take(points: Points, rows: list[int]) -> Points:
    payload = points.payload
    chosen = {
        part.name: [getattr(payload, part.name)[row] for row in rows]
        for part in fields(Payload)
        if part.name != "audit"
    }
    audit = {key: [values[row] for row in rows] for key, values in payload.audit.items()}
    return Points([points.ids[row] for row in rows], points.vectors[rows], Payload(**chosen, audit=audit))


def slices(items: Sequence[T], most: int) -> Iterator[list[T]]:
    """All items in their order, so many at a time."""
    for start in range(0, len(items), most):
        yield list(items[start : start + most])
