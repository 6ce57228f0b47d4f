"""Milvus passes the conformance suite, and what is its own: the register, keys, texts, dangling aliases, adoption."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stamina
from tests.conformance.servers import emptied

from regen import Chunking, Document, Index
from regen.embedders.hashing import HashingEmbedder
from regen.errors import ConfigError, StoreError, StoreUnreachable
from regen.ports import CollectionSpec, ForeignColumns, Store, Vector
from regen.testing.store_cases import (
    COLLECTION,
    ids_of,
    make_collection,
    make_points,
    numbered,
    random_vectors,
    scanned,
)
from regen.testing.stores import StoreConformance

pymilvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed: `make test-all` installs it")

from regen.stores.milvus import MilvusStore  # noqa: E402 - after it is known that Milvus's client is there
from regen.stores.milvus_connection import Connection, translated  # noqa: E402 - the same

pytestmark = pytest.mark.store("milvus")


class TestMilvusStore(StoreConformance):
    """milvus-lite on a file."""

    longest_text = 65_535
    one_process = True

    def make_store(self, tmp_path: Path) -> Store:
        """Open a new store."""
        return emptied(MilvusStore.from_url(self.url(tmp_path)))

    def another_handle(self, tmp_path: Path) -> MilvusStore:
        """Open its data once more."""
        return MilvusStore.from_url(self.url(tmp_path))

    def url(self, tmp_path: Path) -> str:
        """Name its data."""
        return f"milvus+file://{tmp_path}/vectors.db"

    def by_alias(self, store: Store, alias: str, query: Vector, k: int) -> list[str]:
        """Ask by the alias with Milvus's own client."""
        level = connection_of(store).reading()
        hits = client_of(store).search(alias, [query.tolist()], limit=k, output_fields=["point_id"], **level)
        return [hit["entity"]["point_id"] for hit in hits[0]]


_READER = """
import sys
from regen.stores.milvus import MilvusStore
from regen.testing.store_cases import COLLECTION, random_vectors
store = MilvusStore.from_url(sys.argv[1])
for _ in sys.stdin:
    print(len(store.search(COLLECTION, random_vectors(1)[0], 1000)), flush=True)
store.close()
"""


@pytest.mark.slow  # some 5 s a case
@pytest.mark.xdist_group("milvus")
class TestMilvusServer(TestMilvusStore):
    """A real server of our own, or the one that REGEN_TEST_MILVUS_URL names."""

    one_process = False

    @pytest.fixture(autouse=True)
    def _server(self, milvus_server: str) -> None:
        self.served = milvus_server

    def url(self, tmp_path: Path) -> str:
        """Name the server."""
        return self.served

    def test_another_process_sees_each_write(self, store: Store) -> None:
        """What was written or deleted is so for the next search of a process that has written nothing itself."""
        make_collection(store, make_points(["first"]))
        reader = subprocess.Popen([sys.executable, "-c", _READER, self.served], stdin=-1, stdout=-1, text=True)

        def found() -> int:
            assert reader.stdin is not None
            assert reader.stdout is not None
            reader.stdin.write("\n")
            reader.stdin.flush()
            return int(reader.stdout.readline())

        assert found() == 1
        for at in range(10):
            store.upsert(COLLECTION, make_points(numbered(100)[at * 10 : at * 10 + 10]))
            assert found() == 1 + 10 * (at + 1)
        for at in range(10):
            store.delete(COLLECTION, numbered(100)[at * 10 : at * 10 + 10])
            assert found() == 1 + 100 - 10 * (at + 1)
        reader.communicate()
        assert reader.returncode == 0

    def by_alias(self, store: Store, alias: str, query: Vector, k: int) -> list[str]:
        """Ask again where the server fails: 2.3.5 refuses a search by an alias, now and then, while it is altered."""
        for attempt in stamina.retry_context(on=pymilvus.MilvusException, attempts=5, wait_initial=0.05):
            with attempt:
                return super().by_alias(store, alias, query, k)
        raise AssertionError("stamina either returns or raises")


def connection_of(store: Store) -> Connection:
    """How the store reaches its data."""
    assert isinstance(store, MilvusStore)
    return store._connection


