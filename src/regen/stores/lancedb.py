"""``lancedb://folder``: the embedded default; ``s3://bucket/prefix``: the same in an object store.

One Lance table a collection; several processes may share a folder or a prefix.

What the adapter leans on, each measured (docs/adr/0002): a handle with ``read_consistency_interval`` of zero sees every
commit at once and costs nothing; ``merge_insert`` on a table with a primary key replaces points of equal id and makes
two processes that merge the same new ids conflict instead of writing both. There is no scalar index on ``id``: it
would let such duplicates in, and saves 10 ms per thousand ids at 100,000 points. In an object store a commit is a PUT
that must not find its version there (docs/adr/0018).
"""

from __future__ import annotations

from regen.stores import lancedb_lean

lancedb_lean.load()

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import Final

import pyarrow as pa
from lancedb.db import LanceDBConnection
from lancedb.table import Table

from regen.core.documents import Principal, Unrestricted
from regen.core.filters import Filter
from regen.errors import CollectionMissing
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
from regen.stores.batches import checked_points, checked_query, slices
from regen.stores.lancedb_faults import is_missing, named, retried
from regen.stores.lancedb_filters import NOTHING, one_of, predicate
from regen.stores.lancedb_foreign import foreign_columns, foreign_rows
from regen.stores.lancedb_layout import (
    Layout,
    changeable_table,
    field_columns,
    layout_of,
    missing_audit,
    payload_of,
    points_table,
    schema_of,
)
from regen.stores.lancedb_places import Place
from regen.stores.lancedb_search import best
from regen.stores.lancedb_upkeep import IndexSettings, maintain
from regen.stores.lancedb_vectors import decoded, index_bytes, vector_bytes
from regen.stores.lancedb_words import best_by_words
from regen.stores.layouts import check_made

_IDS_A_STATEMENT: Final = 5_000


@dataclass(slots=True)
class _Handle:
    """An open table. Threads read it freely; they write one after the other, so as not to conflict with each other."""

    table: Table
    layout: Layout
    index: IndexSettings
    writing: Lock = field(default_factory=Lock)


