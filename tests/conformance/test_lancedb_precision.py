"""Lower precision in LanceDB: the room that it saves, the quality that it keeps, and tables that were made before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from regen.core.recipe import Precision
from regen.ports import CollectionSpec, Points, Vectors
from regen.spaces.derive import quantize
from regen.spaces.vectors import normalize
from regen.stores.lancedb import LanceStore
from regen.stores.lancedb_upkeep import vector_index
from regen.stores.lancedb_vectors import packed, signs
from regen.testing.store_cases import COLLECTION, make_points, numbered
from regen.testing.store_reads import exact_scores

DIMENSIONS = 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LanceStore]:
    """Open a new store."""
    store = LanceStore(tmp_path / "vectors")
    yield store
    store.close()


def clustered(count: int, dimensions: int = DIMENSIONS) -> Vectors:
    """Unit vectors in clusters, as real ones lie."""
    generator = np.random.default_rng(11)
    centres = generator.standard_normal((count // 40, dimensions))
    return normalize(
        (centres[generator.integers(len(centres), size=count)] + 0.5 * generator.standard_normal((count, dimensions)))
        .astype(np.float32)
    )  # fmt: skip


def filled(store: LanceStore, vectors: Vectors, precision: Precision, **spec: object) -> Vectors:
    """A collection of these vectors at a precision; what was written."""
    written = quantize(vectors, precision)
    count, dimensions = written.shape
    store.create(COLLECTION, CollectionSpec(dimensions, precision=precision, **spec))  # type: ignore[arg-type]
    points = make_points(numbered(count), dimensions=dimensions)
    store.insert(COLLECTION, Points(points.ids, written, points.payload))
    return written


def recall(store: LanceStore, written: Vectors, queries: Vectors, k: int = 10) -> float:
    """The share of the k best by the exact cosine that a search finds; what scores equal is equally good."""
    found = []
    for query in queries:
        scores = exact_scores(written, query, "cosine")
        least = np.sort(scores)[-k] - 1e-3
        found += [scores[int(hit.point_id, 16)] >= least for hit in store.search(COLLECTION, query, k)]
    return float(np.mean(found))


def size(folder: Path) -> int:
    """Bytes of all data files."""
    return sum(path.stat().st_size for path in folder.rglob("*.lance") if path.is_file())


@pytest.mark.parametrize("precision", ["float16", "int8", "binary"])
def test_the_room_is_what_is_told(store: LanceStore, tmp_path: Path, precision: Precision) -> None:
    """The files shrink by what ``vector_bytes`` says, within a twentieth of the full vectors."""
    vectors, folder = clustered(4_000, 256), tmp_path / "vectors" / f"{COLLECTION}.lance" / "data"
    sizes, told = {}, {}
    for one in ("float32", precision):
        filled(store, vectors, one)
        sizes[one] = size(folder)
        told[one] = store.vector_bytes(CollectionSpec(256, precision=one), len(vectors)) * len(vectors)
        store.drop(COLLECTION)
    saved = sizes["float32"] - sizes[precision]
    assert saved > 0.4 * told["float32"]
    assert saved == pytest.approx(told["float32"] - told[precision], abs=0.05 * told["float32"])


@pytest.mark.parametrize(("k", "least"), [(1, 0.98), (10, 0.95), (100, 0.98)])
def test_signs_are_found_in_two_stages(store: LanceStore, k: int, least: float) -> None:
    """Of the best by the signs nearly all are found, among more points than there are candidates, for any k."""
    generator = np.random.default_rng(5)
    vectors = generator.standard_normal((6_000, 256)).astype(np.float32)  # the hardest case: no clusters
    written = filled(store, vectors, "binary")
    queries = vectors[::75] + 3 * generator.standard_normal((80, 256)).astype(np.float32)
    assert recall(store, written, queries, k) >= least


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_an_index_over_lower_precision(store: LanceStore, precision: Precision) -> None:
    """The vector index works on it, and finds what an exact scan finds."""
    vectors = clustered(3_000)
    written = filled(store, vectors, precision, index={"min_rows": 1_000})
    assert any("built the vector index" in done for done in store.maintain(COLLECTION))
    assert recall(store, written, vectors[::200]) >= 0.97


def test_signs_get_no_index(store: LanceStore) -> None:
    """Bits are compared faster than a graph is walked: upkeep builds none, and none is counted as room."""
    filled(store, clustered(3_000), "binary", index={"min_rows": 1_000})
    assert not any("index" in done for done in store.maintain(COLLECTION, force=True))
    assert vector_index(store._open(COLLECTION).table) is None
    spec = CollectionSpec(DIMENSIONS, precision="binary")
    assert store.vector_bytes(spec, 10) == store.vector_bytes(spec, 10**6) == DIMENSIONS / 8


def test_an_index_counts_as_room(store: LanceStore) -> None:
    """From the number of points on at which it is built, and not below."""
    few, many = (store.vector_bytes(CollectionSpec(DIMENSIONS), count) for count in (49_999, 50_000))
    assert few == 4 * DIMENSIONS
    assert many > few + DIMENSIONS


def test_a_table_made_before_precisions_were_kept(tmp_path: Path) -> None:
    """Its int8 and binary vectors lie there as float32 numbers: read, written and searched as ever."""
    database = lancedb.connect(str(tmp_path))
    with_precision = LanceStore(tmp_path)
    with_precision.create("new", CollectionSpec(DIMENSIONS))
    schema = database.open_table("new").schema
    schema = schema.with_metadata({b"regen": json.dumps({"metric": "cosine", "index": {}}).encode()})
    database.create_table(COLLECTION, schema=schema)
    assert schema.field("vector").type == pa.list_(pa.float32(), DIMENSIONS)
    store = LanceStore(tmp_path)
    written = quantize(clustered(200), "binary")
    store.create(COLLECTION, CollectionSpec(DIMENSIONS, precision="binary"))
    points = make_points(numbered(200), dimensions=DIMENSIONS)
    store.upsert(COLLECTION, Points(points.ids, written, points.payload))
    ids, vectors = store.fetch(COLLECTION, points.ids)
    assert np.array_equal(vectors, written[[int(point_id, 16) for point_id in ids]])
    assert recall(store, written, clustered(200)[:5]) == 1.0
    store.close()
    with_precision.close()


@pytest.mark.parametrize("dimensions", [1, 7, 8, 9, 64])
def test_bits_come_back(dimensions: int) -> None:
    """Any number of signs survives packing."""
    vectors = quantize(np.random.default_rng(2).standard_normal((20, dimensions)).astype(np.float32), "binary")
    assert packed(vectors).shape == (20, -(-dimensions // 8))
    assert np.array_equal(signs(packed(vectors), dimensions), vectors)
