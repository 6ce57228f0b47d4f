"""``qdrant://host`` and ``qdrant+file://folder``: collections of a Qdrant server, or of the client's local mode.

What the adapter leans on (docs/adr/0017): a write that was waited for is seen by every later read; an upsert replaces
the whole point; alias actions of one request happen at once. A payload update names every key that it could hold, with
null for what is gone, and goes by a filter on the ids, so that a point which is not there is not made. Ids are UUIDs:
the point's own id lies in the payload.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, cast

import orjson
from qdrant_client import QdrantClient, models

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
from regen.stores.addresses import Address
from regen.stores.batches import checked_points, checked_query, slices
from regen.stores.cosine import EXACT, ZERO, as_unit
from regen.stores.graph_settings import GraphSettings
from regen.stores.layouts import Layouts, check_made
from regen.stores.qdrant_connection import QDRANT, Connection, missing
from regen.stores.qdrant_filters import condition
from regen.stores.qdrant_foreign import foreign_rows
from regen.stores.qdrant_layout import (
    OWN,
    WORDS,
    Layout,
    batches,
    field_entries,
    graph_settings,
    metadata_of,
    payload_indexes,
    qdrant_id,
    read_vectors,
    vector_params,
    word_params,
    words_asked,
)
from regen.stores.records import FOUND, changed_records, check_encodable, grouped, hit_of, scanned_page, with_nulls

_IDS_A_REQUEST: Final = 1000
_OLDEST: Final = (1, 16)
"""The first server that keeps metadata of a collection."""


class QdrantStore:
    """The collections of one Qdrant. Safe to use from several threads; of a server, from several processes."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection = Connection(address)
        self._layouts = Layouts(self._read_there, lambda name: missing(name, address.shown))

    @classmethod
    def from_url(cls, url: str, root: str | Path = ".") -> QdrantStore:
        """Open ``qdrant://host[:port]`` or ``qdrant+file://folder``; nothing is connected to, or made, yet.

        Raises ConfigError for the URL.
        """
        return cls(Address.of(url, QDRANT, Path(root)))

    # ── collections ──

    def create(self, collection: str, spec: CollectionSpec) -> None:
        """Make an empty collection, or check that the one that is there has the same dimensions."""
        settings = graph_settings(spec.index)
        self._check_version(collection)
        if self._read(collection) is None:
            self._ask(collection, partial(_make, name=collection, spec=spec, settings=settings))
        self._layouts.forget(collection)
        if not self._connection.local:
            self._index(collection, spec.fields)
        check_made(collection, self._layouts.of(collection).dimensions, spec.dimensions)

    def drop(self, collection: str) -> None:
        """Remove a collection if it is there, and the aliases that point at it."""
        self._layouts.forget(collection)
        if not self._address.is_there or self._read(collection) is None:
            return
        aliases = self._ask(collection, lambda client: client.get_collection_aliases(collection).aliases)
        self._act([_unset(item.alias_name) for item in aliases])
        self._ask(collection, lambda client: client.delete_collection(collection))

    def collections(self) -> list[str]:
        """The names of all collections, sorted."""
        if not self._address.is_there:
            return []
        return sorted(item.name for item in self._ask("*", lambda client: client.get_collections().collections))

    def close(self) -> None:
        """Close the client."""
        self._connection.close()

    # ── points ──

    def upsert(self, collection: str, points: Points) -> None:
        """Write points, replacing those of equal id; seen by everybody when it returns."""
        layout = self._layouts.of(collection, anew=True)
        points = checked_points(collection, points, layout.dimensions, layout.precision)
        check_encodable(collection, points)
        for batch in batches(points, layout):
            self._update(collection, partial(_upsert, name=collection, batch=batch))

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Remove points."""
        self._layouts.of(collection)
        for some in slices(ids, _IDS_A_REQUEST):
            chosen: list[Any] = list(map(qdrant_id, some))
            self._update(collection, partial(_delete, name=collection, ids=chosen))

    def fetch(self, collection: str, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """The points that exist, with their vectors as they were written."""
        layout = self._layouts.of(collection)
        found: list[models.Record] = []
        for some in slices(list(dict.fromkeys(ids)), _IDS_A_REQUEST):
            chosen: list[Any] = list(map(qdrant_id, some))
            found += self._ask(
                collection,
                partial(
                    QdrantClient.retrieve,
                    collection_name=collection,
                    ids=chosen,
                    with_payload=["point_id", EXACT],
                    with_vectors=[OWN] if layout.words else True,
                ),
            )
        return [_payload(record)["point_id"] for record in found], read_vectors(found, layout)

    def count(self, collection: str) -> int:
        """How many points there are."""
        self._layouts.of(collection)
        return int(self._ask(collection, lambda client: client.count(collection, exact=True).count))

    def scan(self, collection: str, batch: int = 4096) -> Iterator[StoredPayload]:
        """All points that stay while the scan lasts, by Qdrant's id, a page of at most ``batch`` at a time."""
        self._layouts.of(collection, anew=True)
        offset: Any = None
        while True:
            scroll = partial(QdrantClient.scroll, collection_name=collection, limit=batch, offset=offset)
            records, offset = self._ask(collection, partial(scroll, with_payload=True, with_vectors=False))
            if records:
                yield scanned_page([_payload(record) for record in records])
            if offset is None:
                return

    def foreign(self, collection: str, columns: ForeignColumns, batch: int = 2048) -> Iterator[ForeignRows]:
        """All points of a collection that regen did not make, a page at a time; nested objects are metadata as such."""
        info = self._info(collection)
        if info is None:
            raise missing(collection, self._address.shown)
        yield from foreign_rows(partial(self._ask, collection), collection, info, columns, batch)

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
        layout = self._layouts.for_filter(collection, where)
        query = as_unit(checked_query(collection, vector, layout.dimensions), layout.metric)
        narrowed = condition(where, layout.fields, principals)
        if query is None or narrowed is None or k < 1:
            self._layouts.of(collection, anew=True)  # a collection that is gone is said to be
            return []
        ef = max(graph_settings(layout.index).ef, k)
        search = partial(
            QdrantClient.query_points,
            collection_name=collection,
            query=query.tolist(),
            query_filter=narrowed if narrowed.must else None,  # the local mode tries an empty one on every point
            limit=k,
            with_payload=[*FOUND, ZERO],
            search_params=None if self._connection.local else models.SearchParams(hnsw_ef=ef),
        )
        found = self._ask(collection, search).points
        held = [(_payload(point), point.score) for point in found]
        return [hit_of(record, _score(score, layout)) for record, score in held if not record.get(ZERO)]

    def search_words(
        self,
        collection: str,
        query: str,
        k: int,
        *,
        where: Filter = (),
        principals: frozenset[Principal] | Unrestricted | None = None,
    ) -> list[StoreHit]:
        """The k best points by BM25 over sparse vectors. Raises ConfigError for a collection that was made without."""
        layout = self._layouts.for_filter(collection, where)
        if not layout.words:
            raise ConfigError(
                f"collection {collection!r} of {self._address.shown} was made without words to search by",
                hint=f"write `index: {{{WORDS}: true}}` under store; `regen apply` then copies the vectors to a "
                "generation that has them",
            )
        narrowed, asked = condition(where, layout.fields, principals), words_asked(query)
        if narrowed is None or asked is None or k < 1:
            self._layouts.of(collection, anew=True)  # a collection that is gone is said to be
            return []
        search = partial(
            QdrantClient.query_points,
            collection_name=collection,
            query=asked,
            using=WORDS,
            query_filter=narrowed if narrowed.must else None,
            limit=k,
            with_payload=list(FOUND),
        )
        return [hit_of(_payload(point), point.score) for point in self._ask(collection, search).points]

    # ── powers ──

    def update_payload(self, collection: str, ids: Sequence[str], payload: Payload) -> None:
        """Replace metadata, access and revision of the points that exist; vectors are not sent."""
        layout = self._layouts.of(collection, anew=True)
        last = dict(zip(ids, changed_records(payload, layout.fields), strict=True))
        full = ((point_id, with_nulls(record, layout.fields)) for point_id, record in last.items())
        groups = iter(grouped(full, lambda record: orjson.dumps(record).decode()))
        while operations := [_set(some, record) for some, record in islice(groups, _IDS_A_REQUEST)]:
            self._ask(collection, partial(_batch, name=collection, operations=operations))

    def add_fields(self, collection: str, fields: dict[str, FieldKind]) -> None:
        """Add filterable keys, each with an index; points that are there hold none of them."""
        known = self._layouts.of(collection, anew=True).fields
        new = {key: kind for key, kind in fields.items() if key not in known}
        if new:
            entries = field_entries(new)
            self._ask(collection, lambda client: client.update_collection(collection, metadata=entries))
            self._layouts.forget(collection)
            if not self._connection.local:
                self._index(collection, new)

    def set_alias(self, alias: str, collection: str) -> None:
        """Point an alias at a collection: removed and made in one request, which no reader sees the middle of."""
        self._layouts.of(collection, anew=True)
        target = self.alias_target(alias)
        if target == collection:
            return
        made = models.CreateAlias(collection_name=collection, alias_name=alias)
        actions: list[Any] = [] if target is None else [_unset(alias)]
        self._act([*actions, models.CreateAliasOperation(create_alias=made)])

    def alias_target(self, alias: str) -> str | None:
        """The collection that an alias points at."""
        if not self._address.is_there:
            return None
        held = self._ask(alias, lambda client: client.get_aliases().aliases)
        return next((item.collection_name for item in held if item.alias_name == alias), None)

    # ── requests ──

    def _ask(self, collection: str, request: Any) -> Any:
        try:
            return self._connection.call(collection, request)
        except CollectionMissing:
            self._layouts.forget(collection)
            raise

    def _update(self, collection: str, request: Any) -> None:
        result = self._ask(collection, request)
        if result.status != models.UpdateStatus.COMPLETED:
            raise StoreError(
                f"Qdrant at {self._address.shown} took a write to {collection!r} but had not done it in time "
                f"({result.status.value})",
                hint="nothing acknowledged is lost; run again, or raise ?timeout= in store.url",
            )

    def _act(self, operations: Sequence[Any]) -> None:
        if operations:
            self._ask("*", lambda client: client.update_collection_aliases(list(operations)))

    def _index(self, collection: str, fields: dict[str, FieldKind]) -> None:
        for name, schema in payload_indexes(fields).items():
            index = partial(QdrantClient.create_payload_index, collection_name=collection, field_name=name)
            self._update(collection, partial(index, field_schema=schema))

    def _check_version(self, collection: str) -> None:
        if self._connection.local:
            return
        version = str(self._ask(collection, lambda client: client.info()).version)
        if tuple(int(part) for part in version.split("-", maxsplit=1)[0].split(".")[:2]) < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            raise StoreError(
                f"Qdrant at {self._address.shown} is of version {version}, which keeps no metadata of a collection",
                hint=f"{oldest} or newer is needed",
            )

    # ── layouts ──

    def _info(self, collection: str) -> models.CollectionInfo | None:
        names = self._ask(collection, lambda client: client.get_collections().collections)
        if collection not in {item.name for item in names}:  # an alias would answer, too
            return None
        return cast("models.CollectionInfo", self._ask(collection, lambda client: client.get_collection(collection)))

    def _read(self, collection: str) -> Layout | None:
        """The layout of a collection, None when it is not there. Raises StoreError for one that is not regen's."""
        info = self._info(collection)
        layout = None if info is None else Layout.of(info)
        if info is not None and layout is None:
            raise StoreError(
                f"collection {collection!r} of {self._address.shown} exists and is no collection of regen's",
                hint="choose another alias or another Qdrant; `regen adopt` takes over what others have made",
            )
        return layout

    def _read_there(self, collection: str) -> Layout | None:
        return self._read(collection) if self._address.is_there else None


