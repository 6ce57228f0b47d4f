"""What Elasticsearch and OpenSearch are asked, and what becomes of all that a server may answer."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import orjson
import pytest

from regen.core.documents import UNRESTRICTED
from regen.errors import CollectionMissing, ConfigError, StoreError, StoreUnreachable
from regen.ports import CollectionSpec
from regen.stores import elastic_connection
from regen.stores.elastic_store import ElasticStore
from regen.stores.elasticsearch import ElasticsearchStore
from regen.stores.opensearch import OpenSearchStore
from regen.testing.api_server import Request
from regen.testing.elastic_cluster import RefuseItems
from regen.testing.elastic_fields import Product
from regen.testing.elastic_server import SearchServer
from regen.testing.local_server import HangUp, Refuse, Throttle
from regen.testing.store_cases import (
    COLLECTION,
    FIELDS,
    ids_of,
    make_collection,
    make_points,
    numbered,
    random_vectors,
    scanned,
    where,
)

PRODUCTS: tuple[Product, ...] = ("elasticsearch", "opensearch")
OPENERS = {"elasticsearch": ElasticsearchStore.from_url, "opensearch": OpenSearchStore.from_url}


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.store(name)) for name in PRODUCTS])
def product(request: pytest.FixtureRequest) -> Product:
    """Either product."""
    return request.param  # type: ignore[no-any-return]


@contextmanager
def opened(product: Product, options: str = "", **settings: Any) -> Iterator[tuple[SearchServer, ElasticStore]]:
    """A server and a store on it."""
    with ExitStack() as stack:
        server = stack.enter_context(SearchServer(product, **settings))
        store = OPENERS[product](server.url + options)
        stack.callback(store.close)
        yield server, store


@pytest.fixture
def pair(product: Product) -> Iterator[tuple[SearchServer, ElasticStore]]:
    """A server where nothing goes wrong, and a store on it."""
    with opened(product) as both:
        yield both


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon."""
    monkeypatch.setattr(elastic_connection, "_ATTEMPTS", 2)
    monkeypatch.setattr(elastic_connection, "_LONGEST_WAIT", 0.3)


def bulks(server: SearchServer) -> list[Request]:
    """The bulk requests that came."""
    return [asked for asked in server.requests if asked.path.endswith("_bulk")]


# ── who may ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("product", "secret", "header"),
    [
        ("elasticsearch", "a2V5", "ApiKey a2V5"),
        ("elasticsearch", "me:pass:word", "Basic " + base64.b64encode(b"me:pass:word").decode()),
        ("opensearch", "me:pass", "Basic " + base64.b64encode(b"me:pass").decode()),
        ("opensearch", "token", "Bearer token"),
    ],
)
def test_credentials(monkeypatch: pytest.MonkeyPatch, product: Product, secret: str, header: str) -> None:
    """The secret of the environment is sent as the product wants it; without it the error says where it belongs."""
    with opened(product, "?api_key_env=MY_SECRET", authorization=header) as (server, store):
        with pytest.raises(
            StoreError, match=r"refuses the credentials(.|\n)*(ELASTICSEARCH_API|OPENSEARCH_CRED)"
        ) as raised:
            store.collections()
        assert len(server.requests) == 1  # asking again would not help
        store.close()
        monkeypatch.setenv("MY_SECRET", secret)
        assert store.collections() == []
        monkeypatch.setenv("MY_SECRET", "wrong:one")
        store.close()
        with pytest.raises(StoreError, match="refuses the credentials") as again:
            store.collections()
        assert "wrong" not in str(raised.value) + str(again.value)


@pytest.mark.parametrize(
    ("product", "version", "said"),
    [
        ("elasticsearch", "8.19.3", "too old; version 9"),
        ("elasticsearch", "7.17.0", "too old; version 9"),
        ("opensearch", "2.11.0", "2.13 or newer"),
        ("opensearch", "7.10.2", "override_main_response_version"),
    ],
)
def test_a_server_that_is_too_old(product: Product, version: str, said: str) -> None:
    """The error says which version is needed."""
    with opened(product, version=version) as (_, store), pytest.raises(StoreError, match=said):
        store.create(COLLECTION, CollectionSpec(4))


