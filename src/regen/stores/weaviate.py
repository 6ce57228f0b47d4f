"""``weaviate://host``: collections of a Weaviate server, by its client of version 4, over HTTP and gRPC.

What the adapter leans on (docs/adr/0017): a batch replaces objects of equal uuid, and tells in its answer only which it
did not write; a scan by ``after`` goes through all objects in the order of their uuids; an alias is moved in one
request, and outlives its collection unless it is removed before. A write to a collection that is gone may make it anew,
so whoever writes looks first. A payload update reads objects and writes them whole, since a merge keeps what was there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from weaviate import WeaviateClient
from weaviate.classes.query import Filter as Condition
from weaviate.classes.query import MetadataQuery
from weaviate.exceptions import UnexpectedStatusCodeError, WeaviateBaseError, WeaviateInsertManyAllFailedError

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
from regen.stores.batches import checked_points, checked_query, slices
from regen.stores.cosine import EXACT, as_unit
from regen.stores.graph_settings import GraphSettings
from regen.stores.layouts import Layouts, check_made
from regen.stores.records import FOUND, check_encodable, hit_of, scanned_page
from regen.stores.weaviate_connection import Connection, ObjectsRefused, address_of, missing
from regen.stores.weaviate_filters import condition
from regen.stores.weaviate_foreign import foreign_rows, vector_of
from regen.stores.weaviate_layout import (
    VECTOR,
    Layout,
    class_name,
    collection_name,
    field_properties,
    made_of,
    objects_of,
    read_vectors,
    record_of,
    renewed,
    requests,
    uuid_of,
)

_OBJECTS_A_REQUEST: Final = 1000
_MOST_HITS: Final = 10_000
_WORDS: Final = re.compile(r"[^\W_]+")
_MOST_WORDS: Final = 1000


class WeaviateStore:
    """The collections of one Weaviate. Safe to use from several threads and processes."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection = Connection(address)
        self._layouts = Layouts(self._read, lambda name: missing(name, address.shown))

    @classmethod
    def from_url(cls, url: str, root: str | Path = ".") -> WeaviateStore:
        """Open ``weaviate://host[:http[:grpc]]``; nothing is connected to, or made, yet. Raises ConfigError."""
        return cls(address_of(url, Path(root)))

    # ── collections ──

    def create(self, collection: str, spec: CollectionSpec) -> None:
        """Make an empty collection, or check that the one that is there has the same dimensions."""
        settings = GraphSettings.of(spec.index, "Weaviate")
        if self._read(collection) is None:
            self._ask(collection, partial(_make, made=made_of(collection, spec, settings)))
        self._layouts.forget(collection)
        check_made(collection, self._layouts.of(collection).dimensions, spec.dimensions)

    def drop(self, collection: str) -> None:
        """Remove a collection if it is there, and before it the aliases that point at it: they would stay."""
        self._layouts.forget(collection)
        if self._read(collection) is None:
            return
        name = class_name(collection)
        if self._ask(collection, _has_aliases):
            for alias in self._ask(collection, lambda client: client.alias.list_all(collection=name)):
                self._ask(collection, partial(_drop_alias, alias=alias))
        self._ask(collection, lambda client: client.collections.delete(name))

    def collections(self) -> list[str]:
        """The names of all collections of regen's, sorted."""
        return sorted(
            collection_name(name) for name, config in self._configs().items() if Layout.of(config) is not None
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
        self._write(collection, objects_of(points, layout))

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Remove points."""
        self._layouts.of(collection)
        for some in slices(list(map(uuid_of, ids)), _OBJECTS_A_REQUEST):
            done = self._use(collection, partial(_delete, where=Condition.by_id().contains_any(some)))
            if done.failed:
                raise StoreError(
                    f"Weaviate at {self._address.shown} did not delete {done.failed} of {done.matches} objects of "
                    f"{collection!r}",
                    hint="nothing acknowledged is lost; run again",
                )

    def fetch(self, collection: str, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """The points that exist, with their vectors as they were written."""
        layout = self._layouts.of(collection)
        found = self._fetched(collection, ids, ["point_id", EXACT])
        if not found:
            layout = self._layouts.of(collection, anew=True)  # a collection that is gone is said to be
        return [str(one.properties["point_id"]) for one in found], read_vectors(found, layout)

    def count(self, collection: str) -> int:
        """How many points there are."""
        self._layouts.of(collection)
        return int(self._use(collection, lambda objects: objects.aggregate.over_all(total_count=True)).total_count)

    def scan(self, collection: str, batch: int = 4096) -> Iterator[StoredPayload]:
        """All points that stay while the scan lasts, by uuid, a page of at most ``batch`` at a time."""
        layout = self._layouts.of(collection, anew=True)
        for page in self._pages(collection, batch, vector=False):
            yield scanned_page([record_of(one.properties, layout) for one in page])

    def foreign_collections(self) -> list[str]:
        """The names of collections that regen did not make, sorted."""
        return sorted(name for name, config in self._configs().items() if Layout.of(config) is None)

    def foreign(self, collection: str, columns: ForeignColumns, batch: int = 2048) -> Iterator[ForeignRows]:
        """All objects of a collection that regen did not make, a page at a time."""
        config = self._configs().get(collection)
        if config is None:
            raise missing(collection, self._address.shown)
        pages = partial(self._pages, collection, batch, vector=vector_of(config, columns.vector), named=collection)
        yield from foreign_rows(pages, collection, vector_of(config, columns.vector), columns)

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
        narrowed = condition(where, layout.fields, layout.late, principals)
        if query is None or narrowed is None or k < 1:
            self._layouts.of(collection, anew=True)  # a collection that is gone is said to be
            return []
        search = partial(
            _near, vector=query.tolist(), limit=min(k, _MOST_HITS), filters=narrowed, return_properties=list(FOUND)
        )
        return [
            hit_of(record_of(one.properties, layout), layout.score(one.metadata.distance))
            for one in self._use(collection, search)
        ]

    def search_words(
        self,
        collection: str,
        query: str,
        k: int,
        *,
        where: Filter = (),
        principals: frozenset[Principal] | Unrestricted | None = None,
    ) -> list[StoreHit]:
        """The k points whose texts have the most to do with the words of a query, by Weaviate's BM25F."""
        layout = self._layouts.for_filter(collection, where)
        words = _WORDS.findall(query.encode(errors="ignore").decode())[:_MOST_WORDS]
        narrowed = condition(where, layout.fields, layout.late, principals)
        if not words or narrowed is None or k < 1:
            self._layouts.of(collection, anew=True)
            return []
        search = partial(
            _by_words,
            query=" ".join(words),
            limit=min(k, _MOST_HITS),
            filters=narrowed,
            return_properties=list(FOUND),
        )
        found = self._use(collection, search)
        return [hit_of(record_of(one.properties, layout), float(one.metadata.score)) for one in found]

    # ── powers ──

    def update_payload(self, collection: str, ids: Sequence[str], payload: Payload) -> None:
        """Replace metadata, access and revision of the points that exist.

        Objects are read and written whole; who does that holds the generation's lease.
        """
        layout = self._layouts.of(collection, anew=True)
        found = self._fetched(collection, ids, None)
        self._write(collection, requests(renewed(found, ids, payload, layout), layout))

    def add_fields(self, collection: str, fields: dict[str, FieldKind]) -> None:
        """Add filterable keys, a property each; points that are there hold none of them."""
        known = self._layouts.of(collection, anew=True).fields
        for made in field_properties({key: kind for key, kind in fields.items() if key not in known}, late=True):
            self._use(collection, partial(_add, made=made))
        self._layouts.forget(collection)

    def set_alias(self, alias: str, collection: str) -> None:
        """Point an alias at a collection; one that is there is moved in one request."""
        self._layouts.of(collection, anew=True)
        if class_name(alias) in self._configs():
            raise StoreError(f"the alias {alias!r} cannot be set: a collection has that name", hint="choose another")
        self._ask(collection, partial(_point, alias=class_name(alias), target=class_name(collection)))

    def alias_target(self, alias: str) -> str | None:
        """The collection that an alias points at; None for one that dangles, and where Weaviate has no aliases."""
        if not self._ask(alias, _has_aliases):
            return None
        held = self._ask(alias, lambda client: client.alias.get(alias_name=class_name(alias)))
        return None if held is None or held.collection not in self._configs() else collection_name(held.collection)

    # ── requests ──

    def _ask(self, collection: str, request: Callable[[WeaviateClient], Any]) -> Any:
        try:
            return self._connection.call(collection, request)
        except CollectionMissing:
            self._layouts.forget(collection)
            raise

    def _use(self, collection: str, request: Callable[[Any], Any], *, named: str | None = None) -> Any:
        """Ask one collection, at the level of consistency that the URL says."""
        name, level = named or class_name(collection), self._connection.level
        return self._ask(collection, lambda client: request(client.collections.use(name).with_consistency_level(level)))

    def _write(self, collection: str, batches: Iterable[Sequence[Any]]) -> None:
        for batch in batches:
            self._use(collection, partial(_insert, batch=batch))

    def _fetched(self, collection: str, ids: Sequence[str], properties: list[str] | None) -> list[Any]:
        found: list[Any] = []
        for some in slices(list(dict.fromkeys(map(uuid_of, ids))), _OBJECTS_A_REQUEST):
            ask = partial(_by_ids, ids=some, properties=properties)
            found += self._use(collection, ask)
        return found

    def _pages(
        self, collection: str, batch: int, *, vector: str | bool, named: str | None = None
    ) -> Iterator[list[Any]]:
        after = UUID(int=0)
        while page := self._use(
            collection, partial(_page, after=after, limit=min(batch, _OBJECTS_A_REQUEST), vector=vector), named=named
        ):
            yield page
            after = page[-1].uuid

    # ── layouts ──

    def _configs(self) -> dict[str, Any]:
        return dict(self._ask("*", lambda client: client.collections.list_all(simple=True)))

    def _read(self, collection: str) -> Layout | None:
        """The layout of a collection, None when it is not there. Raises StoreError for one that is not regen's."""
        config = self._ask(collection, partial(_config, name=class_name(collection)))
        layout = None if config is None else Layout.of(config)
        if config is not None and layout is None:
            raise StoreError(
                f"collection {collection!r} of {self._address.shown} exists and is no collection of regen's",
                hint="choose another alias or another Weaviate; `regen adopt` takes over what others have made",
            )
        return layout


def _make(client: WeaviateClient, *, made: dict[str, Any]) -> None:
    try:
        client.collections.create(**made)
    except UnexpectedStatusCodeError:
        if _config(client, name=made["name"]) is None:  # else another process was quicker
            raise


def _config(client: WeaviateClient, *, name: str) -> Any:
    """What a collection is made of, None when it is not there; an alias is answered with its target's."""
    try:
        config = client.collections.use(name).config.get(simple=True)
    except UnexpectedStatusCodeError as error:
        if error.status_code != 404:
            raise
        return None
    return config if config.name == name else None


def _add(objects: Any, *, made: Any) -> None:
    try:
        objects.config.add_property(made)
    except WeaviateBaseError:
        if not any(item.name == made.name for item in objects.config.get(simple=True).properties):
            raise  # else another process was quicker


def _insert(objects: Any, *, batch: Sequence[Any]) -> None:
    try:
        errors = objects.data.insert_many(batch).errors
    except WeaviateInsertManyAllFailedError as error:
        raise ObjectsRefused(dict.fromkeys(range(len(batch)), str(error)), len(batch)) from error
    if errors:
        raise ObjectsRefused({at: one.message for at, one in errors.items()}, len(batch))


def _delete(objects: Any, *, where: Any) -> Any:
    return objects.data.delete_many(where=where)


def _by_ids(objects: Any, *, ids: list[str], properties: list[str] | None) -> list[Any]:
    chosen = Condition.by_id().contains_any(ids)  # the client's own fetch by ids would ask a clause for each
    found = objects.query.fetch_objects(
        filters=chosen, limit=len(ids), include_vector=True, return_properties=properties
    )
    return list(found.objects)


def _page(objects: Any, *, after: UUID, limit: int, vector: str | bool) -> list[Any]:
    wanted = [vector] if isinstance(vector, str) and vector != VECTOR else bool(vector)
    return list(objects.query.fetch_objects(limit=limit, after=after, include_vector=wanted).objects)


def _near(objects: Any, *, vector: list[float], **asked: Any) -> list[Any]:
    told = MetadataQuery(distance=True)
    found = objects.query.near_vector(near_vector=vector, target_vector=VECTOR, return_metadata=told, **asked)
    return list(found.objects)


def _by_words(objects: Any, **asked: Any) -> list[Any]:
    found = objects.query.bm25(query_properties=["text"], return_metadata=MetadataQuery(score=True), **asked)
    return list(found.objects)


def _has_aliases(client: WeaviateClient) -> bool:
    version = str(client.get_meta()["version"]).split("-", maxsplit=1)[0]
    return tuple(int(part) for part in version.split(".")[:2]) >= (1, 32)


def _point(client: WeaviateClient, *, alias: str, target: str) -> None:
    if not client.alias.update(alias_name=alias, new_target_collection=target):
        client.alias.create(alias_name=alias, target_collection=target)


def _drop_alias(client: WeaviateClient, *, alias: str) -> None:
    client.alias.delete(alias_name=alias)
