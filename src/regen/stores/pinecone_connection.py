"""How Pinecone is reached: its control plane by the URL, each index by the host that the control plane names."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

import stamina
from pinecone import Index, Pinecone
from pinecone.errors import (
    ApiError,
    ForbiddenError,
    NotFoundError,
    PineconeConnectionError,
    PineconeError,
    PineconeTimeoutError,
    RateLimitError,
    ServiceError,
    UnauthorizedError,
)

from regen.core.recipe import Metric
from regen.errors import CollectionMissing, ConfigError, StoreError, StoreUnreachable

T = TypeVar("T")

KEY_VARIABLE: Final = "PINECONE_API_KEY"
FORMS: Final = "pinecone://index, pinecone://index?cloud=aws&region=us-east-1"
_OPTIONS: Final = ("api_key_env", "cloud", "control", "region", "timeout")
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,34}[a-z0-9])?")
"""45 characters are an index's; the rest is for dimensions and metric."""
_ATTEMPTS: Final = 3
"""Each of them four of the client's own, which waits for as long as Retry-After says."""
_LONGEST_WAIT: Final = 60.0
_METRICS: Final[dict[Metric, str]] = {"cosine": "dotproduct", "dot": "dotproduct", "l2": "euclidean"}


@dataclass(frozen=True, slots=True)
class Address:
    """What a URL says. ``index`` is the name that all of regen's indexes here begin with."""

    index: str
    cloud: str = "aws"
    region: str = "us-east-1"
    control: str = ""
    timeout: float = 60.0
    key_variable: str = KEY_VARIABLE

    @classmethod
    def of(cls, url: str) -> Address:
        """Read ``pinecone://index[?cloud=aws&region=us-east-1&timeout=60&api_key_env=NAME&control=URL]``.

        Raises ConfigError for another form, an unknown option, or a secret in the URL.
        """
        try:
            parts = urlsplit(url)
            port, options = parts.port, dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        except ValueError as error:
            raise ConfigError(f"the Pinecone URL is not understood: {error}", hint=f"valid forms: {FORMS}") from None
        if parts.username is not None or "api_key" in options:
            raise ConfigError(
                "the Pinecone URL holds a secret, which would be kept and shown wherever the URL is",
                hint=f"put it into the environment variable {KEY_VARIABLE}, or name another: ?api_key_env=NAME",
            )
        if parts.scheme != "pinecone" or port is not None or parts.path.strip("/"):
            raise ConfigError("the Pinecone URL names more than an index", hint=f"valid forms: {FORMS}")
        if not _NAME.fullmatch(parts.hostname or ""):
            raise ConfigError(
                f"{parts.hostname or ''!r} cannot be an index's name",
                hint="1 to 36 lower-case letters, digits and hyphens, with a letter or digit at either end",
            )
        if unknown := options.keys() - set(_OPTIONS):
            raise ConfigError(
                f"unknown option {min(unknown)!r} in the Pinecone URL", hint=f"options: {', '.join(_OPTIONS)}"
            )
        timeout = _seconds(options.pop("timeout", "60"))
        key = options.pop("api_key_env", KEY_VARIABLE)
        return cls(index=parts.hostname or "", timeout=timeout, key_variable=key, **options)

    @property
    def shown(self) -> str:
        """The URL without options."""
        return f"pinecone://{self.index}"

    def index_for(self, dimensions: int, metric: Metric) -> str:
        """The name of the index of collections of so many dimensions: an index has one number of them, one metric."""
        return f"{self.index}-{dimensions}{'-l2' if metric == 'l2' else ''}"

    def is_ours(self, index: str) -> bool:
        """Whether an index of that name is one of this URL's."""
        return re.fullmatch(rf"{re.escape(self.index)}-\d+(-l2)?", index) is not None


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """One index as the control plane describes it."""

    name: str
    host: str
    dimensions: int
    metric: str

    @classmethod
    def of(cls, model: Any) -> IndexInfo | None:
        """What of a description matters; None for an index without dense vectors, or one that is not ready."""
        field = next((item for item in model.schema.fields.values() if getattr(item, "dimension", None)), None)
        if field is None or model.host is None or not model.status.ready:
            return None
        return cls(model.name, model.host, int(field.dimension), str(field.metric))


