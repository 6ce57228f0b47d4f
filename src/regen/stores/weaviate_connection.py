"""How a Weaviate is reached, by HTTP and by gRPC, and what its errors mean."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import grpc
import httpx
import stamina

from regen.errors import CollectionMissing, ConfigError, StoreError, StoreUnreachable
from regen.stores.addresses import Address, Product

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of a library of Weaviate's client about another one
    import weaviate

from weaviate.classes.config import ConsistencyLevel
from weaviate.classes.init import AdditionalConfig, Auth, Timeout
from weaviate.exceptions import (
    UnexpectedStatusCodeError,
    WeaviateBaseError,
    WeaviateConnectionError,
    WeaviateGRPCUnavailableError,
    WeaviateStartUpError,
    WeaviateTimeoutError,
    WeaviateUnsupportedFeatureError,
)

T = TypeVar("T")

WEAVIATE: Final = Product(
    "Weaviate", "weaviate", 8080, "WEAVIATE_API_KEY", options=("consistency", "grpc", "grpc_host"), place=""
)
LEVELS: Final = {level.value.lower(): level for level in ConsistencyLevel}
_PORTS: Final = re.compile(r"(weaviate://(?:\[[^\]]*\]|[^:/?#]*):\d+):(\d+)")
_PASSING: Final = frozenset({429, 502, 503, 504})
_PASSING_CODES: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED}
)
_BUSY: Final = re.compile(r"(?i)too many requests|overloaded|read.?only|unavailable|context deadline|timed? ?out")
_GONE: Final = re.compile(r"(?i)could not find class|class [^ ]* (?:was )?not found|no such class|class not found")
_DENIED: Final = re.compile(r"(?i)unauthori[sz]ed|unauthenticated|anonymous access|forbidden|permission")
_ATTEMPTS: Final = 6
_LONGEST_WAIT: Final = 60.0


class ObjectsRefused(Exception):
    """Some objects of a batch were not written: Weaviate tells that in its answer only."""

    def __init__(self, refused: dict[int, str], of: int) -> None:
        self.first = next(iter(refused.values()))
        super().__init__(f"{len(refused)} of {of} objects were refused, the first one because: {self.first}")


def address_of(url: str, root: Path) -> Address:
    """Read ``weaviate://host[:http[:grpc]][?https=true&consistency=quorum&timeout=60&api_key_env=NAME&grpc_host=…]``.

    Raises ConfigError for another form, an unknown option, or a secret in the URL.
    """
    ports = _PORTS.match(url)
    if ports is not None:
        rest = url[ports.end() :]
        url = f"{ports[1]}{rest}{'&' if '?' in rest else '?'}grpc={ports[2]}"
    address = Address.of(url, WEAVIATE, root)
    level, port = address.options.get("consistency", "quorum"), address.options.get("grpc", "50051")
    if level not in LEVELS:
        raise ConfigError(f"consistency={level} in the Weaviate URL", hint=f"one of {', '.join(sorted(LEVELS))}")
    if not port.isdigit() or not 0 < int(port) < 65_536:
        raise ConfigError(f"grpc={port} in the Weaviate URL", hint="a port's number, 50051 by default")
    return address


class Connection:
    """A client, made when first used and again after :meth:`close`."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.level = LEVELS[address.options.get("consistency", "quorum")]
        self._client: weaviate.WeaviateClient | None = None
        self._lock = threading.Lock()

    def call(self, collection: str, ask: Callable[[weaviate.WeaviateClient], T]) -> T:
        """Ask, again while the server is busy or away: everything that is asked may be done twice."""
        with named(collection, self.address):
            for attempt in stamina.retry_context(
                on=is_passing, attempts=_ATTEMPTS, timeout=_LONGEST_WAIT, wait_initial=0.1, wait_max=5.0
            ):
                with attempt:
                    return ask(self._opened())
        raise AssertionError("stamina either returns or raises")

    def close(self) -> None:
        """Close the client. Idempotent."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _opened(self) -> weaviate.WeaviateClient:
        with self._lock:
            if self._client is None:
                self._client = self._open()
            return self._client

    def _open(self) -> weaviate.WeaviateClient:
        address, seconds = self.address, self.address.timeout
        client = weaviate.connect_to_custom(
            http_host=address.host.strip("[]"),
            http_port=address.port,
            http_secure=address.https,
            grpc_host=address.options.get("grpc_host", address.host.strip("[]")),
            grpc_port=int(address.options.get("grpc", "50051")),
            grpc_secure=address.https,
            auth_credentials=Auth.api_key(address.key) if address.key else None,
            additional_config=AdditionalConfig(timeout=Timeout(init=seconds, query=seconds, insert=seconds)),
            skip_init_checks=True,  # they would ask a package registry for the client's newest version
        )
        try:
            client._connection._ping_grpc("sync")  # noqa: SLF001 - the one of these checks that is wanted
        except BaseException:
            client.close()
            raise
        return client


def is_passing(error: BaseException) -> bool:
    """Whether to ask again."""
    if isinstance(error, ObjectsRefused):
        return _BUSY.search(error.first) is not None
    if isinstance(error, UnexpectedStatusCodeError) and error.status_code in _PASSING:
        return True
    if _code(error) in _PASSING_CODES or _is_lost(error):
        return True
    return isinstance(error, WeaviateBaseError) and not _is_too_old(error) and _BUSY.search(str(error)) is not None


def _is_lost(error: BaseException) -> bool:
    lost = (WeaviateConnectionError, WeaviateGRPCUnavailableError, WeaviateTimeoutError, httpx.TransportError, OSError)
    return isinstance(error, lost) or (isinstance(error, WeaviateStartUpError) and not _is_too_old(error))


def _is_too_old(error: BaseException) -> bool:
    return "is not supported" in str(error)


def _code(error: BaseException | None) -> grpc.StatusCode | None:
    """The code of the gRPC error that the client has turned into one of its own."""
    while error is not None:
        if isinstance(error, grpc.RpcError):
            code: grpc.StatusCode | None = getattr(error, "code", lambda: None)()
            return code
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def named(collection: str, address: Address) -> Iterator[None]:
    """Turn what the client raises into StoreError, StoreUnreachable or CollectionMissing."""
    try:
        yield
    except (WeaviateBaseError, ObjectsRefused, httpx.HTTPError, grpc.RpcError, OSError, ValueError) as error:
        raise translated(error, collection, address) from error


def missing(collection: str, where: str) -> CollectionMissing:
    """The error for a collection that is not there."""
    return CollectionMissing(
        f"there is no collection {collection!r} in {where}",
        hint="it was dropped, or the store was emptied or moved; `regen verify --repair` writes it again",
    )


def translated(error: Exception, collection: str, address: Address) -> StoreError:
    """What an error of Weaviate means for a collection."""
    where, said = address.shown, str(error)[:400]
    if isinstance(error, WeaviateUnsupportedFeatureError) or _is_too_old(error):
        return StoreError(
            f"Weaviate at {where} is too old: {said}",
            hint="regen needs 1.27, and 1.32 for aliases of Weaviate's; without them regen's own alias is the only one",
        )
    status = error.status_code if isinstance(error, UnexpectedStatusCodeError) else 0
    if status in {401, 403, 7, 16} or _code(error) in {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }:
        return _denied(where, said)
    if _GONE.search(said):
        return missing(collection, where)
    if "without tenant" in said:
        return StoreError(
            f"collection {collection!r} of {where} is parted by tenants: {said}",
            hint="regen does not go through tenants; copy the objects into a collection without them, and adopt that",
        )
    if status in _PASSING or _code(error) is grpc.StatusCode.RESOURCE_EXHAUSTED or isinstance(error, ObjectsRefused):
        return _refused(error, collection, where)
    if _is_lost(error) or _code(error) in _PASSING_CODES:
        return StoreUnreachable(
            f"Weaviate at {where} cannot be reached: {said}",
            hint="check host and both ports (HTTP and gRPC) of store.url, https, and that the server runs; "
            "nothing acknowledged is lost",
        )
    if isinstance(error, WeaviateBaseError) and _DENIED.search(said):
        return _denied(where, said)
    return StoreError(f"Weaviate at {where} refuses a request on collection {collection!r}: {said}")


def _refused(error: Exception, collection: str, where: str) -> StoreError:
    if isinstance(error, ObjectsRefused) and not is_passing(error):
        return StoreError(f"Weaviate at {where} did not write a batch of collection {collection!r} whole: {error}")
    return StoreUnreachable(
        f"Weaviate at {where} is busy and stayed so (collection {collection!r}): {str(error)[:400]}",
        hint="nothing acknowledged is lost; run again later, or lower limits.concurrency",
    )


def _denied(where: str, said: str) -> StoreError:
    return StoreError(
        f"Weaviate at {where} refuses the credentials: {said}",
        hint=f"put a key that may write into {WEAVIATE.key_variable}, or name its variable: ?api_key_env=NAME",
    )
