"""Weaviate passes the conformance suite on a server of our own, and what is its own: batches, aliases, adoption."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tests.conformance.servers import emptied, server_url
from weaviate.classes.config import Configure, DataType, Property, Tokenization, VectorDistances
from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter as Condition
from weaviate.exceptions import UnexpectedStatusCodeError, WeaviateQueryError

from regen.errors import ConfigError, StoreError, StoreUnreachable
from regen.ports import CollectionSpec, ForeignColumns, Store, Vector
from regen.stores.weaviate import WeaviateStore
from regen.stores.weaviate_connection import address_of
from regen.testing.local_server import Fault, HangUp, Refuse, Throttle
from regen.testing.store_cases import (
    COLLECTION,
    DIMENSIONS,
    FIELDS,
    ids_of,
    make_collection,
    make_points,
    numbered,
    random_vectors,
    scanned,
    where,
)
from regen.testing.stores import StoreConformance
from regen.testing.weaviate_server import WeaviateServer

pytestmark = pytest.mark.store("weaviate")


@pytest.fixture
def server() -> Iterator[WeaviateServer]:
    """A server of our own."""
    with WeaviateServer() as server:
        yield server


@pytest.fixture
def store(server: WeaviateServer) -> Iterator[WeaviateStore]:
    """A store on it."""
    store = WeaviateStore.from_url(server.url)
    yield store
    store.close()


class TestWeaviateStore(StoreConformance):
    """Our server, or the one that REGEN_TEST_WEAVIATE_URL names."""

    orders_strings = False
    atomic_batches = False

    @pytest.fixture(autouse=True)
    def _served(self) -> Iterator[None]:
        with WeaviateServer() as self.server:
            yield

    def make_store(self, tmp_path: Path) -> Store:
        """Open a new store."""
        return emptied(WeaviateStore.from_url(self.url(tmp_path)))

    def another_handle(self, tmp_path: Path) -> WeaviateStore:
        """Open its data once more."""
        return WeaviateStore.from_url(self.url(tmp_path))

    def url(self, tmp_path: Path) -> str:
        """Name its data."""
        return server_url("weaviate") or self.server.url

    def by_alias(self, store: Store, alias: str, query: Vector, k: int) -> list[str]:
        """Ask by the alias with Weaviate's own client."""

        def ask(client: Any) -> Any:
            objects = client.collections.use(alias.capitalize())
            return objects.query.near_vector(query.tolist(), limit=k, target_vector="default").objects

        return [str(one.properties["point_id"]) for one in client_of(store, ask)]


def client_of(store: Store, ask: Any) -> Any:
    """What Weaviate's own client answers."""
    assert isinstance(store, WeaviateStore)
    return store._connection.call("*", ask)


# ── batches ──


def test_an_object_that_is_refused_is_told(store: WeaviateStore, server: WeaviateServer) -> None:
    """Weaviate answers a batch with success, and names in it what it did not write: one of three or all is an error."""
    make_collection(store)
    server.refuse = lambda held: "disk is full of errors" if held["point_id"] == "b" else None
    with pytest.raises(StoreError, match=r"1 of 3 objects.*disk is full"):
        store.upsert(COLLECTION, make_points(["a", "b", "c"]))
    with pytest.raises(StoreError, match="1 of 1 objects"):
        store.upsert(COLLECTION, make_points(["b"]))
    server.refuse = lambda _: None
    store.upsert(COLLECTION, make_points(["a", "b", "c"]))
    assert sorted(scanned(store)) == ["a", "b", "c"]


def test_objects_that_are_refused_for_a_while(store: WeaviateStore, server: WeaviateServer) -> None:
    """A shard that is overloaded refuses objects one by one: the batch is written again until all are there."""
    make_collection(store)
    tries = iter([*["shard overloaded, too many requests"] * 4])
    server.refuse = lambda _: next(tries, None)
    store.upsert(COLLECTION, make_points(["a", "b", "c"]))
    assert sorted(scanned(store)) == ["a", "b", "c"]


