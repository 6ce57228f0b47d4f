"""The ports: what the engine needs of a source, an embedder, a store and a catalog.

Each is a small required Protocol; an optional power is a Protocol of its own, and the engine asks with ``isinstance``.
Ports are synchronous; concurrency is threads. ``regen.testing`` ships a conformance suite for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from regen.core.documents import Document, Principal, Unreadable, Unrestricted
from regen.core.filters import Filter
from regen.core.recipe import Metric, Precision

Vectors: TypeAlias = NDArray[np.float32]
"""A matrix of shape (texts, dimensions)."""
Vector: TypeAlias = NDArray[np.float32]
"""One vector of shape (dimensions,)."""

# ── sources ─────────────────────────────────────────────────────────────────────────────────────────────────


@runtime_checkable
class Source(Protocol):
    """Where documents come from.

    ``full`` is True when one scan delivers everything the source has, so that what is missing has been deleted.
    """

    @property
    def name(self) -> str:
        """The stable name under which the catalog keeps this source's documents."""
        ...

    @property
    def full(self) -> bool:
        """Whether a scan is complete."""
        ...

    def scan(self, known: KnownStamps) -> Iterator[ScanBatch]:
        """Deliver all documents in batches. Raises SourceError when the source as a whole cannot be read."""
        ...


class KnownStamps(Protocol):
    """What the catalog remembers of cheap checks: the stamp under which a document was last read."""

    def stamps(self, ids: Sequence[str]) -> dict[str, str]:
        """The stamps of those ids that are known, current and readable."""
        ...


@dataclass(slots=True)
class ScanBatch:
    """A part of a scan.

    ``documents`` were read. ``untouched`` are ids whose stamp (size and time, an ETag, …) proves that they need not be
    read. ``unreadable`` exist but cannot be delivered. ``stamps`` maps ids of ``documents`` to their new stamps.
    """

    documents: list[Document] = field(default_factory=list)
    untouched: list[str] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    stamps: dict[str, str] = field(default_factory=dict)


@runtime_checkable
class PartialSource(Protocol):
    """A source that can deliver named documents only: what makes ``sync --watch`` quick."""

    def read(self, ids: Iterable[str]) -> tuple[ScanBatch, list[str]]:
        """The named documents, and which of the ids the source does not have (any more)."""
        ...


@runtime_checkable
class WatchableSource(PartialSource, Protocol):
    """A source that tells what changes while it changes."""

    def watch(self, stop: StopSignal) -> Iterator[set[str]]:
        """Yield sets of ids that were created, edited or deleted, until ``stop`` is set."""
        ...


class StopSignal(Protocol):
    """What ``threading.Event`` offers to the one who must stop."""

    def is_set(self) -> bool:
        """Whether to stop."""
        ...


