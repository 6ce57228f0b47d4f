"""What ``elasticsearch://`` and ``opensearch://`` have in common: a collection is an index, a point a document.

What the adapter leans on (docs/adr/0017): a write is durable when it is acknowledged, and searched, counted and scanned
after a refresh, so every writing call ends with one, or waits for the next (``?refresh=wait``). Writes go by an alias
of the index's own and require it, since a write to an index that is gone would make one, of whatever mapping. An update
of a document names every key that it could hold, with null for what is gone, and makes none that is not there. A scan
reads one point in time, by key. Alias actions of one request happen at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

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
from regen.stores.addresses import Address, Product
from regen.stores.batches import checked_points, checked_query
from regen.stores.cosine import EXACT, as_unit
from regen.stores.elastic_connection import Connection, Operation, missing, path_of, whole
from regen.stores.elastic_dialect import VECTOR, Dialect, Json
from regen.stores.elastic_filters import conditions, worded
from regen.stores.elastic_foreign import foreign_rows
from regen.stores.elastic_layout import (
    KEY,
    MARK,
    TEXT,
    Layout,
    deletes,
    document_id,
    field_mappings,
    mapping_of,
    read_vectors,
    updates,
    writes,
)
from regen.stores.elastic_scan import pages
from regen.stores.layouts import Layouts, check_made
from regen.stores.records import FOUND, check_encodable, hit_of, scanned_page

_MOST_HITS: Final = 10_000
"""What a search returns, and how many candidates it walks, at most (index.max_result_window)."""
_NUMBERS_A_REQUEST: Final = 400_000
_WHOLE: Final = {"allow_partial_search_results": "false"}


class ElasticStore:
    """The indexes of one server or cluster. Safe to use from several threads and processes."""

    def __init__(self, address: Address, dialect: Dialect) -> None:
        refresh = address.options.get("refresh", "now")
        if refresh not in {"now", "wait"}:
            raise ConfigError(
                f"refresh={refresh} in the {dialect.product.name} URL", hint="refresh=now or refresh=wait"
            )
        self._waits = refresh == "wait"
        self._dialect = dialect
        self._connection = Connection(address, dialect)
        self._shown = address.shown
        self._layouts = Layouts(self._read, lambda name: missing(name, address.shown))

    # ── collections ──

    def create(self, collection: str, spec: CollectionSpec) -> None:
        """Make an empty index, or check that the one that is there has the same dimensions."""
        mapping = mapping_of(spec, self._dialect)
        if self._read(collection) is None:
            self._make(collection, mapping)
        self._layouts.forget(collection)
        check_made(collection, self._layouts.of(collection).dimensions, spec.dimensions)

    def drop(self, collection: str) -> None:
        """Remove an index if it is there; the server removes its aliases with it."""
        self._layouts.forget(collection)
        if self._read(collection) is not None:
            self._connection.found(collection, "DELETE", f"/{path_of(collection)}")

    def collections(self) -> list[str]:
        """The names of all of regen's indexes, sorted."""
        return sorted(name for name, mapping in self._mappings().items() if _is_ours(mapping))

    def foreign_collections(self) -> list[str]:
        """The names of other indexes that hold vectors, sorted."""
        found = self._mappings("*.mappings")
        return sorted(
            name
            for name, mapping in found.items()
            if not _is_ours(mapping) and not name.startswith(".") and self._vectors_of(mapping)
        )

    def close(self) -> None:
        """Close the client."""
        self._connection.close()

    # ── points ──

    def upsert(self, collection: str, points: Points) -> None:
        """Write points, replacing those of equal id; seen by everybody when it returns."""
        layout = self._layouts.of(collection, anew=True)
        points = checked_points(collection, points, layout.dimensions, layout.precision)
        check_encodable(collection, points)
        self._write(collection, writes(points, layout))

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Remove points."""
        self._layouts.of(collection)
        self._write(collection, deletes(ids))

    def fetch(self, collection: str, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """The points that exist, with their vectors as they were written."""
        layout = self._layouts.of(collection)
        found: list[Json] = []
        step = max(1, min(_MOST_HITS, _NUMBERS_A_REQUEST // layout.dimensions))
        wanted = list(dict.fromkeys(ids))
        asked = self._dialect.source(self._connection.info(), ["point_id", VECTOR, EXACT])
        for start in range(0, len(wanted), step):
            some = [document_id(point_id) for point_id in wanted[start : start + step]]
            body = {"query": {"ids": {"values": some}}, "size": len(some), **asked}
            found += [hit["_source"] for hit in self._search(collection, body)]
        return [record["point_id"] for record in found], read_vectors(found, layout)

    def count(self, collection: str) -> int:
        """How many points there are."""
        self._layouts.of(collection)
        return int(whole(self._ask(collection, "GET", f"/{path_of(collection)}/_count"), self._shown)["count"])

    def scan(self, collection: str, batch: int = 4096) -> Iterator[StoredPayload]:
        """All points that were there when the scan began, by key, a page of at most ``batch`` at a time."""
        self._layouts.of(collection, anew=True)
        source = {"_source": {"excludes": [VECTOR, EXACT]}}
        for hits in pages(self._connection, collection, KEY, source, min(batch, _MOST_HITS)):
            yield scanned_page([hit["_source"] for hit in hits])

    def foreign(self, collection: str, columns: ForeignColumns, batch: int = 2048) -> Iterator[ForeignRows]:
        """All documents of an index that regen did not make, a page at a time; objects are metadata as such."""
        mapping = self._mapping(collection)
        if mapping is None:
            raise missing(collection, self._shown)
        yield from foreign_rows(self._connection, collection, self._vectors_of(mapping), columns, batch)

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
        layout = self._layouts.for_filter(collection, where)
        query = as_unit(checked_query(collection, vector, layout.dimensions), layout.metric)
        narrowed = conditions(where, layout.fields, principals)
        if query is None or narrowed is None or k < 1:
            self._layouts.of(collection, anew=True)  # a collection that is gone is said to be
            return []
        most = min(k, _MOST_HITS)
        body = self._dialect.nearest(query, most, max(layout.graph.ef, most), narrowed)
        hits = self._search(collection, body | {"_source": {"includes": list(FOUND)}})
        return [hit_of(hit["_source"], layout.score(hit["_score"])) for hit in hits]

    def search_words(
        self,
        collection: str,
        query: str,
        k: int,
        *,
        where: Filter = (),
        principals: frozenset[Principal] | Unrestricted | None = None,
    ) -> list[StoreHit]:
        """The k best points by BM25 over the words of their texts, as the server's standard analyzer tells them."""
        layout = self._layouts.of(collection, anew=True)
        narrowed = conditions(where, layout.fields, principals)
        if narrowed is None or k < 1:
            return []
        asked: Json = {"bool": {"must": [worded(TEXT, query)], "filter": narrowed}}
        body = {"query": asked, "size": min(k, _MOST_HITS), "_source": {"includes": list(FOUND)}}
        return [hit_of(hit["_source"], hit["_score"]) for hit in self._search(collection, body)]

    # ── powers ──

    def update_payload(self, collection: str, ids: Sequence[str], payload: Payload) -> None:
        """Replace metadata, access and revision of the points that exist; vectors are not sent."""
        layout = self._layouts.of(collection, anew=True)
        self._write(collection, updates(ids, payload, layout))

    def add_fields(self, collection: str, fields: dict[str, FieldKind]) -> None:
        """Add filterable keys; points that are there hold none of them."""
        known = self._layouts.of(collection, anew=True).fields
        new = {key: kind for key, kind in fields.items() if key not in known}
        if new:
            self._ask(collection, "PUT", f"/{path_of(collection)}/_mapping", {"properties": field_mappings(new)})
            self._layouts.forget(collection)

    def set_alias(self, alias: str, collection: str) -> None:
        """Point an alias at an index: taken away and given in one request, which no reader sees the middle of."""
        self._layouts.of(collection, anew=True)
        targets = self._targets(alias)
        if targets == [collection]:
            return
        actions: list[Json] = [{"remove": {"index": name, "alias": alias}} for name in targets if name != collection]
        self._ask(collection, "POST", "/_aliases", {"actions": [*actions, _given(alias, collection)]})

    def alias_target(self, alias: str) -> str | None:
        """The index that an alias points at, None also for one of several indexes, which is not regen's."""
        targets = self._targets(alias)
        return targets[0] if len(targets) == 1 else None

    # ── requests ──

    def _ask(self, collection: str, method: str, path: str, body: Json | None = None, **params: str) -> Json:
        try:
            return self._connection.ask(collection, method, path, body, **params)
        except CollectionMissing:
            self._layouts.forget(collection)
            raise

    def _search(self, collection: str, body: Json) -> list[Any]:
        asked = body | {"track_total_hits": False}
        return list(self._ask(collection, "POST", f"/{path_of(collection)}/_search", asked, **_WHOLE)["hits"]["hits"])

    def _write(self, collection: str, operations: Sequence[Operation]) -> None:
        if not operations:
            return
        params = {"require_alias": "true"} | ({"refresh": "wait_for"} if self._waits else {})
        try:
            self._connection.bulk(collection, writer_of(collection), operations, **params)
            if not self._waits:
                whole(self._connection.ask(collection, "POST", f"/{path_of(collection)}/_refresh"), self._shown)
        except CollectionMissing:
            self._layouts.forget(collection)
            raise

    def _make(self, collection: str, mapping: Json) -> None:
        settings = self._dialect.settings(self._connection.info())
        body = {"settings": settings, "mappings": mapping, "aliases": {writer_of(collection): {}}}
        try:
            self._connection.ask(collection, "PUT", f"/{path_of(collection)}", body)
        except StoreError:
            if self._mapping(collection) is None:  # else another process was quicker
                raise

    def _targets(self, alias: str) -> list[str]:
        return sorted(self._connection.found(alias, "GET", f"/_alias/{path_of(alias)}") or {})

    # ── layouts ──

    def _mappings(self, wanted: str = f"*.mappings._meta.{MARK}") -> dict[str, Json]:
        found = self._connection.ask("*", "GET", "/_mapping", filter_path=wanted)
        return {name: held["mappings"] for name, held in found.items()}

    def _mapping(self, index: str) -> Json | None:
        found = self._connection.found(index, "GET", f"/{path_of(index)}/_mapping") or {}
        return found[index]["mappings"] if index in found else None  # an alias would answer, too

    def _vectors_of(self, mapping: Json) -> list[str]:
        return [name for name, held in mapping.get("properties", {}).items() if self._dialect.dimensions(held)]

    def _read(self, collection: str) -> Layout | None:
        """The layout of an index, None when it is not there. Raises StoreError for one that is not regen's."""
        mapping = self._mapping(collection)
        layout = None if mapping is None else Layout.of(mapping, self._dialect)
        if mapping is not None and layout is None:
            raise StoreError(
                f"collection {collection!r} of {self._shown} exists and is no collection of regen's",
                hint="choose another alias or another server; `regen adopt` takes over what others have made",
            )
        return layout


def address_of(url: str, product: Product, root: Path) -> Address:
    """The address of a URL; ``ca_certs`` starts at the root. Raises ConfigError."""
    address = Address.of(url, product, root)
    authority = address.options.get("ca_certs")
    if authority is None:
        return address
    if not address.https:
        raise ConfigError(f"ca_certs in the {product.name} URL without https=true", hint="add https=true")
    place = (root / authority).resolve()
    if not place.is_file():
        raise ConfigError(f"there is no file {place}", hint="ca_certs is the authority's certificate, as PEM")
    return replace(address, options=address.options | {"ca_certs": str(place)})


def writer_of(collection: str) -> str:
    """The alias that an index is written by."""
    return f"{collection}-write"


def _given(alias: str, index: str) -> Json:
    return {"add": {"index": index, "alias": alias}}


def _is_ours(mapping: Json) -> bool:
    return MARK in mapping.get("_meta", {})
