"""What only the LanceDB store promises: its index, its upkeep, several processes, crashes and a failing disk."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from regen.core.documents import UNRESTRICTED
from regen.core.filters import Clause
from regen.errors import ConfigError, StoreError
from regen.ports import CollectionSpec, Points, Vectors
from regen.stores.field_names import column_key, column_name
from regen.stores.lancedb import LanceStore
from regen.stores.lancedb_upkeep import _superseded, index_of, vector_index
from regen.testing.store_cases import (
    HOSTILE_KEYS,
    ids_of,
    make_collection,
    make_points,
    numbered,
    random_vectors,
    scanned,
    where,
)
from regen.testing.store_reads import exact_scores

_POINTS, _DIMENSIONS = 3000, 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LanceStore]:
    """Open a new store."""
    store = LanceStore(tmp_path / "vectors")
    yield store
    store.close()


def clustered(count: int, seed: int) -> Vectors:
    """Unit vectors around forty centres: what embeddings look like to an index."""
    centres = np.random.default_rng(0).standard_normal((40, _DIMENSIONS))
    generator = np.random.default_rng(seed)
    vectors = centres[generator.integers(0, 40, count)] + 0.5 * generator.standard_normal((count, _DIMENSIONS))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def indexed(store: LanceStore, min_rows: int = 1000) -> Vectors:
    """Fill the collection with clustered points, and build its index; the vectors, in the order of the ids."""
    metadata = [{"lang": "rare" if at % 300 == 5 else "en"} for at in range(_POINTS)]
    points = make_points(numbered(_POINTS), dimensions=_DIMENSIONS, metadata=metadata)
    points.vectors = clustered(_POINTS, 1)
    make_collection(store, points, dimensions=_DIMENSIONS, index={"min_rows": min_rows})
    assert "built the vector index over 3000 points" in store.maintain("g1")
    return points.vectors


def unindexed(store: LanceStore) -> int | None:
    """How many points the index does not hold; None without an index."""
    found = vector_index(store._open("g1").table)
    return None if found is None else found.num_unindexed_rows


def recall(store: LanceStore, vectors: Vectors) -> float:
    """The share of the ten truly best that the store finds, over fifty queries."""
    found = 0
    for query in clustered(50, 2):
        best = np.argsort(-exact_scores(vectors, query, "cosine"))[:10]
        found += len({int(one, 16) for one in ids_of(store.search("g1", query, 10))} & set(best.tolist()))
    return found / 500


def test_the_index_finds_what_an_exact_scan_finds(store: LanceStore) -> None:
    """With an index recall@10 stays at 0.99 or more, scores are those of the full vectors, and k may be large."""
    vectors = indexed(store)
    assert recall(store, vectors) >= 0.99
    query = clustered(1, 3)[0]
    exact = exact_scores(vectors, query, "cosine")
    hits = store.search("g1", query, 300)
    assert [hit.score for hit in hits] == pytest.approx([exact[int(hit.point_id, 16)] for hit in hits], abs=1e-4)
    assert len(set(ids_of(hits)) & {f"{at:032x}" for at in np.argsort(-exact)[:300]}) >= 297


def test_several_graphs_find_what_one_finds(store: LanceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A very large collection's index is several graphs; a search walks them all."""
    several_graphs(monkeypatch)
    vectors = indexed(store)
    assert recall(store, vectors) >= 0.99


