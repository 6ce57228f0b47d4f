"""Store cases for collections of lower precision: what is written comes back, and is searched by what it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from regen.core.recipe import PRECISIONS, Precision
from regen.errors import StoreError
from regen.ports import CollectionSpec, Points, SizedStore, Store
from regen.spaces.derive import quantize
from regen.testing.store_cases import COLLECTION, StoreHooks, ids_of, make_collection, make_points, numbered, where
from regen.testing.store_reads import exact_scores

LOWER: tuple[Precision, ...] = ("float16", "int8", "binary")
ODD_DIMENSIONS = 37
"""No multiple of eight, so that packed bits have a rest."""


def quantized_points(count: int, precision: Precision, *, seed: int = 0) -> Points:
    """Points whose vectors are of a precision, as the engine writes them."""
    points = make_points(
        numbered(count), dimensions=ODD_DIMENSIONS, seed=seed, metadata=[{"year": at % 10} for at in range(count)]
    )
    return replace(points, vectors=quantize(points.vectors, precision))


class PrecisionCases(StoreHooks):
    """``CollectionSpec.precision``: fewer bits, equal answers."""

    @pytest.mark.parametrize("precision", LOWER)
    def test_vectors_come_back_equal(self, store: Store, precision: Precision) -> None:
        """What is of the precision when it is written is fetched without any loss, through updates too."""
        points = quantized_points(60, precision)
        make_collection(store, points, dimensions=ODD_DIMENSIONS, precision=precision)
        store.upsert(COLLECTION, points)
        ids, vectors = store.fetch(COLLECTION, points.ids[::-1])
        assert sorted(ids) == points.ids
        assert vectors.dtype == np.float32
        assert np.array_equal(vectors, points.vectors[[int(point_id, 16) for point_id in ids]])
        none = store.fetch(COLLECTION, ["never was"])[1]
        assert none.shape == (0, ODD_DIMENSIONS)

    @pytest.mark.parametrize("precision", LOWER)
    def test_scores_are_those_of_the_quantised_vectors(self, store: Store, precision: Precision) -> None:
        """The score is the cosine of the query, which is not quantised, with the vectors as they were written."""
        points = quantized_points(300, precision)
        make_collection(store, points, dimensions=ODD_DIMENSIONS, precision=precision)
        generator = np.random.default_rng(8)
        for query in generator.standard_normal((5, ODD_DIMENSIONS)).astype(np.float32):
            expected = exact_scores(points.vectors, query, "cosine")
            hits = store.search(COLLECTION, query, 10)
            assert [hit.score for hit in hits] == pytest.approx(np.sort(expected)[::-1][:10].tolist(), abs=1e-3)
            for hit in hits:
                assert hit.score == pytest.approx(expected[int(hit.point_id, 16)], abs=1e-3)

    @pytest.mark.parametrize("precision", LOWER)
    def test_filters_narrow_before_the_best_are_chosen(self, store: Store, precision: Precision) -> None:
        """A filter that leaves few points still fills k."""
        points = quantized_points(500, precision)
        make_collection(store, points, dimensions=ODD_DIMENSIONS, precision=precision)
        hits = store.search(COLLECTION, points.vectors[3], 40, where=where(year=3))
        assert len(hits) == 40
        assert hits[0].point_id == points.ids[3]
        assert {int(point_id, 16) % 10 for point_id in ids_of(hits)} == {3}

    def test_long_vectors_of_whole_numbers_do_not_overflow(self, store: Store) -> None:
        """int8 vectors of many dimensions are scored right, though their squares do not fit into 16 bits."""
        points = make_points(numbered(50), dimensions=2048)
        points = replace(points, vectors=quantize(points.vectors, "int8"))
        make_collection(store, points, dimensions=2048, precision="int8")
        query = np.random.default_rng(9).standard_normal(2048).astype(np.float32)
        expected = np.sort(exact_scores(points.vectors, query, "cosine"))[::-1][:5]
        assert [hit.score for hit in store.search(COLLECTION, query, 5)] == pytest.approx(expected.tolist(), abs=1e-3)

    @pytest.mark.parametrize(("precision", "number"), [("float16", 1e6), ("int8", 0.5), ("int8", 128), ("binary", 0.5)])
    def test_numbers_of_another_precision(self, store: Store, precision: Precision, number: float) -> None:
        """Numbers that the precision cannot hold are refused, with the whole batch, or kept as they are."""
        points = quantized_points(3, precision)
        make_collection(store, None, dimensions=ODD_DIMENSIONS, precision=precision)
        points.vectors[1, 2] = number
        refused = _refused(store, points)
        ids, vectors = store.fetch(COLLECTION, points.ids)
        assert len(ids) == (0 if refused else 3)
        assert np.array_equal(vectors, points.vectors[[int(point_id, 16) for point_id in ids]])

    def test_room(self, store: Store) -> None:
        """A store that tells the room of its vectors tells less for a lower precision."""
        sized = store if isinstance(store, SizedStore) else self.lacks(store, "SizedStore")
        make_collection(store)
        sizes = [sized.vector_bytes(_spec(precision), 1_000) for precision in PRECISIONS]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] > sizes[1] >= sizes[2] > sizes[3] > 0
        free = sized.free_bytes()
        assert free is None or free > 0


def _refused(store: Store, points: Points) -> bool:
    try:
        store.upsert(COLLECTION, points)
    except StoreError:
        return True
    return False


def _spec(precision: Precision) -> CollectionSpec:
    return CollectionSpec(256, precision=precision)