def client_of(store: Store) -> Any:
    """Milvus's own client on the store's data."""
    return connection_of(store).call("*", lambda client: client)


def test_a_server_that_changes_readers(tmp_path: Path) -> None:
    """Where no node reads a collection for a moment it is asked again; when that lasts, it is said to pass."""
    connection = connection_of(MilvusStore.from_url("milvus+file://vectors.db", root=tmp_path))
    refused = pymilvus.MilvusException(65535, "failed to get delegator -1: can not find client of node -1")
    answers: list[Any] = [refused, refused, "found"]

    def ask(_: Any) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    assert connection.call(COLLECTION, ask) == "found"
    assert isinstance(translated(refused, COLLECTION, "milvus://host"), StoreUnreachable)
    connection.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MilvusStore]:
    """A store in a file of its own."""
    store = MilvusStore.from_url("milvus+file://vectors.db", root=tmp_path)
    yield store
    store.close()


def test_the_register_is_no_collection(store: MilvusStore) -> None:
    """What regen notes of its collections is not listed among them, and forgets what was dropped."""
    make_collection(store, make_points(["a"]))
    assert store.collections() == [COLLECTION]
    noted = client_of(store).query("regen_collections", filter="", output_fields=["count(*)"])[0]["count(*)"]
    assert noted == 1 + 4
    store.drop(COLLECTION)
    assert client_of(store).query("regen_collections", filter="", output_fields=["count(*)"])[0]["count(*)"] == 0


def test_a_create_that_was_cut_short(store: MilvusStore) -> None:
    """Notes without their collection are written anew, the old ones are gone."""
    make_collection(store)
    client_of(store).drop_collection(COLLECTION)
    store.create(COLLECTION, CollectionSpec(4, fields={"only": "string"}))
    points = make_points(["a"], dimensions=4, metadata=[{"only": "x", "lang": "en"}])
    store.upsert(COLLECTION, points)
    assert scanned(store)["a"]["metadata"] == {"only": "x"}


def test_a_zero_vector_is_never_found(store: MilvusStore) -> None:
    """Its inner product with anything is zero, which is no cosine."""
    points = make_points(["zero", "a"])
    points.vectors[0] = 0
    make_collection(store, points)
    assert ids_of(store.search(COLLECTION, -points.vectors[1], 9)) == ["a"]


def test_an_alias_that_dangles(store: MilvusStore) -> None:
    """An alias whose collection somebody else has dropped points nowhere, and is set again."""
    for name in ("first", "second"):
        store.create(name, CollectionSpec(4))
    store.set_alias("handbook", "first")
    client_of(store).drop_collection("first")
    assert store.alias_target("handbook") is None
    store.set_alias("handbook", "second")
    assert store.alias_target("handbook") == "second"


def test_an_alias_that_is_a_collection(store: MilvusStore) -> None:
    """An alias cannot take a collection's name, and nothing moves."""
    for name in ("first", "handbook"):
        store.create(name, CollectionSpec(4))
    with pytest.raises(StoreError, match="handbook"):
        store.set_alias("handbook", "first")
    assert store.alias_target("handbook") is None