def several_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As from a million points on."""
    monkeypatch.setattr("regen.stores.lancedb_upkeep._ONE_GRAPH", 1_000)
    monkeypatch.setattr("regen.stores.lancedb_upkeep._GRAPH_POINTS", 700)


def test_what_is_added_leaves_one_graph_as_it_is(store: LanceStore) -> None:
    """It becomes a graph of its own beside the large one: that is not built anew for a few points."""
    indexed(store)
    store.upsert("g1", more(300))
    assert store.maintain("g1") == ["added 300 points to the vector index"]
    found = vector_index(store._open("g1").table)
    assert found is not None
    assert (found.num_segments, found.num_unindexed_rows) == (2, 0)


def test_several_graphs_are_built_anew_more_rarely(store: LanceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """LanceDB builds all of them whenever points are added: not for less than a twentieth of all."""
    several_graphs(monkeypatch)
    indexed(store, min_rows=500)
    store.upsert("g1", more(120))
    assert store.maintain("g1") == []
    assert unindexed(store) == 120
    store.upsert("g1", more(200))
    assert store.maintain("g1") == ["added 200 points to the vector index"]


def more(count: int) -> Points:
    """Further points."""
    points = make_points([f"more{at:028x}" for at in range(count)], dimensions=_DIMENSIONS)
    points.vectors = clustered(count, 5)
    return points


def test_points_are_found_before_the_index_holds_them(store: LanceStore) -> None:
    """New points, and points whose payload changed, leave the index and are still found, filtered and scored."""
    vectors = indexed(store)
    new = make_points(["new"], dimensions=_DIMENSIONS, metadata=[{"lang": "rare"}])
    new.vectors[0] = clustered(1, 4)[0]
    store.upsert("g1", new)
    assert ids_of(store.search("g1", new.vectors[0], 1)) == ["new"]
    changed = numbered(_POINTS)[10:60]
    payload = make_points(changed, metadata=[{"lang": "de"}] * 50, access=[["x"]] * 50).payload
    store.update_payload("g1", changed, payload)
    for at in (10, 35, 59):
        (hit,) = store.search("g1", vectors[at], 1, where=where(lang="de"), principals=frozenset({"x"}))
        assert hit.point_id == numbered(_POINTS)[at]
        assert hit.score == pytest.approx(1.0, abs=1e-4)
    assert len(store.search("g1", vectors[10], 99, where=where(lang="de"), principals=UNRESTRICTED)) == 50


def test_a_narrow_filter_on_an_index_fills_k(store: LanceStore) -> None:
    """An index is searched among the matches only: ten of three thousand are all found."""
    indexed(store)
    hits = store.search("g1", clustered(1, 3)[0], 10, where=where(lang="rare"))
    assert sorted(int(point_id, 16) % 300 for point_id in ids_of(hits)) == [5] * 10


def test_deleted_points_leave_the_index(store: LanceStore) -> None:
    """Points deleted after the index was built are not found."""
    vectors = indexed(store)
    store.delete("g1", numbered(_POINTS)[:1500])
    hits = store.search("g1", vectors[3], 50)
    assert len(hits) == 50
    assert all(int(hit.point_id, 16) >= 1500 for hit in hits)


def test_the_index_is_tended_when_it_pays(store: LanceStore) -> None:
    """A few new points are left outside, some become a segment, many a new index; force takes in the few."""
    indexed(store)
    more = make_points([f"few {at}" for at in range(100)], dimensions=_DIMENSIONS)
    store.upsert("g1", more)
    assert store.maintain("g1") == []
    assert unindexed(store) == 100
    assert store.maintain("g1", force=True)
    assert unindexed(store) == 0
    store.upsert("g1", make_points([f"some {at}" for at in range(300)], dimensions=_DIMENSIONS))
    assert store.maintain("g1") == ["added 300 points to the vector index"]
    assert unindexed(store) == 0
    store.upsert("g1", make_points([f"many {at}" for at in range(1500)], dimensions=_DIMENSIONS))
    assert store.maintain("g1") == ["rebuilt the vector index over 4900 points, of which 1500 were not in it"]
    assert unindexed(store) == 0


def test_small_collections_get_no_index(store: LanceStore) -> None:
    """Below min_rows an exact scan is quick enough: not even force builds an index."""
    make_collection(store, make_points(numbered(500)))
    store.maintain("g1", force=True)
    assert unindexed(store) is None


def test_upkeep_when_many_points_are_deleted(store: LanceStore) -> None:
    """Compaction comes by itself when a fifth of the rows are deleted, and not before."""
    make_collection(store, make_points(numbered(100)))
    store.delete("g1", numbered(100)[:10])
    assert store.maintain("g1") == []
    store.delete("g1", numbered(100)[:30])
    (done,) = store.maintain("g1")
    assert "30 deleted points" in done
    assert store.maintain("g1") == []


def test_a_version_that_readers_may_hold_is_kept() -> None:
    """What counts is when a version was replaced, not when it was made: the last one of an idle week has readers."""
    now = datetime.now(UTC)

    def versions(*hours: float) -> list[dict[str, object]]:
        return [{"timestamp": now - timedelta(hours=age)} for age in hours]

    keep = timedelta(hours=1)
    assert _superseded(versions(200.0), keep)[0] == 0
    old, age = _superseded(versions(200.0, 168.0, 0.1), keep)
    assert old == 1
    assert timedelta(hours=168) < age < timedelta(hours=169)
    assert _superseded(versions(0.5, 0.1), keep)[0] == 0


def test_upkeep_beside_a_writer(store: LanceStore, tmp_path: Path) -> None:
    """Upkeep again and again while another handle writes and deletes: no error, no loss."""
    make_collection(store)
    failures: list[Exception] = []
    other = LanceStore(tmp_path / "vectors")

    def write() -> None:
        try:
            for at in range(15):
                other.upsert("g1", make_points([f"{at} {row}" for row in range(20)]))
                other.delete("g1", [f"{at} {row}" for row in range(5)])
        except Exception as error:  # noqa: BLE001  # shown by the assertion below
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        store.maintain("g1", force=True)
    writer.join()
    assert failures == []
    assert len(scanned(store)) == store.count("g1") == 15 * 15


def test_a_column_that_another_writer_was_quicker_to_add(store: LanceStore, tmp_path: Path) -> None:
    """Ten handles whose first write brings the same new audit and field columns all succeed."""
    make_collection(store)
    handles = [LanceStore(tmp_path / "vectors") for _ in range(10)]

    def write(at: int) -> None:
        handles[at].add_fields("g1", {"size": "number"})
        handles[at].upsert("g1", make_points([f"{at}"], metadata=[{"size": at}]))

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(write, range(10)))
    found = scanned(store)
    assert {point_id: held["metadata"]["size"] for point_id, held in found.items()} == {str(at): at for at in range(10)}
    assert all(held["audit"]["model"] == "hashing/8" for held in found.values())


@pytest.mark.parametrize(
    ("raised", "found", "hint"),
    [
        ("IO error: No space left on device (os error 28)", "full", "free some space"),
        ("Permission denied (os error 13)", "cannot be written", "writable"),
        ("Retryable commit conflict for version 7", "another writer", "run again"),
        ("something else", "something else", ""),
    ],
)
def test_failures_are_explained(
    store: LanceStore, monkeypatch: pytest.MonkeyPatch, raised: str, found: str, hint: str
) -> None:
    """What LanceDB raises becomes a StoreError that says what to do, and reading goes on."""
    monkeypatch.setattr("regen.stores.lancedb_faults._ATTEMPTS", 2)
    make_collection(store, make_points(["a", "b"]))
    table = store._open("g1").table

    def fail(*_: object) -> None:
        raise RuntimeError(raised)

    monkeypatch.setattr(table, "delete", fail)
    with pytest.raises(StoreError, match=found) as caught:
        store.delete("g1", ["a"])
    assert hint in (caught.value.hint or "")
    assert sorted(scanned(store)) == ["a", "b"]


def test_a_conflict_that_passes_is_not_seen(store: LanceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that conflicts twice with another writer's is done at the third attempt."""
    make_collection(store, make_points(["a", "b"]))
    table, attempts = store._open("g1").table, []
    delete = table.delete

    def conflicting(condition: str) -> object:
        attempts.append(condition)
        if len(attempts) < 3:
            raise RuntimeError("lance error: Retryable commit conflict for version 3")
        return delete(condition)

    monkeypatch.setattr(table, "delete", conflicting)
    store.delete("g1", ["a"])
    assert len(attempts) == 3
    assert list(scanned(store)) == ["b"]


