"""Searching by words and by meaning: two lists, one fence, one order; and what stores and routes say that cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from tests.serving.filling import filling

from regen import UNRESTRICTED, Chunking, Document, Index
from regen.core.results import SearchResult
from regen.embedders.hashing import HashingEmbedder
from regen.errors import ConfigError
from regen.ports import StoreHit, Vector, Vectors
from regen.ports.keywords import SearchMode
from regen.stores.memory import MemoryStore
from regen.testing.faulty import FaultyEmbedder
from regen.testing.weak_store import Weakness, WeakStore

Worlds: TypeAlias = Callable[..., Any]
FLAT = Chunking("whole")
CODE = "QX4711"


def manuals() -> list[Document]:
    """Sixty texts of which one names the error code that a user has seen."""
    texts = {f"m{n:02}": f"The device reports a problem with part {n} and must be started again" for n in range(60)}
    texts["m41"] = "QX4711: exchange its fuse"
    return [Document(doc, text, {"part": at % 2}, ["team"] if at % 3 == 0 else None)
            for at, (doc, text) in enumerate(texts.items())]  # fmt: skip


def ranks(result: SearchResult) -> list[tuple[str, float]]:
    """Document and score of each hit."""
    return [(hit.doc_id, hit.score) for hit in result]


class Deaf(HashingEmbedder):
    """A model that makes nothing of the error code, as models do with codes they were not trained on."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Without the code."""
        return super().embed_documents([text.replace(CODE, "") for text in texts])

    def embed_query(self, text: str) -> Vector:
        """Without the code."""
        return super().embed_query(text.replace(CODE, ""))


def test_hybrid_finds_what_vectors_do_not(worlds: Worlds) -> None:
    """A code that the model makes nothing of decides in the fused list, beside what the rest of the question means."""
    world = worlds(*manuals(), chunking=FLAT, embedder=Deaf(64))
    world.index.sync()
    question = f"Problemfall: Devicebauteil, {CODE}"
    by_vectors = [hit.doc_id for hit in world.index.search(question, k=5)]
    hybrid = world.index.search(question, k=5, mode="hybrid")
    assert "m41" not in by_vectors
    assert hybrid[0].doc_id == "m41"
    assert set(by_vectors[:4]) < {hit.doc_id for hit in hybrid}
    assert [hit.doc_id for hit in world.index.search(question, mode="keyword")] == ["m41"]
    assert hybrid.explanation.mode == "hybrid"
    assert hybrid.explanation.candidates == 41


def test_the_order_is_reciprocal_rank_fusion_of_both_lists(worlds: Worlds) -> None:
    """Scores are the sums of 1 / (60 + rank) over the hundred best of each list, whatever the store."""
    world = worlds(*manuals(), chunking=FLAT)
    world.index.sync()
    for question in ("problem with part 7", "exchange the fuse", "QX4711 started"):
        lists = [
            [hit.doc_id for hit in world.index.search(question, k=100, mode=mode)] for mode in ("vector", "keyword")
        ]
        expected: dict[str, float] = {}
        for ranked in lists:
            for rank, doc in enumerate(ranked, start=1):
                expected[doc] = expected.get(doc, 0.0) + 1 / (60 + rank)
        found = world.index.search(question, k=10, mode="hybrid")
        assert [score for _, score in ranks(found)] == sorted(expected.values(), reverse=True)[: len(found)]
        assert len(found) == 10
        assert all(score == pytest.approx(expected[doc]) for doc, score in ranks(found))


def test_filters_and_principals_hold_for_both_lists(worlds: Worlds) -> None:
    """No mode shows what a caller may not see or has filtered out, and each shows all of what is left."""
    world = worlds(*manuals(), chunking=FLAT)
    world.index.sync()
    documents = {document.id: document for document in manuals()}
    for mode in ("vector", "keyword", "hybrid"):
        public = {hit.doc_id for hit in world.index.search("device problem QX4711", k=99, mode=mode)}
        assert public == {doc for doc, document in documents.items() if document.access is None}
        asked: dict[str, Any] = {"where": {"part": 1}, "principals": ["team"], "mode": mode}
        found = {hit.doc_id for hit in world.index.search("device problem QX4711", k=99, **asked)}
        assert found == {doc for doc, document in documents.items() if document.metadata["part"] == 1}


