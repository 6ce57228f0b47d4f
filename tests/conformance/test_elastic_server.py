"""The loopback server refuses what Elasticsearch and OpenSearch refuse, and shows writes as late as they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from elasticsearch import ApiError, Elasticsearch, NotFoundError
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from regen.testing.elastic_server import SearchServer

ACCEPT = {"accept": "application/json"}
DENSE = {"type": "dense_vector", "dims": 3}
KNN = {
    "type": "knn_vector",
    "dimension": 3,
    "method": {"name": "hnsw", "engine": "lucene", "space_type": "innerproduct"},
}


@pytest.fixture
def elastic() -> Iterator[Elasticsearch]:
    """Elasticsearch's own client, on an index ``books`` with a vector, a text, a keyword and a number."""
    with SearchServer("elasticsearch") as server:
        client = Elasticsearch(server.url.replace("elasticsearch", "http"), max_retries=0)
        properties = {"v": DENSE, "t": {"type": "text"}, "k": {"type": "keyword"}, "n": {"type": "double"}}
        client.indices.create(index="books", mappings={"dynamic": False, "properties": properties})
        yield client
        client.close()


@pytest.fixture
def opensearch() -> Iterator[OpenSearch]:
    """OpenSearch's own client, on an index ``books`` with a vector."""
    with SearchServer("opensearch") as server:
        client = OpenSearch(hosts=[server.url.replace("opensearch", "http")], max_retries=0)
        body = {"settings": {"index": {"knn": True}}, "mappings": {"properties": {"v": KNN}}}
        client.indices.create(index="books", body=body)
        yield client
        client.close()


def nearest(client: Elasticsearch, query: list[float], *, k: int, candidates: int) -> Any:
    """A search by a vector."""
    knn = {"field": "v", "query_vector": query, "k": k, "num_candidates": candidates}
    return client.search(index="books", knn=knn)


def make(client: Elasticsearch, **field: Any) -> Any:
    """Make an index of one field."""
    return client.indices.create(index="other", mappings={"properties": {"x": field}})


REFUSED: dict[str, tuple[str, Callable[[Elasticsearch], Any]]] = {
    "a setting": ("unknown setting", lambda client: client.indices.create(index="o", settings={"index.colour": 1})),
    "a type": ("does not exist", lambda client: make(client, type="knn_vector")),
    "a parameter": ("unknown parameter", lambda client: make(client, type="keyword", colour=1)),
    "a similarity": ("similarity", lambda client: make(client, **DENSE, similarity="manhattan")),
    "an index type": ("index options", lambda client: make(client, **DENSE, index_options={"type": "ivf"})),
    "an index option": (
        "unsupported parameters",
        lambda client: make(client, **DENSE, index_options={"type": "hnsw", "rescore_vector": {"oversample": 3}}),
    ),
    "few bits": ("fewer than 64", lambda client: make(client, **DENSE, index_options={"type": "bbq_hnsw"})),
    "many dimensions": ("4096", lambda client: make(client, type="dense_vector", dims=4097)),
    "a name": ("Invalid index name", lambda client: client.indices.create(index="Books")),
    "the same index": ("already exists", lambda client: client.indices.create(index="books")),
    "another type": (
        "cannot be changed",
        lambda client: client.indices.put_mapping(index="books", properties={"n": {"type": "keyword"}}),
    ),
    "a query": ("unknown query", lambda client: client.search(index="books", query={"fuzzy_like": {}})),
    "an operator": (
        "does not support",
        lambda client: client.search(index="books", query={"range": {"n": {"over": 1}}}),
    ),
    "a section": (
        "Unknown key",
        lambda client: client.perform_request(
            "POST",
            "/books/_search",
            headers=ACCEPT | {"content-type": "application/json"},
            body={"colour": 1},
        ),
    ),
    "a window": ("too large", lambda client: client.search(index="books", size=10_001)),
    "a sort": ("Fielddata", lambda client: client.search(index="books", sort=["t"])),
    "a sort by id": ("_id field", lambda client: client.search(index="books", sort=["_id"])),
    "few candidates": (
        "num_candidates",
        lambda client: nearest(client, [1, 0, 0], k=9, candidates=5),
    ),
    "a query of other dimensions": (
        "dimension",
        lambda client: nearest(client, [1, 0], k=1, candidates=5),
    ),
    "a drop by alias": ("matches an alias", lambda client: aliased(client).indices.delete(index="library")),
    "an alias of its name": (
        "Invalid alias name",
        lambda client: client.indices.update_aliases(actions=[{"add": {"index": "books", "alias": "books"}}]),
    ),
    "a parameter of a request": (
        "unrecognized parameter",
        lambda client: client.perform_request("GET", "/books/_count", params={"colour": 1}, headers=ACCEPT),
    ),
}


def aliased(client: Elasticsearch) -> Elasticsearch:
    """The client, when the index has an alias."""
    client.indices.update_aliases(actions=[{"add": {"index": "books", "alias": "library"}}])
    return client


@pytest.mark.store("elasticsearch")
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(elastic: Elasticsearch, what: str) -> None:
    """Each is an error of 400 that says what is wrong."""
    said, ask = REFUSED[what]
    with pytest.raises(ApiError) as raised:
        ask(elastic)
    assert raised.value.meta.status == 400
    assert said in str(raised.value.body)