class LanceStore:
    """Lance tables in one place. Safe to use from several threads and, with one handle each, several processes."""

    def __init__(self, place: Path | Place, *, free: Callable[[Path], int] | None = None) -> None:
        """Open a folder or a place; ``free`` tells how many bytes are left in a folder (default: asks its disk)."""
        self._place = place if isinstance(place, Place) else Place.of_folder(place)
        self._free, self._where = free, self._place.shown
        self._lock = Lock()
        self._handles: dict[str, _Handle] = {}

    @cached_property
    def _database(self) -> LanceDBConnection:
        """Opened when first needed: LanceDB makes the folder, and whoever only looks shall not."""
        with named("*", self._where):
            return self._place.connect()

    @classmethod
    def from_url(cls, url: str, *, root: Path | None = None) -> LanceStore:
        """Open ``lancedb://relative/to/root``, ``lancedb:///absolute`` or ``s3://bucket/prefix``; nothing is made yet.

        Raises ConfigError for another scheme, an empty path or an unknown option.
        """
        return cls(Place.of_url(url, root or Path.cwd()))

    # ── collections ──

    def create(self, collection: str, spec: CollectionSpec) -> None:
        """Make an empty table, or check that the one that is there has the same dimensions."""
        IndexSettings.of(spec.index)
        with named(collection, self._where):
            self._forget(collection)
            if not self._exists(collection):
                self._make(collection, spec)
        check_made(collection, self._open(collection).layout.dimensions, spec.dimensions)

    def drop(self, collection: str) -> None:
        """Remove a table if it is there."""
        with named(collection, self._where):
            self._forget(collection)
            if self._place.is_there:
                self._database.drop_table(collection, ignore_missing=True)

    def collections(self) -> list[str]:
        """The names of all tables, sorted."""
        names: list[str] = []
        if not self._place.is_there:
            return names
        with named("*", self._where):
            page = self._database.list_tables()
            names += page.tables
            while page.page_token:
                page = self._database.list_tables(page_token=page.page_token)
                names += page.tables
        return sorted(names)

    def close(self) -> None:
        """Forget the open tables; LanceDB holds no lock that would have to be released."""
        with self._lock:
            self._handles.clear()

    # ── points ──

    def upsert(self, collection: str, points: Points) -> None:
        """Write points in one commit, replacing those of equal id."""
        with self._writing(collection) as handle:
            rows = _rows(collection, handle, points)
            if rows is not None:
                merge = handle.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
                retried(lambda: merge.use_index(False).execute(rows))

    def insert(self, collection: str, points: Points) -> None:
        """Append points of fresh ids in one commit: no join with what is there."""
        with self._writing(collection) as handle:
            rows = _rows(collection, handle, points)
            if rows is not None:
                retried(lambda: handle.table.add(rows))

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Remove points, 5,000 ids a commit."""
        with self._writing(collection) as handle:
            for some in slices(ids, _IDS_A_STATEMENT):
                retried(partial(handle.table.delete, one_of("id", some)))

    def fetch(self, collection: str, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """The points that exist, with the very bits of their vectors."""
        handle = self._open(collection)
        with self._reading(collection):
            pages = [
                handle.table.search().where(one_of("id", some)).select(["id", "vector"]).to_arrow()
                for some in slices(ids, _IDS_A_STATEMENT)
            ]
        found = pa.concat_tables(pages) if pages else handle.layout.schema.empty_table()
        layout = handle.layout
        return found.column("id").to_pylist(), decoded(found.column("vector"), layout.dimensions, layout.precision)

    def count(self, collection: str) -> int:
        """How many points there are."""
        handle = self._open(collection)
        with self._reading(collection):
            return int(handle.table.count_rows())

    def scan(self, collection: str, batch: int = 4096) -> Iterator[StoredPayload]:
        """All points of the version that was current when the scan began, a page of at most ``batch`` at a time."""
        handle = self._open(collection)
        with self._reading(collection):
            _refresh(collection, handle)
            layout = handle.layout
            for page in handle.table.search().select(layout.scanned).to_batches(batch):
                yield StoredPayload(page.column("id").to_pylist(), payload_of(page, layout))

    def foreign(self, collection: str, columns: ForeignColumns, batch: int = 2048) -> Iterator[ForeignRows]:
        """All rows of a table that regen did not make, a page at a time."""
        with named(collection, self._where):
            if not self._exists(collection):
                raise CollectionMissing(
                    f"there is no table {collection!r} in {self._where}",
                    hint=f"there are: {self.collections() or 'none'}",
                )
            table = self._database.open_table(collection)
            yield from foreign_rows(table, foreign_columns(table.schema, columns), batch)

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
        """The k best points: filtered first, then scored, points that no index holds yet included."""
        handle = self._open(collection)
        with self._reading(collection):
            query = checked_query(collection, vector, handle.layout.dimensions)
            condition = _condition(collection, handle, where, principals)
            if condition == NOTHING or k < 1:
                return []
            return best(handle.table, handle.layout, handle.index, query, k, condition)

    def search_words(
        self,
        collection: str,
        query: str,
        k: int,
        *,
        where: Filter = (),
        principals: frozenset[Principal] | Unrestricted | None = None,
    ) -> list[StoreHit]:
        """The k best points by the words of their texts. The first such search of a collection makes its index."""
        handle = self._open(collection)
        with self._reading(collection):
            condition = _condition(collection, handle, where, principals)
            if condition == NOTHING or k < 1:
                return []
            return best_by_words(handle.table, query, k, condition)

    # ── powers ──

    def update_payload(self, collection: str, ids: Sequence[str], payload: Payload) -> None:
        """Replace metadata, access and revision. Whole rows are rewritten: faster here than a part of the columns."""
        last = {point_id: row for row, point_id in enumerate(ids)}
        with self._writing(collection) as handle:
            _refresh(collection, handle)
            changed = changeable_table(list(ids), payload, handle.layout)
            for some in slices(list(last), _IDS_A_STATEMENT):
                retried(partial(_rewrite, handle, some, changed, last))

    def add_fields(self, collection: str, fields: dict[str, FieldKind]) -> None:
        """Add a column for each new key; points that are there hold null in it."""
        with self._writing(collection) as handle:
            _refresh(collection, handle)
            new = {key: kind for key, kind in fields.items() if key not in handle.layout.fields}
            if new:
                _add_columns(collection, handle, field_columns(new))

    def maintain(self, collection: str, *, force: bool = False) -> list[str]:
        """Compact, remove old versions and tend the vector index, each if it pays now or ``force`` asks for it."""
        handle = self._open(collection)
        with self._reading(collection):
            return maintain(handle.table, handle.layout, force=force)

    def vector_bytes(self, spec: CollectionSpec, points: int) -> float:
        """Bytes of one vector on disk, with its share of the vector index if one will be built."""
        indexed = points >= IndexSettings.of(spec.index).min_rows
        own = vector_bytes(spec.dimensions, spec.precision)
        return own + (index_bytes(spec.dimensions, spec.precision) if indexed else 0.0)

    def free_bytes(self) -> int | None:
        """Bytes that are free on the disk of the folder; None in an object store, which has no such end."""
        folder = self._place.folder
        return self._place.free_bytes if self._free is None or folder is None else self._free(folder)

    # ── handles ──

    def _exists(self, collection: str) -> bool:
        if not self._place.is_there:
            return False
        try:
            self._database.open_table(collection)
        except ValueError as error:
            if is_missing(error):
                return False
            raise
        return True

    def _make(self, collection: str, spec: CollectionSpec) -> None:
        try:
            self._database.create_table(collection, schema=schema_of(spec))
        except ValueError:
            if not self._exists(collection):  # else another process was quicker
                raise

    def _open(self, collection: str) -> _Handle:
        with self._lock:
            handle = self._handles.get(collection)
            if handle is None:
                if not self._place.is_there:
                    raise CollectionMissing(
                        f"there is no collection {collection!r} in {self._where}: there is no such folder",
                        hint="is a disk not mounted, or was the folder moved? Bring it back, or let `regen verify "
                        "--repair` write the collection again",
                    )
                with named(collection, self._where):
                    table = self._database.open_table(collection)
                    layout = layout_of(collection, table.schema)
                handle = self._handles[collection] = _Handle(table, layout, IndexSettings.of(layout.index))
        return handle

    def _forget(self, collection: str) -> None:
        with self._lock:
            self._handles.pop(collection, None)

    @contextmanager
    def _reading(self, collection: str) -> Iterator[None]:
        try:
            with named(collection, self._where):
                yield
        except CollectionMissing:
            self._forget(collection)
            raise

    @contextmanager
    def _writing(self, collection: str) -> Iterator[_Handle]:
        handle = self._open(collection)
        with self._reading(collection), handle.writing:
            yield handle


def _rows(collection: str, handle: _Handle, points: Points) -> pa.Table | None:
    """Checked points as Arrow rows of the table's present schema, None when there are none."""
    points = checked_points(collection, points, handle.layout.dimensions, handle.layout.precision)
    if not points.ids:
        return None
    _refresh(collection, handle)
    if new := missing_audit(handle.layout, points.payload.audit):
        _add_columns(collection, handle, new)
    return points_table(points, handle.layout)