def test_another_product() -> None:
    """An imitation, or the other of the two, is told from the product before anything is written."""
    with (
        opened("elasticsearch", names_itself=False) as (_, store),
        pytest.raises(StoreError, match="is no Elasticsearch"),
    ):
        store.create(COLLECTION, CollectionSpec(4))
    with SearchServer("opensearch") as server:
        store = ElasticsearchStore.from_url(server.url.replace("opensearch", "elasticsearch"))
        with pytest.raises(StoreError, match="is no Elasticsearch"):
            store.collections()
    with SearchServer("elasticsearch") as server:
        other = OpenSearchStore.from_url(server.url.replace("elasticsearch", "opensearch"))
        with pytest.raises(StoreError, match="elasticsearch://"):
            other.collections()


@pytest.mark.parametrize("version", ["9.0.0", "9.1.3", "9.2.0"])
def test_every_version_gives_back_the_vectors(version: str) -> None:
    """Before 9.2 vectors lie in the source and nothing may be said of it; since then they are asked for."""
    points = make_points(numbered(20))
    with opened("elasticsearch", version=version) as (server, store):
        make_collection(store, points)
        store.update_payload(COLLECTION, points.ids[:5], make_points(points.ids[:5], access=[["x"]] * 5).payload)
        ids, vectors = store.fetch(COLLECTION, points.ids)
        assert np.array_equal(vectors, points.vectors[[int(name, 16) for name in ids]])
        settings = orjson.loads(next(asked for asked in server.requests if asked.method == "PUT").body)["settings"]
        assert settings == ({"index.mapping.exclude_source_vectors": True} if version == "9.2.0" else {})


# ── what goes wrong for a while ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("trouble", [Throttle(0.05), Throttle(header=None), Refuse(503), Refuse(502), HangUp()])
def test_trouble_that_passes(product: Product, trouble: Any) -> None:
    """Throttling, a gateway that is away and a dropped connection are waited for, in reads and in writes."""

    def plan(asked: Request) -> Any:
        return trouble if asked.number % 2 == 0 else None

    with opened(product, plan=plan) as (server, store):
        points = make_points(numbered(30))
        make_collection(store, points)
        assert store.count(COLLECTION) == 30
        assert ids_of(store.search(COLLECTION, points.vectors[4], 1)) == [points.ids[4]]
        assert sorted(scanned(store)) == points.ids
        assert len([status for status in server.statuses.values() if status != 200]) > 5


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("trouble", "said"), [(Throttle(0.01), "busy"), (Refuse(503), "busy"), (HangUp(), "reached")])
def test_trouble_that_stays(product: Product, trouble: Any, said: str) -> None:
    """It is an error that says so, and that the same call may succeed later."""
    with opened(product, plan=lambda _asked: trouble) as (_, store):
        with pytest.raises(StoreUnreachable, match=said) as raised:
            store.upsert(COLLECTION, make_points(["a"]))
        assert raised.value.retryable


def test_nobody_listens(quick: None, product: Product) -> None:
    """The error names the address."""
    with SearchServer(product) as server:
        url = server.url
    with pytest.raises(StoreUnreachable, match=url):
        OPENERS[product](url).collections()


def test_a_connection_that_cannot_be_made_safe(product: Product) -> None:
    """The server speaks no TLS: that is said at once, with what to look at."""
    with SearchServer(product) as server:
        store = OPENERS[product](f"{server.url}?https=true")
        with pytest.raises(StoreError, match=r"safely(.|\n)*ca_certs") as raised:
            store.collections()
        assert not raised.value.retryable
        store.close()


def test_an_update_that_another_write_comes_between(pair: tuple[SearchServer, ElasticStore]) -> None:
    """A conflict of versions is tried again, also when the server has given up trying."""
    server, store = pair
    make_collection(store, make_points(["a", "b"]))
    kind = "version_conflict_engine_exception"
    server.refusing = RefuseItems(lambda _name: len(bulks(server)) < 4, 409, kind, "another document came first")
    changed = make_points(["a", "b"], access=[["x"], ["x"]])
    store.update_payload(COLLECTION, ["a", "b"], changed.payload)
    assert [held["access"] for held in scanned(store).values()] == [["x"], ["x"]]


