"""``pinecone://index``: namespaces of Pinecone's serverless indexes, one index for each number of dimensions.

What the adapter leans on (docs/adr/0017): a write is acknowledged before readers see it, so each is waited for
(``pinecone_freshness``); a read of a namespace that is gone is answered with nothing, and a write to it makes it anew,
so whoever writes, or finds nothing, asks whether the collection is still there. Numbers of records in statistics lag:
points are counted by listing their ids. An update of metadata merges: records are read and written whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, Final

from pinecone import Index

from regen.core.documents import Principal, Unrestricted
from regen.core.filters import Filter
from regen.errors import CollectionMissing, ConfigError, StoreError
from regen.ports import (
    CollectionSpec,
    FieldKind,
    ForeignColumns,
    ForeignRows,
    Payload,
    Points,
    StoredPayload,
    StoreHit,
    Vector,
    Vectors,
)
from regen.stores import pinecone_reading as reading
from regen.stores.batches import checked_points, checked_query
from regen.stores.cosine import as_unit
from regen.stores.layouts import check_made
from regen.stores.pinecone_connection import Address, Connection, IndexInfo, missing
from regen.stores.pinecone_filters import condition
from regen.stores.pinecone_freshness import Write, new_stamp, wait_until_seen
from regen.stores.pinecone_layout import Layout, changes, key_of, read, read_vectors, renewed, requests, vectors_of
from regen.stores.pinecone_layout import refusal as refused
from regen.stores.pinecone_register import REGISTER, Register
from regen.stores.records import Record, check_encodable, hit_of, scanned_page

_MOST_HITS: Final = 10_000
_LOOK_AGAIN_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """The index that a collection lies in, and what the register says of it."""

    info: IndexInfo
    layout: Layout


class PineconeStore:
    """The collections of one URL. Safe to use from several threads and processes."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection = Connection(address)
        self._register = Register(self._connection)
        self._lock, self._sending = Lock(), Lock()
        self._indexes: tuple[dict[str, IndexInfo], float] = {}, 0.0
        self._places: dict[str, tuple[Place, float]] = {}

    @classmethod
    def from_url(cls, url: str) -> PineconeStore:
        """Open ``pinecone://index``; nothing is connected to, or made, yet. Raises ConfigError for the URL."""
        return cls(Address.of(url))

    # ── collections ──

    def create(self, collection: str, spec: CollectionSpec) -> None:
        """Make an empty collection, and its index if there is none, or check that it has the same dimensions."""
        if spec.index:
            raise ConfigError(
                f"unknown index setting {min(spec.index)!r}", hint="Pinecone has none: leave store.index out"
            )
        place = self._find(collection, anew=True)
        if place is None:
            place = self._make(collection, spec)
        check_made(collection, place.layout.dimensions, spec.dimensions)
        self._ask(place, collection, partial(reading.make_namespace, name=collection))

    def _make(self, collection: str, spec: CollectionSpec) -> Place:
        name = self._address.index_for(spec.dimensions, spec.metric)
        if name not in self._known_indexes():
            self._connection.make_index(spec.dimensions, spec.metric)
        info = self._known_indexes(anew=name not in self._known_indexes())[name]
        if self._connection.call(info, collection, partial(reading.has_namespace, name=collection)):
            raise StoreError(
                f"namespace {collection!r} of index {name!r} exists and is no collection of regen's",
                hint="choose another alias or another index; `regen adopt` takes over what others have made",
            )
        self._register.add(info, collection, spec)
        return self._place(collection, anew=True)

    def drop(self, collection: str) -> None:
        """Remove a collection if it is there, and before it the aliases that point at it."""
        place = self._find(collection, anew=True)
        self._forget(collection)
        if place is None:
            return
        for alias in self._ask(place, collection, partial(reading.aliases_of, namespace=collection)):
            self._ask(place, collection, partial(reading.drop_alias, name=alias))
        self._ask(place, collection, partial(reading.drop_namespace, name=collection))
        self._register.remove(place.info, collection)

    def collections(self) -> list[str]:
        """The names of all collections, sorted."""
        return sorted(name for info in self._ours(anew=True) for name in self._register.names(info))

    def close(self) -> None:
        """Close the clients."""
        self._connection.close()

    # ── points ──

    def refusal(self, text: str, metadata: Mapping[str, Any], access: list[str] | None) -> str | None:
        """Why a chunk cannot be kept: a record takes 40 KB beside its vector."""
        return refused(text, metadata, access)

    def upsert(self, collection: str, points: Points) -> None:
        """Write points, replacing those of equal id; seen by everybody when it returns."""
        place = self._place(collection, anew=True)
        points = checked_points(collection, points, place.layout.dimensions, place.layout.precision)
        check_encodable(collection, points)
        self._upsert(place, collection, partial(vectors_of, collection, points, place.layout))

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Remove points; gone for everybody when it returns."""
        place = self._place(collection, anew=True)
        keys = [key_of(one) for one in ids]
        if keys:
            lsn = self._ask(place, collection, partial(reading.delete, namespace=collection, ids=keys))
            self._wait(place, Write(collection, place.layout.dimensions, keys, lsn))

    def fetch(self, collection: str, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """The points that exist, with their vectors as they were written."""
        place = self._place(collection)
        found = self._fetched(place, collection, [key_of(one) for one in dict.fromkeys(ids)])
        if not found:
            place = self._place(collection, anew=True)  # a collection that is gone is said to be
        return [one.metadata["point_id"] for one in found], read_vectors(found, place.layout)

    def count(self, collection: str) -> int:
        """How many points there are, by listing their ids."""
        return len(self._ids(self._place(collection, anew=True), collection))

    def scan(self, collection: str, batch: int = 4096) -> Iterator[StoredPayload]:
        """All points that stay while the scan lasts, in the order of their ids, a page of at most ``batch`` each."""
        place = self._place(collection, anew=True)
        ids = self._ids(place, collection)
        for start in range(0, len(ids), batch):
            found = {one.id: one for one in self._fetched(place, collection, ids[start : start + batch])}
            if records := [read(found[one].metadata) for one in ids[start : start + batch] if one in found]:
                yield scanned_page(records)

    def foreign_collections(self) -> list[str]:
        """The namespaces of the index that the URL names, sorted."""
        info = self._known_indexes(anew=True).get(self._address.index)
        return [] if info is None else sorted(self._connection.call(info, "*", reading.namespaces))

    def foreign(self, collection: str, columns: ForeignColumns, batch: int = 2048) -> Iterator[ForeignRows]:
        """All records of a namespace, ``__default__`` for the one without a name, of the index that the URL names."""
        info = self._known_indexes(anew=True).get(self._address.index)
        if info is None or collection not in self.foreign_collections():
            raise missing(collection, self._address.shown)
        rows = partial(reading.foreign_rows, namespace=collection, wanted=columns, batch=batch)
        yield from self._connection.call(info, collection, rows)

    # ── search ──

    def search(
        self,
        collection: str,
        vector: Vector,
        k: int,
        *,
        where: Filter = (),
        principals: frozenset[Principal] | Unrestricted | None = None,
    ) -> list[StoreHit]:
        """The k best points that the filter and the principals let through; 10,000 at most."""
        place = self._place(collection)
        if any(clause.key not in place.layout.fields for clause in where):
            place = self._place(collection, anew=True)  # another process may have added the field
        layout = place.layout
        query = as_unit(checked_query(collection, vector, layout.dimensions), layout.metric)
        narrowed = condition(where, layout.fields, principals)
        hits = []
        if query is not None and narrowed is not None and k > 0:
            most = min(k, _MOST_HITS)
            best = partial(reading.best, vector=query.tolist(), k=most, namespace=collection, where=narrowed)
            hits = self._ask(place, collection, best)
        if not hits:
            self._place(collection, anew=True)  # a collection that is gone is said to be
        return [hit_of(read(metadata), layout.score(score)) for metadata, score in hits]

    # ── powers ──

    def update_payload(self, collection: str, ids: Sequence[str], payload: Payload) -> None:
        """Replace metadata, access and revision of the points that exist.

        Pinecone would merge them, so records are read and written whole; who does that holds the generation's lease.
        """
        place = self._place(collection, anew=True)
        last = changes(ids, payload, place.layout.fields)
        found = self._fetched(place, collection, list(last))
        self._upsert(place, collection, partial(renewed, found, last))

    def add_fields(self, collection: str, fields: dict[str, FieldKind]) -> None:
        """Add filterable keys; points that are there hold none of them."""
        place = self._place(collection, anew=True)
        new = {key: kind for key, kind in fields.items() if key not in place.layout.fields}
        if new:
            self._register.add_fields(place.info, collection, new)
            self._forget(collection)

    def set_alias(self, alias: str, collection: str) -> None:
        """Point a namespace alias at a collection, atomically, within its index.

        Where the alias points in an index of other dimensions it goes on to point: who reads there embeds its queries
        with the model of the old generation.
        """
        place = self._place(collection, anew=True)
        if self._find(alias, anew=True) is not None:
            raise StoreError(f"the alias {alias!r} cannot be set: a collection has that name", hint="choose another")
        if self.alias_target(alias) != collection:
            self._ask(place, collection, partial(reading.point_alias, name=alias, namespace=collection))

    def alias_target(self, alias: str) -> str | None:
        """The collection that an alias points at: of several indexes, where it was pointed last."""
        held = [self._connection.call(info, alias, partial(reading.alias, name=alias)) for info in self._ours()]
        last = max((one for one in held if one), key=lambda one: str(one["updated_at"]), default=None)
        return None if last is None else str(last["target_namespace"])

    # ── requests ──

    def _ask(self, place: Place, collection: str, request: Any) -> Any:
        try:
            return self._connection.call(place.info, collection, request)
        except CollectionMissing:
            self._forget(collection)
            raise

    def _upsert(self, place: Place, collection: str, vectors: Callable[[str], Sequence[Record]]) -> None:
        """Send what ``vectors`` makes of the time of writing, and wait until it is seen."""
        lsn: int | None = None

        def write(index: Index, some: list[Any]) -> int | None:
            answer = index.upsert(vectors=some, namespace=collection)
            if answer.upserted_count != len(some):
                raise StoreError(
                    f"Pinecone took {answer.upserted_count} of {len(some)} points for {collection!r}",
                    hint="nothing acknowledged is lost; run again",
                )
            return answer.response_info.lsn_committed if answer.response_info else None

        with self._sending:  # so that here the later time is the later write
            stamp = new_stamp()
            made = vectors(stamp)
            for some in requests(made):
                lsn = self._ask(place, collection, partial(write, some=some))
        self._wait(place, Write(collection, place.layout.dimensions, [one["id"] for one in made], lsn, stamp))

    def _wait(self, place: Place, write: Write) -> None:
        wait = partial(wait_until_seen, write=write, seconds=self._address.timeout)
        self._ask(place, write.namespace, wait)

    def _fetched(self, place: Place, collection: str, ids: list[str]) -> list[Any]:
        ask = partial(reading.fetched, ids=ids, namespace=collection)
        return list(self._ask(place, collection, lambda index: list(ask(index))))

    def _ids(self, place: Place, collection: str) -> list[str]:
        return sorted(self._ask(place, collection, lambda index: list(reading.ids_in(index, collection))))

    # ── places ──

    def _known_indexes(self, *, anew: bool = False) -> dict[str, IndexInfo]:
        with self._lock:
            held, at = self._indexes
        if anew or not held or time.monotonic() - at > _LOOK_AGAIN_SECONDS:
            held = self._connection.indexes()
            with self._lock:
                self._indexes = held, time.monotonic()
        return held

    def _ours(self, *, anew: bool = False) -> list[IndexInfo]:
        return [info for name, info in self._known_indexes(anew=anew).items() if self._address.is_ours(name)]

    def _find(self, collection: str, *, anew: bool = False) -> Place | None:
        """Where a collection lies, None when it is nowhere."""
        with self._lock:
            held = self._places.get(collection)
        if held is not None and not anew and time.monotonic() - held[1] < _LOOK_AGAIN_SECONDS:
            return held[0]
        for info in self._where_it_may_lie(None if held is None else held[0].info):
            if (layout := self._register.read(info, collection)) is not None:
                place = Place(info, layout)
                with self._lock:
                    self._places[collection] = place, time.monotonic()
                return place
        self._forget(collection)
        return None

    def _where_it_may_lie(self, likely: IndexInfo | None) -> Iterator[IndexInfo]:
        """The indexes of this URL, first where a collection was, last those that another process has made meanwhile."""
        looked_at = [] if likely is None else [likely]
        yield from looked_at
        for anew in (False, True):
            for info in self._ours(anew=anew):
                if info not in looked_at:
                    looked_at.append(info)
                    yield info

    def _place(self, collection: str, *, anew: bool = False) -> Place:
        place = None if collection == REGISTER else self._find(collection, anew=anew)
        if place is None:
            raise missing(collection, self._address.shown)
        return place

    def _forget(self, collection: str) -> None:
        with self._lock:
            self._places.pop(collection, None)