def test_large_batches_are_parted(store: WeaviateStore) -> None:
    """Points of more bytes than a message should have go in several."""
    make_collection(store, make_points(numbered(60), texts=["x" * 400_000] * 60))
    assert store.count(COLLECTION) == 60


# ── names, ids, values ──


def test_names_that_weaviate_does_not_take(store: WeaviateStore, server: WeaviateServer) -> None:
    """Classes begin with a capital letter: names that do not are kept under another and come back."""
    names = ["g", "_a", "0a", "regen_handbook_g1", "x_a", "x__a"]
    for name in names:
        store.create(name, CollectionSpec(4))
        store.upsert(name, make_points([name], dimensions=4))
    assert "Regen_handbook_g1" in server.classes
    assert store.collections() == sorted(names)
    assert [list(scanned(store, name)) for name in names] == [[name] for name in names]


def test_ids_are_kept_beside_the_uuid(store: WeaviateStore, server: WeaviateServer) -> None:
    """The engine's ids are the uuids, others get a digest, as does the id of zeros, at which a scan begins."""
    engine = numbered(2)
    make_collection(store, make_points([*engine, "handbook.md#3"]))
    uuids = {str(one) for one in server.classes["G1"].objects}
    assert "00000000-0000-0000-0000-000000000001" in uuids
    assert "00000000-0000-0000-0000-000000000000" not in uuids
    assert sorted(scanned(store, batch=1)) == sorted([*engine, "handbook.md#3"])


def test_blanks_around_a_value(store: WeaviateStore) -> None:
    """Weaviate trims what it compares: a value with blanks around it is another value all the same."""
    make_collection(store, make_points(["a", "b"], metadata=[{"lang": " en "}, {"lang": "en"}], access=[[" x"], None]))
    query = random_vectors(1)[0]
    assert ids_of(store.search(COLLECTION, query, 9, where=where(lang="en"))) == ["b"]
    assert ids_of(store.search(COLLECTION, query, 9, principals=frozenset({"x"}))) == ["b"]
    assert "a" in ids_of(store.search(COLLECTION, query, 9, principals=frozenset({" x"})))


def test_absence_of_a_later_field_is_left_to_the_fence(store: WeaviateStore) -> None:
    """Points of before say nothing of a field that came later: a search for its absence leaves none of them out."""
    make_collection(store, make_points(["old"]))
    store.add_fields(COLLECTION, {"size": "number"})
    store.upsert(COLLECTION, make_points(["new"], metadata=[{"size": 1}]))
    query = random_vectors(1)[0]
    assert "old" in ids_of(store.search(COLLECTION, query, 9, where=where(size={"exists": False})))
    assert ids_of(store.search(COLLECTION, query, 9, where=where(size={"exists": True}))) == ["new"]


def test_keys_of_any_length(store: WeaviateStore) -> None:
    """A key whose property would have too long a name filters and comes back."""
    key = "ключ " * 60
    make_collection(store, make_points(["a", "b"], metadata=[{key: "x"}, {key: "y"}]), fields={key: "string"})
    assert ids_of(store.search(COLLECTION, random_vectors(1)[0], 9, where=where(**{key: "x"}))) == ["a"]
    assert scanned(store)["a"]["metadata"] == {key: "x"}


def test_a_zero_vector_is_never_found(store: WeaviateStore) -> None:
    """Its inner product with anything is zero, which is no cosine."""
    points = make_points(["zero", "a"])
    points.vectors[0] = 0
    make_collection(store, points)
    assert ids_of(store.search(COLLECTION, -points.vectors[1], 9)) == ["a"]


# ── aliases, collections of others ──


