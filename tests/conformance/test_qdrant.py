"""Qdrant passes the conformance suite, and what is its own: ids, addresses, folders, aliases, collections of others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from tests.conformance.servers import emptied, server_url

from regen.errors import ConfigError, StoreError
from regen.ports import CollectionSpec, ForeignColumns, Store, Vector
from regen.stores.addresses import Address
from regen.stores.qdrant import QdrantStore
from regen.stores.qdrant_connection import QDRANT
from regen.testing.store_cases import (
    COLLECTION,
    FIELDS,
    ids_of,
    make_collection,
    make_points,
    numbered,
    random_vectors,
    scanned,
)
from regen.testing.stores import StoreConformance

pytestmark = pytest.mark.store("qdrant")


class TestQdrantStore(StoreConformance):
    """Local mode, or the server that REGEN_TEST_QDRANT_URL names."""

    orders_strings = False
    word_settings: ClassVar[Mapping[str, Any]] = {"words": True}
    one_process = server_url("qdrant") is None

    def make_store(self, tmp_path: Path) -> Store:
        """Open a new store."""
        return emptied(QdrantStore.from_url(self.url(tmp_path)))

    def another_handle(self, tmp_path: Path) -> QdrantStore:
        """Open its data once more."""
        return QdrantStore.from_url(self.url(tmp_path))

    def url(self, tmp_path: Path) -> str:
        """Name its data."""
        return server_url("qdrant") or f"qdrant+file://{tmp_path}/vectors"

    def by_alias(self, store: Store, alias: str, query: Vector, k: int) -> list[str]:
        """Ask by the alias with Qdrant's own client."""
        found = client_of(store, alias, lambda client: client.query_points(alias, query.tolist(), limit=k))
        return [point.payload["point_id"] for point in found.points]


def client_of(store: Store, collection: str, ask: Any) -> Any:
    """What Qdrant's own client answers."""
    assert isinstance(store, QdrantStore)
    return store._connection.call(collection, ask)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[QdrantStore]:
    """A store in a folder of its own."""
    store = QdrantStore.from_url("qdrant+file://vectors", root=tmp_path)
    yield store
    store.close()


def test_ids_are_kept_beside_the_uuid(store: QdrantStore) -> None:
    """The engine's ids are the UUIDs of the points, others get a digest, and both come back as they were."""
    engine = numbered(1)[0]
    make_collection(store, make_points([engine, "handbook.md#3", engine.upper() + "X"]))
    records, _ = client_of(store, COLLECTION, lambda client: client.scroll(COLLECTION, limit=9))
    found = {record.payload["point_id"]: record.id for record in records}
    assert found[engine] == "00000000-0000-0000-0000-000000000000"
    assert len(set(found.values())) == 3
    assert sorted(found) == sorted(scanned(store))


def test_unit_vectors_lie_as_they_are(store: QdrantStore) -> None:
    """A vector of length one is kept as such; only of another length the numbers lie beside the unit vector, too."""
    points = make_points(["unit", "long"])
    points.vectors[0] /= np.linalg.norm(points.vectors[0])
    make_collection(store, points)
    records, _ = client_of(store, COLLECTION, lambda client: client.scroll(COLLECTION, limit=9, with_vectors=True))
    held = {record.payload["point_id"]: record for record in records}
    assert np.array_equal(np.array(held["unit"].vector, np.float32), points.vectors[0])
    assert "exact" not in held["unit"].payload
    assert np.linalg.norm(held["long"].vector) == pytest.approx(1.0, abs=1e-6)
    assert "exact" in held["long"].payload


def test_a_zero_vector_is_never_found(store: QdrantStore) -> None:
    """Its inner product with anything is zero, which is no cosine."""
    points = make_points(["zero", "a"])
    points.vectors[0] = 0
    make_collection(store, points)
    assert ids_of(store.search(COLLECTION, -points.vectors[1], 9)) == ["a"]


