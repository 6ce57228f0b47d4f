"""Pinecone passes the conformance suite on a server of our own that is as late as Pinecone, and what is its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pinecone import Index
from pinecone.errors import ApiError
from tests.conformance.servers import emptied

from regen.errors import ConfigError, StoreError, StoreUnreachable
from regen.ports import CollectionSpec, ForeignColumns, Store, Vector
from regen.stores.pinecone import PineconeStore
from regen.stores.pinecone_connection import Address
from regen.testing.local_server import Fault, HangUp, Refuse, Throttle
from regen.testing.pinecone_server import PineconeServer
from regen.testing.store_cases import (
    COLLECTION,
    DIMENSIONS,
    ids_of,
    make_collection,
    make_points,
    numbered,
    random_vectors,
    scanned,
)
from regen.testing.stores import StoreConformance

pytestmark = [pytest.mark.store("pinecone"), pytest.mark.usefixtures("key")]

REAL = os.environ.get("REGEN_TEST_PINECONE_URL")
"""A real project's ``pinecone://index``, whose collections of regen's are dropped; PINECONE_API_KEY has its key."""


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key that our server knows."""
    if REAL is None:
        monkeypatch.setenv("PINECONE_API_KEY", "pc-key-of-the-tests")


@pytest.fixture
def server() -> Iterator[PineconeServer]:
    """A server of our own, a little late."""
    with PineconeServer(lag=0.01, fetch_lag=0.02) as server:
        yield server


@pytest.fixture
def store(server: PineconeServer) -> Iterator[PineconeStore]:
    """A store on it."""
    store = PineconeStore.from_url(server.url("tests"))
    yield store
    store.close()


class TestPineconeStore(StoreConformance):
    """Our server, or the project that REGEN_TEST_PINECONE_URL names."""

    orders_strings = False
    atomic_batches = False
    longest_text = 24 * 1024

    @pytest.fixture(autouse=True)
    def _served(self, key: None) -> Iterator[None]:
        with PineconeServer(lag=0.003, fetch_lag=0.006) as self.server:
            yield

    def make_store(self, tmp_path: Path) -> Store:
        """Open a new store."""
        return emptied(PineconeStore.from_url(self.url(tmp_path)))

    def another_handle(self, tmp_path: Path) -> PineconeStore:
        """Open its data once more."""
        return PineconeStore.from_url(self.url(tmp_path))

    def url(self, tmp_path: Path) -> str:
        """Name its data."""
        return REAL or self.server.url("conformance")

    def by_alias(self, store: Store, alias: str, query: Vector, k: int) -> list[str]:
        """Ask by the alias with Pinecone's own client."""
        assert isinstance(store, PineconeStore)
        found = own_client(store, len(query)).query(
            vector=query.tolist(), top_k=k, namespace=alias, include_metadata=True
        )
        return [str((one.metadata or {})["point_id"]) for one in found.matches]


def own_client(store: PineconeStore, dimensions: int) -> Index:
    """Pinecone's own client on the index of so many dimensions."""
    info = store._known_indexes(anew=True)[store._address.index_for(dimensions, "cosine")]
    return store._connection._index(info)


# ── what is late ──


def test_a_write_is_waited_for(key: None) -> None:
    """Where queries lag, and fetches lag more, a call returns when both see what it wrote, changed or deleted."""
    with PineconeServer(lag=0.1, fetch_lag=0.3) as server:
        store = PineconeStore.from_url(server.url("late"))
        points = make_points(numbered(20), metadata=[{"lang": "en"}] * 20)
        make_collection(store, points)
        assert len(store.search(COLLECTION, points.vectors[0], 99)) == store.count(COLLECTION) == 20
        changed = make_points(numbered(20), metadata=[{"lang": "de"}] * 20, access=[["x"]] * 20)
        store.update_payload(COLLECTION, points.ids, changed.payload)
        assert store.search(COLLECTION, points.vectors[0], 99) == []
        assert {one["metadata"]["lang"] for one in scanned(store).values()} == {"de"}
        store.delete(COLLECTION, points.ids[:15])
        assert sorted(scanned(store)) == points.ids[15:]
        store.close()


