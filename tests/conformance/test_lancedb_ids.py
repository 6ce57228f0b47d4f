"""The index of ids of a Lance table: whatever is written beside it, points are found as without it."""

from pathlib import Path

import numpy as np
import pytest

from regen.core.documents import UNRESTRICTED
from regen.ports import Vector
from regen.stores.lancedb import LanceStore
from regen.stores.lancedb_upkeep import index_of
from regen.testing.store_cases import make_collection, make_points, numbered, random_vectors, scanned

pytestmark = pytest.mark.usefixtures("much_upkeep")


@pytest.fixture
def store(tmp_path: Path) -> LanceStore:
    """Open a new store."""
    return LanceStore(tmp_path / "vectors")


def test_it_is_made_when_there_are_many_points_and_follows_them(store: LanceStore) -> None:
    """Below that there is none; what came later is read beside it until that is much; answers are the same."""
    make_collection(store, make_points(numbered(3)))
    table = store._open("g1").table
    assert store.maintain("g1") == []
    assert index_of(table, "id") is None
    store.upsert("g1", make_points(numbered(10)))
    assert store.maintain("g1") == ["built the index of ids over 10 points"]
    later = [f"{at:032x}" for at in range(100, 105)]
    store.insert("g1", make_points(later))
    assert store.maintain("g1") == []
    assert sorted(store.fetch("g1", [*numbered(10)[:2], *later, "not there"])[0]) == [*numbered(10)[:2], *later]
    store.insert("g1", make_points([f"{at:032x}" for at in range(200, 203)]))
    assert store.maintain("g1") == ["added 8 points to the index of ids"]
    assert store.count("g1") == 18


@pytest.mark.parametrize("seed", range(6))
def test_points_are_found_whatever_is_written_beside_it(store: LanceStore, seed: int) -> None:
    """Insertions, replacements, other payloads, deletions, compaction and upkeep in any order, against a dictionary."""
    drawn, held = np.random.default_rng(seed), dict[str, tuple[Vector, str]]()
    make_collection(store)
    fresh = iter(f"{at:032x}" for at in range(10_000))
    for _ in range(70):
        some = [str(one) for one in drawn.permutation(sorted(held))[: drawn.integers(0, 6)]]
        kind = drawn.choice(["insert", "upsert", "payload", "delete", "maintain"], p=[0.3, 0.2, 0.2, 0.1, 0.2])
        ids = [next(fresh) for _ in range(drawn.integers(1, 5))] + (some if kind == "upsert" else [])
        vectors, lang = random_vectors(len(ids), seed=int(drawn.integers(1 << 30))), f"l{drawn.integers(1 << 30)}"
        if kind in {"insert", "upsert"}:
            points = make_points(ids, metadata=[{"lang": lang}] * len(ids))
            points.vectors = vectors
            (store.insert if kind == "insert" else store.upsert)("g1", points)
            held |= {name: (vectors[at], lang) for at, name in enumerate(ids)}
        elif kind == "payload" and some:
            store.update_payload("g1", some, make_points(some, metadata=[{"lang": lang}] * len(some)).payload)
            held |= {name: (held[name][0], lang) for name in some}
        elif kind == "delete":
            store.delete("g1", some)
            held = {name: kept for name, kept in held.items() if name not in some}
        elif kind == "maintain":
            store.maintain("g1", force=bool(drawn.integers(2)))
        asked = [*some, *list(held)[-3:], "f" * 32]
        found, exact = store.fetch("g1", asked)
        assert sorted(found) == sorted({name for name in asked if name in held})
        for name, vector in zip(found, exact, strict=True):
            assert vector.tobytes() == held[name][0].tobytes()
    table = store._open("g1").table
    assert index_of(table, "id") is not None
    assert {name: row["metadata"]["lang"] for name, row in scanned(store).items()} == {
        name: lang for name, (_, lang) in held.items()
    }
    assert store.count("g1") == len(held)
    best = store.search("g1", random_vectors(1)[0], 10_000, principals=UNRESTRICTED)
    assert {hit.point_id for hit in best} == set(held)
