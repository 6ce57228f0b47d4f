"""What the Qdrant adapter makes of refusals, throttling and lost connections: the real client, a server of ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from regen.errors import SpaceMismatch, StoreError, StoreUnreachable
from regen.ports import CollectionSpec
from regen.stores.qdrant import QdrantStore
from regen.testing.api_server import Plan, Request
from regen.testing.local_server import Fault, HangUp, Refuse, Throttle
from regen.testing.qdrant_server import QdrantServer
from regen.testing.store_cases import COLLECTION, DIMENSIONS, make_points, numbered

pytestmark = pytest.mark.store("qdrant")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantServer]:
    """A server, whose key the environment holds."""
    with QdrantServer() as server:
        monkeypatch.setenv("QDRANT_API_KEY", server.key)
        yield server


@pytest.fixture
def store(server: QdrantServer) -> Iterator[QdrantStore]:
    """A store on it, with a collection."""
    store = QdrantStore.from_url(server.url)
    store.create(COLLECTION, CollectionSpec(DIMENSIONS))
    yield store
    store.close()


def first(times: int, fault: Fault, path: str = "/points") -> Plan:
    """Let the first so many requests of a path go wrong."""
    seen: list[Request] = []

    def plan(request: Request) -> Fault | None:
        if not request.path.endswith(path):
            return None
        seen.append(request)
        return fault if len(seen) <= times else None

    return plan


def test_a_batch_is_written_as_documented(server: QdrantServer, store: QdrantStore) -> None:
    """A write is waited for, ids are UUIDs, and the key is in the header that Qdrant reads."""
    store.upsert(COLLECTION, make_points(numbered(3)))
    assert store.count(COLLECTION) == 3
    (write,) = [request for request in server.requests if request.path.endswith("/points")]
    assert write.query["wait"] == ["true"]
    assert write.headers["api-key"] == server.key
    assert write.body["batch"]["ids"][1] == "00000000-0000-0000-0000-000000000001"


@pytest.mark.parametrize("key", [None, "wrong"])
def test_refused_credentials(server: QdrantServer, monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    """A missing or a wrong key is told at once, not retried, with the variable that holds it and never its value."""
    monkeypatch.delenv("QDRANT_API_KEY")
    if key is not None:
        monkeypatch.setenv("QDRANT_API_KEY", key)
    store = QdrantStore.from_url(server.url)
    with pytest.raises(StoreError) as caught:
        store.create(COLLECTION, CollectionSpec(DIMENSIONS))
    assert "refuses the credentials: 401" in caught.value.message
    assert "QDRANT_API_KEY" in str(caught.value.hint)
    assert "wrong" not in str(caught.value)
    assert not caught.value.retryable
    assert len(server.requests) == 1
    store.close()


@pytest.mark.parametrize("version", ["1.15.5", "1.9.0-dev"])
def test_a_server_that_is_too_old(server: QdrantServer, version: str) -> None:
    """It is told with its version and the oldest that will do, and nothing was made on it."""
    server.version = version
    store = QdrantStore.from_url(server.url)
    with pytest.raises(StoreError, match=rf"of version {version}.*\n.*1\.16 or newer"):
        store.create(COLLECTION, CollectionSpec(DIMENSIONS))
    assert server.collections == {}
    store.close()


@pytest.mark.parametrize(
    "fault", [Throttle(1), Throttle(0.2, header=None), Refuse(503), Refuse(502), HangUp()], ids=str
)
def test_what_passes_is_tried_again(server: QdrantServer, store: QdrantStore, fault: Fault) -> None:
    """Throttling, a server that restarts and a connection lost in mid-batch: written once more, and nothing is lost."""
    server.plan = first(2, fault)
    store.upsert(COLLECTION, make_points(numbered(50)))
    assert store.count(COLLECTION) == 50
    assert sum(request.path.endswith("/points") for request in server.requests) == 3


def test_a_server_that_stays_busy(server: QdrantServer, store: QdrantStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """After eight attempts it is an error that may be retried, and what was acknowledged before is there."""
    monkeypatch.setattr("regen.stores.qdrant_connection._LONGEST_WAIT", 2.0)
    store.upsert(COLLECTION, make_points(numbered(5)))
    server.plan = first(1000, Refuse(503, "overloaded"))
    with pytest.raises(StoreUnreachable, match=r"busy and stayed so.*overloaded") as caught:
        store.upsert(COLLECTION, make_points(numbered(50)))
    assert caught.value.retryable
    server.plan = None
    assert store.count(COLLECTION) == 5
    store.upsert(COLLECTION, make_points(numbered(50)))
    assert store.count(COLLECTION) == 50


def test_a_server_that_is_not_there(server: QdrantServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to check, and may be retried."""
    monkeypatch.setattr("regen.stores.qdrant_connection._LONGEST_WAIT", 0.5)
    server.plan = lambda _request: HangUp()
    store = QdrantStore.from_url(server.url)
    with pytest.raises(StoreUnreachable, match=r"cannot be reached.*\nHint: check host, port and https"):
        store.collections()
    store.close()


def test_a_write_that_was_only_taken(server: QdrantServer, store: QdrantStore) -> None:
    """Acknowledged is not done: such a write is an error, not a commit."""
    server.lazy = True
    with pytest.raises(StoreError, match=r"took a write .* had not done it in time \(acknowledged\)"):
        store.upsert(COLLECTION, make_points(numbered(2)))


def test_what_the_server_refuses(server: QdrantServer, store: QdrantStore) -> None:
    """Other dimensions are found before they are sent; what the server refuses is told, not retried."""
    sent = len(server.requests)
    with pytest.raises(SpaceMismatch):
        store.upsert(COLLECTION, make_points(["a"], dimensions=3))
    assert not any(request.path.endswith("/points") for request in server.requests[sent:])
    server.plan = first(9, Refuse(400, "Wrong input: strict mode"))
    with pytest.raises(StoreError, match=r"refuses a request on collection 'g1': 400.*strict mode"):
        store.upsert(COLLECTION, make_points(["a"]))
    assert sum(request.path.endswith("/points") for request in server.requests) == 1
