"""One search of a Lance table: by LanceDB's own distance, or for binary vectors in two stages."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
from lancedb.query import LanceVectorQueryBuilder
from lancedb.table import Table
from numpy.typing import NDArray

from regen.core.recipe import Metric
from regen.ports import StoreHit, Vector
from regen.stores.lancedb_layout import Layout
from regen.stores.lancedb_upkeep import ALL_PARTITIONS, IndexSettings
from regen.stores.lancedb_vectors import CANDIDATES_A_HIT, MIN_CANDIDATES, cosine_with_signs, decoded, packed

HIT_COLUMNS: Final = ["id", "chunk_id", "token", "doc_id", "text"]
_AT_ZERO_DISTANCE: Final[dict[Metric, float]] = {"cosine": 1.0, "dot": 1.0, "l2": 0.0}
"""Lance reports 1 - cosine, 1 - inner product and squared L2; the score is this constant minus the distance."""


def best(
    table: Table, layout: Layout, index: IndexSettings, query: Vector, k: int, condition: str | None
) -> list[StoreHit]:
    """The k best points that satisfy the condition, best first."""
    if layout.precision == "binary":
        return _best_of_signs(table, layout, query, k, condition)
    search = _search(table, query).distance_type(layout.metric).select([*HIT_COLUMNS, "_distance"]).limit(k)
    search = search.nprobes(ALL_PARTITIONS).refine_factor(index.refine).ef(max(index.ef, 2 * index.refine * k))
    found = _run(search, table, condition)
    top = _AT_ZERO_DISTANCE[layout.metric]
    return hits_of(found, [top - distance for distance in found.column("_distance").to_pylist()])


def _best_of_signs(table: Table, layout: Layout, query: Vector, k: int, condition: str | None) -> list[StoreHit]:
    """The nearest by Hamming distance, scored again by the query itself."""
    if not query.any():
        return []  # the cosine with a zero vector is undefined
    hamming: Any = "hamming"  # LanceDB knows it, its annotation does not
    search = _search(table, packed(query)).distance_type(hamming)
    search = search.select(["vector", *HIT_COLUMNS, "_distance"]).limit(max(MIN_CANDIDATES, CANDIDATES_A_HIT * k))
    found = _run(search, table, condition)
    scores = cosine_with_signs(query, decoded(found.column("vector"), layout.dimensions, "binary"))
    order = np.argsort(-scores, kind="stable")[:k]
    return hits_of(found.select(HIT_COLUMNS).take(pa.array(order)), scores[order].tolist())


def _search(table: Table, query: Vector | NDArray[np.uint8]) -> LanceVectorQueryBuilder:
    # Not table.search(): it reads the schema to find the vector column, which has but one name here.
    return LanceVectorQueryBuilder(table, query, "vector")


def _run(search: LanceVectorQueryBuilder, table: Table, condition: str | None) -> pa.Table:
    """The rows that a search finds, read from LanceDB's own reader.

    ``to_arrow()`` would look at the schema twice more, for columns of blobs, which a collection does not have; each
    look asks the file system for the newest version, in another thread.
    """
    chosen = search if condition is None else search.where(condition, prefilter=True)
    rows: pa.Table = table._execute_query(chosen.to_query_object()).read_all()  # noqa: SLF001 - see above
    return rows


def hits_of(found: pa.Table, scores: list[float]) -> list[StoreHit]:
    """Rows of ``HIT_COLUMNS`` as hits."""
    columns = [found.column(name).to_pylist() for name in HIT_COLUMNS]
    return [
        StoreHit(point_id, score, chunk_id, token, doc_id, text)
        for point_id, chunk_id, token, doc_id, text, score in zip(*columns, scores, strict=True)
    ]