def test_changes_are_followed_at_once(worlds: Worlds) -> None:
    """Edited, deleted, revoked and new documents: the very next search by words knows."""
    world = worlds(*manuals(), chunking=FLAT)
    world.index.sync()
    index = world.index

    def found(words: str, **asked: Any) -> list[str]:
        lists = [[hit.doc_id for hit in index.search(words, k=3, mode=mode, **asked)] for mode in ("keyword", "hybrid")]
        assert set(lists[0]) <= set(lists[1])
        return lists[0]

    assert found("QX4711") == ["m41"]
    index.upsert([Document("m41", "Replace the fuse: RZ99 was shown"), Document("new", "another QX4711")])
    assert (found("QX4711"), found("RZ99")) == (["new"], ["m41"])
    index.upsert([Document("new", "another QX4711", access=["boss"])])
    assert (found("QX4711"), found("QX4711", principals=["boss"])) == ([], ["new"])
    index.delete(["new", "m41"])
    assert (found("QX4711", principals=UNRESTRICTED), found("RZ99", principals=UNRESTRICTED)) == ([], [])
    world.assert_sound()


class Stale(MemoryStore):
    """A store whose deletions and payloads lag behind for ever."""

    def delete(self, collection: str, ids: Any) -> None:
        """Not yet."""

    def update_payload(self, collection: str, ids: Any, payload: Any) -> None:
        """Not yet."""


@pytest.mark.parametrize("mode", ["keyword", "hybrid"])
def test_the_fence_stands_before_the_words_too(mode: Any) -> None:
    """Deleted, revoked, replaced and re-labelled documents follow the catalog though every point is still there."""
    with Index(embedder=HashingEmbedder(64), store=Stale(), catalog="sqlite://", chunking=FLAT) as index:
        index.upsert([Document(f"d{i}", f"word number{i}", {"lang": "en"}) for i in range(200)])
        index.delete([f"d{i}" for i in range(50)])
        index.upsert([Document(f"d{i}", f"word number{i}", {"lang": "en"}, ["team"]) for i in range(50, 100)])
        index.upsert([Document(f"d{i}", f"word changed{i}", {"lang": "en"}) for i in range(100, 150)])
        index.upsert([Document(f"d{i}", f"word number{i}", {"lang": "de"}) for i in range(150, 190)])
        public = index.search("word", k=150, mode=mode)
        assert {hit.doc_id for hit in public} == {f"d{i}" for i in range(100, 200)}
        assert all(hit.text == f"word changed{hit.doc_id[1:]}" for hit in public if 100 <= int(hit.doc_id[1:]) < 150)
        assert len(index.search("word", k=150, principals=["team"], mode=mode)) == 150
        full = index.search("number10", k=10, mode=mode, principals=["team"])
        assert all(hit.doc_id not in {f"d{i}" for i in range(50)} for hit in full)


class Swapping(MemoryStore):
    """A store that is written to between its answer by vector and its answer by words."""

    between: Callable[[], object] | None = None

    def search_words(self, *arguments: Any, **options: Any) -> list[StoreHit]:
        """After whatever shall happen first."""
        between, self.between = self.between, None
        if between is not None:
            between()
        return super().search_words(*arguments, **options)


