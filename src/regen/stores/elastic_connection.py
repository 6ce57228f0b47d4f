"""How an Elasticsearch or OpenSearch is asked: again while it is busy or away, and with errors that say what to do.

Everything that is asked may be done twice: documents have ids of their own, and an update says what is to be true. A
bulk request is answered document by document: what was refused for the moment is sent again, alone, and what was
refused for good is an error. A request that is too large for the server, or for a proxy before it, is halved.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import orjson

from regen.errors import CollectionMissing, StoreError, StoreUnreachable
from regen.stores.addresses import Address
from regen.stores.elastic_dialect import OTHER_PRODUCT, TLS, Dialect, Json, Refused, Unreached, Wire

KEEP_ALIVE: Final = "5m"
"""How long a point in time waits for the next page."""
BUSY: Final = frozenset({429, 502, 503, 504})
_ATTEMPTS: Final = 8
_LONGEST_WAIT: Final = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_REQUEST_BYTES: Final = 8 * 2**20
"""What a request is filled up to: smaller than what any server takes by default."""
_ABSENT: Final = frozenset({"index_not_found_exception"})
_NOT_THERE: Final = frozenset({"document_missing_exception", ""})
_CONFLICT: Final = "version_conflict_engine_exception"
"""Another write came between the reading and the writing of an update."""
_TOO_OLD: Final = "media_type_header_exception"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a bulk request: its lines, and the point that it is about."""

    point_id: str
    lines: bytes


