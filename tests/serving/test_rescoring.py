"""Pending candidates scored by the new model while a search waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serving.filling import QUERIES, Filling, filling, plain

from regen import UNRESTRICTED, Chunking
from regen.embedders.hashing import HashingEmbedder
from regen.engine import probes
from regen.engine.settings import Migration, Rescore
from regen.errors import ConfigError
from regen.ports import ModelInfo, Vectors
from regen.serving.rescoring import RecentVectors

ALL = [f"d{n:03}" for n in range(30)]
"""Few enough that the candidates of a search are all of their chunks."""
PLENTY = Rescore(texts=1_000, budget_ms=60_000)


class Priced(HashingEmbedder):
    """A model that costs money."""

    @property
    def info(self) -> ModelInfo:
        return replace(super().info, name="priced", price_per_million_tokens=1.0)


class Elsewhere(HashingEmbedder):
    """A model behind an address, for nothing."""

    @property
    def info(self) -> ModelInfo:
        return replace(super().info, name="elsewhere", local=False)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Filling]:
    """Thirty documents, an empty second generation, and room to score all that waits."""
    with rolling(tmp_path, PLENTY) as world:
        yield world


@contextmanager
def rolling(root: Path, rescore: Rescore, **settings: Any) -> Iterator[Filling]:
    """An index whose second generation is empty, under the route."""
    with filling(root, len(ALL), migration=Migration("rolling", rescore=rescore), **settings) as world:
        world.create()
        world.start("rolling")
        yield world


def paced(world: Filling) -> None:
    """Let the depth grow to all that there is."""
    for _ in range(8):
        world.search(QUERIES[0])


@pytest.mark.parametrize(
    "migrated", [ALL[:1], ALL[::3], ALL[15:], ALL[:-1]], ids=["one", "third", "half", "all but one"]
)
def test_whatever_is_migrated_the_new_model_decides(world: Filling, migrated: list[str]) -> None:
    """With room for every candidate the list is the complete new generation's, in any order of migration."""
    world.place(migrated)
    paced(world)
    merged = {query: world.search(query, 60) for query in QUERIES}
    for found in merged.values():
        assert found.explanation.fallback is None
        assert found.explanation.rescored > 0
    world.place(ALL)
    for query, found in merged.items():
        pure = world.pure(2, query, 60)
        scores = {row[1]: row[2] for row in pure}
        assert [hit.score for hit in found] == pytest.approx([row[2] for row in pure], abs=1e-5)
        for hit in found:
            if hit.chunk_id in scores:
                assert hit.score == pytest.approx(scores[hit.chunk_id], abs=1e-5)


def test_nothing_migrated_is_the_old_ranking(world: Filling) -> None:
    """At 0 % nobody is asked, and the list is the old one."""
    before = len(world.new.calls)
    for query in QUERIES:
        assert plain(world.search(query)) == world.pure(1, query)
    assert not [text for call in world.new.calls[before:] for text in call if text not in QUERIES]


def test_what_a_search_has_embedded_is_not_embedded_again(world: Filling) -> None:
    """Searches, the background and the build together send the new model every text once (I4)."""
    world.place(ALL[:10])
    for query in QUERIES * 3:
        assert world.search(query).explanation.rescored > 0
    world.index.apply()
    sent = [one for call in world.new.calls for one in call if one not in probes.TEXTS and one not in QUERIES]
    assert len(sent) == len(set(sent))
    assert world.generation(2).state == "ready"
    assert {row[3] for row in world.pure(2, "river", 500)} <= set(sent)


def test_it_survives_in_the_embedding_cache(tmp_path: Path) -> None:
    """With a cache in a file another process builds with what this one has embedded for its searches."""
    cache = tmp_path / "vectors.db"
    with rolling(tmp_path, PLENTY, cache=cache) as world:
        world.place(ALL[:10])
        for query in QUERIES:
            world.search(query)
        with world.open(new=True, migration=Migration("rolling"), cache=cache) as builder:
            builder.apply()
        sent = [one for call in world.new.calls for one in call if one not in probes.TEXTS and one not in QUERIES]
        assert len(sent) == len(set(sent))