def test_documents_that_are_refused_for_a_while(pair: tuple[SearchServer, ElasticStore]) -> None:
    """Those of a bulk request that were refused are sent again, alone, and nothing is lost or swallowed."""
    server, store = pair
    make_collection(store)
    server.refusing = RefuseItems(lambda name: int(name, 16) % 3 == 0 and len(bulks(server)) < 3)
    store.upsert(COLLECTION, make_points(numbered(30)))
    assert sorted(scanned(store)) == numbered(30)
    assert [asked.body.count(b'{"index":{"_id"') for asked in bulks(server)] == [30, 10, 10]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("status", "kind"), [(429, StoreUnreachable), (400, StoreError)])
def test_documents_that_are_refused_for_good(
    pair: tuple[SearchServer, ElasticStore], status: int, kind: type[StoreError]
) -> None:
    """It is an error that counts them and names the first, though the request as a whole was answered 200."""
    server, store = pair
    make_collection(store)
    server.refusing = RefuseItems(lambda name: name in numbered(9)[4:6], status, "some_exception", "because")
    with pytest.raises(
        kind, match=rf"refused 2 of \d for collection .*{numbered(9)[4]}.*because".replace("of \\d", r"of \d points")
    ) as raised:
        store.upsert(COLLECTION, make_points(numbered(9)))
    assert raised.value.retryable == (status == 429)
    server.refusing = None
    store.upsert(COLLECTION, make_points(numbered(9)))
    assert sorted(scanned(store)) == numbered(9)


def test_bodies_that_are_too_large(product: Product) -> None:
    """A request is halved until the server takes it; of a single document it is an error that names the point."""
    with opened(product, most_bytes=4000) as (server, store):
        make_collection(store)
        store.upsert(COLLECTION, make_points(numbered(40)))
        assert sorted(scanned(store)) == numbered(40)
        assert {413, 200} <= {server.statuses[asked.number] for asked in bulks(server)}
        with pytest.raises(StoreError, match=r"'large' of 6,\d\d\d bytes(.|\n)*http.max_content_length"):
            store.upsert(COLLECTION, make_points(["large"], texts=["x" * 6000]))


def test_an_index_that_vanishes_while_it_is_written(pair: tuple[SearchServer, ElasticStore]) -> None:
    """The server would make an index of any mapping; the write finds no alias and says that the collection is gone."""
    server, store = pair
    make_collection(store, make_points(["a"]))

    def vanish(asked: Request) -> None:
        if asked.path.endswith("_bulk"):
            server.cluster.indexes.clear()
            server.cluster.aliases.clear()

    server.plan = vanish
    with pytest.raises(CollectionMissing, match=COLLECTION):
        store.upsert(COLLECTION, make_points(["b"]))
    assert server.cluster.indexes == {}


def test_a_point_in_time_that_is_lost(pair: tuple[SearchServer, ElasticStore]) -> None:
    """A scan whose point in time has ended goes on after its last key, and ends what it opened."""
    server, store = pair
    make_collection(store, make_points(numbered(100)))
    pages = store.scan(COLLECTION, 30)
    seen = list(next(pages).ids)
    server.cluster.forget_snapshots()
    seen += [point_id for page in pages for point_id in page.ids]
    assert seen == numbered(100)
    assert server.cluster._snapshots == {}
    half = store.scan(COLLECTION, 30)
    next(half)
    half.close()  # type: ignore[attr-defined]  # a generator
    assert server.cluster._snapshots == {}


def test_waiting_for_a_refresh(product: Product) -> None:
    """With ?refresh=wait nothing is refreshed by force: each write waits until it is seen."""
    with opened(product, "?refresh=wait") as (server, store):
        make_collection(store, make_points(["a", "b"]))
        store.delete(COLLECTION, ["a"])
        assert store.count(COLLECTION) == 1
        assert {asked.query["refresh"][0] for asked in bulks(server)} == {"wait_for"}
        assert not any(asked.path.endswith("_refresh") for asked in server.requests)


