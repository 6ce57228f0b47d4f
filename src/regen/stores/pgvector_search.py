"""One search of a collection: by pgvector's own distance, and never with fewer points than satisfy the filter."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import psycopg

from regen.ports import StoreHit, Vector
from regen.stores.pgvector_filters import Condition
from regen.stores.pgvector_layout import Layout
from regen.stores.pgvector_vectors import LARGEST_HALF, OPERATORS, literal, scores

_HIT: Final = "id, chunk_id, token, doc_id, text"
_CANDIDATES_A_HIT: Final = 2
_MORE_CANDIDATES: Final = 20
_NEAREST_NORMAL: Final = 1e-30


def best(
    connection: psycopg.Connection[Any],
    table: str,
    layout: Layout,
    query: Vector,
    k: int,
    narrowed: Condition,
    *,
    indexed: bool,
) -> list[StoreHit]:
    """The k best points that satisfy the condition, best first.

    An index gives up after some thousand points that the filter refuses: when it brings fewer than k, all are looked
    at.
    """
    if layout.metric == "cosine" and not query.any():
        return []  # the cosine with a zero vector is undefined
    rows = _rows(connection, _statement(table, layout, query, narrowed, k, indexed=indexed))
    if len(rows) < k:
        rows = _rows(connection, _statement(table, layout, query, narrowed, k, indexed=None))
    told = scores([row[5] for row in rows], layout.metric)
    return [
        StoreHit(row[0], score, *row[1:5])
        for row, score in zip(rows, told, strict=True)
        if score == score  # noqa: PLR0124
    ]


def _rows(connection: psycopg.Connection[Any], statement: tuple[str, list[Any]]) -> list[Any]:
    text, values = statement
    return connection.execute(text.encode(), values).fetchall()


def _statement(
    table: str, layout: Layout, query: Vector, narrowed: Condition, k: int, *, indexed: bool | None
) -> tuple[str, list[Any]]:
    """The statement and its parameters. ``indexed`` of None avoids any index: + 0 hides the operator from it."""
    asked, operator = literal(query), OPERATORS[layout.metric]
    exact = f"{'vector' if layout.precision == 'float32' else _full(layout)} {operator} %s::vector"
    half = indexed and (layout.precision != "float32" or layout.dimensions > 2000)
    if half and (approximate := _half(layout, query)) is not None:
        # The index compares with a query of half precision: what it finds is ordered again by the query itself.
        near, given = approximate
        inner = f"SELECT *, {near} AS near FROM {table} WHERE {narrowed.text} ORDER BY {near} LIMIT %s"  # noqa: S608
        wanted = _CANDIDATES_A_HIT * k + _MORE_CANDIDATES
        text = f"SELECT {_HIT}, {exact} AS distance FROM ({inner}) AS found ORDER BY distance LIMIT %s"  # noqa: S608
        return text, [asked, given, *narrowed.values, given, wanted, k]
    order = "distance" if indexed is not None and not half else f"({exact}) + 0"
    text = f"SELECT {_HIT}, {exact} AS distance FROM {table} WHERE {narrowed.text} ORDER BY {order} LIMIT %s"  # noqa: S608
    again = [] if order == "distance" else [asked]
    return text, [asked, *narrowed.values, *again, k]


def _full(layout: Layout) -> str:
    return f"vector::vector({layout.dimensions})"


def _half(layout: Layout, query: Vector) -> tuple[str, str] | None:
    """The distance that the index is made for, and the query in it; None where half precision cannot hold the query."""
    if layout.metric == "cosine":
        query = query / np.float32(max(float(np.abs(query).max()), _NEAREST_NORMAL))
    if np.abs(query).max() > LARGEST_HALF:
        return None
    column = "vector" if layout.precision != "float32" else f"(vector::halfvec({layout.dimensions}))"
    return f"{column} {OPERATORS[layout.metric]} %s::halfvec", literal(query)