@pytest.mark.store("elasticsearch")
@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"v": [1.0, 0.0]}, "different number of dimensions"),
        ({"v": [0.0, 0.0, 0.0]}, "zero magnitude"),
        ({"v": "soon"}, "failed to parse"),
        ({"n": "many"}, "failed to parse"),
        ({"k": {"a": 1}}, "failed to parse"),
        ({"k": "x" * 33_000}, "immense term"),
    ],
)
def test_documents_that_are_refused(elastic: Elasticsearch, document: dict[str, Any], said: str) -> None:
    """A bulk request is answered 200, and each document that is refused says so; the others are there."""
    lines: list[Any] = [{"index": {"_id": "bad"}}, document, {"index": {"_id": "good"}}, {"k": "fine"}]
    answer = elastic.bulk(index="books", operations=lines)
    assert answer["errors"] is True
    assert [item["index"]["status"] for item in answer["items"]] == [400, 201]
    assert said in answer["items"][0]["index"]["error"]["reason"]
    long = elastic.bulk(index="books", operations=[{"index": {"_id": "x" * 513}}, {}])
    assert "512 bytes" in long["items"][0]["index"]["error"]["reason"]


@pytest.mark.store("elasticsearch")
def test_a_write_is_searched_after_a_refresh(elastic: Elasticsearch) -> None:
    """By its id a document is there at once; searches, counts and points in time show it after a refresh only."""
    elastic.bulk(index="books", operations=[{"index": {"_id": "1"}}, {"v": [1.0, 2.0, 2.0], "k": "x"}])
    found = elastic.get(index="books", id="1")["_source"]
    assert found == {"k": "x"}  # a vector is not told unless it is asked for
    assert elastic.count(index="books")["count"] == 0
    pit = elastic.open_point_in_time(index="books", keep_alive="1m")["id"]
    elastic.indices.refresh(index="books")
    assert elastic.count(index="books")["count"] == 1
    (hit,) = elastic.search(index="books", query={"term": {"k": "x"}}, source={"exclude_vectors": False})["hits"][
        "hits"
    ]
    assert hit["_source"]["v"] == [1.0, 2.0, 2.0]
    assert elastic.search(pit={"id": pit, "keep_alive": "1m"})["hits"]["hits"] == []
    elastic.close_point_in_time(id=pit)
    with pytest.raises(NotFoundError, match="search_phase_execution_exception"):
        elastic.search(pit={"id": pit, "keep_alive": "1m"})


@pytest.mark.store("elasticsearch")
def test_an_index_is_made_by_writing_to_it(elastic: Elasticsearch) -> None:
    """As the products do it by default, and not where an alias is required."""
    with_alias = elastic.bulk(index="gone", operations=[{"index": {"_id": "1"}}, {"a": 1}], require_alias=True)
    assert with_alias["items"][0]["index"]["error"]["type"] == "index_not_found_exception"
    assert not elastic.bulk(index="gone", operations=[{"index": {"_id": "1"}}, {"a": 1}])["errors"]
    assert elastic.indices.get_mapping(index="gone")["gone"]["mappings"]["properties"] == {"a": {"type": "long"}}


@pytest.mark.store("elasticsearch")
def test_actions_on_aliases_are_all_or_none(elastic: Elasticsearch) -> None:
    """When one of several actions cannot be done, none is."""
    aliased(elastic)
    actions = [{"remove": {"index": "books", "alias": "library"}}, {"add": {"index": "none", "alias": "library"}}]
    with pytest.raises(NotFoundError):
        elastic.indices.update_aliases(actions=actions)
    assert list(elastic.indices.get_alias(name="library")) == ["books"]


@pytest.mark.store("opensearch")
def test_what_opensearch_refuses(opensearch: OpenSearch) -> None:
    """What is Elasticsearch's alone is refused, and a vector of other dimensions."""
    vectors = {"knn": {"field": "v", "query_vector": [1, 0, 0], "k": 1, "num_candidates": 5}}
    plain = {"mappings": {"properties": {"v": KNN}}}
    asks: tuple[Callable[[], Any], ...] = (
        lambda: opensearch.search(index="books", body=vectors),
        lambda: opensearch.search(index="books", body={"query": {"knn": {"v": {"vector": [1.0], "k": 1}}}}),
        lambda: opensearch.search(index="books", body={"query": {"knn": {"v": {"vector": [1.0, 0.0, 0.0], "k": 0}}}}),
        lambda: opensearch.search(index="books", body={"_source": {"exclude_vectors": False}}),
        lambda: opensearch.indices.create(index="plain", body=plain),
        lambda: opensearch.indices.create(index="dense", body={"mappings": {"properties": {"v": DENSE}}}),
    )
    for ask in asks:
        opensearch.bulk(index="books", body=[{"index": {"_id": "1"}}, {"v": [1.0, 0.0, 0.0]}], refresh=True)
        with pytest.raises(TransportError) as raised:
            ask()
        assert raised.value.status_code == 400
    answer = opensearch.bulk(index="books", body=[{"index": {"_id": "1"}}, {"v": [1.0]}])
    assert "dimension mismatch" in answer["items"][0]["index"]["error"]["reason"]