# ── how a collection lies ───────────────────────────────────────────────────────────────────────────────────


def options_of(server: SearchServer) -> dict[str, Any]:
    """How the vectors of the collection are indexed."""
    mapping = server.cluster.indexes[COLLECTION].fields["vector"].mapping
    return dict(mapping["index_options"])


@pytest.mark.store("elasticsearch")
@pytest.mark.parametrize(
    ("dimensions", "precision", "index", "kind"),
    [
        (384, "float32", {}, "hnsw"),
        (4096, "float16", {}, "hnsw"),
        (384, "int8", {}, "int8_hnsw"),
        (384, "binary", {}, "bbq_hnsw"),
        (37, "binary", {}, "hnsw"),
        (384, "float32", {"type": "bbq_hnsw", "m": 32}, "bbq_hnsw"),
        (384, "float32", {"type": "int4_hnsw"}, "int4_hnsw"),
    ],
)
def test_the_index_is_pinned(dimensions: int, precision: Any, index: dict[str, Any], kind: str) -> None:
    """The server's own choice would quantise; where that is wanted, the vectors themselves score what it finds."""
    with opened("elasticsearch") as (server, store):
        store.create(COLLECTION, CollectionSpec(dimensions, precision=precision, index=index))
        options = options_of(server)
        assert options["type"] == kind
        assert options["m"] == index.get("m", 16)
        assert ("rescore_vector" in options) == (kind != "hnsw")


@pytest.mark.parametrize(
    ("product", "dimensions", "index", "error"),
    [
        ("elasticsearch", 8, {"type": "ivf"}, "type.*(.|\n)*int8_hnsw"),
        ("elasticsearch", 8, {"type": "bbq_hnsw"}, "64"),
        ("elasticsearch", 9, {"type": "int4_hnsw"}, "even"),
        ("elasticsearch", 8, {"m": 0}, "m is 0"),
        ("opensearch", 8, {"type": "hnsw"}, "unknown index setting 'type'"),
        ("opensearch", 8, {"nlist": 4}, "nlist"),
    ],
)
def test_index_settings_that_are_wrong(product: Product, dimensions: int, index: dict[str, Any], error: str) -> None:
    """Each is refused before anything is asked of the server."""
    with opened(product) as (server, store):
        with pytest.raises(ConfigError, match=error):
            store.create(COLLECTION, CollectionSpec(dimensions, index=index))
        assert server.requests == []


@pytest.mark.parametrize(("product", "most"), [("elasticsearch", 4096), ("opensearch", 16_000)])
def test_too_many_dimensions(product: Product, most: int) -> None:
    """The error says how many there may be."""
    with opened(product) as (_, store):
        with pytest.raises(StoreError, match=rf"{most + 1} dimensions.*{most:,}"):
            store.create(COLLECTION, CollectionSpec(most + 1))
        store.create(COLLECTION, CollectionSpec(most))


def test_ids_are_hashed_where_they_are_not_the_engines(pair: tuple[SearchServer, ElasticStore]) -> None:
    """A document's id has 512 bytes at most: regen's own are kept, any other is a digest, and comes back as it was."""
    server, store = pair
    engine, long = numbered(1)[0], "ü" * 5000
    make_collection(store, make_points([engine, long, ""]))
    held = server.cluster.indexes[COLLECTION].live
    assert {document.source["point_id"]: len(name) for name, document in held.items()} == {engine: 32, long: 41, "": 41}
    assert sorted(scanned(store)) == sorted([engine, long, ""])