def test_names_of_aliases_and_collections(store: WeaviateStore) -> None:
    """They share a space: an alias takes no collection's name, and a collection no alias's."""
    for name in ("first", "handbook"):
        store.create(name, CollectionSpec(4))
    with pytest.raises(StoreError, match="handbook"):
        store.set_alias("handbook", "first")
    store.set_alias("live", "first")
    with pytest.raises(StoreError, match="live"):
        store.create("live", CollectionSpec(4))
    with pytest.raises(StoreError, match="live"):
        store.count("live")
    store.drop("live")
    assert store.alias_target("live") == "first"


def test_an_alias_that_dangles(store: WeaviateStore) -> None:
    """An alias whose collection somebody else has deleted points nowhere, and is moved like any other."""
    for name in ("first", "second"):
        store.create(name, CollectionSpec(4))
    store.set_alias("my-handbook", "first")
    client_of(store, lambda client: client.collections.delete("First"))
    assert store.alias_target("my-handbook") is None
    store.set_alias("my-handbook", "second")
    assert store.alias_target("my-handbook") == "second"


def test_a_server_without_aliases() -> None:
    """Before 1.32 all works but aliases: setting one says what is needed, and that regen's own is the only one."""
    with WeaviateServer(version="1.31.2") as server:
        store = WeaviateStore.from_url(server.url)
        make_collection(store, make_points(["a"]))
        assert store.alias_target("handbook") is None
        with pytest.raises(StoreError, match=r"too old(.|\n)*1.32(.|\n)*regen's own alias"):
            store.set_alias("handbook", COLLECTION)
        store.drop(COLLECTION)
        assert store.collections() == []
        store.close()


def test_a_server_that_is_too_old() -> None:
    """A server that Weaviate's client no longer speaks to is an error that names what is needed."""
    with WeaviateServer(version="1.20.0") as server:
        store = WeaviateStore.from_url(server.url)
        with pytest.raises(StoreError, match=r"too old(.|\n)*1\.27"):
            store.collections()
        store.close()


def theirs(store: WeaviateStore, vectors: Any) -> None:
    """A collection as another program makes it."""

    def fill(client: Any) -> None:
        made = client.collections.create(
            "Theirs",
            vector_config=Configure.Vectors.self_provided(
                name="default",
                vector_index_config=Configure.VectorIndex.hnsw(distance_metric=VectorDistances.COSINE),
            ),
            properties=[
                Property(name="content", data_type=DataType.TEXT),
                Property(name="year", data_type=DataType.NUMBER),
                Property(name="tags", data_type=DataType.TEXT_ARRAY, tokenization=Tokenization.FIELD),
            ],
        )
        made.data.insert_many(
            [
                DataObject(
                    uuid=f"00000000-0000-0000-0000-{at + 1:012}",
                    properties={"content": f"text {at}", "year": 2000.0 + at, "tags": ["t"]},
                    vector={"default": one.tolist()},
                )
                for at, one in enumerate(vectors)
            ]
        )

    client_of(store, fill)


def test_a_collection_of_another_program(store: WeaviateStore) -> None:
    """It is neither written, nor read, nor dropped, nor listed among regen's."""
    theirs(store, random_vectors(2, dimensions=4))
    for call in (
        lambda: store.create("theirs", CollectionSpec(4)),
        lambda: store.upsert("theirs", make_points(["a"], dimensions=4)),
        lambda: store.count("theirs"),
        lambda: store.drop("theirs"),
    ):
        with pytest.raises(StoreError, match="no collection of regen's"):
            call()
    assert (store.collections(), store.foreign_collections()) == ([], ["Theirs"])


def test_adopting_reads_all_of_a_collection(store: WeaviateStore) -> None:
    """Ids, texts, vectors and metadata of every object, a page at a time."""
    vectors = random_vectors(250, dimensions=4)
    theirs(store, vectors)
    pages = list(store.foreign("Theirs", ForeignColumns(), batch=60))
    assert [text for page in pages for text in page.texts] == [f"text {at}" for at in range(250)]
    assert pages[0].ids[0] == "00000000-0000-0000-0000-000000000001"
    assert pages[0].metadata[1] == {"year": 2001, "tags": ["t"]}
    assert np.array_equal(np.concatenate([page.vectors for page in pages]), vectors)
    for columns, said in ((ForeignColumns(text="body"), "content"), (ForeignColumns(vector="other"), "default")):
        with pytest.raises(ConfigError, match=said):
            list(store.foreign("Theirs", columns))
    with pytest.raises(StoreError, match="Nowhere"):
        list(store.foreign("Nowhere", ForeignColumns()))