def test_a_server_that_tells_no_numbers(key: None) -> None:
    """Without numbers of writes in the headers what was written is read back all the same."""
    with PineconeServer(fetch_lag=0.2, says_lsn=False) as server:
        store = PineconeStore.from_url(server.url("silent"))
        make_collection(store, make_points(numbered(3)))
        assert sorted(store.fetch(COLLECTION, numbered(3))[0]) == numbered(3)
        store.close()


def test_a_write_that_never_becomes_visible(key: None) -> None:
    """After the time-out a write that readers do not see is an error that can be tried again."""
    with PineconeServer() as server:
        store = PineconeStore.from_url(server.url("stuck").replace("timeout=20", "timeout=0.5"))
        make_collection(store)
        server.indexes["stuck-8"].namespaces[COLLECTION].queried.lag = 3600.0
        with pytest.raises(StoreUnreachable, match=r"did not show it in 0.5 seconds(.|\n)*timeout="):
            store.upsert(COLLECTION, make_points(["a"]))
        store.close()


def test_statistics_are_not_believed(store: PineconeStore) -> None:
    """Pinecone's statistics lag; points are counted by their ids."""
    make_collection(store, make_points(numbered(250)))
    stats = own_client(store, DIMENSIONS).describe_index_stats()
    assert stats.namespaces[COLLECTION].vector_count != 250
    assert store.count(COLLECTION) == 250


# ── ids, vectors, limits ──


def test_ids_are_kept_beside_a_digest(store: PineconeStore) -> None:
    """Ids that Pinecone does not take, or that are long, are digests there and come back as they were."""
    ids = [numbered(1)[0], "handbook.md#3", "schlüssel", "x" * 600, "_" + "a" * 40]
    make_collection(store, make_points(ids))
    kept = [item.id for page in own_client(store, DIMENSIONS).list(namespace=COLLECTION) for item in page.vectors]
    assert numbered(1)[0] in kept
    assert all(len(one or "") <= 41 for one in kept)
    assert sorted(scanned(store)) == sorted(ids)


def test_zero_vectors_are_kept_and_never_found(store: PineconeStore) -> None:
    """Pinecone refuses a vector of zeros: another one stands for it, which no search finds."""
    points = make_points(["zero", "a"])
    points.vectors[0] = 0
    make_collection(store, points)
    query = np.eye(1, DIMENSIONS, dtype=np.float32)[0]
    assert ids_of(store.search(COLLECTION, query, 9)) == ["a"]
    assert not store.fetch(COLLECTION, ["zero"])[1].any()


def test_batches_keep_to_the_limits(store: PineconeStore, server: PineconeServer) -> None:
    """More than a thousand points, and more than two megabytes of them, go in requests that Pinecone takes."""
    ids = numbered(1500)
    make_collection(store, make_points(ids, texts=["x" * 5000] * 1500))
    sent = [one for one in server.requests if one.path.endswith("/vectors/upsert")]
    assert max(one.size for one in sent) < 2 * 2**20
    assert store.count(COLLECTION) == 1500


def test_answers_keep_to_the_limits(store: PineconeStore) -> None:
    """Hits whose texts are more than an answer may hold are asked for by id."""
    make_collection(store, make_points(numbered(300), texts=["x" * 20_000] * 300))
    hits = store.search(COLLECTION, random_vectors(1)[0], 300)
    assert len(hits) == 300
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert {len(hit.text) for hit in hits} == {20_000}


