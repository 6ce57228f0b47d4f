"""What Elasticsearch and OpenSearch say differently, and how either is spoken to.

One REST interface, of which the older is the origin of the younger: documents, bulk requests, aliases and filters are
alike (``elastic_store.py``). Vectors, points in time and what a server says of itself are not: a :class:`Dialect` tells
them apart. A :class:`Wire` sends one request through the product's own client, and raises :class:`Refused` or
:class:`Unreached` for what comes back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeAlias

from regen.ports import CollectionSpec, Vector
from regen.stores.addresses import Address, Product
from regen.stores.graph_settings import GraphSettings

Json: TypeAlias = dict[str, Any]
VECTOR = "vector"
"""The field that a point's vector lies in."""
OTHER_PRODUCT = "other_product"
"""The kind of :class:`Refused` for an answer that is not the product's."""
TLS = "tls"
"""The kind for a connection that cannot be made safe."""


class Refused(Exception):
    """The server answered with an error. ``kind`` is its type; ``wait`` the seconds that it asks to wait, if any."""

    def __init__(self, status: int, kind: str, reason: str, wait: float | None = None) -> None:
        super().__init__(f"{status} {kind}: {reason}")
        self.status, self.kind, self.reason, self.wait = status, kind, reason, wait

    @classmethod
    def of(cls, status: int, body: object, wait: float | None = None) -> Refused:
        """Read the body of an error: JSON of the product, or whatever a proxy in between says."""
        error = body.get("error") if isinstance(body, Mapping) else body
        if isinstance(error, Mapping):
            causes = error.get("root_cause")
            if error.get("type") == "search_phase_execution_exception" and causes:
                error = causes[0]  # what the shards say
            return cls(status, str(error.get("type", "")), _reasons(error), wait)
        return cls(status, "", str(error or "")[:300], wait)


def _reasons(error: Mapping[str, Any]) -> str:
    cause = error.get("caused_by")
    inner = f" ({cause.get('reason')})" if isinstance(cause, Mapping) and cause.get("reason") else ""
    return f"{error.get('reason', '')}{inner}"[:500]


class Unreached(Exception):
    """No answer: nobody listens, the connection was lost, or it took too long."""


class Wire(Protocol):
    """One client of a product."""

    def send(self, method: str, path: str, params: Mapping[str, str], body: bytes | None, *, lines: bool) -> Json:
        """Send a request whose body is JSON, or lines of JSON, and return the answer. Raises Refused, Unreached."""
        ...

    def close(self) -> None:
        """Close its connections."""
        ...


class Dialect(ABC):
    """What one product says differently."""

    product: ClassVar[Product]
    most_dimensions: ClassVar[int]
    index_types: ClassVar[tuple[str, ...]] = ()
    """What ``store.index.type`` may be; none for a product that offers no choice."""
    credentials: ClassVar[str]
    """What the variable of the secret holds, for hints."""
    tie_breaker: ClassVar[str]
    """What tells all documents of a point in time apart in a sort."""

    @abstractmethod
    def wire(self, address: Address) -> Wire:
        """Open a client; nothing is sent yet."""

    @abstractmethod
    def unfit(self, info: Json) -> str | None:
        """Why a server that says this of itself cannot be used, None when it can."""

    @abstractmethod
    def settings(self, info: Json) -> Json:
        """The settings of a new index."""

    @abstractmethod
    def vector_field(self, spec: CollectionSpec, graph: GraphSettings, index_type: str | None) -> Json:
        """The mapping of the vectors of a new index. Inner products, or squared distances for the metric l2."""

    @abstractmethod
    def dimensions(self, mapping: Json) -> int | None:
        """How many dimensions a mapped field has, None for one that holds no vectors."""

    @abstractmethod
    def nearest(self, query: Vector, k: int, candidates: int, narrowed: Sequence[Json]) -> Json:
        """The body of a search for the k nearest of the points that all conditions let through."""

    @abstractmethod
    def source(self, info: Json, includes: Sequence[str]) -> Json:
        """What a search is told so that its hits carry these fields, vectors among them; none: all fields."""

    @abstractmethod
    def open_snapshot(self, index: str) -> tuple[str, str, Json]:
        """Method, path and parameters of the request for a point in time."""

    @abstractmethod
    def snapshot_id(self, answer: Json) -> str:
        """The point in time of its answer."""

    @abstractmethod
    def close_snapshot(self, snapshot: str) -> tuple[str, str, Json]:
        """Method, path and body of the request that ends a point in time."""


def version_of(info: Json) -> tuple[int, int]:
    """Major and minor version that a server says it is of."""
    parts = str(info.get("version", {}).get("number", "0.0")).split("-", maxsplit=1)[0].split(".")
    return int(parts[0]), int(parts[1]) if len(parts) > 1 else 0