def test_a_collection_with_tenants(store: WeaviateStore) -> None:
    """It is not taken over, and the error says why."""
    tenants = Configure.multi_tenancy(enabled=True)
    client_of(store, lambda client: client.collections.create("Parted", multi_tenancy_config=tenants))
    with pytest.raises(StoreError, match=r"without tenant(.|\n)*regen does not"):
        list(store.foreign("Parted", ForeignColumns()))


# ── what goes wrong ──


def test_throttling_is_waited_out(store: WeaviateStore, server: WeaviateServer) -> None:
    """429, 503 and a dropped connection by HTTP, and a busy gRPC service, are tried again; nothing is lost."""
    make_collection(store)
    faults: Iterator[Fault] = iter([Throttle(0.01), Refuse(503), HangUp()])
    server.plan = lambda request: next(faults, None) if request.path.startswith("/v1/schema/") else None
    codes = iter([grpc.StatusCode.RESOURCE_EXHAUSTED, None, grpc.StatusCode.RESOURCE_EXHAUSTED])
    server.broken = lambda method: next(codes, None) if method == "BatchObjects" else None
    for name in ("a", "b"):
        store.upsert(COLLECTION, make_points([name]))
    assert sorted(scanned(store)) == ["a", "b"]


def test_throttling_without_end(store: WeaviateStore, server: WeaviateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is throttled for good gets an error that can be tried again later."""
    make_collection(store)
    monkeypatch.setattr("regen.stores.weaviate_connection._ATTEMPTS", 2)
    server.broken = lambda _: grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(StoreUnreachable, match=r"busy and stayed so(.|\n)*limits.concurrency") as raised:
        store.search(COLLECTION, random_vectors(1)[0], 3)
    assert raised.value.retryable


def test_a_refused_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable, and never the key; the right key is let in by HTTP and by gRPC."""
    with WeaviateServer(key="the-right-key") as server:
        monkeypatch.setenv("WEAVIATE_API_KEY", "not-the-key")
        store = WeaviateStore.from_url(server.url)
        with pytest.raises(StoreError, match=r"refuses the credentials(.|\n)*WEAVIATE_API_KEY") as raised:
            store.collections()
        assert "not-the-key" not in str(raised.value)
        store.close()
        monkeypatch.setenv("OTHER", "the-right-key")
        store = WeaviateStore.from_url(f"{server.url}&api_key_env=OTHER")
        make_collection(store, make_points(["a"]))
        assert store.count(COLLECTION) == 1
        store.close()


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nobody listens, by HTTP or by gRPC, is an error that names both ports."""
    monkeypatch.setattr("regen.stores.weaviate_connection._ATTEMPTS", 2)
    with WeaviateServer() as server:
        gone, half = server.url, f"weaviate://127.0.0.1:{server.port}:1?timeout=1"
        store = WeaviateStore.from_url(half)
        with pytest.raises(StoreUnreachable, match=r"cannot be reached(.|\n)*gRPC"):
            store.collections()
        store.close()
    store = WeaviateStore.from_url(gone)
    with pytest.raises(StoreUnreachable, match=r"cannot be reached(.|\n)*both ports"):
        store.collections()
    store.close()


def test_the_server_refuses_what_weaviate_refuses(store: WeaviateStore) -> None:
    """Our server is no yes-man: names, types, dimensions, filters and searches that do not fit are refused."""
    make_collection(store, make_points(["a"]))
    one = [1.0] * DIMENSIONS

    def objects(client: Any) -> Any:
        return client.collections.use("G1")

    by_word = Condition.by_property("text").equal("zebra")
    bad: list[Any] = [
        lambda client: client.collections.create("7up", properties=[]),
        lambda client: objects(client).config.add_property(Property(name="a-b", data_type=DataType.TEXT)),
        lambda client: objects(client).query.near_vector([1.0], target_vector="default"),
        lambda client: objects(client).query.near_vector(one, target_vector="other"),
        lambda client: objects(client).query.near_vector(one, target_vector="default", limit=10_001),
        lambda client: objects(client).query.fetch_objects(filters=by_word),
        lambda client: objects(client).query.fetch_objects(filters=Condition.by_property("unheard").equal("x")),
        lambda client: objects(client).query.fetch_objects(filters=Condition.by_property("public").equal("yes")),
        lambda client: objects(client).query.fetch_objects(filters=Condition.by_property("lacks").like("x*")),
        lambda client: objects(client).query.bm25("x", query_properties=["doc_id"]),
    ]
    for ask in bad:
        with pytest.raises((UnexpectedStatusCodeError, WeaviateQueryError)):
            ask(store._connection._opened())
    written = objects(store._connection._opened()).data.insert_many(
        [
            DataObject(properties={"text": "fine"}, vector={"default": one}),
            DataObject(properties={"unheard": "of"}, vector={"default": one}),
            DataObject(properties={"public": "yes"}, vector={"default": one}),
            DataObject(properties={"text": "short"}, vector={"default": [1.0]}),
        ]
    )
    assert sorted(written.errors) == [1, 2, 3]


# ── URLs ──


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("weaviate://", "without a host"),
        ("weaviate+file://folder", "host"),
        ("weaviate://key@host", "secret"),
        ("weaviate://host?api_key=x", "WEAVIATE_API_KEY"),
        ("weaviate://host?colour=red", "colour"),
        ("weaviate://host?consistency=perhaps", "quorum"),
        ("weaviate://host:8080:70000", "grpc=70000"),
        ("weaviate://host?https=maybe", "https=true"),
        ("weaviate://host:port", "not understood"),
    ],
)
def test_urls_that_are_wrong(url: str, said: str) -> None:
    """Each is refused before anything is connected to, with what is valid."""
    with pytest.raises(ConfigError, match=said):
        WeaviateStore.from_url(url)


def test_urls(tmp_path: Path) -> None:
    """A host has Weaviate's two ports unless others are said, in the URL's head or as options."""
    given = {
        "weaviate://host": ("http://host:8080", None),
        "weaviate://host:1": ("http://host:1", None),
        "weaviate://host:1:2": ("http://host:1", "2"),
        "weaviate://host:1:2?https=true": ("https://host:1", "2"),
        "weaviate://[::1]:1:2": ("http://[::1]:1", "2"),
        "weaviate://host?grpc=3": ("http://host:8080", "3"),
    }
    for url, (http, port) in given.items():
        address = address_of(url, tmp_path)
        assert (address.url, address.options.get("grpc")) == (http, port)


@pytest.mark.parametrize("index", [{"nlist": 5}, {"m": 0}])
def test_unknown_index_settings_are_refused(store: WeaviateStore, index: dict[str, object]) -> None:
    """A setting that Weaviate does not have, or a value that makes no sense, is refused when the collection is made."""
    with pytest.raises(ConfigError, match=next(iter(index))):
        store.create("g1", CollectionSpec(2, fields=FIELDS, index=index))
    assert store.collections() == []


def test_half_a_surrogate_pair(store: WeaviateStore) -> None:
    """What no wire format carries is refused by name, and nothing of its batch is written."""
    make_collection(store, make_points(["a"]))
    with pytest.raises(StoreError, match="text"):
        store.upsert(COLLECTION, make_points(["b", "c"], texts=["fine", "half \ud800"]))
    assert store.count(COLLECTION) == 1