def test_a_slow_model_delays_nobody(tmp_path: Path) -> None:
    """The search returns while the model still works, with the merged list, and says so."""
    with rolling(tmp_path, Rescore(texts=5, budget_ms=20)) as world:
        world.place(ALL[:10])
        hold = threading.Event()

        def wait(_call: int, texts: Sequence[str]) -> None:
            if not set(texts) <= {*QUERIES}:
                hold.wait(30)

        world.new.plan = wait
        found = world.search(QUERIES[0])
        assert "not rescored: 5 texts took more than 20 ms" in (found.explanation.fallback or "")
        assert found.explanation.rescored == 0
        assert {hit.generation for hit in found} == {1, 2}
        world.search(QUERIES[0])
        assert "still under way" in (world.search(QUERIES[0]).explanation.fallback or "")
        hold.set()


def test_a_model_that_fails_is_told(tmp_path: Path) -> None:
    """The merged list is returned as it was, with the reason (I10)."""
    with rolling(tmp_path, Rescore(texts=5, budget_ms=10_000)) as world:
        world.place(ALL[:10])

        world.new.plan = lambda _call, texts: None if set(texts) <= {*QUERIES} else ValueError("out of order")
        found = world.search(QUERIES[0])
        assert "out of order" in (found.explanation.fallback or "")
        assert len(found) == 10


@pytest.mark.parametrize(
    ("model", "chunking", "told"),
    [(Priced(256), None, "costs money"), (Elsewhere(256), None, "runs elsewhere"),
     (HashingEmbedder(256), Chunking("sentences", max_tokens=40), "other chunks")],
    ids=["priced", "elsewhere", "rechunked"],
)  # fmt: skip
def test_where_it_is_off_status_says_why(tmp_path: Path, model: Any, chunking: Chunking | None, told: str) -> None:
    """A model that costs money, one that runs elsewhere, and other chunks are not asked, and searches are merged."""
    with filling(tmp_path, len(ALL)) as world:
        given: dict[str, Any] = {"embedder": model, "models": {"hashing/64": world.old, model.info.name: model}}
        if chunking is not None:
            given["chunking"] = chunking
        with world.open(new=True, migration=Migration("rolling"), **given) as index:
            world.index = index
            world.create()
            world.start("rolling")
            world.place(ALL[:15])
            found = index.search(QUERIES[0], principals=UNRESTRICTED)
            assert {hit.generation for hit in found} == {1, 2}
            assert (found.explanation.rescored, found.explanation.fallback) == (0, None)
            assert any("not scored by the new model" in note and told in note for note in index.status().notes)


def test_where_it_is_on_status_says_how_far(world: Filling) -> None:
    """The number of hits and the time are named."""
    assert any("best 1000 pending hits" in note and "60000 ms" in note for note in world.index.status().notes)


@pytest.mark.parametrize("given", [{"texts": -1}, {"budget_ms": 0.0}])
def test_what_cannot_be_is_told(given: dict[str, Any]) -> None:
    """Each error names the setting and what is valid."""
    with pytest.raises(ConfigError, match=r"migration\.rescore"):
        Rescore(**given)


def test_recent_vectors_are_bounded() -> None:
    """What was kept longest goes first; spaces do not see each other's vectors; closing forgets."""
    held = RecentVectors(most_bytes=3 * 8)
    vectors: Vectors = np.arange(8, dtype=np.float32).reshape(4, 2)
    held.put_many("a", ["1", "2"], vectors[:2])
    held.put_many("a", ["2", "3", "4"], vectors[1:])
    assert {at: vector.tolist() for at, vector in held.get_many("a", ["1", "2", "3", "4"]).items()} == {
        1: [2.0, 3.0], 2: [4.0, 5.0], 3: [6.0, 7.0],
    }  # fmt: skip
    assert held.get_many("b", ["2"]) == {}
    held.close()
    assert held.get_many("a", ["2"]) == {}