class Connection:
    """The clients of one URL, made when first used and again after :meth:`close`."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._control: Pinecone | None = None
        self._indexes: dict[str, Index] = {}
        self._lock = threading.Lock()

    def indexes(self) -> dict[str, IndexInfo]:
        """All indexes of the project by name."""
        models = self._ask("*", lambda: list(self._client().indexes.list()))
        return {info.name: info for info in map(IndexInfo.of, models) if info is not None}

    def make_index(self, dimensions: int, metric: Metric) -> None:
        """Make the index of collections of so many dimensions, and wait until it is ready."""
        address, name = self.address, self.address.index_for(dimensions, metric)
        field = {"type": "dense_vector", "dimension": dimensions, "metric": _METRICS[metric]}
        place = {"deployment_type": "managed", "cloud": address.cloud, "region": address.region}

        def make() -> None:
            try:
                self._client().indexes.create(
                    name=name,
                    schema={"fields": {"_values": field}},
                    deployment=place,
                    tags={"made-by": "regen"},
                    timeout=300,
                )
            except ApiError as error:
                if error.status_code != 409:  # else another process was quicker
                    raise
                self._client().indexes.describe(name)

        self._ask(name, make)

    def call(self, info: IndexInfo, collection: str, ask: Callable[[Index], T]) -> T:
        """Ask an index, again while it is busy or away: everything that is asked may be done twice."""
        return self._ask(collection, lambda: ask(self._index(info)))

    def close(self) -> None:
        """Close the clients. Idempotent."""
        with self._lock:
            indexes, control = list(self._indexes.values()), self._control
            self._indexes, self._control = {}, None
        for index in indexes:
            index.close()
        if control is not None:
            control.close()

    def _ask(self, collection: str, request: Callable[[], T]) -> T:
        with named(collection, self.address):
            for attempt in stamina.retry_context(
                on=_passing, attempts=_ATTEMPTS, timeout=_LONGEST_WAIT, wait_initial=0.2, wait_max=5.0
            ):
                with attempt:
                    return request()
        raise AssertionError("stamina either returns or raises")

    def _client(self) -> Pinecone:
        with self._lock:
            if self._control is None:
                self._control = Pinecone(
                    api_key=key_of(self.address), host=self.address.control or None, timeout=self.address.timeout
                )
            return self._control

    def _index(self, info: IndexInfo) -> Index:
        with self._lock:
            if info.host not in self._indexes:
                self._indexes[info.host] = Index(
                    host=info.host, api_key=key_of(self.address), timeout=self.address.timeout
                )
            return self._indexes[info.host]


def key_of(address: Address) -> str:
    """The API key. Raises ConfigError where the environment holds none."""
    key = os.environ.get(address.key_variable, "").strip()
    if not key:
        raise ConfigError(
            f"there is no key for {address.shown}: the environment variable {address.key_variable} is empty",
            hint=f"put a project's API key into {address.key_variable}, or name its variable: ?api_key_env=NAME",
        )
    return key


def _passing(error: Exception) -> bool:
    return isinstance(error, RateLimitError | ServiceError | PineconeConnectionError | PineconeTimeoutError)


@contextmanager
def named(collection: str, address: Address) -> Iterator[None]:
    """Turn what the client raises into StoreError, StoreUnreachable or CollectionMissing."""
    try:
        yield
    except (PineconeError, OSError, ValueError) as error:
        raise translated(error, collection, address) from error


def missing(collection: str, where: str) -> CollectionMissing:
    """The error for a collection that is not there."""
    return CollectionMissing(
        f"there is no collection {collection!r} in {where}",
        hint="it was dropped, or the store was emptied or moved; `regen verify --repair` writes it again",
    )


def translated(error: Exception, collection: str, address: Address) -> StoreError:
    """What an error of Pinecone means for a collection."""
    where, said = address.shown, _said(error)
    if isinstance(error, RateLimitError):
        return StoreUnreachable(
            f"Pinecone throttles {where} and went on to (collection {collection!r}): {said}",
            hint="nothing acknowledged is lost; run again later, lower limits.concurrency, or raise the plan's limits",
        )
    if _passing(error) or isinstance(error, OSError):
        return StoreUnreachable(
            f"Pinecone cannot be reached for {where} (collection {collection!r}): {said}",
            hint="check the network and store.url; nothing acknowledged is lost",
        )
    if isinstance(error, UnauthorizedError | ForbiddenError):
        return StoreError(
            f"Pinecone refuses the credentials for {where}: {said}",
            hint=f"put a key that may write into {address.key_variable}, or name its variable: ?api_key_env=NAME",
        )
    if isinstance(error, NotFoundError):
        return missing(collection, where)
    return StoreError(f"Pinecone refuses a request on collection {collection!r} of {where}: {said}")


def reason_of(error: BaseException | None) -> str:
    """The reason that Pinecone gives for programs to read, empty where there is none."""
    body = getattr(error, "body", None)
    details = body.get("details") if isinstance(body, dict) else None
    return str(details[0].get("reason", "")) if details else ""


def _said(error: Exception) -> str:
    status = getattr(error, "status_code", None)
    text = str(getattr(error, "message", "") or error)[:300]
    return f"{status} {text}" if status else text


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text) or float(text) == 0:
        raise ConfigError(f"timeout={text} in the Pinecone URL", hint="a positive number of seconds")
    return float(text)