def test_what_is_too_long_is_told_before(store: PineconeStore) -> None:
    """A text, or metadata and access, that a record cannot hold is refused by its size; an update then always fits."""
    assert store.refusal("short", {"lang": "en"}, ["x"]) is None
    assert "24,577" in (store.refusal("x" * 24_577, {}, None) or "")
    assert "metadata" in (store.refusal("short", {"summary": "y" * 20_000}, None) or "")
    assert store.refusal("short", {"nested": {"not": "kept" * 9_000}}, None) is None
    access = [f"group:{at:04}" for at in range(1000)]
    assert store.refusal("x" * 24_576, {"lang": "en"}, access) is None
    make_collection(store, make_points(["a"], texts=["x" * 24_576]))
    full = make_points(["a"], metadata=[{"lang": "e" * 1000}], access=[access]).payload
    store.update_payload(COLLECTION, ["a"], full)
    assert scanned(store)["a"]["access"] == access
    with pytest.raises(StoreError, match=r"doc a(.|\n)*40,960"):
        store.upsert(COLLECTION, make_points(["a"], texts=["x" * 24_000], access=[access * 2]))


# ── indexes, aliases, collections of others ──


def test_an_index_for_each_number_of_dimensions(store: PineconeStore, server: PineconeServer) -> None:
    """Collections of equal dimensions share an index, others and other metrics get their own; all are listed."""
    store.create("a", CollectionSpec(4))
    store.create("b", CollectionSpec(4, metric="dot"))
    store.create("c", CollectionSpec(8))
    store.create("d", CollectionSpec(4, metric="l2"))
    assert sorted(server.indexes) == ["tests-4", "tests-4-l2", "tests-8"]
    assert store.collections() == ["a", "b", "c", "d"]


def test_an_alias_across_dimensions(store: PineconeStore) -> None:
    """An alias is set in the new collection's index; in the old one it still serves who queries there."""
    for name, dimensions in (("old", 4), ("new", 8)):
        store.create(name, CollectionSpec(dimensions))
        store.upsert(name, make_points([f"{name} point"], dimensions=dimensions))
        store.set_alias("handbook", name)
    assert store.alias_target("handbook") == "new"
    for name, dimensions in (("old", 4), ("new", 8)):
        query = random_vectors(1, dimensions=dimensions)[0].tolist()
        found = own_client(store, dimensions).query(vector=query, top_k=1, namespace="handbook")
        assert found.namespace == name
    store.set_alias("handbook", "old")
    assert store.alias_target("handbook") == "old"


def test_names_of_aliases_and_collections(store: PineconeStore) -> None:
    """An alias cannot take a namespace's name, and no collection an alias's."""
    for name in ("first", "handbook"):
        store.create(name, CollectionSpec(4))
    with pytest.raises(StoreError, match="handbook"):
        store.set_alias("handbook", "first")
    store.set_alias("live", "first")
    with pytest.raises(StoreError, match="live"):
        store.create("live", CollectionSpec(4))
    own_client(store, 4).create_namespace(name="theirs")
    with pytest.raises(StoreError, match="namespace has that name"):
        store.set_alias("theirs", "first")
    store.create("second", CollectionSpec(8))
    with pytest.raises(StoreError, match="collection has that name"):
        store.set_alias("second", "first")


def test_an_index_without_aliases(key: None) -> None:
    """Where Pinecone has no aliases, collections work as ever, and setting one says that regen's is the only one."""
    with PineconeServer(aliases=False) as server:
        store = PineconeStore.from_url(server.url("old"))
        make_collection(store, make_points(["a"]))
        assert store.alias_target("handbook") is None
        with pytest.raises(StoreError, match=r"no namespace aliases(.|\n)*regen's own alias"):
            store.set_alias("handbook", COLLECTION)
        store.drop(COLLECTION)
        assert store.collections() == []
        store.close()


def test_a_namespace_of_another_program(store: PineconeStore) -> None:
    """It is neither written, nor read, nor dropped, nor listed."""
    store.create("ours", CollectionSpec(4))
    index = own_client(store, 4)
    index.upsert(vectors=[("1", [1.0, 0, 0, 0])], namespace="theirs")
    with pytest.raises(StoreError, match="no collection of regen's"):
        store.create("theirs", CollectionSpec(4))
    with pytest.raises(StoreError, match="no collection 'theirs'"):
        store.upsert("theirs", make_points(["a"], dimensions=4))
    store.drop("theirs")
    assert store.collections() == ["ours"]
    assert "theirs" in {one.name for page in index.list_namespaces() for one in page.namespaces}