def test_a_table_of_another_program_is_refused(store: LanceStore, tmp_path: Path) -> None:
    """A table that regen did not make is named, not misread."""
    lancedb.connect(str(tmp_path / "vectors")).create_table("theirs", pa.table({"a": [1]}))
    with pytest.raises(StoreError, match="theirs"):
        store.count("theirs")


def test_a_drop_that_was_cut_short(store: LanceStore, tmp_path: Path) -> None:
    """Files that a killed drop left behind do not keep the collection from being dropped or made again."""
    make_collection(store, make_points(["a"]))
    for path in (tmp_path / "vectors" / "g1.lance" / "_versions").iterdir():
        path.unlink()
    store.drop("g1")
    make_collection(store, make_points(["b"]))
    assert list(scanned(store)) == ["b"]


def test_urls(tmp_path: Path) -> None:
    """A relative path lies below root, an absolute one is itself, and others are refused with an example."""
    LanceStore.from_url("lancedb://a/b", root=tmp_path).create("g1", CollectionSpec(2))
    assert LanceStore.from_url(f"lancedb://{tmp_path}/a/b").collections() == ["g1"]
    for url in ("lancedb://", "lance://a", "a/b"):
        with pytest.raises(ConfigError, match="lancedb://"):
            LanceStore.from_url(url, root=tmp_path)


