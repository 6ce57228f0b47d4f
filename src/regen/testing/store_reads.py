"""Store cases: search, scores, access, fetch and scan."""

from __future__ import annotations

import numpy as np
import pytest

from regen.core.documents import UNRESTRICTED
from regen.core.recipe import Metric
from regen.ports import Store, Vector, Vectors
from regen.testing.store_cases import (
    COLLECTION,
    DIMENSIONS,
    HOSTILE_TEXTS,
    StoreHooks,
    ids_of,
    make_collection,
    make_points,
    numbered,
    random_vectors,
    scanned,
)


class SearchCases(StoreHooks):
    """Which points a search finds, in which order and with which scores."""

    @pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
    def test_scores_and_order(self, store: Store, metric: Metric) -> None:
        """Scores are cosine, inner product or minus squared L2, as numpy computes them, the best first."""
        points = make_points(numbered(300))
        make_collection(store, points, metric=metric)
        for query in random_vectors(5, seed=5):
            expected = exact_scores(points.vectors, query, metric)
            hits = store.search(COLLECTION, query, 10)
            best = np.sort(expected)[::-1][:10]
            assert [hit.score for hit in hits] == pytest.approx(best.tolist(), abs=1e-4, rel=1e-5)
            for hit in hits:
                assert hit.score == pytest.approx(expected[int(hit.point_id, 16)], abs=1e-4, rel=1e-5)

    def test_a_hit_carries_what_the_fence_needs(self, store: Store) -> None:
        """A hit names its point, chunk, token, document and text."""
        points = make_points(["a", "b", "c"])
        make_collection(store, points)
        (hit,) = store.search(COLLECTION, points.vectors[2], 1)
        assert (hit.point_id, hit.chunk_id, hit.token) == ("c", "chunk c", 2**40 + 2)
        assert (hit.doc_id, hit.text) == ("doc c", "text of c")

    def test_fewer_points_than_asked_for(self, store: Store) -> None:
        """An empty collection gives no hit, one point gives one, and k below one gives none."""
        query = random_vectors(1)[0]
        make_collection(store)
        assert store.search(COLLECTION, query, 10) == []
        store.upsert(COLLECTION, make_points(["a"]))
        assert ids_of(store.search(COLLECTION, query, 10)) == ["a"]
        assert store.search(COLLECTION, query, 0) == []

    def test_zero_vectors_do_no_harm(self, store: Store) -> None:
        """Cosine with a zero vector is undefined: such a point is kept and fetched, and others are found as ever."""
        points = make_points(["zero", "a", "b"])
        points.vectors[0] = 0.0
        make_collection(store, points)
        assert ids_of(store.search(COLLECTION, points.vectors[1], 3))[0] == "a"
        assert not any(np.isnan(hit.score) for hit in store.search(COLLECTION, points.vectors[1], 3))
        assert not any(np.isnan(hit.score) for hit in store.search(COLLECTION, np.zeros(DIMENSIONS, np.float32), 3))
        assert store.fetch(COLLECTION, ["zero"])[1].tolist() == [[0.0] * DIMENSIONS]

    def test_principals_see_what_they_may(self, store: Store) -> None:
        """None and the empty set see public points, a principal its own besides, UNRESTRICTED all; [] is nobody's."""
        access = [None, [], ["x"], ["y"], ["x", "y"], ["z'"]]
        make_collection(store, make_points(["public", "nobody", "x", "y", "xy", "quote"], access=access))
        query = random_vectors(1)[0]

        def seen(principals: object) -> list[str]:
            return sorted(ids_of(store.search(COLLECTION, query, 10, principals=principals)))  # type: ignore[arg-type]

        assert seen(None) == seen(frozenset()) == ["public"]
        assert seen(frozenset({"x"})) == ["public", "x", "xy"]
        assert seen(frozenset({"x", "y", "unknown"})) == ["public", "x", "xy", "y"]
        assert seen(frozenset({"z'"})) == ["public", "quote"]
        assert seen(UNRESTRICTED) == sorted(["public", "nobody", "x", "y", "xy", "quote"])

    def test_odd_principals(self, store: Store) -> None:
        """A principal of any Unicode sees exactly its own points."""
        make_collection(store, make_points(numbered(len(HOSTILE_TEXTS)), access=[[text] for text in HOSTILE_TEXTS]))
        for at, text in enumerate(HOSTILE_TEXTS):
            hits = store.search(COLLECTION, random_vectors(1)[0], 99, principals=frozenset({text}))
            assert ids_of(hits) == numbered(len(HOSTILE_TEXTS))[at : at + 1], repr(text)

    def test_rare_access_still_fills_k(self, store: Store) -> None:
        """Access narrows before the best are chosen: five visible points among a thousand are all found."""
        access = [["me"] if at % 200 == 7 else ["others"] for at in range(1000)]
        make_collection(store, make_points(numbered(1000), access=access))
        hits = store.search(COLLECTION, random_vectors(1)[0], 5, principals=frozenset({"me"}))
        assert sorted(int(point_id, 16) for point_id in ids_of(hits)) == [7, 207, 407, 607, 807]


