"""What a clean system makes of the change log, document by document, and what a schedule has made of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, Engine

from regen.catalog.catalog import SqlCatalog
from regen.catalog.sqlite import open_catalog
from regen.core.chunks import point_id, unpack
from regen.core.documents import digest
from regen.embedders.hashing import HashingEmbedder
from regen.index import Index
from regen.ports import Store
from regen.ports.catalog import Catalog, Generation, Route
from regen.ports.placements import Garbage, Lease
from regen.stores.memory import MemoryStore
from regen.testing.schedules.documents import DIMENSIONS, PUSHED, RECIPES, SOURCED, document

Held: TypeAlias = dict[str, Any]
"""What a generation holds of a document: its hashes, and of each chunk, in order, id, text, payload, space, vector."""
EVERYTHING: Final = 1_000_000


class RememberingCatalog(SqlCatalog):
    """The catalog in memory, with what it was asked most often remembered until the next write: half of the time."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.forget()

    def forget(self) -> None:
        """What was remembered may not be so any more."""
        self._remembered: dict[tuple[Any, ...], Any] = {}

    @contextmanager
    def writing(self, counter: str | None = None) -> Iterator[Connection]:
        """A transaction that writes."""
        try:
            with super().writing(counter) as connection:
                yield connection
        finally:
            self.forget()

    def generations(self) -> list[Generation]:
        """All generations, by number."""
        return list(self._remember("generations", super().generations))

    def route(self, alias: str) -> Route:
        """Where the alias points."""
        found: Route = self._remember("route", super().route, alias)
        return found

    def holder(self, name: str) -> Lease | None:
        """Who holds a lease."""
        found: Lease | None = self._remember("holder", super().holder, name)
        return found

    def head(self) -> int:
        """The revision of the newest change."""
        return int(self._remember("head", super().head))

    def garbage(self, generation: int, limit: int = 200) -> list[Garbage]:
        """The oldest garbage."""
        return list(self._remember("garbage", super().garbage, generation, limit))

    def _remember(self, name: str, ask: Callable[..., Any], *about: Any) -> Any:
        key = (name, *about)
        if key not in self._remembered:
            self._remembered[key] = ask(*about)
        return self._remembered[key]


class MemoryDatabase:
    """A catalog in memory that can be put back to a state that it had before, in about a millisecond."""

    def __init__(self) -> None:
        fresh = open_catalog("sqlite://")
        self.engine = fresh._engine  # noqa: SLF001 - the database itself is what is copied
        self.catalog = RememberingCatalog(self.engine)
        self.empty = self.state()

    def state(self) -> sqlite3.Connection:
        """A copy of all of it."""
        copy = sqlite3.connect(":memory:", check_same_thread=False)
        _connection(self.engine).backup(copy)
        return copy

    def restore(self, state: sqlite3.Connection) -> SqlCatalog:
        """Put it back. By SQLite's backup: ``deserialize`` would pull the pages away under prepared statements."""
        state.backup(_connection(self.engine))
        self.catalog.forget()
        return self.catalog


def _connection(engine: Any) -> sqlite3.Connection:
    borrowed = engine.raw_connection()
    connection: sqlite3.Connection = borrowed.driver_connection
    borrowed.close()  # back to the pool: it is the only one, and goes on
    return connection


@cache
def database() -> MemoryDatabase:
    """The database of the clean systems."""
    return MemoryDatabase()


@cache
def clean(recipe: str, version: int) -> dict[str, Held]:
    """What an index that nothing ever happened to holds, when every document is at this version."""
    seed, chunking = RECIPES[recipe]
    store, catalog = MemoryStore(), database().restore(database().empty)
    index = Index(embedder=HashingEmbedder(DIMENSIONS, seed), chunking=chunking, store=store, catalog=catalog)
    index.upsert([document(doc_id, version) for doc_id in (*PUSHED, *SOURCED)])
    (generation,) = catalog.generations()
    held, problems = held_by(generation, catalog, store)
    assert not problems, problems
    return held


def held_by(generation: Generation, catalog: Catalog, store: Store) -> tuple[dict[str, Held], list[str]]:
    """What a generation holds of each document, and what is wrong with it: points missing, twice, or of nobody."""
    points, problems = _points(generation, store)
    held: dict[str, Held] = {}
    for page in catalog.placements(generation.number):
        for facts, placement in page:
            chunks = []
            for entry in unpack(placement.chunks):
                point = points.pop(point_id(*entry), None)
                if point is None:
                    problems.append(f"I5: generation {generation.number} lacks a chunk of {facts.doc_id}")
                else:
                    chunks.append(point)
            held[facts.doc_id] = {
                "input": placement.input_hash.hex(), "payload": placement.payload_hash.hex(), "chunks": chunks,
            }  # fmt: skip
    problems += [f"I5: generation {generation.number} has an orphan of {one['doc']}" for one in points.values()]
    return held, problems


def _points(generation: Generation, store: Store) -> tuple[dict[str, Held], list[str]]:
    points: dict[str, Held] = {}
    problems = []
    for page in store.scan(generation.collection):
        payload = page.payload
        for row, point in enumerate(page.ids):
            if point in points:
                problems.append(f"I5: generation {generation.number} has point {point} twice")
            access = payload.access[row]
            points[point] = {
                "chunk": payload.chunk_id[row],
                "doc": payload.doc_id[row],
                "text": payload.text[row],
                "metadata": payload.metadata[row],
                "access": None if access is None else sorted(access),
                "space": payload.audit["space"][row],
            }
    for point, vector in zip(*store.fetch(generation.collection, list(points)), strict=True):
        points[point]["vector"] = digest(vector.tobytes()).hex()
    return points, problems


def replayed(catalog: Catalog) -> tuple[dict[str, int], list[str]]:
    """The change log, replayed: each living document's version; and where the documents' own state is another."""
    log: dict[str, int] = {}
    last: dict[str, int] = {}
    for change in reversed(catalog.history(None, EVERYTHING)):
        last[change.doc_id] = change.revision
    for doc_id, revision in last.items():
        past = catalog.past_state(doc_id, revision)
        if past.text is not None:
            log[doc_id] = int(past.metadata["number"])
    present = {one.id: one for page in catalog.living() for one in page}
    problems = [f"I5: {doc_id} is not what the change log says" for doc_id in sorted(present.keys() ^ log.keys())]
    for doc_id in sorted(present.keys() & log.keys()):
        wanted, found = document(doc_id, log[doc_id]), present[doc_id]
        same_access = (found.access is None) == (wanted.access is None) and set(found.access or ()) == set(
            wanted.access or ()
        )
        if found.text != wanted.text or found.metadata != wanted.metadata or not same_access:
            problems.append(f"I5: {doc_id} is not version {log[doc_id]}, as the change log says")
    return log, problems
