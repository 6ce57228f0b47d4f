"""Chroma passes the conformance suite, and what is its own: merged metadata, names, batches, folders, adoption."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conformance.servers import emptied

from regen.errors import ConfigError, StoreError
from regen.ports import CollectionSpec, ForeignColumns, Store
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

chromadb = pytest.importorskip("chromadb", reason="chromadb is not installed: `make test-all` installs it")

from regen.stores.chroma import ChromaStore  # noqa: E402 - after it is known that Chroma is there

pytestmark = pytest.mark.store("chroma")


class TestChromaStore(StoreConformance):
    """Chroma in this process."""

    orders_strings = False
    one_process = True

    def make_store(self, tmp_path: Path) -> Store:
        """Open a new store."""
        return emptied(ChromaStore.from_url(self.url(tmp_path)))

    def another_handle(self, tmp_path: Path) -> ChromaStore:
        """Open its data once more."""
        return ChromaStore.from_url(self.url(tmp_path))

    def url(self, tmp_path: Path) -> str:
        """Name its data."""
        return f"chroma+file://{tmp_path}/vectors"


@pytest.mark.slow  # a minute and more
@pytest.mark.xdist_group("chroma")
class TestChromaServer(TestChromaStore):
    """A real server of our own, or the one that REGEN_TEST_CHROMA_URL names."""

    one_process = False

    @pytest.fixture(autouse=True)
    def _server(self, chroma_server: str) -> None:
        self.served = chroma_server

    def url(self, tmp_path: Path) -> str:
        """Name the server."""
        return self.served


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ChromaStore]:
    """A store in a folder of its own."""
    store = ChromaStore.from_url("chroma+file://vectors", root=tmp_path)
    yield store
    store.close()


def client_of(store: ChromaStore) -> Any:
    """Chroma's own client on the store's data."""
    return store._connection.call("*", lambda client: client)


def test_names_that_chroma_does_not_take(store: ChromaStore) -> None:
    """Names of one letter, and with an underscore at an end, are kept under another name and come back."""
    for name in ("g", "_a", "a_", "regen_handbook_g1"):
        store.create(name, CollectionSpec(4))
        store.upsert(name, make_points([name], dimensions=4))
    assert store.collections() == ["_a", "a_", "g", "regen_handbook_g1"]
    assert [list(scanned(store, name)) for name in store.collections()] == [[name] for name in store.collections()]


def test_metadata_that_chroma_would_merge(store: ChromaStore) -> None:
    """Chroma's own upsert keeps keys that it is not told of; regen's leaves none behind, in Chroma's eyes too."""
    make_collection(store, make_points(["a"], access=[["x"]], metadata=[{"lang": "en", "tags": ["t"], "year": 5}]))
    store.upsert(COLLECTION, make_points(["a"], access=[[]]))
    (kept,) = client_of(store).get_collection(f"x-{COLLECTION}-x").get(ids=["a"])["metadatas"]
    assert kept.keys().isdisjoint({"access", "f_lang", "f_tags", "f_year", "has", "odd"})
    assert kept["public"] is False


def test_an_id_that_is_there_is_written(store: ChromaStore) -> None:
    """Chroma's ``add`` would say nothing and keep the old point."""
    make_collection(store, make_points(["a"], texts=["old"]))
    store.upsert(COLLECTION, make_points(["a"], texts=["new"], seed=3))
    assert scanned(store)["a"]["text"] == "new"


def test_a_batch_beyond_chromas_own_limit(store: ChromaStore) -> None:
    """Writing, updating and deleting more points than Chroma takes at once is done in parts."""
    most = client_of(store).get_max_batch_size()
    ids = numbered(most + 10)
    make_collection(store, make_points(ids))
    store.update_payload(COLLECTION, ids, make_points(ids, access=[["x"]] * len(ids)).payload)
    assert store.search(COLLECTION, random_vectors(1)[0], 5) == []
    assert store.count(COLLECTION) == most + 10
    store.delete(COLLECTION, ids)
    assert store.count(COLLECTION) == 0