def _condition(
    collection: str, handle: _Handle, where: Filter, principals: frozenset[Principal] | Unrestricted | None
) -> str | None:
    """What narrows a search; NOTHING when no point can satisfy it."""
    if any(clause.key not in handle.layout.fields for clause in where):
        _refresh(collection, handle)  # another process may have added the field
    return predicate(where, handle.layout.fields, principals)


def _refresh(collection: str, handle: _Handle) -> None:
    """See columns that another handle has added: rows written without them would look as if they had no value."""
    schema = handle.table.schema
    if schema.names != handle.layout.schema.names:
        handle.layout = layout_of(collection, schema)


def _add_columns(collection: str, handle: _Handle, wanted: list[pa.Field]) -> None:
    def add() -> None:
        there = set(handle.table.schema.names)
        new = [column for column in wanted if column.name not in there]
        if new:
            handle.table.add_columns(pa.schema(new))

    retried(add)
    _refresh(collection, handle)


def _rewrite(handle: _Handle, ids: Sequence[str], changed: pa.Table, row_of: dict[str, int]) -> None:
    """Read the other columns of the rows of these ids, and merge whole rows: a point that is gone stays gone."""
    schema, replaced = handle.layout.schema, set(changed.column_names) - {"id"}
    kept = [name for name in schema.names if name not in replaced]
    rows = handle.table.search().where(one_of("id", ids)).select(kept).to_arrow()
    if not rows.num_rows:
        return
    new = changed.take(pa.array([row_of[point_id] for point_id in rows.column("id").to_pylist()], pa.int64()))
    whole = pa.table([(new if name in replaced else rows).column(name) for name in schema.names], schema=schema)
    handle.table.merge_insert("id").when_matched_update_all().use_index(False).execute(whole)
