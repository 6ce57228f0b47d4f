"""Indexes of others, aliases, and words, on Elasticsearch and OpenSearch: what the conformance suite does not ask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from regen.errors import CollectionMissing, ConfigError, StoreError, StoreUnreachable
from regen.ports import CollectionSpec, ForeignColumns, Vectors
from regen.stores.elastic_connection import whole
from regen.stores.elastic_filters import worded
from regen.stores.elastic_store import ElasticStore
from regen.stores.elasticsearch import ElasticsearchStore
from regen.stores.opensearch import OpenSearchStore
from regen.testing.elastic_fields import Product
from regen.testing.elastic_server import SearchServer
from regen.testing.store_cases import COLLECTION, ids_of, make_collection, make_points, random_vectors

OPENERS = {"elasticsearch": ElasticsearchStore.from_url, "opensearch": OpenSearchStore.from_url}
Pair = tuple[SearchServer, ElasticStore]


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.store(name)) for name in OPENERS])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A server, and a store on it."""
    with SearchServer(request.param) as server:
        store = OPENERS[request.param](server.url)
        yield server, store
        store.close()


def vector_field(product: Product, **options: Any) -> dict[str, Any]:
    """A field for vectors of four dimensions as either product makes it by default."""
    if product == "elasticsearch":
        return {"type": "dense_vector", "dims": 4, **options}
    return {"type": "knn_vector", "dimension": 4, **options}


def fill(pair: Pair, properties: dict[str, Any], documents: list[dict[str, Any]], **mappings: Any) -> None:
    """An index of somebody else's, searched by nobody yet but refreshed."""
    server, store = pair
    settings = {"index.knn": True} if server.product == "opensearch" else {}
    body = {"settings": settings, "mappings": {"properties": properties, **mappings}}
    store._ask("theirs", "PUT", "/theirs", body)
    index = server.cluster.indexes["theirs"]
    for at, document in enumerate(documents):
        index.put(f"id-{at:03}", document)
    index.refresh()


def all_of(store: ElasticStore, columns: ForeignColumns | None = None, batch: int = 2) -> tuple[Any, ...]:
    """Everything that adoption reads."""
    pages = list(store.foreign("theirs", columns or ForeignColumns(), batch=batch))
    assert all(len(page.ids) <= batch for page in pages)
    vectors: Vectors = np.concatenate([page.vectors for page in pages])
    return (
        [name for page in pages for name in page.ids],
        [text for page in pages for text in page.texts],
        [held for page in pages for held in page.metadata],
        vectors,
    )


# ── adoption ────────────────────────────────────────────────────────────────────────────────────────────────


def test_adopting_reads_all_of_an_index(pair: Pair) -> None:
    """Ids, texts, vectors and metadata of an index as LangChain leaves it; the object ``metadata`` is taken apart."""
    vectors = random_vectors(5, dimensions=4)
    documents = [
        {"text": f"text {at}", "vector": vectors[at].tolist(), "metadata": {"lang": "en", "year": at}}
        for at in range(5)
    ]
    fill(pair, {"vector": vector_field(pair[0].product)}, documents)
    store = pair[1]
    ids, texts, metadata, read = all_of(store)
    assert ids == [f"id-{at:03}" for at in range(5)]
    assert texts == [f"text {at}" for at in range(5)]
    assert metadata == [{"lang": "en", "year": at} for at in range(5)]
    assert np.allclose(read, vectors, atol=1e-6)
    assert all_of(store, ForeignColumns(id="year", metadata=("lang",)))[0] == list("01234")
    assert all_of(store, ForeignColumns(metadata=("lang",)))[2] == [{"lang": "en"}] * 5
    assert pair[0].cluster._snapshots == {}


def test_columns_that_cannot_be_told(pair: Pair) -> None:
    """Two vectors, a text under another name and an id that is not there are errors that say what to name."""
    properties = {name: vector_field(pair[0].product) for name in ("title_vector", "body_vector")}
    documents = [
        {"inhalt": "a", "title_vector": [1.0, 0.0, 0.0, 0.0], "body_vector": [0.0, 1.0, 0.0, 0.0]},
        {"inhalt": "b", "title_vector": [1.0, 0.0, 0.0, 0.0]},
    ]
    fill(pair, properties, documents)
    store = pair[1]
    for columns, said in (
        (ForeignColumns(), "--vector"),
        (ForeignColumns(vector="other"), "title_vector"),
        (ForeignColumns(vector="title_vector"), "--text"),
    ):
        with pytest.raises(ConfigError, match=said):
            all_of(store, columns)
    with pytest.raises(StoreError, match="id-001 of theirs has no vector"):
        all_of(store, ForeignColumns(vector="body_vector", text="inhalt"))
    with pytest.raises(StoreError, match="has no 'key'"):
        all_of(store, ForeignColumns(vector="title_vector", text="inhalt", id="key"))
    assert all_of(store, ForeignColumns(vector="title_vector", text="inhalt"))[1] == ["a", "b"]
    with pytest.raises(CollectionMissing, match="never_made"):
        list(store.foreign("never_made", ForeignColumns()))