def _make(client: QdrantClient, *, name: str, spec: CollectionSpec, settings: GraphSettings) -> None:
    try:
        client.create_collection(
            name,
            vectors_config=vector_params(spec),
            sparse_vectors_config=word_params(spec),
            hnsw_config=models.HnswConfigDiff(m=settings.m, ef_construct=settings.ef_construction),
            metadata=metadata_of(spec),
        )
    except Exception:
        if not client.collection_exists(name):  # else another process was quicker
            raise


def _upsert(client: QdrantClient, *, name: str, batch: models.Batch) -> models.UpdateResult:
    return client.upsert(name, batch, wait=True)


def _delete(client: QdrantClient, *, name: str, ids: list[Any]) -> models.UpdateResult:
    return client.delete(name, models.PointIdsList(points=ids), wait=True)


def _batch(client: QdrantClient, *, name: str, operations: list[Any]) -> None:
    client.batch_update_points(name, operations, wait=True)


def _set(ids: Sequence[str], record: dict[str, Any]) -> models.SetPayloadOperation:
    there: list[Any] = list(map(qdrant_id, ids))
    chosen = models.Filter(must=[models.HasIdCondition(has_id=there)])
    return models.SetPayloadOperation(set_payload=models.SetPayload(payload=record, filter=chosen))


def _unset(alias: str) -> models.DeleteAliasOperation:
    return models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))


def _payload(record: models.Record | models.ScoredPoint) -> dict[str, Any]:
    return dict(record.payload or {})


def _score(score: float, layout: Layout) -> float:
    return -(score**2) if layout.metric == "l2" else score
