"""LanceDB in a bucket passes the conformance suite against an S3 server, and what is its own: options and errors."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
from tests.conformance.servers import emptied, server_url

from regen.engine.ray_cluster import LOCAL
from regen.errors import CollectionMissing, ConfigError, StoreError, StoreUnreachable
from regen.ports import CollectionSpec, ForeignColumns, Store
from regen.registry import make_store
from regen.stores.lancedb import LanceStore
from regen.stores.lancedb_places import Place
from regen.testing.s3_server import S3Server
from regen.testing.store_cases import ids_of, make_collection, make_points, numbered, scanned
from regen.testing.stores import StoreConformance

pytest.importorskip("moto", reason="moto is not installed: `make test-all` installs it")
import boto3

pytestmark = pytest.mark.store("lancedb")

_NUMBERS = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    """An S3 server with a bucket; its credentials are in the environment."""
    with S3Server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        server.make_bucket("vectors")
        yield server


@pytest.mark.slow
class TestLanceStoreInABucket(StoreConformance):
    """A prefix of the test's own, or the place that REGEN_TEST_S3_URL names."""

    @pytest.fixture(autouse=True)
    def prefix(self, server: S3Server) -> None:
        """Give each case a prefix of its own."""
        self.own = server_url("s3") or server.url(f"vectors/case {next(_NUMBERS)}/ü")

    def make_store(self, tmp_path: Path) -> Store:
        """Open a new store."""
        return emptied(LanceStore.from_url(self.own))

    def another_handle(self, tmp_path: Path) -> LanceStore:
        """Open its data once more."""
        return LanceStore.from_url(self.own)

    def url(self, tmp_path: Path) -> str:
        """Name its data."""
        return self.own


@pytest.fixture
def url(server: S3Server) -> str:
    """A prefix that nobody has written to."""
    return server.url(f"vectors/own/{next(_NUMBERS)}")


def test_looking_writes_nothing(url: str) -> None:
    """An empty prefix holds nothing, has nothing to drop, and a collection that is not there is said to be missing."""
    store = LanceStore.from_url(url)
    assert store.collections() == []
    store.drop("g1")
    with pytest.raises(CollectionMissing, match="'g1' in s3://vectors/own"):
        store.count("g1")
    with pytest.raises(CollectionMissing, match="'g1'"):
        list(store.foreign("g1", ForeignColumns()))
    assert store.collections() == []


def test_what_cannot_be_known(url: str) -> None:
    """A bucket has no disk that could fill up; what a vector takes is told as in a folder."""
    store = LanceStore.from_url(url)
    assert store.free_bytes() is None
    assert store.vector_bytes(CollectionSpec(8), 10) == 32


def test_two_writers_add_each_other_up(url: str) -> None:
    """Eight handles that write other points at once lose none: each commit finds out that its version is taken."""
    make_collection(LanceStore.from_url(url))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda at: LanceStore.from_url(url).upsert("g1", make_points([f"{at} a", f"{at} b"])), range(8)))
    assert sorted(scanned(LanceStore.from_url(url))) == sorted(f"{at} {name}" for at in range(8) for name in "ab")


@pytest.mark.parametrize("part", ["data", "_versions"])
def test_a_drop_that_was_cut_short(server: S3Server, url: str, part: str) -> None:
    """Objects that a killed drop left behind do not keep the collection from being dropped or made again."""
    store = LanceStore.from_url(url)
    make_collection(store, make_points(["a"]))
    below = url.removeprefix("s3://vectors/").partition("?")[0]
    objects = boto3.resource("s3", endpoint_url=server.endpoint, region_name="us-east-1").Bucket("vectors").objects
    assert objects.filter(Prefix=f"{below}/g1.lance/{part}/").delete()
    store.drop("g1")
    assert list(objects.filter(Prefix=below)) == []
    make_collection(store, make_points(["b"]))
    assert list(scanned(LanceStore.from_url(url))) == ["b"]


