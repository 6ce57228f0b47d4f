"""``chroma://host`` and ``chroma+file://folder``: collections of a Chroma server, or of Chroma in this process.

What the adapter leans on (docs/adr/0017): a write is seen by every later read of the same process or server when it
returns. Chroma merges metadata, in updates and in upserts alike, so every key that a point could hold is named each
time, with null for what is gone. ``add`` is never used: of ids that are there it says nothing and writes nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np
from chromadb.api import ClientAPI
from chromadb.api.models.Collection import Collection
from chromadb.errors import NotFoundError

from regen.core.documents import Principal, Unrestricted
from regen.core.filters import Filter
from regen.errors import CollectionMissing, StoreError
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
from regen.stores.addresses import Address
from regen.stores.batches import checked_points, checked_query
from regen.stores.chroma_connection import CHROMA, Connection, batched, missing, rows
from regen.stores.chroma_filters import condition
from regen.stores.chroma_layout import (
    EVERY,
    Layout,
    changed_metadata,
    collection_metadata,
    configuration,
    field_entries,
    read_vectors,
    record_of,
    written,
)
from regen.stores.cosine import ZERO, as_unit
from regen.stores.foreign_payloads import flat
from regen.stores.layouts import check_made
from regen.stores.records import check_encodable, hit_of, scanned_page

_PLAIN: Final = re.compile(r"[a-z0-9][a-z0-9_]+[a-z0-9]")
_IDS_A_REQUEST: Final = 1000
_LOOK_AGAIN_SECONDS: Final = 30.0


class ChromaStore:
    """The collections of one Chroma. Safe to use from several threads; of a server, from several processes."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection = Connection(address)
        self._lock = Lock()
        self._held: dict[str, tuple[Collection, Layout, float]] = {}
        self._most = 0

    @classmethod
    def from_url(cls, url: str, root: str | Path = ".") -> ChromaStore:
        """Open ``chroma://host[:port]`` or ``chroma+file://folder``; nothing is connected to, or made, yet.

        Raises ConfigError for the URL.
        """
        return cls(Address.of(url, CHROMA, Path(root)))

    # ── collections ──

    def create(self, collection: str, spec: CollectionSpec) -> None:
        """Make an empty collection, or check that the one that is there has the same dimensions."""
        settings = configuration(spec)
        if self._find(collection) is None:
            make = partial(_make, name=_escaped(collection), metadata=collection_metadata(spec), configuration=settings)
            self._connection.call(collection, make)
        self._forget(collection)
        check_made(collection, self._open(collection)[1].dimensions, spec.dimensions)

    def drop(self, collection: str) -> None:
        """Remove a collection if it is there."""
        self._forget(collection)
        if self._address.is_there and self._find(collection) is not None:
            self._connection.call(collection, lambda client: client.delete_collection(_escaped(collection)))

    def collections(self) -> list[str]:
        """The names of all collections, sorted."""
        if not self._address.is_there:
            return []
        return sorted(_unescaped(item.name) for item in self._connection.call("*", _all_collections))

    def close(self) -> None:
        """Close the client."""
        with self._lock:
            self._held.clear()
        self._connection.close()

    # ── points ──

    def upsert(self, collection: str, points: Points) -> None:
        """Write points, replacing those of equal id in all they hold."""
        held, layout = self._open(collection, anew=True)
        points = checked_points(collection, points, layout.dimensions, layout.precision)
        check_encodable(collection, points)
        vectors, texts, metadata = written(points, layout)
        for part in batched(len(points.ids), self._largest(collection)):
            some: dict[str, Any] = {
                "ids": points.ids[part],
                "embeddings": vectors[part],
                "documents": texts[part],
                "metadatas": metadata[part],
            }
            self._ask(collection, partial(held.upsert, **some))

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Remove points."""
        held, _ = self._open(collection)
        for part in batched(len(ids), min(_IDS_A_REQUEST, self._largest(collection))):
            self._ask(collection, partial(held.delete, ids=list(ids[part])))

    def fetch(self, collection: str, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """The points that exist, with their vectors as they were written."""
        held, layout = self._open(collection)
        known, found = list(dict.fromkeys(ids)), []
        pages: list[Vectors] = [np.empty((0, layout.dimensions), np.float32)]
        for part in batched(len(known), _IDS_A_REQUEST):
            page = self._ask(collection, partial(held.get, ids=known[part], include=["embeddings", "metadatas"]))
            found += rows(page, "ids")
            pages.append(read_vectors(rows(page, "embeddings"), rows(page, "metadatas"), layout))
        return found, np.concatenate(pages)

    def count(self, collection: str) -> int:
        """How many points there are."""
        held, _ = self._open(collection)
        return int(self._ask(collection, held.count))

    def scan(self, collection: str, batch: int = 4096) -> Iterator[StoredPayload]:
        """All points that were there when the scan began and still are, a page at a time.

        Chroma's own paging counts from the start, and would skip points while others are deleted.
        """
        held, _ = self._open(collection, anew=True)
        ids = rows(self._ask(collection, partial(held.get, include=[])), "ids")
        for part in batched(len(ids), min(batch, _IDS_A_REQUEST)):
            page = self._ask(collection, partial(held.get, ids=ids[part], include=["documents", "metadatas"]))
            columns = [rows(page, name) for name in ("ids", "documents", "metadatas")]
            if columns[0]:
                yield scanned_page([record_of(*row) for row in zip(*columns, strict=True)])

    def foreign(self, collection: str, columns: ForeignColumns, batch: int = 2048) -> Iterator[ForeignRows]:
        """All points of a collection that regen did not make, a page at a time. Texts are Chroma's documents."""
        held = self._connection.call(collection, partial(_get, name=_escaped(collection)))
        if held is None:
            raise missing(collection, self._address.shown)
        ids = rows(self._ask(collection, partial(held.get, include=[])), "ids")
        for part in batched(len(ids), min(batch, _IDS_A_REQUEST)):
            page = self._ask(collection, partial(held.get, ids=ids[part], include=list(EVERY)))
            metadata = [dict(item or {}) for item in rows(page, "metadatas")]
            texts = rows(page, "documents")
            if columns.text is not None:
                texts = [item.pop(columns.text, None) for item in metadata]
            named = rows(page, "ids")
            if columns.id is not None:
                named = [item.get(columns.id, "") for item in metadata]
            yield ForeignRows(
                [str(name) for name in named],
                [str(text or "") for text in texts],
                [flat(item, columns.metadata) for item in metadata],
                np.array(rows(page, "embeddings"), np.float32).reshape(len(named), -1),
            )

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
        """The k best points that the filter and the principals let through."""
        held, layout = self._open(collection)
        if any(clause.key not in layout.fields for clause in where):
            held, layout = self._open(collection, anew=True)  # another process may have added the field
        query = as_unit(checked_query(collection, vector, layout.dimensions), layout.metric)
        narrowed, possible = condition(where, layout.fields, principals)
        if query is None or not possible or k < 1:
            self._open(collection, anew=True)  # a collection that is gone is said to be
            return []
        wanted: dict[str, Any] = {"query_embeddings": query[None, :], "n_results": k, "where": narrowed}
        include = ["documents", "metadatas", "distances"]
        answer = self._ask(collection, partial(held.query, **wanted, include=include))
        ids, texts, metadata, distances = (rows(answer, name)[0] for name in ("ids", *include))
        found = [record_of(*row) for row in zip(ids, texts, metadata, strict=True)]
        scored = zip(found, distances, strict=True)
        return [hit_of(record, layout.score(distance)) for record, distance in scored if not record.get(ZERO)]

    # ── powers ──

    def update_payload(self, collection: str, ids: Sequence[str], payload: Payload) -> None:
        """Replace metadata, access and revision of the points that exist; vectors are not sent."""
        held, layout = self._open(collection, anew=True)
        last = dict(zip(ids, changed_metadata(payload, layout), strict=True))
        changed = list(last)
        for part in batched(len(changed), self._largest(collection)):
            some: Any = [last[point_id] for point_id in changed[part]]
            self._ask(collection, partial(held.update, ids=changed[part], metadatas=some))

    def add_fields(self, collection: str, fields: dict[str, FieldKind]) -> None:
        """Add filterable keys; points that are there hold none of them."""
        held, layout = self._open(collection, anew=True)
        new = {key: kind for key, kind in fields.items() if key not in layout.fields}
        if new:
            metadata: Any = dict(held.metadata or {}) | field_entries(new)
            self._ask(collection, partial(held.modify, metadata=metadata))
            self._forget(collection)

    # ── handles ──

    def _ask(self, collection: str, request: Any) -> Any:
        try:
            return self._connection.call(collection, lambda _: request())
        except CollectionMissing:
            self._forget(collection)
            raise

    def _largest(self, collection: str) -> int:
        if not self._most:
            self._most = self._connection.call(collection, lambda client: client.get_max_batch_size())
        return self._most

    def _find(self, collection: str) -> tuple[Collection, Layout] | None:
        """A collection and its layout, None when it is not there. Raises StoreError for one that is not regen's."""
        held = self._connection.call(collection, partial(_get, name=_escaped(collection)))
        if held is None:
            return None
        layout = Layout.of(held.metadata or {})
        if layout is None:
            raise StoreError(
                f"collection {collection!r} of {self._address.shown} exists and is no collection of regen's",
                hint="choose another alias or another Chroma; `regen adopt` takes over what others have made",
            )
        return held, layout

    def _open(self, collection: str, *, anew: bool = False) -> tuple[Collection, Layout]:
        with self._lock:
            held = None if anew else self._held.get(collection)
        if held is None or time.monotonic() - held[2] > _LOOK_AGAIN_SECONDS:
            found = self._find(collection) if self._address.is_there else None
            if found is None:
                self._forget(collection)
                raise missing(collection, self._address.shown)
            held = *found, time.monotonic()
            with self._lock:
                self._held[collection] = held
        return held[0], held[1]

    def _forget(self, collection: str) -> None:
        with self._lock:
            self._held.pop(collection, None)


def _make(client: ClientAPI, *, name: str, metadata: dict[str, Any], configuration: Any) -> None:
    client.get_or_create_collection(name, configuration=configuration, metadata=metadata, embedding_function=None)


def _get(client: ClientAPI, *, name: str) -> Collection | None:
    try:
        return client.get_collection(name, embedding_function=None)
    except NotFoundError:
        return None


def _all_collections(client: ClientAPI) -> list[Collection]:
    found: list[Collection] = []
    while page := list(client.list_collections(limit=100, offset=len(found))):
        found += page
    return found


def _escaped(name: str) -> str:
    """A collection's name as Chroma takes it: of three characters and more, the first and last no underscore."""
    return name if _PLAIN.fullmatch(name) else f"x-{name}-x"


def _unescaped(name: str) -> str:
    return name[2:-2] if name.startswith("x-") and name.endswith("-x") else name