def test_adopting_reads_all_of_a_namespace(store: PineconeStore, server: PineconeServer) -> None:
    """Ids, texts, vectors and metadata of namespaces of the index that the URL names, the one without a name too."""
    field = {"type": "dense_vector", "dimension": 4, "metric": "cosine"}
    made = store._connection._client().indexes.create(name="tests", schema={"fields": {"_values": field}})
    vectors = random_vectors(250, dimensions=4)
    rows: list[Any] = [
        {"id": f"{at:03}", "values": one.tolist(), "metadata": {"chunk": f"text {at}", "year": at, "tags": ["t"]}}
        for at, one in enumerate(vectors)
    ]
    theirs = Index(host=made.host or "", api_key=server.key)
    theirs.upsert(vectors=rows, namespace="theirs")
    theirs.upsert(vectors=[("x", [1.0, 0, 0, 0], {"text": "nameless"})])
    theirs.close()
    while server.indexes["tests"].namespaces["__default__"].queried.lag and not store.foreign_collections():
        continue
    assert store.foreign_collections() == ["__default__", "theirs"]
    pages = list(store.foreign("theirs", ForeignColumns(), batch=60))
    assert [text for page in pages for text in page.texts] == [f"text {at}" for at in range(250)]
    assert [name for page in pages for name in page.ids] == [f"{at:03}" for at in range(250)]
    assert pages[0].metadata[1] == {"year": 1, "tags": ["t"]}
    assert np.array_equal(np.concatenate([page.vectors for page in pages]), vectors)
    assert [page.texts for page in store.foreign("__default__", ForeignColumns())] == [["nameless"]]
    for columns, said in ((ForeignColumns(text="body"), "chunk"), (ForeignColumns(vector="v"), "without a name")):
        with pytest.raises(ConfigError, match=said):
            list(store.foreign("theirs", columns))
    with pytest.raises(StoreError, match="nowhere"):
        list(store.foreign("nowhere", ForeignColumns()))


# ── what goes wrong ──


def test_throttling_is_waited_out(store: PineconeStore, server: PineconeServer) -> None:
    """429 with Retry-After, 503 and a dropped connection are tried again, and nothing is lost or doubled."""
    make_collection(store)
    faults: Iterator[Fault] = iter([Throttle(0.05), Refuse(503), HangUp(), Throttle(0.05, header=None)])
    server.plan = lambda request: next(faults, None) if request.path.endswith("/vectors/upsert") else None
    store.upsert(COLLECTION, make_points(numbered(5)))
    assert sorted(scanned(store)) == numbered(5)