def test_stores_of_one_process_share_a_folder(tmp_path: Path) -> None:
    """Local mode allows one client: two stores share it, and the folder is free when the last one is closed."""
    first, second = (QdrantStore.from_url("qdrant+file://vectors", root=tmp_path) for _ in range(2))
    make_collection(first, make_points(["a"]))
    assert second.count(COLLECTION) == 1
    first.close()
    assert second.count(COLLECTION) == 1
    second.close()
    QdrantClient(path=str(tmp_path / "vectors")).close()
    assert first.count(COLLECTION) == 1
    first.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the client leaves its lock file open
def test_a_folder_that_another_process_has_open(tmp_path: Path) -> None:
    """The error says that a folder is for one process, and what to use instead."""
    folder = tmp_path / "vectors"
    program = (
        f"from qdrant_client import QdrantClient as Q; client = Q(path={str(folder)!r}); print(1, flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True)
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(StoreError, match=r"another process(.|\n)*qdrant://"):
        QdrantStore.from_url(f"qdrant+file://{folder}").collections()
    holder.communicate("\n")


def test_looking_makes_no_folder(tmp_path: Path) -> None:
    """A folder is made by writing only."""
    store = QdrantStore.from_url("qdrant+file://vectors", root=tmp_path)
    assert store.collections() == []
    assert store.alias_target("handbook") is None
    store.drop("g1")
    assert list(tmp_path.iterdir()) == []


def test_a_collection_of_another_program(store: QdrantStore) -> None:
    """It is neither written, nor read, nor dropped."""
    client_of(
        store,
        "*",
        lambda client: client.create_collection("theirs", models.VectorParams(size=4, distance=models.Distance.DOT)),
    )
    for call in (
        lambda: store.create("theirs", CollectionSpec(4)),
        lambda: store.upsert("theirs", make_points(["a"], dimensions=4)),
        lambda: store.count("theirs"),
        lambda: store.drop("theirs"),
    ):
        with pytest.raises(StoreError, match="no collection of regen's"):
            call()
    assert store.collections() == ["theirs"]


def test_an_alias_that_is_a_collection(store: QdrantStore) -> None:
    """An alias cannot take a collection's name, and nothing moves."""
    for name in ("first", "handbook"):
        store.create(name, CollectionSpec(4))
    with pytest.raises(StoreError, match="handbook"):
        store.set_alias("handbook", "first")
    assert store.alias_target("handbook") is None


def test_an_alias_is_no_collection(store: QdrantStore) -> None:
    """What Qdrant answers under an alias's name is not taken for a collection of that name."""
    store.create("first", CollectionSpec(4))
    store.set_alias("handbook", "first")
    store.create("second", CollectionSpec(4))
    with pytest.raises(StoreError, match="handbook"):
        store.count("handbook")
    store.drop("handbook")
    assert store.alias_target("handbook") == "first"


def test_adopting_reads_all_of_a_collection(store: QdrantStore) -> None:
    """Ids, texts, vectors and metadata of a collection as LangChain leaves it; nested metadata is taken apart."""
    vectors = random_vectors(5, dimensions=4)

    def fill(client: QdrantClient) -> None:
        client.create_collection("theirs", models.VectorParams(size=4, distance=models.Distance.EUCLID))
        payloads = [{"page_content": f"text {at}", "metadata": {"lang": "en", "year": at}} for at in range(5)]
        client.upsert("theirs", models.Batch(ids=list(range(5)), vectors=vectors.tolist(), payloads=payloads))

    client_of(store, "*", fill)
    pages = list(store.foreign("theirs", ForeignColumns(), batch=2))
    assert [text for page in pages for text in page.texts] == [f"text {at}" for at in range(5)]
    assert [name for page in pages for name in page.ids] == list("01234")
    assert pages[0].metadata[1] == {"lang": "en", "year": 1}
    assert np.array_equal(np.concatenate([page.vectors for page in pages]), vectors)
    with pytest.raises(ConfigError, match="page_content"):
        list(store.foreign("theirs", ForeignColumns(text="body")))


def test_adopting_one_of_several_vectors(store: QdrantStore) -> None:
    """Of named vectors one must be named, and a point without it is an error."""
    params = {name: models.VectorParams(size=2, distance=models.Distance.COSINE) for name in ("title", "body")}

    def fill(client: QdrantClient) -> None:
        client.create_collection("theirs", params)
        vector: Any = {"title": [1.0, 0.0], "body": [0.0, 1.0]}
        client.upsert("theirs", [models.PointStruct(id=1, vector=vector, payload={"text": "a"})])

    client_of(store, "*", fill)
    with pytest.raises(ConfigError, match="--vector"):
        list(store.foreign("theirs", ForeignColumns()))
    with pytest.raises(ConfigError, match="title"):
        list(store.foreign("theirs", ForeignColumns(vector="other")))
    (page,) = store.foreign("theirs", ForeignColumns(vector="body"))
    assert page.vectors.tolist() == [[0.0, 1.0]]
    lone: Any = [models.PointStruct(id=2, vector={"title": [1.0, 0.0]}, payload={"text": "b"})]
    client_of(store, "theirs", lambda client: client.upsert("theirs", lone))
    with pytest.raises(StoreError, match="no vector"):
        list(store.foreign("theirs", ForeignColumns(vector="body")))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("qdrant://", "without a host"),
        ("qdrant+file://", "host"),
        ("qdrant://key@host", "secret"),
        ("qdrant://host?api_key=x", "QDRANT_API_KEY"),
        ("qdrant://host?colour=red", "colour"),
        ("qdrant://host?https=maybe", "https=true"),
        ("qdrant://host?timeout=soon", "seconds"),
        ("qdrant://host:port", "not understood"),
    ],
)
def test_urls_that_are_wrong(url: str, said: str) -> None:
    """Each is refused before anything is connected to, with what is valid."""
    with pytest.raises(ConfigError, match=said):
        QdrantStore.from_url(url)