class Connection:
    """A client, made when first used and again after :meth:`close`."""

    def __init__(self, address: Address, dialect: Dialect) -> None:
        self.address, self.dialect = address, dialect
        self._wire: Wire | None = None
        self._info: Json | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The product and where it is, for messages."""
        return f"{self.dialect.product.name} at {self.address.shown}"

    def ask(self, collection: str, method: str, path: str, body: Json | None = None, **params: str) -> Json:
        """Send a request and return the answer. Raises StoreError, named after the collection."""
        self.info()
        return self._named(collection, method, path, params, None if body is None else orjson.dumps(body))

    def found(self, collection: str, method: str, path: str, **params: str) -> Json | None:
        """As :meth:`ask`, None for what is not there."""
        try:
            return self.ask(collection, method, path, None, **params)
        except CollectionMissing:
            return None

    def info(self) -> Json:
        """What the server says of itself, asked once. Raises StoreError for one that cannot be used."""
        if self._info is None:
            info = self._named("*", "GET", "/", {}, None)
            unfit = self.dialect.unfit(info)
            if unfit is not None:
                number = info.get("version", {}).get("number", "unknown")
                raise StoreError(f"{self.name} is of version {number}", hint=unfit)
            self._info = info
        return self._info

    def bulk(self, collection: str, index: str, operations: Sequence[Operation], **params: str) -> None:
        """Send operations, each until it is done or refused for good. ``index`` must be an alias.

        Raises StoreError that names the first of those refused, CollectionMissing. Points that are not there are
        ignored where they are to be updated or deleted.
        """
        self.info()
        for part in _parts(operations):
            self._bulk(collection, f"/{path_of(index)}/_bulk", part, params)

    def close(self) -> None:
        """Close the client. Idempotent."""
        with self._lock:
            wire, self._wire, self._info = self._wire, None, None
        if wire is not None:
            wire.close()

    # ── requests ──

    def _named(self, collection: str, method: str, path: str, params: Mapping[str, str], body: bytes | None) -> Json:
        try:
            return self._send(method, path, params, body, lines=False)
        except (Refused, Unreached) as error:
            raise self.translated(error, collection) from error

    def _send(self, method: str, path: str, params: Mapping[str, str], body: bytes | None, *, lines: bool) -> Json:
        patience = Patience()
        while True:
            try:
                return self._opened().send(method, path, params, body, lines=lines)
            except (Refused, Unreached) as error:
                if not (_passes(error) and patience.wait(getattr(error, "wait", None))):
                    raise

    def _opened(self) -> Wire:
        with self._lock:
            if self._wire is None:
                self._wire = self.dialect.wire(self.address)
            return self._wire

    # ── bulk ──

    def _bulk(self, collection: str, path: str, operations: Sequence[Operation], params: Mapping[str, str]) -> None:
        waiting, patience = list(operations), Patience()
        while waiting:
            try:
                answer = self._send("POST", path, params, b"".join(one.lines for one in waiting), lines=True)
            except Refused as error:
                if error.status == 413 and len(waiting) > 1:
                    for half in (waiting[: len(waiting) // 2], waiting[len(waiting) // 2 :]):
                        self._bulk(collection, path, half, params)
                    return
                raise self.translated(error, collection, waiting) from error
            except Unreached as error:
                raise self.translated(error, collection) from error
            waiting = self._left(collection, waiting, answer, over=patience.is_over)
            if waiting:
                patience.wait()

    def _left(self, collection: str, sent: Sequence[Operation], answer: Json, *, over: bool) -> list[Operation]:
        """The operations to send again. Raises StoreError for those that were refused for good."""
        if not answer["errors"]:
            return []
        left: list[Operation] = []
        refused: list[tuple[str, Refused]] = []
        for operation, item in zip(sent, answer["items"], strict=True):
            (result,) = item.values()
            error = Refused.of(result["status"], result)
            if result["status"] < 300 or (result["status"] == 404 and error.kind in _NOT_THERE):
                continue
            if (result["status"] in BUSY or error.kind == _CONFLICT) and not over:
                left.append(operation)
            else:
                refused.append((operation.point_id, error))
        if refused:
            raise self._refused_points(collection, refused, len(sent))
        return left

    def _refused_points(self, collection: str, refused: Sequence[tuple[str, Refused]], sent: int) -> StoreError:
        point_id, first = refused[0]
        if first.kind in _ABSENT:
            return missing(collection, self.address.shown)
        text = f"{self.name} refused {len(refused)} of {sent} points for collection {collection!r}, the first of them "
        text += f"{point_id[:100]!r}: {first}"
        if first.status in BUSY:
            return StoreUnreachable(text, hint="it is busy and stayed so; run again later, or lower limits.concurrency")
        return StoreError(text, hint="nothing that was acknowledged is lost; what is written in part is written again")

    # ── errors ──

    def translated(self, error: Exception, collection: str, sent: Sequence[Operation] = ()) -> StoreError:
        """What an error means for a collection."""
        if isinstance(error, Unreached):
            return StoreUnreachable(
                f"{self.name} cannot be reached: {error}",
                hint="check host, port, https and ca_certs of store.url, and that the server runs; "
                "nothing acknowledged is lost",
            )
        assert isinstance(error, Refused)
        if error.status in BUSY:
            return StoreUnreachable(
                f"{self.name} is busy and stayed so (collection {collection!r}): {error}",
                hint="nothing acknowledged is lost; run again later, or lower limits.concurrency",
            )
        return self._refused(error, collection, sent)

    def _refused(self, error: Refused, collection: str, sent: Sequence[Operation]) -> StoreError:
        product = self.dialect.product
        if error.status == 401 or (error.status == 403 and error.kind in {"security_exception", ""}):
            return StoreError(
                f"{self.name} refuses the credentials: {error}",
                hint=f"put {self.dialect.credentials}, that may create, write and read indexes, into "
                f"{product.key_variable}, or name its variable: ?api_key_env=NAME",
            )
        if error.status == 413:
            what = f"point {sent[0].point_id[:100]!r} of {len(sent[0].lines):,} bytes" if sent else "a request"
            return StoreError(
                f"{self.name} takes no request as large as {what} (collection {collection!r})",
                hint="make chunks smaller, or raise http.max_content_length of the server, or its proxy's limit",
            )
        if error.kind == _TOO_OLD:
            return StoreError(
                f"{self.name} refuses the installed client: {error.reason}",
                hint="the server is too old; version 9 or newer is needed",
            )
        if error.kind == OTHER_PRODUCT:
            return StoreError(f"{self.name} is no {product.name}: {error.reason}", hint="check host and port")
        if error.kind == TLS:
            return StoreError(
                f"{self.name} cannot be reached safely: {error.reason}",
                hint="is it https, and does ca_certs name the certificate of who signed the server's?",
            )
        if error.kind in _ABSENT or (error.status == 404 and not error.kind):
            return missing(collection, self.address.shown)
        return StoreError(f"{self.name} refuses a request on collection {collection!r}: {error}")


def missing(collection: str, where: str) -> CollectionMissing:
    """The error for a collection that is not there."""
    return CollectionMissing(
        f"there is no collection {collection!r} in {where}",
        hint="it was dropped, or the store was emptied or moved; `regen verify --repair` writes it again",
    )


def path_of(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")


def _parts(operations: Sequence[Operation]) -> Iterator[Sequence[Operation]]:
    start = size = 0
    for at, operation in enumerate(operations):
        own = len(operation.lines)
        if at > start and size + own > _REQUEST_BYTES:
            yield operations[start:at]
            start, size = at, 0
        size += own
    if start < len(operations):
        yield operations[start:]


class Patience:
    """How long is waited before something is tried again: twice as long each time, and a minute in all."""

    def __init__(self) -> None:
        self._tries, self._until = 1, time.monotonic() + _LONGEST_WAIT

    @property
    def is_over(self) -> bool:
        """Whether to give up."""
        return self._tries >= _ATTEMPTS or time.monotonic() + self._pause > self._until

    def wait(self, asked: float | None = None) -> bool:
        """Wait, for as long as a server asks for if it does; False, and no wait, when it is time to give up."""
        pause = self._pause if asked is None else asked
        if self._tries >= _ATTEMPTS or time.monotonic() + pause > self._until:
            return False
        time.sleep(pause + random.uniform(0, _FIRST_PAUSE))  # noqa: S311 - so that not all come at once
        self._tries += 1
        return True

    @property
    def _pause(self) -> float:
        return float(min(_FIRST_PAUSE * 2 ** (self._tries - 1), _LONGEST_PAUSE))


def _passes(error: Refused | Unreached) -> bool:
    return isinstance(error, Unreached) or error.status in BUSY


def whole(answer: Json, name: str) -> Json:
    """The answer, if every shard gave its part of it. Raises StoreError."""
    failed: Any = answer.get("_shards", {}).get("failed", 0)
    if failed:
        raise StoreUnreachable(f"{name} answered without {failed} of its shards", hint="run again when it is healthy")
    return answer
