"""Search: filters, principals, the fence and its refill, on both stores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import pytest

from regen import UNRESTRICTED, Chunking, Document, Index
from regen.embedders.hashing import HashingEmbedder
from regen.errors import ConfigError, NotFound
from regen.ports import StoreHit
from regen.stores.memory import MemoryStore

Worlds: TypeAlias = Callable[..., Any]
FLAT = Chunking("whole")


def library() -> list[Document]:
    """Documents whose metadata has values of every kind, and some that lack them."""
    return [
        Document("a", "word alpha", {"lang": "en", "year": 2020, "draft": False, "tags": ["x", "y"]}),
        Document("b", "word beta", {"lang": "de", "year": 2021.5, "draft": True, "tags": ["y"]}),
        Document("c", "word gamma", {"lang": "en", "year": 2022, "tags": []}),
        Document("d", "word delta", {"lang": None, "year": "2022"}),
        Document("e", "word epsilon"),
    ]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"lang": "en"}, "ac"),
        ({"lang": ["en", "de"]}, "abc"),
        ({"lang": {"in": ["de", "fr"]}}, "b"),
        ({"year": 2022}, "c"),
        ({"year": 2022.0}, "c"),
        ({"year": "2022"}, "d"),
        ({"year": {"gte": 2021}}, "bc"),
        ({"year": {"gt": 2020, "lt": 2022}}, "b"),
        ({"year": {"lte": "2022"}}, "d"),
        ({"draft": True}, "b"),
        ({"draft": False}, "a"),
        ({"draft": {"exists": True}}, "ab"),
        ({"lang": {"exists": False}}, "de"),
        ({"lang": None}, "de"),
        ({"tags": "y"}, "ab"),
        ({"tags": {"in": ["x", "z"]}}, "a"),
        ({"tags": {"exists": True}}, "abc"),
        ({"lang": "en", "year": {"lt": 2021}}, "a"),
        ({"nowhere": {"exists": False}}, "abcde"),
        ({}, "abcde"),
    ],
    ids=str,
)
def test_filters_are_typed_and_exact(worlds: Worlds, where: dict[str, Any], expected: str) -> None:
    """Equality, membership, ranges and existence: exactly these documents, whatever the store can evaluate."""
    world = worlds(*library(), chunking=FLAT)
    world.index.sync()
    assert set(world.found("word", where=where)) == set(expected)


@pytest.mark.parametrize("where", [{"nowhere": 1}, {"year": {"gt": "z"}}, {"lang": {"in": []}}, {"draft": 1}], ids=str)
def test_a_filter_that_nothing_satisfies(worlds: Worlds, where: dict[str, Any]) -> None:
    """It gives nothing, though the store is full."""
    world = worlds(*library(), chunking=FLAT)
    world.index.sync()
    assert len(world.found("word")) == 5
    assert world.found("word", where=where) == []


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ({"lang": {"like": "e%"}}, "unknown operator 'like'\nHint: valid are eq, in, gt"),
        ({"lang": {"exists": "yes"}}, "exists takes true or false"),
        ({"draft": {"gt": True}}, "compares numbers or strings"),
        ({"lang": {"in": "en"}}, "in takes a list"),
        ({"lang": [["en"]]}, "compare with a string, a number"),
    ],
    ids=str,
)
def test_a_filter_that_cannot_be_meant(worlds: Worlds, where: dict[str, Any], told: str) -> None:
    """It is an error that says what is valid."""
    world = worlds(*library())
    world.index.sync()
    with pytest.raises(ConfigError) as caught:
        world.index.search("word", where=where)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("principals", "expected"),
    [(None, "p"), ([], "p"), (["a"], "pa"), ("a", "pa"), (["a", "b"], "pab"), (UNRESTRICTED, "pabn")],
    ids=str,
)
def test_principals(worlds: Worlds, principals: Any, expected: str) -> None:
    """Public by default, one's own by name, everything only when it is said."""
    world = worlds(
        Document("p", "word public"), Document("a", "word of a", access=["a"]),
        Document("b", "word of b", access=["b", "c"]), Document("n", "word of nobody", access=[]), chunking=FLAT,
    )  # fmt: skip
    world.index.sync()
    assert set(world.found("word", principals=principals)) == set(expected)


def test_a_hit_says_where_it_comes_from(worlds: Worlds) -> None:
    """Document, chunk, score, text, metadata, revision, generation and space, best first."""
    world = worlds(*library(), chunking=FLAT)
    world.index.sync()
    result = world.index.search("word gamma", k=3)
    best = result[0]
    assert (best.doc_id, best.text, best.revision, best.generation) == ("c", "word gamma", 3, 1)
    assert best.metadata == {"lang": "en", "year": 2022, "tags": []}
    assert best.space == result.space == world.index.recipe.space
    assert best.score == pytest.approx(1.0, abs=1e-5)
    assert [hit.score for hit in result] == sorted((hit.score for hit in result), reverse=True)
    assert len(result) == 3
    explanation = result.to_dict(explain=True)["explanation"]
    assert (explanation["route"], explanation["rounds"], explanation["dropped"]) == ("live", 1, {})


def test_a_generation_can_be_named(worlds: Worlds) -> None:
    """The live one by its number too; one that does not exist is told with those that do."""
    world = worlds(*library())
    with pytest.raises(NotFound, match="not live yet\nHint: run `regen sync` first"):
        world.index.search("word")
    world.index.sync()
    assert len(world.index.search("word", generation=1, k=5)) == 5
    with pytest.raises(NotFound, match=r"no generation 7\nHint: there are: \[1\]"):
        world.index.search("word", generation=7)
    with pytest.raises(ConfigError, match="k is 0"):
        world.index.search("word", k=0)


