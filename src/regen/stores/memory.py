"""``memory://``: an exact store on numpy arrays, for tests, small corpora and as the oracle of the other stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock, RLock
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regen.core.documents import Principal, Unrestricted, may_see
from regen.core.fields import kept
from regen.core.filters import Filter, matches
from regen.core.recipe import Metric, Precision
from regen.errors import CollectionMissing, ConfigError, StoreError
from regen.ports import CollectionSpec, FieldKind, Payload, Points, StoredPayload, StoreHit, Vector, Vectors
from regen.stores.batches import checked_points, checked_query
from regen.stores.words import bm25

_SCHEME: Final = "memory://"
_FIRST_ROWS: Final = 1024
_Kept: TypeAlias = NDArray[np.float32] | NDArray[np.float16] | NDArray[np.int8] | NDArray[np.uint8]
_TYPES: Final[dict[Precision, type]] = {
    "float32": np.float32,
    "float16": np.float16,
    "int8": np.int8,
    "binary": np.uint8,
}


class MemoryStore:
    """A store in this process's memory: exact, thread-safe, gone when the process ends."""

    _named: ClassVar[dict[str, MemoryStore]] = {}
    _named_lock: ClassVar[Lock] = Lock()

    def __init__(self) -> None:
        self._lock = RLock()
        self._collections: dict[str, _Collection] = {}
        self._aliases: dict[str, str] = {}

    @classmethod
    def from_url(cls, url: str) -> MemoryStore:
        """``memory://name`` is one store per name in this process; ``memory://`` is a new one every time.

        Raises ConfigError for another scheme.
        """
        if not url.startswith(_SCHEME):
            raise ConfigError(f"{url!r} is not a memory store's URL", hint=f"write {_SCHEME} or {_SCHEME}name")
        name = url.removeprefix(_SCHEME)
        if not name:
            return cls()
        with cls._named_lock:
            return cls._named.setdefault(name, cls())

    def create(self, collection: str, spec: CollectionSpec) -> None:
        """Make an empty collection, or check that the one that is there has the same dimensions."""
        with self._lock:
            new = _Collection(collection, spec.dimensions, spec.metric, spec.precision, dict(spec.fields))
            found = self._collections.setdefault(collection, new)
            if found.dimensions != spec.dimensions:
                raise StoreError(
                    f"collection {collection!r} exists with {found.dimensions} dimensions, not {spec.dimensions}",
                    hint="drop it first, or choose another name",
                )

    def drop(self, collection: str) -> None:
        """Remove a collection if it is there."""
        with self._lock:
            self._collections.pop(collection, None)
            self._aliases = {alias: target for alias, target in self._aliases.items() if target != collection}

    def collections(self) -> list[str]:
        """The names of all collections, sorted."""
        with self._lock:
            return sorted(self._collections)

    def upsert(self, collection: str, points: Points) -> None:
        """Write points, replacing those of equal id."""
        with self._lock:
            found = self._find(collection)
            found.write(checked_points(collection, points, found.dimensions, found.precision))

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Remove those of the points that are there."""
        with self._lock:
            self._find(collection).remove(ids)

    def search(
        self,
        collection: str,
        vector: Vector,
        k: int,
        *,
        where: Filter = (),
        principals: frozenset[Principal] | Unrestricted | None = None,
    ) -> list[StoreHit]:
        """The k best points that the filter and the principals let through, best first."""
        with self._lock:
            found = self._find(collection)
            query = checked_query(collection, vector, found.dimensions)
            return found.best(query, k, where, principals or frozenset())

    def search_words(
        self,
        collection: str,
        query: str,
        k: int,
        *,
        where: Filter = (),
        principals: frozenset[Principal] | Unrestricted | None = None,
    ) -> list[StoreHit]:
        """The k best points by the words of their texts, by BM25 over all points that may be found."""
        with self._lock:
            return self._find(collection).best_by_words(query, k, where, principals or frozenset())

    def fetch(self, collection: str, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """The points that exist, with copies of their vectors."""
        with self._lock:
            found = self._find(collection)
            known = [point_id for point_id in dict.fromkeys(ids) if point_id in found.rows]
            return known, found.decoded([found.rows[point_id] for point_id in known])

    def count(self, collection: str) -> int:
        """How many points there are."""
        with self._lock:
            return len(self._find(collection).rows)

    def scan(self, collection: str, batch: int = 4096) -> Iterator[StoredPayload]:
        """All points that were there when the scan began and still are, a page at a time."""
        with self._lock:
            found = self._find(collection)
            ids = list(found.rows)
        for start in range(0, len(ids), batch):
            with self._lock:
                page = [point_id for point_id in ids[start : start + batch] if point_id in found.rows]
                read = found.read(page)
            if page:
                yield StoredPayload(page, read)

    def update_payload(self, collection: str, ids: Sequence[str], payload: Payload) -> None:
        """Replace metadata, access and revision of the points that exist."""
        with self._lock:
            self._find(collection).update(ids, payload)

    def add_fields(self, collection: str, fields: dict[str, FieldKind]) -> None:
        """Add filterable keys; points that are there hold none of them."""
        with self._lock:
            found = self._find(collection)
            found.fields.update({key: kind for key, kind in fields.items() if key not in found.fields})

    def set_alias(self, alias: str, collection: str) -> None:
        """Point an alias at a collection that is there."""
        with self._lock:
            self._find(collection)
            self._aliases[alias] = collection

    def alias_target(self, alias: str) -> str | None:
        """Where an alias points, while that is there."""
        with self._lock:
            return self._aliases.get(alias)

    def vector_bytes(self, spec: CollectionSpec, points: int) -> float:  # noqa: ARG002 - the port's
        """Bytes of one vector in memory."""
        return float(_width(spec.dimensions, spec.precision) * np.dtype(_TYPES[spec.precision]).itemsize)

    def free_bytes(self) -> int | None:
        """Nobody knows how much memory will be left."""
        return None

    def close(self) -> None:
        """Nothing to release: a named store lives as long as its process."""

    def _find(self, collection: str) -> _Collection:
        if collection not in self._collections:
            raise CollectionMissing(
                f"there is no collection {collection!r}", hint=f"this store holds {sorted(self._collections) or 'none'}"
            )
        return self._collections[collection]


@dataclass(slots=True)
class _Entry:
    """The payload of one point. ``metadata`` holds the filterable keys with any value: what filters are exact on."""

    chunk_id: str
    token: int
    doc_id: str
    text: str
    position: int
    revision: int
    metadata: dict[str, Any]
    access: list[str] | None
    audit: dict[str, Any]


@dataclass(slots=True)
class _Collection:
    """Vectors in one growing array; ``rows`` says which of its rows a point has. Freed rows are used again.

    The array holds as many bits a number as the precision needs; signs are packed, eight to a byte.
    """

    name: str
    dimensions: int
    metric: Metric
    precision: Precision = "float32"
    fields: dict[str, FieldKind] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    ids: list[str | None] = field(default_factory=list)
    entries: list[_Entry] = field(default_factory=list)
    free: list[int] = field(default_factory=list)
    vectors: _Kept = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def write(self, points: Points) -> None:
        rows = [self._row(point_id) for point_id in points.ids]
        self._grow(len(self.ids))
        self.vectors[rows] = np.packbits(points.vectors > 0, axis=1) if self.precision == "binary" else points.vectors
        payload = points.payload
        for at, row in enumerate(rows):
            self.entries[row] = _Entry(
                payload.chunk_id[at],
                payload.token[at],
                payload.doc_id[at],
                payload.text[at],
                payload.position[at],
                payload.revision[at],
                self._filterable(payload.metadata[at]),
                _copy(payload.access[at]),
                {key: values[at] for key, values in payload.audit.items()},
            )

    def remove(self, ids: Sequence[str]) -> None:
        for point_id in ids:
            row = self.rows.pop(point_id, None)
            if row is not None:
                self.ids[row] = None
                self.free.append(row)

    def update(self, ids: Sequence[str], payload: Payload) -> None:
        for at, point_id in enumerate(ids):
            row = self.rows.get(point_id)
            if row is not None:
                entry = self.entries[row]
                entry.metadata = self._filterable(payload.metadata[at])
                entry.access = _copy(payload.access[at])
                entry.revision = payload.revision[at]

    def best(
        self, query: Vector, k: int, where: Filter, principals: frozenset[Principal] | Unrestricted
    ) -> list[StoreHit]:
        scores = self._scores(query)
        passes = self._passing(where, principals)
        hits: list[StoreHit] = []
        for row in np.argsort(-scores, kind="stable"):
            if len(hits) >= k or scores[row] == -np.inf:
                break
            if passes(self.entries[row]):
                hits.append(self._hit(row, float(scores[row])))
        return hits

    def best_by_words(
        self, query: str, k: int, where: Filter, principals: frozenset[Principal] | Unrestricted
    ) -> list[StoreHit]:
        rows = list(self.rows.values())
        scores = bm25(query, [self.entries[row].text for row in rows])
        passes = self._passing(where, principals)
        found = [(row, score) for row, score in zip(rows, scores, strict=True) if score and passes(self.entries[row])]
        return [self._hit(row, score) for row, score in sorted(found, key=lambda one: -one[1])[: max(k, 0)]]

    def _passing(self, where: Filter, principals: frozenset[Principal] | Unrestricted) -> Callable[[_Entry], bool]:
        clauses = tuple(clause for clause in where if clause.key in self.fields)
        return lambda entry: may_see(entry.access, principals) and matches(clauses, entry.metadata)

    def read(self, ids: Sequence[str]) -> Payload:
        entries = [self.entries[self.rows[point_id]] for point_id in ids]
        keys = dict.fromkeys(key for entry in entries for key in entry.audit)
        return Payload(
            chunk_id=[entry.chunk_id for entry in entries],
            token=[entry.token for entry in entries],
            doc_id=[entry.doc_id for entry in entries],
            text=[entry.text for entry in entries],
            position=[entry.position for entry in entries],
            revision=[entry.revision for entry in entries],
            metadata=[kept(entry.metadata, self.fields) for entry in entries],
            access=[_copy(entry.access) for entry in entries],
            audit={key: [entry.audit.get(key) for entry in entries] for key in keys},
        )

    def _row(self, point_id: str) -> int:
        row = self.rows.get(point_id)
        if row is None:
            row = self.free.pop() if self.free else len(self.ids)
            if row == len(self.ids):
                self.ids.append(None)
                self.entries.append(_Entry("", 0, "", "", 0, 0, {}, None, {}))
            self.rows[point_id], self.ids[row] = row, point_id
        return row

    def _grow(self, rows: int) -> None:
        if rows > len(self.vectors):
            width = _width(self.dimensions, self.precision)
            grown: _Kept = np.zeros((max(rows, 2 * len(self.vectors), _FIRST_ROWS), width), _TYPES[self.precision])
            grown[: len(self.vectors)] = self.vectors.reshape(-1, width)
            self.vectors = grown

    def decoded(self, rows: list[int] | slice) -> Vectors:
        """Rows of the array as float32, shape (rows, dimensions)."""
        kept = self.vectors.reshape(-1, _width(self.dimensions, self.precision))[rows]
        if self.precision != "binary":
            return kept.astype(np.float32, copy=False)
        bits = np.unpackbits(kept.view(np.uint8), axis=1, count=self.dimensions)
        return np.where(bits, np.float32(1), np.float32(-1))

    def _filterable(self, metadata: dict[str, Any]) -> dict[str, Any]:
        return {key: metadata[key] for key in self.fields if key in metadata}

    def _scores(self, query: Vector) -> NDArray[np.float32]:
        """The score of every row; minus infinity for free rows and where cosine is undefined (a zero vector)."""
        used = self.decoded(slice(len(self.ids)))
        scores: NDArray[np.float32]
        if self.metric == "l2":
            scores = -np.square(used - query).sum(axis=1)
        elif self.metric == "dot":
            scores = used @ query
        else:
            lengths = np.linalg.norm(used, axis=1) * np.linalg.norm(query)
            scores = np.full(len(used), -np.inf, np.float32)
            np.divide(used @ query, lengths, out=scores, where=lengths > 0)
        scores[self.free] = -np.inf
        return scores

    def _hit(self, row: int, score: float) -> StoreHit:
        entry, point_id = self.entries[row], self.ids[row]
        assert point_id is not None
        return StoreHit(point_id, score, entry.chunk_id, entry.token, entry.doc_id, entry.text)


def _width(dimensions: int, precision: Precision) -> int:
    return -(-dimensions // 8) if precision == "binary" else dimensions


def _copy(access: list[str] | None) -> list[str] | None:
    return None if access is None else list(access)
