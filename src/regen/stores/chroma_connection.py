"""How a Chroma is reached: a server, or a folder that this process has to itself; and what its errors mean."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import chromadb
import httpx
import stamina
from chromadb.api import ClientAPI
from chromadb.config import Settings
from chromadb.errors import ChromaError, NotFoundError

from regen.errors import CollectionMissing, StoreError, StoreUnreachable
from regen.stores.addresses import Address, Product
from regen.stores.shared import Shared

T = TypeVar("T")

CHROMA: Final = Product("Chroma", "chroma", 8000, "CHROMA_API_KEY", ("tenant", "database"))
_LOCK: Final = "regen.lock"
_PASSING: Final = frozenset({429, 502, 503, 504})
_ATTEMPTS: Final = 8
_LONGEST_WAIT: Final = 60.0


def _lock(folder: Path) -> sqlite3.Connection:
    """Keep other processes out of a folder: they would search an index that lags behind."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = sqlite3.connect(folder / _LOCK, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        lock.execute("BEGIN EXCLUSIVE")  # gone with the process, however it ends
    except sqlite3.OperationalError as error:
        lock.close()
        raise StoreError(
            f"{CHROMA.local}{folder} is open in another process, and a folder of Chroma is for one process at a time: "
            "another would search an index that lags behind",
            hint="wait for that process, or run `chroma run --path FOLDER` and use chroma://host",
        ) from error
    return lock


_FOLDERS: Final = Shared(_lock, lambda _, lock: lock.close())


class Connection:
    """A client, made when first used and again after :meth:`close`."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._client: ClientAPI | None = None
        self._lock = threading.Lock()

    def call(self, collection: str, ask: Callable[[ClientAPI], T]) -> T:
        """Ask, again while the server is busy or away: everything that is asked may be done twice."""
        with named(collection, self.address.shown):
            for attempt in stamina.retry_context(
                on=_passing, attempts=_ATTEMPTS, timeout=_LONGEST_WAIT, wait_initial=0.1, wait_max=5.0
            ):
                with attempt:
                    return ask(self._opened())
        raise AssertionError("stamina either returns or raises")

    def close(self) -> None:
        """Close the client; a folder is free when its last user here has closed. Idempotent."""
        with self._lock:
            client, self._client = self._client, None
            if client is not None:
                client.close()
                if self.address.local is not None:
                    _FOLDERS.let_go(self.address.local)
                else:
                    for session in _sessions(client):
                        session.close()

    def _opened(self) -> ClientAPI:
        with self._lock:
            if self._client is None:
                self._client = self._open()
            return self._client

    def _open(self) -> ClientAPI:
        address, options = self.address, self.address.options
        if address.local is not None:
            _FOLDERS.take(address.local)
            try:
                return chromadb.PersistentClient(str(address.local), settings=Settings(anonymized_telemetry=False))
            except BaseException:
                _FOLDERS.let_go(address.local)
                raise
        key = address.key
        client = chromadb.HttpClient(
            address.host,
            address.port,
            ssl=address.https,
            headers={"X-Chroma-Token": key, "Authorization": f"Bearer {key}"} if key else None,
            settings=Settings(anonymized_telemetry=False),
            tenant=options.get("tenant", chromadb.DEFAULT_TENANT),
            database=options.get("database", chromadb.DEFAULT_DATABASE),
        )
        for session in _sessions(client):
            session.timeout = httpx.Timeout(address.timeout)
        return client


def _sessions(client: Any) -> list[httpx.Client]:
    """The connections of a server's client, which neither closes them nor ever stops waiting on them."""
    parts = (client, client._admin_client)  # noqa: SLF001 - no other way to them
    return list({id(part._server): part._server._session for part in parts}.values())  # noqa: SLF001


def _status(error: BaseException) -> int | None:
    """The HTTP status behind an error: the client turns some into others that say nothing of it."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code
    if isinstance(error, ChromaError):
        return int(error.code())
    return None if error.__context__ is None else _status(error.__context__)


def _passing(error: Exception) -> bool:
    return isinstance(error, httpx.TransportError) or _status(error) in _PASSING


@contextmanager
def named(collection: str, where: str) -> Iterator[None]:
    """Turn what Chroma raises into StoreError or CollectionMissing."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        raise translated(error, collection, where) from error


def missing(collection: str, where: str) -> CollectionMissing:
    """The error for a collection that is not there."""
    return CollectionMissing(
        f"there is no collection {collection!r} in {where}",
        hint="it was dropped, or the store was emptied or moved; `regen verify --repair` writes it again",
    )


def translated(error: Exception, collection: str, where: str) -> StoreError:
    """What an error of Chroma means for a collection."""
    text, status = str(error)[:300], _status(error)
    if isinstance(error, NotFoundError) or status == 404:
        return missing(collection, where)
    if status in {401, 403}:
        return StoreError(
            f"Chroma at {where} refuses the credentials: {text}",
            hint=f"put a token that may write into {CHROMA.key_variable}, or name its variable: ?api_key_env=NAME",
        )
    if status in _PASSING:
        return StoreUnreachable(
            f"Chroma at {where} is busy and stayed so (collection {collection!r}): {text}",
            hint="nothing acknowledged is lost; run again later, or lower limits.concurrency",
        )
    if isinstance(error, httpx.TransportError) or "Could not connect" in text:
        return StoreUnreachable(
            f"Chroma at {where} cannot be reached: {text}",
            hint="check host, port and https of store.url, and that the server runs; nothing acknowledged is lost",
        )
    if isinstance(error, OSError):
        return StoreError(
            f"{where} cannot be read or written (collection {collection!r}): {text}",
            hint="the folder of store.url must be writable by this user, on a disk with room",
        )
    return StoreError(f"Chroma failed on collection {collection!r} in {where}: {text}")


def batched(count: int, most: int) -> list[slice]:
    """Slices of so many rows, none larger than what a request may hold."""
    return [slice(start, min(start + most, count)) for start in range(0, count, most)]


def rows(answer: Any, name: str) -> list[Any]:
    """A column of an answer of Chroma's, as a list."""
    found = answer[name]
    return [] if found is None else list(found)