class Stale(MemoryStore):
    """A store whose deletions and payloads lag behind for ever, as a server's may for a while."""

    def delete(self, collection: str, ids: Any) -> None:
        """Not yet."""

    def update_payload(self, collection: str, ids: Any, payload: Any) -> None:
        """Not yet."""


def test_the_fence_needs_no_help_of_the_store() -> None:
    """Deleted, revoked, replaced and re-labelled documents follow the catalog though every point is still there."""
    store = Stale()
    with Index(embedder=HashingEmbedder(64), store=store, catalog="sqlite://", chunking=FLAT) as index:
        index.upsert([Document(f"d{i}", f"word number{i}", {"lang": "en"}) for i in range(200)])
        index.delete([f"d{i}" for i in range(50)])
        index.upsert([Document(f"d{i}", f"word number{i}", {"lang": "en"}, ["team"]) for i in range(50, 100)])
        index.upsert([Document(f"d{i}", f"word changed{i}", {"lang": "en"}) for i in range(100, 150)])
        index.upsert([Document(f"d{i}", f"word number{i}", {"lang": "de"}) for i in range(150, 190)])
        assert store.count(index._writer.live_or_newest().collection) == 250
        public = index.search("word", k=150)
        assert {hit.doc_id for hit in public} == {f"d{i}" for i in range(100, 200)}
        assert {hit.text for hit in public if hit.text.startswith("word changed")} == {
            f"word changed{i}" for i in range(100, 150)
        }
        assert len(index.search("word", k=150, principals=["team"])) == 150
        assert {hit.metadata["lang"] for hit in public} == {"en", "de"}
        dropped = public.explanation.dropped
        assert (dropped["superseded"], dropped["access"]) == (100, 50)


def test_the_list_is_full_though_the_fence_dropped_the_best() -> None:
    """Search asks for more until k have passed, or there are no more."""
    with Index(embedder=HashingEmbedder(64), store=Stale(), catalog="sqlite://", chunking=FLAT) as index:
        near = [Document(f"near{i}", "the wanted words " * (i + 1)) for i in range(300)]
        index.upsert([*near, *(Document(f"far{i}", f"something other{i}") for i in range(20))])
        index.delete([document.id for document in near])
        result = index.search("the wanted words", k=10)
        assert len(result) == 10
        assert all(hit.doc_id.startswith("far") for hit in result)
        assert result.explanation.rounds > 1


class Rogue(MemoryStore):
    """A store that returns points which nobody has written."""

    def search(self, *arguments: Any, **options: Any) -> list[StoreHit]:
        """Real hits, led by forged ones of an existing document."""
        found = super().search(*arguments, **options)
        forged = [StoreHit("0" * 32, 9.9, found[0].chunk_id, found[0].token + 1, found[0].doc_id, "forged")]
        return [*forged, StoreHit("1" * 32, 9.8, "ab" * 16, 1, "never", "forged"), *found]


def test_what_no_placement_names_is_not_returned() -> None:
    """A point under another token, or of an unknown document, does not pass, however good its score."""
    with Index(embedder=HashingEmbedder(64), store=Rogue(), catalog="sqlite://", chunking=FLAT) as index:
        index.upsert(library())
        result = index.search("word", k=10)
        assert len(result) == 5
        assert "forged" not in {hit.text for hit in result}


def test_search_needs_no_writer(worlds: Worlds) -> None:
    """A second handle opened on the same files answers, and follows the first at once."""
    world = worlds(*library(), chunking=FLAT)
    world.index.sync()
    with Index(
        embedder=HashingEmbedder(64), catalog="sqlite:///catalog.db", root=world.folder, chunking=FLAT,
        store=f"memory://{world.folder}" if world.store == "memory" else "lancedb://vectors",
    ) as reader:  # fmt: skip
        assert len(reader.search("word", k=9)) == 5
        world.index.delete(["a"])
        assert len(reader.search("word", k=9)) == 4
        world.index.upsert([Document("new", "word anew", {"colour": "red"})])
        assert [hit.doc_id for hit in reader.search("word", k=9, where={"colour": "red"})] == ["new"]


@pytest.mark.parametrize(
    ("before", "after", "asked"),
    [
        (Document("a", "", {}, ("ann",)), Document("a", "", {}), {"principals": ["bob"]}),
        (Document("a", "", {"lang": "en"}), Document("a", "", {"lang": "de"}), {"where": {"lang": "de"}}),
    ],
    ids=["access", "metadata"],
)
def test_an_edit_of_text_and_of_who_may_find_it_is_seen_at_once(
    worlds: Worlds, before: Document, after: Document, asked: dict[str, Any]
) -> None:
    """Until it is committed whoever it is for from then on finds nothing of it, not the part that both texts share."""
    shared = "A river carries stones to the sea."
    world = worlds(replace(before, text=f"{shared} It was raining."), chunking=Chunking("sentences", 10))
    world.index.sync()
    world.put(replace(after, text=f"{shared} The sun has come out."))
    catalog, seen = world.index._catalog, []
    commit = catalog.commit_write

    def looked_at(*arguments: Any, **options: Any) -> Any:
        seen.append([hit.text for hit in world.index.search("river", k=9, **asked)])
        return commit(*arguments, **options)

    catalog.commit_write = looked_at
    result = world.index.sync()
    assert seen == [[]]
    assert {hit.text.strip() for hit in world.index.search("river", k=9, **asked)} == {shared, "The sun has come out."}
    assert result.embedded_texts == 1
    world.assert_sound()