# ── embedders ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model says of itself. ``name`` parses back: it is what ``embedding.model`` names.

    Models of one ``family`` (default: the name) and one revision give the same vectors up to truncation.
    ``max_tokens`` is the length above which the model would cut a text (None: it never does). ``matryoshka`` lists the
    dimensions to which its vectors may be truncated. ``price_per_million_tokens`` is in US dollars.
    ``local`` says that it runs in this process: asking it for a sample costs nobody anything but a moment.
    """

    name: str
    dimensions: int
    revision: str = ""
    max_tokens: int | None = None
    max_batch_texts: int = 2048
    max_batch_tokens: int = 65_536
    document_prefix: str = ""
    query_prefix: str = ""
    matryoshka: tuple[int, ...] = ()
    family: str = ""
    price_per_million_tokens: float = 0.0
    concurrency: int = 1
    local: bool = False


@runtime_checkable
class Embedder(Protocol):
    """A model that turns texts into vectors. Prefixes and normalisation are the engine's work, not the adapter's."""

    @property
    def info(self) -> ModelInfo:
        """What the model says of itself; cheap and constant."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dimensions), in order.

        Raises RateLimited, TextRejected or another EmbedderError.
        """
        ...

    def embed_query(self, text: str) -> Vector:
        """The vector of a query, shape (dimensions,)."""
        ...

    def token_starts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """For each text the character offsets at which its tokens start, ascending; as many as it has tokens."""
        ...


@runtime_checkable
class ClosingEmbedder(Embedder, Protocol):
    """An embedder that holds connections or files."""

    def close(self) -> None:
        """Release them. Idempotent; a call that is under way may fail."""
        ...


@runtime_checkable
class VectorCache(Protocol):
    """A cache of vectors by space and text."""

    def get_many(self, space: str, texts: Sequence[str]) -> dict[int, Vector]:
        """The vectors that are there, by position in ``texts``. Raises SpaceMismatch for another dimension."""
        ...

    def put_many(self, space: str, texts: Sequence[str], vectors: Vectors) -> None:
        """Keep vectors."""
        ...

    def close(self) -> None:
        """Release the file. Idempotent."""
        ...


# ── stores ──────────────────────────────────────────────────────────────────────────────────────────────────

FieldKind: TypeAlias = Literal["string", "number", "boolean", "strings"]
"""How a filterable metadata key is kept: a scalar of one kind, or a list of strings."""


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """What a collection is made with. ``fields`` are the filterable metadata keys, in any order.

    ``precision`` is what the vectors are of when they are written: int8 means whole numbers from -127 to 127, binary
    means -1 and 1. A store may keep them in as few bits as that needs, or in more.
    """

    dimensions: int
    metric: Metric = "cosine"
    fields: dict[str, FieldKind] = field(default_factory=dict)
    index: dict[str, Any] = field(default_factory=dict)
    precision: Precision = "float32"


@dataclass(slots=True)
class Payload:
    """What a store keeps beside a vector. Columns of equal length, one entry a point.

    ``metadata`` holds the whole metadata; a store keeps of it the keys of ``CollectionSpec.fields`` (a value of another
    kind than declared is kept as absent). ``audit`` holds what only an auditor reads: equal keys for every point.
    """

    chunk_id: list[str]
    token: list[int]
    doc_id: list[str]
    text: list[str]
    position: list[int]
    revision: list[int]
    metadata: list[dict[str, Any]]
    access: list[list[str] | None]
    audit: dict[str, list[Any]] = field(default_factory=dict)


@dataclass(slots=True)
class Points:
    """A batch of points: ids, vectors of shape (len(ids), dimensions) and payload."""

    ids: list[str]
    vectors: Vectors
    payload: Payload


@dataclass(frozen=True, slots=True)
class StoreHit:
    """One candidate of a store query. ``score`` is higher for better: cosine, inner product, or minus squared L2."""

    point_id: str
    score: float
    chunk_id: str
    token: int
    doc_id: str
    text: str


@dataclass(slots=True)
class StoredPayload:
    """A page of :meth:`Store.scan`: ids with what the store holds for them (``metadata``: the filterable keys only)."""

    ids: list[str]
    payload: Payload


@runtime_checkable
class Store(Protocol):
    """A vector store. A collection is one generation's; names are chosen by the engine ([a-z0-9_] only)."""

    def create(self, collection: str, spec: CollectionSpec) -> None:
        """Make an empty collection; does nothing if it exists with the same dimensions, else raises StoreError."""
        ...

    def drop(self, collection: str) -> None:
        """Remove a collection; does nothing if it is not there."""
        ...

    def collections(self) -> list[str]:
        """The names of all collections, sorted."""
        ...

    def upsert(self, collection: str, points: Points) -> None:
        """Write points, replacing those of equal id. Visible to later searches of this object when it returns.

        Raises SpaceMismatch when the vectors have another dimension than the collection, CollectionMissing, StoreError.
        """
        ...

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Remove points; ids that are not there are ignored."""
        ...

    def search(
        self,
        collection: str,
        vector: Vector,
        k: int,
        *,
        where: Filter = (),
        principals: frozenset[Principal] | Unrestricted | None = None,
    ) -> list[StoreHit]:
        """The up to k best points, best first.

        ``where`` and ``principals`` narrow the candidates as far as the store can do so exactly (a clause on a key that
        is not a field, or whose value is not of the field's kind, is left out: the fence applies it). It never leaves
        out a point that satisfies them. ``principals`` of None or an empty set sees public points only.
        """
        ...

    def fetch(self, collection: str, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """Those of the ids that exist, in any order, with their vectors as they were written."""
        ...

    def count(self, collection: str) -> int:
        """How many points the collection holds."""
        ...

    def scan(self, collection: str, batch: int = 4096) -> Iterator[StoredPayload]:
        """All points of the collection, a page at a time, without vectors."""
        ...

    def close(self) -> None:
        """Release files and connections. Idempotent."""
        ...


@runtime_checkable
class InsertStore(Protocol):
    """A store that writes points faster when it need not look for their ids."""

    def insert(self, collection: str, points: Points) -> None:
        """Write points whose ids were never written before; with ids that were, the outcome is undefined.

        All of them or none are there when it returns or raises. Raises as ``upsert`` does.
        """
        ...


@runtime_checkable
class PayloadStore(Protocol):
    """A store that can change payloads without being sent the vectors."""

    def update_payload(self, collection: str, ids: Sequence[str], payload: Payload) -> None:
        """Replace metadata, access and revision of existing points. Points that are not there are *not* created."""
        ...


@dataclass(frozen=True, slots=True)
class ForeignColumns:
    """Where a collection that regen did not make keeps what; None: to be found by name and type.

    ``metadata`` of None takes every other column.
    """

    id: str | None = None
    text: str | None = None
    vector: str | None = None
    metadata: tuple[str, ...] | None = None


@dataclass(slots=True)
class ForeignRows:
    """A page of a foreign collection; ``vectors`` has shape (len(ids), dimensions)."""

    ids: list[str]
    texts: list[str]
    metadata: list[dict[str, Any]]
    vectors: Vectors


@runtime_checkable
class AdoptableStore(Protocol):
    """A store whose foreign collections can be read in full."""

    def foreign(self, collection: str, columns: ForeignColumns, batch: int = 2048) -> Iterator[ForeignRows]:
        """All rows of a collection, a page at a time. Raises CollectionMissing, ConfigError for columns."""
        ...


@runtime_checkable
class ForeignListingStore(Protocol):
    """A store that shares its place with others, whose collections :meth:`Store.collections` does not list."""

    def foreign_collections(self) -> list[str]:
        """The names of collections that regen did not make, as ``foreign`` takes them, sorted."""
        ...


@runtime_checkable
class AliasStore(Protocol):
    """A store with aliases of its own, which follow the catalog's, for applications that query the store directly.

    An alias is no collection: ``collections`` does not list it, and it is never another collection's name.
    """

    def set_alias(self, alias: str, collection: str) -> None:
        """Point an alias at a collection, atomically; idempotent. Raises CollectionMissing, and moves nothing then."""
        ...

    def alias_target(self, alias: str) -> str | None:
        """The collection that an alias points at, None when it points nowhere: never set, or its collection dropped."""
        ...


@runtime_checkable
class FieldStore(Protocol):
    """A store whose filterable keys can grow after creation."""

    def add_fields(self, collection: str, fields: dict[str, FieldKind]) -> None:
        """Add filterable keys; existing points hold none of them. Keys that are there already are ignored."""
        ...


@runtime_checkable
class SizedStore(Protocol):
    """A store that knows how much room its vectors take, and how much is left."""

    def vector_bytes(self, spec: CollectionSpec, points: int) -> float:
        """Bytes that one vector takes in a collection of so many points, its share of a vector index included."""
        ...

    def free_bytes(self) -> int | None:
        """Bytes that are free where collections lie, None when the store cannot tell."""
        ...


@runtime_checkable
class MaintainedStore(Protocol):
    """A store whose collections need upkeep: compaction, index building, removal of old versions."""

    def maintain(self, collection: str, *, force: bool = False) -> list[str]:
        """Do what pays now and tell what was done, one phrase each; with ``force`` do all of it."""
        ...