def test_vectors_that_a_mapping_excludes(pair: Pair) -> None:
    """A mapping whose ``_source`` leaves the vector out gives it back to nobody: the error says so."""
    documents = [{"text": "a", "vector": [1.0, 0.0, 0.0, 0.0]}]
    fill(pair, {"vector": vector_field(pair[0].product)}, documents, _source={"excludes": ["vector"]})
    with pytest.raises(StoreError, match="_source excludes the vector"):
        all_of(pair[1])


@pytest.mark.store("elasticsearch")
@pytest.mark.parametrize("version", ["9.1.0", "9.2.0"])
def test_vectors_that_are_hidden(version: str) -> None:
    """From 9.2 on an answer holds no vectors unless it is asked for them, and before it must not be asked."""
    with SearchServer("elasticsearch", version=version) as server:
        store = ElasticsearchStore.from_url(server.url)
        fill(
            (server, store), {"vector": vector_field("elasticsearch")}, [{"text": "a", "vector": [1.0, 2.0, 3.0, 4.0]}]
        )
        plain = store._search("theirs", {"query": {"match_all": {}}})
        assert ("vector" in plain[0]["_source"]) == (version == "9.1.0")
        assert all_of(store)[3].tolist() == [[1.0, 2.0, 3.0, 4.0]]
        store.close()


def test_an_index_of_another_program(pair: Pair) -> None:
    """It is listed apart, and neither written, nor read, nor dropped."""
    fill(pair, {"vector": vector_field(pair[0].product)}, [])
    store = pair[1]
    store._ask("plain", "PUT", "/plain", {"mappings": {"properties": {"name": {"type": "keyword"}}}})
    make_collection(store, make_points(["a"]))
    for call in (
        lambda: store.create("theirs", CollectionSpec(4)),
        lambda: store.upsert("theirs", make_points(["a"], dimensions=4)),
        lambda: store.count("theirs"),
        lambda: store.drop("theirs"),
    ):
        with pytest.raises(StoreError, match="no collection of regen's"):
            call()
    assert store.collections() == [COLLECTION]
    assert store.foreign_collections() == ["theirs"]


# ── aliases ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_alias_is_no_collection(pair: Pair) -> None:
    """What the server answers under an alias's name is not taken for a collection, and a collection for no alias."""
    _, store = pair
    for name in ("first", "handbook"):
        store.create(name, CollectionSpec(4))
    with pytest.raises(StoreError, match="handbook"):
        store.set_alias("handbook", "first")
    assert store.alias_target("handbook") is None
    store.set_alias("guide", "first")
    with pytest.raises(CollectionMissing, match="guide"):
        store.count("guide")
    with pytest.raises(StoreError, match="guide"):
        store.create("guide", CollectionSpec(4))
    store.drop("guide")
    assert store.alias_target("guide") == "first"


def test_an_alias_moves_in_one_request(pair: Pair) -> None:
    """It is taken away and given in one list of actions; an alias of several indexes becomes one of one."""
    server, store = pair
    for name in ("first", "second", "third"):
        store.create(name, CollectionSpec(4))
    for name in ("first", "second"):
        store._ask(name, "POST", "/_aliases", {"actions": [{"add": {"index": name, "alias": "handbook"}}]})
    assert store.alias_target("handbook") is None
    before = len(server.requests)
    store.set_alias("handbook", "third")
    assert [asked.path for asked in server.requests[before:] if asked.method == "POST"] == ["/_aliases"]
    assert server.cluster.aliases["handbook"] == {"third"}
    assert store.alias_target("handbook") == "third"


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("query", ["ü" * 5000, "words " * 5000, "a-b-c-" * 2000, "東京 " * 3000, "x" * 100_000])
def test_no_query_has_too_many_words(pair: Pair, query: str) -> None:
    """However long it is, it is a query of as many words as a server takes, and the first words count."""
    _, store = pair
    make_collection(store, make_points(["a", "b"], texts=["a zebra", "no such thing"]))
    assert ids_of(store.search_words(COLLECTION, f"zebra {query}", 5))[:1] == ["a"]
    kept = worded("text", query)["match"]["text"]["query"]
    assert sum(not char.isascii() for char in kept) <= 1000


def test_an_answer_of_some_shards_only() -> None:
    """What a search, a count or a refresh did not do everywhere is an error, and no result."""
    assert whole({"count": 1, "_shards": {"total": 2, "failed": 0}}, "here") == {
        "count": 1,
        "_shards": {"total": 2, "failed": 0},
    }
    with pytest.raises(StoreUnreachable, match="without 1 of its shards"):
        whole({"count": 1, "_shards": {"total": 2, "failed": 1}}, "here")
