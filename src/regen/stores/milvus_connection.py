"""How a Milvus is reached: a server, or milvus-lite on a file; and what its errors mean."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
import stamina
from pymilvus import MilvusClient, MilvusException

from regen.errors import CollectionMissing, ConfigError, StoreError, StoreUnreachable
from regen.stores.addresses import Address, Product
from regen.stores.shared import Shared

T = TypeVar("T")

MILVUS: Final = Product("Milvus", "milvus", 19530, "MILVUS_TOKEN", ("database", "consistency"), place="file.db")
LEVELS: Final = {"strong": "Strong", "session": "Session", "bounded": "Bounded"}
_GONE: Final = re.compile(
    r"collection '?\S* ?(not found|does not exist)|can't find collection|collection not found", re.IGNORECASE
)
_RELEASED: Final = re.compile(r"'released'|not loaded|call load", re.IGNORECASE)
_DENIED: Final = re.compile(r"auth|permission|privilege|token", re.IGNORECASE)
_BUSY: Final = re.compile(
    r"rate limit|throttl|quota|too many|resource exhausted|not ready|no available|can ?not find client of node",
    re.IGNORECASE,
)
"""The last is said while a collection's reader changes: its node, or -1, when the server knows of none yet."""
_ATTEMPTS: Final = 8
_LONGEST_WAIT: Final = 60.0

logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # every error is raised, named and shown: not logged as well
logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)


def _open_file(place: Path) -> MilvusClient:
    place.parent.mkdir(parents=True, exist_ok=True)
    logging.getLogger("grpc._server").setLevel(logging.CRITICAL)  # its own server logs what milvus-lite leaves out
    return MilvusClient(str(place))


def _close_file(place: Path, client: MilvusClient) -> None:
    from milvus_lite.server_manager import server_manager_instance  # noqa: PLC0415 - a server needs no milvus-lite

    client.close()
    server_manager_instance.release_server(str(place))


_FILES: Final = Shared(_open_file, _close_file)


class Connection:
    """A client, made when first used and again after :meth:`close`. ``local`` says that it is a file's."""

    def __init__(self, address: Address) -> None:
        level = address.options.get("consistency", "session")
        if level not in LEVELS:
            raise ConfigError(f"consistency={level} in the Milvus URL", hint=f"one of {', '.join(LEVELS)}")
        if address.local is not None and address.local.suffix != ".db":
            raise ConfigError(f"{address.shown} does not end in .db", hint=f"for example {MILVUS.local}vectors.db")
        self.address = address
        self.local = address.local is not None
        self._level = level
        self._client: MilvusClient | None = None
        self._lock = threading.Lock()

    def call(self, collection: str, ask: Callable[[MilvusClient], T]) -> T:
        """Ask, again while the server is busy or away: everything that is asked may be done twice."""
        with named(collection, self.address.shown):
            for attempt in stamina.retry_context(
                on=_passing, attempts=_ATTEMPTS, timeout=_LONGEST_WAIT, wait_initial=0.1, wait_max=5.0
            ):
                with attempt:
                    return ask(self._opened())
        raise AssertionError("stamina either returns or raises")

    def reading(self, level: str | None = None) -> dict[str, Any]:
        """What a read is told of the level at which it sees writes, by default as the URL says it."""
        if self.local:  # always current, and it knows no levels
            return {}
        return {"consistency_level": LEVELS[level or self._level]}

    @property
    def writes_wait(self) -> bool:
        """Whether a write waits until every search sees it, so that no search has to."""
        return not self.local and self._level == "session"

    def close(self) -> None:
        """Close the client; a file is closed when its last user here has closed. Idempotent."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None and self.address.local is not None:
            _FILES.let_go(self.address.local)
        elif client is not None:
            client.close()

    def _opened(self) -> MilvusClient:
        with self._lock:
            if self._client is None:
                self._client = self._open()
            return self._client

    def _open(self) -> MilvusClient:
        address = self.address
        if address.local is not None:
            return _FILES.take(address.local)
        database = address.options.get("database", "")
        return MilvusClient(address.url, token=address.key or "", db_name=database, timeout=address.timeout)


def _passing(error: Exception) -> bool:
    if isinstance(error, grpc.RpcError):
        code: Any = getattr(error, "code", lambda: None)()
        return code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
    return isinstance(error, MilvusException) and _BUSY.search(str(error)) is not None


def _is_refused(error: BaseException) -> bool:
    """Whether it was who asked that stood in the way: at first pymilvus only says that it could not connect."""
    code: Any = getattr(error, "code", None)
    if isinstance(error, grpc.RpcError) and callable(code):
        return code() in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
    if error.__context__ is not None:
        return _is_refused(error.__context__)
    return _BUSY.search(str(error)) is None and _DENIED.search(str(error)) is not None


@contextmanager
def named(collection: str, where: str) -> Iterator[None]:
    """Turn what pymilvus raises into StoreError or CollectionMissing."""
    try:
        yield
    except (MilvusException, grpc.RpcError, OSError, ValueError) as error:
        raise translated(error, collection, where) from error


def is_released(error: StoreError) -> bool:
    """Whether a collection is there but not in memory, as milvus-lite leaves it when a file is opened again."""
    return _RELEASED.search(error.message) is not None


def missing(collection: str, where: str) -> CollectionMissing:
    """The error for a collection that is not there."""
    return CollectionMissing(
        f"there is no collection {collection!r} in {where}",
        hint="it was dropped, or the store was emptied or moved; `regen verify --repair` writes it again",
    )


def translated(error: Exception, collection: str, where: str) -> StoreError:
    """What an error of Milvus means for a collection."""
    text = str(getattr(error, "message", "") or error)[:300]
    if _GONE.search(text):
        return missing(collection, where)
    if "Open local milvus failed" in text:
        return StoreError(
            f"{where} cannot be opened",
            hint="another process has it open (milvus-lite is for one at a time), or the folder cannot be written; "
            "`milvus-lite server` or a Milvus serves several processes: milvus://host",
        )
    if _is_refused(error):
        return StoreError(
            f"Milvus at {where} refuses the credentials: {text}",
            hint=f"put user:password, or a token, into {MILVUS.key_variable}, or name its variable: ?api_key_env=NAME",
        )
    if isinstance(error, grpc.RpcError) or "connect" in text.lower():
        return StoreUnreachable(
            f"Milvus at {where} cannot be reached: {text}",
            hint="check host, port and https of store.url, and that the server runs; nothing acknowledged is lost",
        )
    if _BUSY.search(text):
        return StoreUnreachable(
            f"Milvus at {where} is busy and stayed so (collection {collection!r}): {text}",
            hint="nothing acknowledged is lost; run again later, or lower limits.concurrency",
        )
    return StoreError(f"Milvus failed on collection {collection!r} in {where}: {text}")
