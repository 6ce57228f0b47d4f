"""``milvus://host`` and ``milvus+file://vectors.db``: collections of a Milvus server, or of milvus-lite on a file.

What the adapter leans on (docs/adr/0017): a server shows a write some hundred milliseconds after it was acknowledged,
a delete even to who deleted. So whoever counts, scans, fetches or updates reads with the level Strong, and a write,
unless ``?consistency=`` says otherwise, ends with a read of that level, which returns no earlier than every search
sees what was written before it. ``upsert`` replaces rows, ``insert`` would double them, and the number of entities in a
collection's statistics counts both: ``count(*)`` does not. An alias keeps its target by name: a collection is dropped
after its aliases, or they would dangle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from pymilvus import DataType, MilvusClient, MilvusException

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
from regen.stores.foreign_payloads import flat, text_key
from regen.stores.graph_settings import GraphSettings
from regen.stores.layouts import Layouts, check_made
from regen.stores.milvus_connection import MILVUS, Connection, is_released, missing
from regen.stores.milvus_filters import NOTHING, expression, literal, one_of
from regen.stores.milvus_layout import (
    REGISTER,
    Layout,
    field_entries,
    index_of,
    key_of,
    own_entry,
    read_vectors,
    refusal,
    rows_of,
    schema,
)
from regen.stores.records import FOUND, Record, changed_records, check_encodable, hit_of, scanned_page

_ROWS_A_REQUEST: Final = 1000
_MOST_HITS: Final = 16_384


class MilvusStore:
    """The collections of one Milvus. Safe to use from several threads; of a server, from several processes."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection = Connection(address)
        self._layouts = Layouts(self._read_there, lambda name: missing(name, address.shown))

    @classmethod
    def from_url(cls, url: str, root: str | Path = ".") -> MilvusStore:
        """Open ``milvus://host[:port]`` or ``milvus+file://vectors.db``; nothing is connected to, or made, yet.

        Raises ConfigError for the URL.
        """
        return cls(Address.of(url, MILVUS, Path(root)))

    # ── collections ──

    def create(self, collection: str, spec: CollectionSpec) -> None:
        """Make an empty collection, or check that the one that is there has the same dimensions."""
        settings = GraphSettings.of(spec.index, "Milvus")
        names = self._names()
        if REGISTER not in names:
            self._make(REGISTER, 2, CollectionSpec(2), GraphSettings())
        if collection not in names:
            self._note([own_entry(collection, spec), *field_entries(collection, spec.fields)], collection, anew=True)
            self._make(collection, spec.dimensions, spec, settings)
        self._layouts.forget(collection)
        check_made(collection, self._layouts.of(collection).dimensions, spec.dimensions)

    def drop(self, collection: str) -> None:
        """Remove a collection if it is there, and before it the aliases that point at it."""
        self._layouts.forget(collection)
        if not self._address.is_there or collection not in self._names():
            return
        self._layouts.of(collection)
        for alias in self._described(collection).get("aliases", []):
            self._ask(collection, partial(MilvusClient.drop_alias, alias=alias))
        self._ask(collection, partial(MilvusClient.drop_collection, collection_name=collection))
        self._layouts.forget(collection)
        self._note([], collection, anew=True)

    def collections(self) -> list[str]:
        """The names of all collections but the register, sorted."""
        return sorted(self._names() - {REGISTER}) if self._address.is_there else []

    def close(self) -> None:
        """Close the client."""
        self._connection.close()

    # ── points ──

    def upsert(self, collection: str, points: Points) -> None:
        """Write points, replacing those of equal id; seen by everybody when it returns."""
        layout = self._layouts.of(collection, anew=True)
        points = checked_points(collection, points, layout.dimensions, layout.precision)
        check_encodable(collection, points)
        self._upsert(collection, rows_of(collection, points, layout))
        self._await_writes(collection)

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Remove points."""
        self._layouts.of(collection)
        for some in slices(list(map(key_of, ids)), _ROWS_A_REQUEST):
            self._ask(collection, partial(MilvusClient.delete, collection_name=collection, ids=some))
        self._await_writes(collection)

    def fetch(self, collection: str, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """The points that exist, with their vectors as they were written."""
        layout = self._layouts.of(collection)
        found = list(self._rows(collection, ids, ["point_id", "vector", EXACT]))
        return [row["point_id"] for row in found], read_vectors(found, layout)

    def count(self, collection: str) -> int:
        """How many points there are."""
        self._layouts.of(collection)
        return int(self._query(collection, "", ["count(*)"])[0]["count(*)"])

    def scan(self, collection: str, batch: int = 4096) -> Iterator[StoredPayload]:
        """All points that stay while the scan lasts, by key, a page of at most ``batch`` at a time."""
        self._layouts.of(collection, anew=True)
        for page in self._pages(collection, "key", ["*"], min(batch, _ROWS_A_REQUEST)):
            yield scanned_page(page)

    def foreign(self, collection: str, columns: ForeignColumns, batch: int = 2048) -> Iterator[ForeignRows]:
        """All rows of a collection that regen did not make, a page at a time."""
        if collection not in self._names():
            raise missing(collection, self._address.shown)
        fields = self._described(collection)["fields"]
        (key,) = [item["name"] for item in fields if item.get("is_primary")]
        vector = _vector_of(fields, columns.vector)
        text: str | None = None
        for page in self._pages(collection, key, ["*"], min(batch, _ROWS_A_REQUEST)):
            vectors = np.array([row.pop(vector) for row in page], np.float32)
            named = [str(row.pop(key) if columns.id is None else row.get(columns.id, "")) for row in page]
            text = text or text_key(page[0], columns.text)
            texts = [str(row.pop(text, None) or "") for row in page]
            yield ForeignRows(named, texts, [flat(row, columns.metadata) for row in page], vectors)

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
        """The k best points that the filter and the principals let through; 16,384 at most."""
        layout = self._layouts.for_filter(collection, where)
        query = as_unit(checked_query(collection, vector, layout.dimensions), layout.metric)
        narrowed = expression(where, layout.fields, principals)
        if query is None or narrowed == NOTHING or k < 1:
            self._layouts.of(collection, anew=True)  # a collection that is gone is said to be
            return []
        most = min(k, _MOST_HITS)
        ef = max(GraphSettings.of(layout.index, "Milvus").ef, most)
        search = partial(
            MilvusClient.search,
            collection_name=collection,
            data=[query.tolist()],
            filter=narrowed,
            limit=most,
            output_fields=[*FOUND, ZERO],
            search_params=layout.search_params | {"params": {"ef": ef}},
            **self._connection.reading(),
        )
        hits = self._ask(collection, search)[0]
        scored = [(hit["entity"], layout.score(hit["distance"])) for hit in hits]
        return [hit_of(row, score) for row, score in scored if not row.get(ZERO)]

    # ── powers ──

    def refusal(self, text: str, metadata: Mapping[str, Any], access: list[str] | None) -> str | None:
        """Why a chunk is too long for Milvus, None when it is not."""
        return refusal(text, metadata, access)

    def update_payload(self, collection: str, ids: Sequence[str], payload: Payload) -> None:
        """Replace metadata, access and revision of the points that exist.

        Milvus replaces rows, so they are read and written whole; who does that holds the generation's lease.
        """
        layout = self._layouts.of(collection, anew=True)
        last = dict(zip(ids, changed_records(payload, layout.fields), strict=True))
        for some in slices(list(last), _ROWS_A_REQUEST):
            rows = [_kept(row) | last[row["point_id"]] for row in self._rows(collection, some, ["*"])]
            self._upsert(collection, rows)
        self._await_writes(collection)

    def add_fields(self, collection: str, fields: dict[str, FieldKind]) -> None:
        """Add filterable keys; points that are there hold none of them."""
        known = self._layouts.of(collection, anew=True).fields
        new = {key: kind for key, kind in fields.items() if key not in known}
        if new:
            self._note(field_entries(collection, new), collection)
            self._layouts.forget(collection)

    def set_alias(self, alias: str, collection: str) -> None:
        """Point an alias at a collection; one that is there, dangling too, is altered, which is atomic."""
        self._layouts.of(collection, anew=True)
        if alias in self._names():
            raise StoreError(f"the alias {alias!r} cannot be set: a collection has that name", hint="choose another")
        if self.alias_target(alias) == collection:
            return
        altered = partial(MilvusClient.alter_alias, collection_name=collection, alias=alias)
        made = partial(MilvusClient.create_alias, collection_name=collection, alias=alias)
        self._ask(collection, partial(_either, first=altered, second=made))

    def alias_target(self, alias: str) -> str | None:
        """The collection that an alias points at, None for one that dangles."""
        if not self._address.is_there:
            return None
        names = self._names()
        if alias in names:
            return None
        try:
            target = str(self._described(alias)["collection_name"])
        except StoreError:
            return None
        if target == alias:  # milvus-lite describes by the name that it was asked for
            with suppress(StoreError):
                target = self._ask(alias, partial(MilvusClient.describe_alias, alias=alias))["collection_name"]
        return target if target in names else None

    # ── requests ──

    def _ask(self, collection: str, request: Any) -> Any:
        try:
            return self._connection.call(collection, request)
        except CollectionMissing:
            self._layouts.forget(collection)
            raise
        except StoreError as error:
            if not is_released(error):
                raise
            self._connection.call(collection, partial(MilvusClient.load_collection, collection_name=collection))
            return self._connection.call(collection, request)

    def _query(self, collection: str, wanted: str, fields: list[str], level: str = "strong") -> list[Any]:
        query = partial(MilvusClient.query, collection_name=collection, filter=wanted, output_fields=fields)
        return list(self._ask(collection, partial(query, **self._connection.reading(level))))

    def _rows(self, collection: str, ids: Iterable[str], fields: list[str]) -> Iterator[Record]:
        for some in slices(list(dict.fromkeys(ids)), _ROWS_A_REQUEST):
            yield from self._query(collection, one_of("key", map(key_of, some)), fields)

    def _pages(self, collection: str, key: str, fields: list[str], batch: int) -> Iterator[list[Record]]:
        """All rows in the order of their keys, as a query for all keys first shows them: pages never overlap."""
        keys: list[Any] = []
        paging = partial(MilvusClient.query_iterator, collection_name=collection, output_fields=[key])
        self._await_seen(collection, key)  # an iterator reads with the collection's own level, whatever it is told
        iterator = self._ask(collection, partial(paging, batch_size=_ROWS_A_REQUEST))
        while page := self._ask(collection, lambda _: iterator.next()):
            keys += [row[key] for row in page]
        iterator.close()
        for some in slices(keys, batch):
            wanted = one_of(key, some) if isinstance(some[0], str) else f"{key} in {list(some)}"
            found = {row[key]: dict(row) for row in self._query(collection, wanted, fields)}
            if rows := [found[name] for name in some if name in found]:
                yield rows

    def _upsert(self, collection: str, rows: list[Record]) -> None:
        for some in slices(rows, _ROWS_A_REQUEST):
            self._ask(collection, partial(MilvusClient.upsert, collection_name=collection, data=some))

    def _await_writes(self, collection: str) -> None:
        if self._connection.writes_wait:
            self._await_seen(collection)

    def _await_seen(self, collection: str, key: str = "key") -> None:
        """Return when every search sees what was written before: a read of the level Strong answers no earlier."""
        if not self._connection.local:
            self._query(collection, f"{key} in []", [key])

    def _make(self, name: str, dimensions: int, spec: CollectionSpec, settings: GraphSettings) -> None:
        make = partial(_make, name=name, schema=schema(dimensions), index=index_of(spec.metric, settings))
        self._ask(name, make)

    # ── the register ──

    def _names(self) -> set[str]:
        return set(self._connection.call("*", MilvusClient.list_collections))

    def _described(self, name: str) -> dict[str, Any]:
        return dict(self._ask(name, partial(MilvusClient.describe_collection, collection_name=name)))

    def _note(self, entries: list[Record], collection: str, *, anew: bool = False) -> None:
        if anew:
            of_it = f"collection == {literal(collection)}"
            keys = [row["key"] for row in self._query(REGISTER, of_it, ["key"])]
            for some in slices(keys, _ROWS_A_REQUEST):
                self._ask(REGISTER, partial(MilvusClient.delete, collection_name=REGISTER, ids=some))
        self._upsert(REGISTER, entries)
        self._await_seen(REGISTER)

    def _read(self, collection: str) -> Layout | None:
        """The layout of a collection, None when it is not there. Raises StoreError for one that is not regen's."""
        names = self._names()
        if collection not in names:
            return None
        of_it = f"collection == {literal(collection)}"
        entries = self._query(REGISTER, of_it, ["name", "note"], "session") if REGISTER in names else []
        layout = Layout.of(entries)
        if layout is None:
            raise StoreError(
                f"collection {collection!r} of {self._address.shown} exists and is no collection of regen's",
                hint="choose another alias or another Milvus; `regen adopt` takes over what others have made",
            )
        return layout

    def _read_there(self, collection: str) -> Layout | None:
        return self._read(collection) if self._address.is_there else None


def _make(client: MilvusClient, *, name: str, schema: Any, index: Any) -> None:
    try:
        client.create_collection(name, schema=schema, index_params=index, consistency_level="Session")
    except MilvusException:
        if not client.has_collection(name):  # else another process was quicker
            raise


def _either(client: MilvusClient, *, first: Any, second: Any) -> None:
    try:
        first(client)
    except MilvusException:
        second(client)


def _kept(row: Record) -> Record:
    """What of a row an update of payloads leaves as it is: all that it does not replace."""
    return {name: value for name, value in row.items() if name != "access" and not name.startswith("f_")}


def _vector_of(fields: list[dict[str, Any]], wanted: str | None) -> str:
    names = [item["name"] for item in fields if item["type"] == DataType.FLOAT_VECTOR]
    if wanted is not None and wanted not in names:
        raise ConfigError(f"there is no vector {wanted!r}", hint=f"there are: {', '.join(names)}")
    if wanted is None and len(names) != 1:
        raise ConfigError(f"which vector is meant cannot be told from {names}", hint="name it: --vector NAME")
    return names[0] if wanted is None else wanted