def test_values_that_are_too_long_for_the_index(pair: tuple[SearchServer, ElasticStore]) -> None:
    """A text beyond 8,191 characters is no term of the index: its point passes, and the fence decides."""
    _, store = pair
    long = "ä" * 9000
    metadata: list[dict[str, Any]] = [{"lang": long}, {"tags": ["t", long]}, {"lang": "en", "tags": ["t"]}]
    make_collection(store, make_points(["lang", "tags", "short"], metadata=metadata, access=[[long], None, ["x"]]))
    query = random_vectors(1)[0]

    def found(principals: Any = UNRESTRICTED, **conditions: Any) -> list[str]:
        return sorted(ids_of(store.search(COLLECTION, query, 9, where=where(**conditions), principals=principals)))

    assert found(lang=long) == ["lang"]
    assert found(lang="en") == ["lang", "short"]
    assert found(tags=long) == ["tags"]
    assert found(lang={"exists": True}) == ["lang", "short"]
    assert found(frozenset({long})) == ["lang", "tags"]
    assert scanned(store)["lang"]["metadata"] == {"lang": long}
    store.update_payload(COLLECTION, ["lang"], make_points(["lang"], metadata=[{"lang": "de"}]).payload)
    assert found(lang="en") == ["short"]


def test_minus_zero_is_zero(pair: tuple[SearchServer, ElasticStore]) -> None:
    """The index tells 0.0 and -0.0 apart, filters do not."""
    _, store = pair
    make_collection(store, make_points(["minus", "plus"], metadata=[{"year": -0.0}, {"year": 0.0}]))
    for asked in (0.0, -0.0, {"gte": 0.0}, {"lte": -0.0}):
        assert sorted(ids_of(store.search(COLLECTION, random_vectors(1)[0], 9, where=where(year=asked)))) == [
            "minus",
            "plus",
        ]


def test_a_payload_update_sends_no_vector(pair: tuple[SearchServer, ElasticStore]) -> None:
    """It is a partial update of each document, which makes none, and the vector is found as before."""
    server, store = pair
    points = make_points(["a", "b"])
    make_collection(store, points)
    changed = make_points(["a", "gone"], metadata=[{"lang": "de"}, {}])
    store.update_payload(COLLECTION, ["a", "gone"], changed.payload)
    assert b'"vector"' not in bulks(server)[-1].body
    assert b'"f_year":null' in bulks(server)[-1].body
    assert ids_of(store.search(COLLECTION, points.vectors[0], 1, where=where(lang="de"))) == ["a"]
    assert store.count(COLLECTION) == 2


def test_two_writers_add_fields(pair: tuple[SearchServer, ElasticStore], product: Product) -> None:
    """Keys that two stores add, neither knowing of the other's, are both there: each is a field of the mapping."""
    server, store = pair
    make_collection(store)
    other = OPENERS[product](server.url)
    assert other.count(COLLECTION) == store.count(COLLECTION) == 0
    store.add_fields(COLLECTION, {"size": "number"})
    other.add_fields(COLLECTION, {"Team.Name": "strings"})
    assert store._layouts.of(COLLECTION, anew=True).fields == {**FIELDS, "size": "number", "Team.Name": "strings"}
    with pytest.raises(StoreError, match="cannot be changed"):
        store._ask(COLLECTION, "PUT", f"/{COLLECTION}/_mapping", {"properties": {"f_size": {"type": "keyword"}}})
    other.close()


def test_half_a_surrogate_pair(pair: tuple[SearchServer, ElasticStore]) -> None:
    """What no wire format carries is refused by name, in a text and in metadata, and nothing is written."""
    _, store = pair
    make_collection(store, make_points(["a"]))
    for options in ({"texts": ["fine", "half \ud800"]}, {"metadata": [{}, {"lang": "half \ud800"}]}):
        with pytest.raises(StoreError, match="Unicode"):
            store.upsert(COLLECTION, make_points(["b", "c"], **options))
    assert store.count(COLLECTION) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("://", "without a host"),
        ("+file://vectors", "host"),
        ("://me:secret@host", "secret"),
        ("://host?api_key=x", "environment variable"),
        ("://host?refresh=never", "refresh=now or refresh=wait"),
        ("://host?colour=red", "ca_certs"),
        ("://host?https=maybe", "https=true"),
        ("://host?ca_certs=ca.pem", "without https=true"),
        ("://host?https=true&ca_certs=not/there.pem", "no file"),
    ],
)
def test_urls_that_are_wrong(product: Product, url: str, said: str) -> None:
    """Each is refused before anything is connected to, with what is valid."""
    with pytest.raises(ConfigError, match=said):
        OPENERS[product](product + url)