def test_no_list_is_of_another_moment_than_the_other() -> None:
    """A document that is replaced between the two questions is shown in one revision, whole (I2)."""
    store = Swapping()
    sentences = Chunking("sentences", max_tokens=8)
    with Index(embedder=HashingEmbedder(64), store=store, catalog="sqlite://", chunking=sentences) as index:
        old = " ".join(f"the old word of part {n} is here." for n in range(6))
        index.upsert([Document("d", old), *manuals()])
        store.between = lambda: index.upsert([Document("d", old.replace("old", "new"))])
        found = [hit for hit in index.search("word of part", k=50, mode="hybrid") if hit.doc_id == "d"]
        after = [hit for hit in index.search("word of part", k=50, mode="hybrid") if hit.doc_id == "d"]
        assert found == after != []
        assert len({hit.revision for hit in found}) == 1
        assert any("new" in hit.text for hit in found)
        assert not any("old" in hit.text for hit in found)


def test_a_store_without_words_says_so() -> None:
    """The error names the store and what to do instead; searches by vector go on."""
    with Index(embedder=HashingEmbedder(64), store=WeakStore(Weakness()), catalog="sqlite://") as index:
        index.upsert([Document("a", "a zebra")])
        assert len(index.search("zebra")) == 1
        modes: tuple[SearchMode, ...] = ("hybrid", "keyword")
        for mode in modes:
            with pytest.raises(ConfigError) as caught:
                index.search("zebra", mode=mode)
            assert str(caught.value).startswith(f"{mode} search: the store of generation 1 (WeakStore) does not search")
            assert "Hint: search by vectors alone, or move to a store" in str(caught.value)


def test_what_cannot_be_meant() -> None:
    """Words cannot be looked for by a vector, and a mode must be one of three."""
    with Index(embedder=HashingEmbedder(64), store="memory://", catalog="sqlite://") as index:
        index.upsert([Document("a", "a zebra")])
        with pytest.raises(ConfigError, match="the query is a vector\nHint: ask with a text"):
            index.search([0.5] * 64, space=index.recipe.space, mode="hybrid")
        with pytest.raises(ConfigError, match="mode 'words'\nHint: valid are vector, hybrid, keyword"):
            index.search("zebra", mode="words")  # type: ignore[arg-type]  # that is the point


def test_words_need_no_model() -> None:
    """Searching by words alone sends the model nothing."""
    model = FaultyEmbedder(HashingEmbedder(64), lambda _call, _texts: None)
    with Index(embedder=model, store="memory://", catalog="sqlite://") as index:
        index.upsert([Document("a", "a zebra")])
        asked = len(model.calls)
        assert index.search("zebra", mode="keyword")[0].doc_id == "a"
        assert index.search("zebra", mode="keyword").explanation.embed_ms < 1000
        assert len(model.calls) == asked


@pytest.mark.parametrize("kind", ["canary", "ab", "interleaved", "shadow"])
def test_routes_that_take_turns_search_by_words_on_each_side(tmp_path: Path, kind: Any) -> None:
    """Where one generation answers, or lists are interleaved, each side fuses for itself; nothing falls back."""
    with filling(tmp_path) as world:
        world.create()
        world.place([f"d{n:03}" for n in range(60)])
        world.start(kind)
        found = world.search("river stone", mode="hybrid")
        assert len(found) == 10
        assert (found.explanation.mode, found.explanation.fallback) == ("hybrid", None)
        if kind == "canary":
            assert found.generation == 2


@pytest.mark.parametrize("kind", ["dual", "rolling", "on_read", "bridge"])
def test_routes_that_merge_by_scores_leave_words_to_the_live_generation(tmp_path: Path, kind: Any) -> None:
    """The complete generation answers alone, as if it had been named, and says why."""
    with filling(tmp_path) as world:
        world.create()
        world.place([f"d{n:03}" for n in range(0, 60, 2)])
        world.start(kind)
        for mode in ("hybrid", "keyword"):
            found = world.search("river stone", mode=mode)
            alone = world.search("river stone", mode=mode, generation=1)
            assert ranks(found) == ranks(alone) != []
            assert {hit.generation for hit in found} == {1}
            assert found.explanation.fallback == (
                f"{mode} search is answered by generation 1 alone: {kind} needs vectors"
            )