def test_a_file_that_another_process_has_open(tmp_path: Path) -> None:
    """The error says that a file is for one process, and what to use instead; afterwards it is free."""
    url = f"milvus+file://{tmp_path}/vectors.db"
    program = (
        f"from regen.stores.milvus import MilvusStore as S; s = S.from_url({url!r}); s._connection.call('*', id); "
        "print(1, flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True)
    assert holder.stdout is not None
    holder.stdout.readline()
    store = MilvusStore.from_url(url)
    with pytest.raises(StoreError, match=r"cannot be opened(.|\n)*another process(.|\n)*milvus://"):
        store.collections()
    holder.communicate("\n")
    assert store.collections() == []
    store.close()


def test_looking_makes_no_file(tmp_path: Path) -> None:
    """A file is made by writing only."""
    store = MilvusStore.from_url("milvus+file://vectors.db", root=tmp_path)
    assert store.collections() == []
    assert store.alias_target("handbook") is None
    store.drop("g1")
    assert list(tmp_path.iterdir()) == []


def test_a_collection_of_another_program(store: MilvusStore) -> None:
    """It is neither written, nor read, nor dropped."""
    client_of(store).create_collection("theirs", dimension=4)
    for call in (
        lambda: store.create("theirs", CollectionSpec(4)),
        lambda: store.upsert("theirs", make_points(["a"], dimensions=4)),
        lambda: store.count("theirs"),
        lambda: store.drop("theirs"),
    ):
        with pytest.raises(StoreError, match="no collection of regen's"):
            call()
    assert store.collections() == ["theirs"]


def test_adopting_reads_all_of_a_collection(store: MilvusStore) -> None:
    """Ids, texts, vectors and metadata of a collection that Milvus's own client has filled; whole-number keys too."""
    client_of(store).create_collection("theirs", dimension=4)
    vectors = random_vectors(5, dimensions=4)
    rows = [{"id": at, "vector": vectors[at].tolist(), "text": f"text {at}", "year": at} for at in range(5)]
    client_of(store).insert("theirs", rows)
    pages = list(store.foreign("theirs", ForeignColumns(), batch=2))
    assert [name for page in pages for name in page.ids] == list("01234")
    assert [text for page in pages for text in page.texts] == [f"text {at}" for at in range(5)]
    assert pages[0].metadata[1] == {"year": 1}
    assert np.array_equal(np.concatenate([page.vectors for page in pages]), vectors)
    with pytest.raises(ConfigError, match="year"):
        list(store.foreign("theirs", ForeignColumns(text="body")))
    with pytest.raises(ConfigError, match="vector"):
        list(store.foreign("theirs", ForeignColumns(vector="other")))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("milvus://", "without a host"),
        ("milvus+file://", "host"),
        ("milvus+file://vectors", r"\.db"),
        ("milvus://root:key@host", "secret"),
        ("milvus://host?token=x", "MILVUS_TOKEN"),
        ("milvus://host?colour=red", "consistency"),
        ("milvus://host?consistency=never", "bounded"),
        ("milvus://host:port", "not understood"),
    ],
)
def test_urls_that_are_wrong(url: str, said: str) -> None:
    """Each is refused before anything is connected to, with what is valid."""
    with pytest.raises(ConfigError, match=said):
        MilvusStore.from_url(url)


@pytest.mark.parametrize("index", [{"nlist": 5}, {"m": 0}, {"ef": "many"}])
def test_unknown_index_settings_are_refused(store: MilvusStore, index: dict[str, object]) -> None:
    """A setting that Milvus does not have, or a value that makes no sense, is refused when the collection is made."""
    with pytest.raises(ConfigError, match=next(iter(index))):
        store.create("g1", CollectionSpec(2, index=index))
    assert store.collections() == []


def test_what_is_too_long_is_a_dead_letter(tmp_path: Path) -> None:
    """A text that Milvus cannot hold stops nobody: its document says why, the others are found, a shorter one heals."""
    whole: dict[str, Any] = {
        "store": "milvus+file://vectors.db",
        "catalog": "sqlite:///c.db",
        "chunking": Chunking("whole"),
    }
    with Index(embedder=HashingEmbedder(16), root=tmp_path, **whole) as index:
        documents = [Document("a", "A river."), Document("long", "lake " * 14_000), Document("b", "A pond.")]
        result = index.upsert(documents)
        assert (result.documents.failed, result.embedded_texts) == (1, 2)
        (letter,) = index.status().dead_letters
        assert letter.doc_id == "long"
        assert "bytes, and Milvus takes 65,535: set chunking.max_tokens" in letter.reason
        assert {hit.doc_id for hit in index.search("river")} == {"a", "b"}
        index.upsert([Document("long", "A short lake.")])
        assert index.status().dead_letters == []
        index.upsert([Document("a", "A river.", {"notes": ["x" * 1000] * 70})])
        (letter,) = index.status().dead_letters
        assert "make less of it filterable" in letter.reason
        assert {hit.doc_id for hit in index.search("river")} == {"a", "b", "long"}