class ReadCases(StoreHooks):
    """Fetch and scan."""

    def test_fetch_gives_the_very_bits(self, store: Store) -> None:
        """Vectors come back bit for bit, the smallest, the largest and minus zero included."""
        points = make_points(numbered(50))
        extremes = np.array([-0.0, 1e-45, -1e-45, 3e38, -3e38, 1.0, np.finfo(np.float32).tiny, 0.1], np.float32)
        points.vectors[0] = extremes
        make_collection(store, points, metric="dot")
        ids, vectors = store.fetch(COLLECTION, points.ids[::-1])
        assert sorted(ids) == points.ids
        assert vectors.dtype == np.float32
        expected = points.vectors[[int(point_id, 16) for point_id in ids]]
        assert np.array_equal(vectors.view(np.int32), expected.view(np.int32))

    def test_fetch_leaves_out_what_is_not_there(self, store: Store) -> None:
        """Unknown ids are left out, and nothing asked for gives an empty matrix of the right width."""
        make_collection(store, make_points(["a", "b"]))
        ids, vectors = store.fetch(COLLECTION, ["b", "never was"])
        assert (ids, vectors.shape) == (["b"], (1, DIMENSIONS))
        ids, vectors = store.fetch(COLLECTION, [])
        assert (ids, vectors.shape) == ([], (0, DIMENSIONS))

    def test_vectors_read_are_copies(self, store: Store) -> None:
        """Writing into a fetched matrix, or into one that was written, changes no stored vector."""
        points = make_points(["a"])
        wanted = points.vectors.copy()
        make_collection(store, points)
        points.vectors[:] = 0
        vectors = np.array(store.fetch(COLLECTION, ["a"])[1])
        vectors[:] = 0
        assert np.array_equal(store.fetch(COLLECTION, ["a"])[1], wanted)

    def test_scan_delivers_every_point_once(self, store: Store) -> None:
        """Pages hold at most what was asked for, and together every point once with all of its payload."""
        metadata = [{"lang": "en", "year": at, "draft": at % 2 == 0, "tags": ["t"], "extra": 1} for at in range(1000)]
        access: list[list[str] | None] = [None if at % 3 else [f"p{at}"] for at in range(1000)]
        points = make_points(numbered(1000), metadata=metadata, access=access)
        make_collection(store, points)
        assert all(0 < len(page.ids) <= 64 for page in store.scan(COLLECTION, 64))
        found = scanned(store, batch=64)
        assert sorted(found) == points.ids
        for at in (0, 1, 999):
            kept = {key: metadata[at][key] for key in ("lang", "year", "draft", "tags")}
            assert found[points.ids[at]] == {
                "chunk_id": f"chunk {points.ids[at]}",
                "token": 2**40 + at,
                "doc_id": f"doc {points.ids[at]}",
                "text": f"text of {points.ids[at]}",
                "position": at,
                "revision": 100 + at,
                "metadata": kept,
                "access": access[at],
                "audit": {"model": "hashing/8", "dimensions": DIMENSIONS},
            }

    def test_scan_keeps_values_of_another_kind_as_absent(self, store: Store) -> None:
        """A value that is not of its field's kind is kept as absent, and so is null."""
        odd = {"lang": ["en"], "year": "2020", "draft": 1, "tags": "t"}
        mixed = {"lang": 7, "year": True, "draft": None, "tags": ["a", 1]}
        make_collection(store, make_points(["odd", "mixed"], metadata=[odd, mixed]))
        assert {point_id: held["metadata"] for point_id, held in scanned(store).items()} == {"odd": {}, "mixed": {}}

    def test_scan_of_an_empty_collection(self, store: Store) -> None:
        """An empty collection scans to nothing."""
        make_collection(store)
        assert scanned(store) == {}

    def test_points_deleted_while_scanning(self, store: Store) -> None:
        """A scan that is under way while points are deleted goes on, and delivers every point that stayed."""
        make_collection(store, make_points(numbered(500)))
        pages = store.scan(COLLECTION, 50)
        seen = list(next(pages).ids)
        store.delete(COLLECTION, numbered(500)[::2])
        seen += [point_id for page in pages for point_id in page.ids]
        assert len(seen) == len(set(seen))
        assert set(numbered(500)[1::2]) <= set(seen)

    def test_points_rewritten_while_scanning(self, store: Store) -> None:
        """A scan that is under way while points are written again delivers each of them once."""
        make_collection(store, make_points(numbered(500)))
        pages = store.scan(COLLECTION, 50)
        seen = list(next(pages).ids)
        store.upsert(COLLECTION, make_points(numbered(500)[::2], seed=5))
        seen += [point_id for page in pages for point_id in page.ids]
        assert sorted(seen) == numbered(500)


def exact_scores(vectors: Vectors, query: Vector, metric: Metric) -> Vector:
    """The scores of a query against all vectors, computed in double precision."""
    exact, wanted = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "l2":
        return np.asarray(-np.square(exact - wanted).sum(axis=1), np.float32)
    scores = exact @ wanted
    if metric == "cosine":
        scores /= np.linalg.norm(exact, axis=1) * np.linalg.norm(wanted)
    return np.asarray(scores, np.float32)