def test_empty_lists_are_present(store: ChromaStore) -> None:
    """Chroma keeps no empty list: it is told from a missing one all the same."""
    make_collection(store, make_points(["empty", "none"], metadata=[{"tags": []}, {}]))
    assert [scanned(store)[name]["metadata"] for name in ("empty", "none")] == [{"tags": []}, {}]


def test_a_zero_vector_is_never_found(store: ChromaStore) -> None:
    """Its inner product with anything is zero, which is no cosine; written anew it is found again."""
    points = make_points(["zero", "a"])
    points.vectors[0] = 0
    make_collection(store, points)
    assert ids_of(store.search(COLLECTION, -points.vectors[1], 9)) == ["a"]
    store.upsert(COLLECTION, make_points(["zero"], seed=2))
    assert sorted(ids_of(store.search(COLLECTION, points.vectors[1], 9))) == ["a", "zero"]


def test_a_folder_that_another_process_has_open(tmp_path: Path) -> None:
    """The error says that a folder is for one process, and what to use instead; afterwards it is free."""
    url = f"chroma+file://{tmp_path}/vectors"
    program = (
        f"from regen.stores.chroma import ChromaStore as S; s = S.from_url({url!r}); s._connection.call('*', id); "
        "print(1, flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True)
    assert holder.stdout is not None
    holder.stdout.readline()
    store = ChromaStore.from_url(url)
    with pytest.raises(StoreError, match=r"another process(.|\n)*chroma run"):
        store.collections()
    holder.communicate("\n")
    assert store.collections() == []
    store.close()


def test_looking_makes_no_folder(tmp_path: Path) -> None:
    """A folder is made by writing only."""
    store = ChromaStore.from_url("chroma+file://vectors", root=tmp_path)
    assert store.collections() == []
    store.drop("g1")
    assert list(tmp_path.iterdir()) == []


def test_a_collection_of_another_program(store: ChromaStore) -> None:
    """It is neither written, nor read, nor dropped."""
    client_of(store).create_collection("theirs", embedding_function=None)
    for call in (
        lambda: store.create("theirs", CollectionSpec(4)),
        lambda: store.upsert("theirs", make_points(["a"], dimensions=4)),
        lambda: store.count("theirs"),
        lambda: store.drop("theirs"),
    ):
        with pytest.raises(StoreError, match="no collection of regen's"):
            call()
    assert store.collections() == ["theirs"]


def test_adopting_reads_all_of_a_collection(store: ChromaStore) -> None:
    """Ids, documents, vectors and metadata of a collection that Chroma's own client has filled."""
    theirs = client_of(store).create_collection("theirs", embedding_function=None)
    vectors = random_vectors(5, dimensions=4)
    ids, texts = [f"id {at}" for at in range(5)], [f"text {at}" for at in range(5)]
    theirs.upsert(ids, vectors, [{"year": at, "tags": ["a"]} for at in range(5)], texts)
    pages = list(store.foreign("theirs", ForeignColumns(), batch=2))
    assert [name for page in pages for name in page.ids] == ids
    assert [text for page in pages for text in page.texts] == texts
    assert pages[0].metadata[1] == {"year": 1, "tags": ["a"]}
    assert np.array_equal(np.concatenate([page.vectors for page in pages]), vectors)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("chroma://", "without a host"),
        ("chroma+file://", "host"),
        ("chroma://user:key@host", "secret"),
        ("chroma://host?token=x", "CHROMA_API_KEY"),
        ("chroma://host?colour=red", "tenant"),
        ("chroma://host:port", "not understood"),
    ],
)
def test_urls_that_are_wrong(url: str, said: str) -> None:
    """Each is refused before anything is connected to, with what is valid."""
    with pytest.raises(ConfigError, match=said):
        ChromaStore.from_url(url)


@pytest.mark.parametrize("index", [{"nlist": 5}, {"m": 0}, {"ef": "many"}])
def test_unknown_index_settings_are_refused(store: ChromaStore, index: dict[str, object]) -> None:
    """A setting that Chroma does not have, or a value that makes no sense, is refused when the collection is made."""
    with pytest.raises(ConfigError, match=next(iter(index))):
        store.create("g1", CollectionSpec(2, index=index))
    assert store.collections() == []
