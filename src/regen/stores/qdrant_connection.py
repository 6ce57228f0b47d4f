"""How a Qdrant is reached: a server, or a folder that this process has to itself; and what its errors mean."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import httpx
import stamina
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from regen.errors import CollectionMissing, StoreError, StoreUnreachable
from regen.stores.addresses import Address, Product
from regen.stores.shared import Shared

T = TypeVar("T")

QDRANT: Final = Product("Qdrant", "qdrant", 6333, "QDRANT_API_KEY")
_PASSING: Final = frozenset({429, 502, 503, 504})
_ATTEMPTS: Final = 8
_LONGEST_WAIT: Final = 60.0


@dataclass(slots=True)
class _Folder:
    """One open folder: local mode allows no second client on it, and not two calls at once."""

    client: QdrantClient
    lock: threading.RLock = field(default_factory=threading.RLock)


_FOLDERS: Final = Shared(
    lambda place: _Folder(QdrantClient(path=str(place), force_disable_check_same_thread=True)),
    lambda _, folder: folder.client.close(),
)


class Connection:
    """A client, made when first used and again after :meth:`close`. ``local`` says that it is a folder's."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.local = address.local is not None
        self._client: QdrantClient | None = None
        self._folder: _Folder | None = None
        self._lock = threading.Lock()

    @contextmanager
    def using(self, collection: str) -> Iterator[QdrantClient]:
        """Lend the client, alone where it is a folder's. What it raises is named after the collection."""
        with named(collection, self.address.shown):
            client = self._opened()
            folder = self._folder
            if folder is None:
                yield client
                return
            with folder.lock, one_commit(client, collection):
                yield client

    def call(self, collection: str, ask: Callable[[QdrantClient], T]) -> T:
        """Ask, again while the server is busy or away: everything that is asked may be done twice."""
        with self.using(collection) as client:
            for attempt in stamina.retry_context(
                on=_wait, attempts=_ATTEMPTS, timeout=_LONGEST_WAIT, wait_initial=0.1, wait_max=5.0
            ):
                with attempt:
                    return ask(client)
        raise AssertionError("stamina either returns or raises")

    def close(self) -> None:
        """Close the client, a folder's when its last user does. Idempotent."""
        with self._lock:
            client, folder = self._client, self._folder
            self._client = self._folder = None
        if folder is not None:
            assert self.address.local is not None
            _FOLDERS.let_go(self.address.local)
        elif client is not None:
            client.close()

    def _opened(self) -> QdrantClient:
        with self._lock:
            if self._client is None:
                self._client = self._open()
            return self._client

    def _open(self) -> QdrantClient:
        address = self.address
        if address.local is None:
            headers = {"api-key": address.key} if address.key else None
            timeout = math.ceil(address.timeout)
            return QdrantClient(url=address.url, headers=headers, timeout=timeout, check_compatibility=False)
        self._folder = _FOLDERS.take(address.local)
        return self._folder.client


@contextmanager
def one_commit(client: QdrantClient, collection: str) -> Iterator[None]:
    """Keep what is written to a folder's collection in one transaction: the client would commit each point alone.

    So a batch is there wholly or not at all after a crash, and waits for the disk once.
    """
    held: Any = getattr(client._client, "collections", {}).get(collection)  # noqa: SLF001 - no other way to it
    persistence = getattr(held, "storage", None)
    if persistence is None or isinstance(persistence.storage, _OneTransaction):
        yield
        return
    raw = persistence.storage
    persistence.storage = _OneTransaction(raw)
    try:
        yield
    finally:  # also after a failure: what is in memory must be on disk
        persistence.storage = raw
        raw.commit()


class _OneTransaction:
    """A database connection whose blocks end without a commit."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self.execute, self.executemany, self.cursor, self.close = raw.execute, raw.executemany, raw.cursor, raw.close

    def __enter__(self) -> _OneTransaction:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the transaction open."""


def _wait(error: Exception) -> bool | float:
    """Whether to ask again, or after how many seconds."""
    if isinstance(error, ResourceExhaustedResponse):
        return float(error.retry_after_s)
    if isinstance(error, UnexpectedResponse):
        return error.status_code in _PASSING
    return isinstance(error, ResponseHandlingException) and isinstance(error.source, httpx.TransportError)


@contextmanager
def named(collection: str, where: str) -> Iterator[None]:
    """Turn what the client raises into StoreError or CollectionMissing."""
    try:
        yield
    except (
        UnexpectedResponse,
        ResponseHandlingException,
        ResourceExhaustedResponse,
        ValueError,
        RuntimeError,
        OSError,
    ) as error:
        raise translated(error, collection, where) from error


def missing(collection: str, where: str) -> CollectionMissing:
    """The error for a collection that is not there."""
    return CollectionMissing(
        f"there is no collection {collection!r} in {where}",
        hint="it was dropped, or the store was emptied or moved; `regen verify --repair` writes it again",
    )


def translated(error: Exception, collection: str, where: str) -> StoreError:
    """What an error of Qdrant means for a collection."""
    if isinstance(error, ResourceExhaustedResponse) or (
        isinstance(error, UnexpectedResponse) and error.status_code in _PASSING
    ):
        return StoreUnreachable(
            f"Qdrant at {where} is busy and stayed so (collection {collection!r}): {_said(error)}",
            hint="nothing acknowledged is lost; run again later, or lower limits.concurrency",
        )
    if isinstance(error, UnexpectedResponse):
        return _refused(error, collection, where)
    if isinstance(error, ResponseHandlingException):
        return StoreUnreachable(
            f"Qdrant at {where} cannot be reached: {error.source}",
            hint="check host, port and https of store.url, and that the server runs; nothing acknowledged is lost",
        )
    text = str(error)
    if isinstance(error, ValueError) and "not found" in text and text.startswith("Collection"):
        return missing(collection, where)
    if "already accessed by another instance" in text:
        return StoreError(
            f"{where} is open in another process, and a folder of Qdrant's local mode is for one process at a time",
            hint="wait for that process, or use a server: qdrant://host",
        )
    if isinstance(error, OSError):
        return StoreError(
            f"{where} cannot be read or written (collection {collection!r}): {text}",
            hint="the folder of store.url must be writable by this user, on a disk with room",
        )
    return StoreError(f"Qdrant failed on collection {collection!r} in {where}: {text}")


def _refused(error: UnexpectedResponse, collection: str, where: str) -> StoreError:
    said = _said(error)
    if error.status_code in {401, 403}:
        return StoreError(
            f"Qdrant at {where} refuses the credentials: {said}",
            hint=f"put a key that may write into {QDRANT.key_variable}, or name its variable: ?api_key_env=NAME",
        )
    if error.status_code == 404:
        return missing(collection, where)
    return StoreError(f"Qdrant at {where} refuses a request on collection {collection!r}: {said}")


def _said(error: Exception) -> str:
    if isinstance(error, UnexpectedResponse):
        return f"{error.status_code} {error.content.decode(errors='replace')[:300]}"
    return str(error)