def test_urls(tmp_path: Path) -> None:
    """A host has Qdrant's port and no TLS unless it is said; a folder starts at the root."""
    assert Address.of("qdrant://host", QDRANT, tmp_path).url == "http://host:6333"
    assert Address.of("qdrant://host:1/base?https=true&timeout=5", QDRANT, tmp_path).url == "https://host:1/base"
    assert Address.of("qdrant://[::1]", QDRANT, tmp_path).url == "http://[::1]:6333"
    assert Address.of("qdrant+file://a", QDRANT, tmp_path).local == tmp_path / "a"


@pytest.mark.parametrize("index", [{"nlist": 5}, {"m": 0}, {"ef": "many"}, {"m": True}])
def test_unknown_index_settings_are_refused(store: QdrantStore, index: dict[str, object]) -> None:
    """A setting that Qdrant does not have, or a value that makes no sense, is refused when the collection is made."""
    with pytest.raises(ConfigError, match=next(iter(index))):
        store.create("g1", CollectionSpec(2, fields=FIELDS, index=index))
    assert store.collections() == []


def test_half_a_surrogate_pair(store: QdrantStore) -> None:
    """What no wire format carries is refused by name, and nothing of its batch is written."""
    make_collection(store, make_points(["a"]))
    with pytest.raises(StoreError, match="text"):
        store.upsert(COLLECTION, make_points(["b", "c"], texts=["fine", "half \ud800"]))
    assert store.count(COLLECTION) == 1


def test_a_collection_without_words(store: QdrantStore) -> None:
    """Words cost room, so a collection has them by an index setting; one without says what to write."""
    make_collection(store, make_points(["a"], texts=["zebra"]))
    with pytest.raises(ConfigError, match=r"made without words to search by\nHint: write `index: {words: true}`"):
        store.search_words(COLLECTION, "zebra", 5)
    with pytest.raises(ConfigError, match="words is 1\nHint: true, or false"):
        store.create("other", CollectionSpec(4, index={"words": 1}))
    with pytest.raises(ConfigError, match="Qdrant knows ef, ef_construction, m, words"):
        store.create("other", CollectionSpec(4, index={"word": True}))


def test_vectors_beside_words_are_as_they_were_written(store: QdrantStore) -> None:
    """A collection with words searches and gives back its vectors as one without does."""
    points = make_points(numbered(50))
    make_collection(store, points, index={"words": True})
    found, vectors = store.fetch(COLLECTION, numbered(50))
    assert np.array_equal(vectors, points.vectors[[int(point_id, 16) for point_id in found]])
    assert ids_of(store.search(COLLECTION, points.vectors[7], 1)) == [numbered(50)[7]]