def test_throttling_without_end(store: PineconeStore, server: PineconeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is throttled for good gets an error that can be tried again later."""
    make_collection(store)
    monkeypatch.setattr("pinecone._internal.http_client._retry_sleep", lambda _: None)
    monkeypatch.setattr("stamina._core._smart_sleep", lambda _: None, raising=False)
    server.plan = lambda request: Throttle(0) if request.path.endswith("/query") else None
    with pytest.raises(StoreUnreachable, match=r"throttles pinecone://tests(.|\n)*limits.concurrency") as raised:
        store.search(COLLECTION, random_vectors(1)[0], 3)
    assert raised.value.retryable


def test_no_key(server: PineconeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key nothing is asked, and the error names the variable."""
    monkeypatch.delenv("PINECONE_API_KEY")
    with pytest.raises(ConfigError, match="PINECONE_API_KEY"):
        PineconeStore.from_url(server.url("tests")).collections()
    assert server.requests == []


def raw(index: Index, vector: Any) -> None:
    """Write a vector that the client itself would refuse."""
    index._http.post("/vectors/upsert", json={"vectors": [vector], "namespace": COLLECTION})


def test_the_server_refuses_what_pinecone_refuses(store: PineconeStore) -> None:
    """Our server is no yes-man: other dimensions, nulls, unknown operators, writes through an alias are refused."""
    make_collection(store, make_points(["a"]))
    store.set_alias("live", COLLECTION)
    index, one = own_client(store, DIMENSIONS), [1.0] * DIMENSIONS
    bad: list[Any] = [
        lambda: index.upsert(vectors=[("x", [1.0, 2.0])], namespace=COLLECTION),
        lambda: index.upsert(vectors=[("x", [0.0] * DIMENSIONS)], namespace=COLLECTION),
        lambda: raw(index, {"id": "x", "values": one, "metadata": {"a": {"nested": 1}}}),
        lambda: raw(index, {"id": "x", "values": one, "metadata": {"a": None}}),
        lambda: raw(index, {"id": "ü", "values": one}),
        lambda: index.upsert(vectors=[("x", one, {"a": "y" * 41_000})], namespace=COLLECTION),
        lambda: index.upsert(vectors=[("x", one)], namespace="live"),
        lambda: index.upsert(vectors=[(f"{at}", one) for at in range(1001)], namespace=COLLECTION),
        lambda: index.delete(ids=["a"], namespace="live"),
        lambda: index.query(vector=one, top_k=1, filter={"a": {"$like": "x"}}),
        lambda: index.query(vector=one, top_k=1, filter={"a": {"$gt": "x"}}),
        lambda: index.query(vector=one, top_k=1, filter={"a": {"$in": []}}),
        lambda: index.query(vector=[1.0], top_k=1, namespace=COLLECTION),
        lambda: index.describe_index_stats(filter={"a": 1}),
    ]
    for call in bad:
        with pytest.raises(ApiError) as raised:
            call()
        assert raised.value.status_code == 400


# ── URLs ──


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("pinecone://", "cannot be an index's name"),
        ("pinecone://My_Index", "lower-case"),
        (f"pinecone://{'x' * 40}", "1 to 36"),
        ("pinecone://key@handbook", "secret"),
        ("pinecone://handbook?api_key=x", "PINECONE_API_KEY"),
        ("pinecone://handbook?colour=red", "colour"),
        ("pinecone://handbook?timeout=soon", "seconds"),
        ("pinecone://handbook:443", "more than an index"),
        ("pinecone://handbook/namespace", "more than an index"),
        ("pinecone://host:port", "not understood"),
    ],
)
def test_urls_that_are_wrong(url: str, said: str) -> None:
    """Each is refused before anything is connected to, with what is valid."""
    with pytest.raises(ConfigError, match=said):
        PineconeStore.from_url(url)


def test_index_settings_are_refused(store: PineconeStore) -> None:
    """Pinecone has no settings of its vector index, so none is ignored."""
    with pytest.raises(ConfigError, match="ef"):
        store.create("g1", CollectionSpec(2, index={"ef": 5}))


def test_urls() -> None:
    """What a URL says, and what the indexes of regen's are called."""
    address = Address.of("pinecone://handbook?region=eu-west-1")
    assert (address.shown, address.region, address.cloud) == ("pinecone://handbook", "eu-west-1", "aws")
    assert address.index_for(384, "cosine") == address.index_for(384, "dot") == "handbook-384"
    assert address.is_ours(address.index_for(384, "l2"))
    assert not any(map(address.is_ours, ("handbook", "handbook-384-x", "other-384")))


def test_half_a_surrogate_pair(store: PineconeStore) -> None:
    """What no wire format carries is refused by name, and nothing of its batch is written."""
    make_collection(store, make_points(["a"]))
    with pytest.raises(StoreError, match="text"):
        store.upsert(COLLECTION, make_points(["b", "c"], texts=["fine", "half \ud800"]))
    assert store.count(COLLECTION) == 1