@pytest.mark.parametrize("index", [{"nlist": 5}, {"min_rows": 0}, {"ef": "many"}, {"m": True}])
def test_unknown_index_settings_are_refused(store: LanceStore, index: dict[str, object]) -> None:
    """A setting that LanceDB does not have, or a value that makes no sense, is refused when the collection is made."""
    with pytest.raises(ConfigError, match=next(iter(index))):
        store.create("g1", CollectionSpec(2, index=index))
    assert store.collections() == []


def test_column_names_are_safe_and_reversible() -> None:
    """Each key has a column name of its own, of lower-case letters, digits and _, from which it is read back."""
    names = {key: column_name("f_", key) for key in HOSTILE_KEYS}
    assert len(set(names.values())) == len(HOSTILE_KEYS)
    for key, name in names.items():
        assert column_key("f_", name) == key
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")


def test_what_cannot_be_encoded_matches_nothing_kept(store: LanceStore) -> None:
    """Half a surrogate pair harms nothing in a filter or a principal; in a point it is a named error."""
    metadata: list[dict[str, object]] = [{"lang": "en"}, {"lang": 5}]
    make_collection(store, make_points(["a", "odd"], metadata=metadata))
    query = random_vectors(1)[0]
    assert ids_of(store.search("g1", query, 9, where=(Clause("lang", "eq", "\ud800"),))) == ["odd"]
    assert len(store.search("g1", query, 9, where=(Clause("lang", "gte", "\ud800"),))) == 2
    assert len(store.search("g1", query, 9, principals=frozenset({"\ud800"}))) == 2
    with pytest.raises(StoreError, match="text"):
        store.upsert("g1", make_points(["b"], texts=["half \ud800"]))
    assert store.count("g1") == 2


def test_the_first_search_by_words_makes_their_index(store: LanceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pays for it before; upkeep adds what came later when that is much, and answers are the same."""
    monkeypatch.setattr("regen.stores.lancedb_upkeep._MANY_UNINDEXED_TEXTS", 50)
    make_collection(store, make_points(numbered(40), texts=[f"zebra number{at}" for at in range(40)]))
    table = store._open("g1").table
    store.maintain("g1", force=True)
    assert index_of(table, "text") is None
    assert len(store.search_words("g1", "zebra", 99)) == 40
    assert index_of(table, "text") is not None
    later = [f"{at:032x}" for at in range(40, 100)]
    store.upsert("g1", make_points(later[:20], texts=["zebra"] * 20))
    assert store.maintain("g1") == []
    assert len(store.search_words("g1", "zebra", 99)) == 60
    store.upsert("g1", make_points(later[20:], texts=["zebra"] * 40))
    assert store.maintain("g1") == ["added 60 points to the index of words"]
    assert store.maintain("g1") == []
    assert len(store.search_words("g1", "zebra", 99)) == 99
    assert ids_of(store.search_words("g1", "number7", 9)) == [numbered(40)[7]]