def test_upkeep_in_a_bucket(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compaction, removal of old versions and the vector index do there what they do in a folder."""
    store = LanceStore.from_url(url)
    make_collection(store, make_points(numbered(300)), index={"min_rows": 256})
    for at in range(5):
        store.upsert("g1", make_points([f"more {at}"]))
    done = store.maintain("g1", force=True)
    assert any(step.startswith("compacted 6 fragments") for step in done)
    assert "built the vector index over 305 points" in done
    query = make_points(["more 3"]).vectors[0]
    assert "more 3" in ids_of(LanceStore.from_url(url).search("g1", query, 9))


def test_the_keys_may_lie_under_other_names(server: S3Server, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL may name the variables that hold its credentials; one that is not set is named."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "another's")
    monkeypatch.setenv("OUR_KEY", server.environment["AWS_ACCESS_KEY_ID"])
    named = f"{url}&access_key_env=OUR_KEY&secret_key_env=OUR_SECRET"
    with pytest.raises(ConfigError, match="OUR_SECRET"):
        LanceStore.from_url(named).collections()
    monkeypatch.setenv("OUR_SECRET", server.environment["AWS_SECRET_ACCESS_KEY"])
    make_collection(LanceStore.from_url(named), make_points(["a"]))
    assert LanceStore.from_url(named).collections() == ["g1"]


def test_a_bucket_that_is_not_there(server: S3Server) -> None:
    """It is said to be missing, and none is made."""
    store = LanceStore.from_url(server.url("elsewhere/vectors"))
    for call in (store.collections, lambda: store.count("g1"), lambda: store.create("g1", CollectionSpec(4))):
        with pytest.raises(StoreError, match=r"no bucket for s3://elsewhere/vectors: NoSuchBucket(.|\n)*make it first"):
            call()


def test_a_server_that_goes_away(url: str) -> None:
    """Reads and writes of an open collection say that the object store is gone."""
    with S3Server() as other:
        other.make_bucket("vectors")
        store = LanceStore.from_url(f"{other.url('vectors')}&timeout=2")
        make_collection(store, make_points(["a"]))
    for call in (lambda: store.count("g1"), lambda: store.upsert("g1", make_points(["b"]))):
        with pytest.raises(StoreUnreachable, match=r"cannot be reached(.|\n)*endpoint"):
            call()


def test_another_machines_can_work_on_it() -> None:
    """A Ray cluster of several hosts is refused a folder, not a bucket."""
    assert "s3://vectors/x".startswith(LOCAL) is False
    assert "lancedb:///srv/x".startswith(LOCAL) is True


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://", "names a bucket"),
        ("s3:///prefix", "names a bucket"),
        ("s3://key:secret@vectors/p", "nothing secret"),
        ("s3://vectors/p?secret_access_key=x", "never from the URL"),
        ("s3://vectors/p?colour=red", "endpoint, region"),
        ("s3://vectors/p?endpoint", "not understood"),
        ("gs://vectors/p?endpoint=x", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az://vectors/p?account_key=x", "AZURE_STORAGE_ACCOUNT_KEY"),
        ("lancedb+s3://vectors/p", "s3://bucket/prefix"),
        ("lancedb://s3://vectors/p", "s3://bucket/prefix"),
    ],
)
def test_urls_that_are_wrong(url: str, said: str) -> None:
    """Each is refused before anything is connected to, with what is valid, and no secret is repeated."""
    with pytest.raises(ConfigError, match=said) as raised:
        make_store(url, ".")
    assert "secret@" not in str(raised.value)


def test_what_other_object_stores_are_told() -> None:
    """Their options become LanceDB's. None of them was met: this shows the translation and nothing more."""
    google = Place.of_url("gs://vectors/p?service_account=/etc/key.json&timeout=5", Path())
    assert (google.uri, google.options) == (
        "gs://vectors/p",
        {"google_service_account": "/etc/key.json", "timeout": "5s"},
    )
    azure = Place.of_url("az://container/p?account=ours&account_key_env=KEY", Path())
    assert (azure.uri, azure.options, azure.secrets) == (
        "az://container/p",
        {"azure_storage_account_name": "ours"},
        {"azure_storage_account_key": "KEY"},
    )
