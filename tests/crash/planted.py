"""Bugs to be planted, each as a patch: what the schedules must find is written down as what somebody might write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import pytest
from sqlalchemy import delete, select

from regen.catalog import generations, letters, schema, work
from regen.core.chunks import point_id, unpack, write_token
from regen.core.documents import digest
from regen.engine import prepare, repair, write
from regen.engine.write import Writer
from regen.engine.writing import WriteSide
from regen.errors import StoreError
from regen.serving import reading, search
from regen.serving.fence import Fenced
from regen.testing.schedules import clean, world
from regen.testing.schedules.ports import SharedCache

Patch = pytest.MonkeyPatch


def commit_before_upsert(patch: Patch) -> None:
    """The placement is swapped first, and its points are written when it is."""

    def written(self: Writer, batch: Any) -> None:
        late: list[Any] = []
        store = self._store
        self._store = _Later(store, late)  # type: ignore[assignment]
        try:
            original(self, batch)
        finally:
            self._store = store
        for collection, points in late:
            store.upsert(collection, points)

    original = Writer.write
    patch.setattr(Writer, "write", written)


class _Later:
    """A store whose writes are kept for later."""

    def __init__(self, store: Any, late: list[Any]) -> None:
        self._store, self._late = store, late

    def upsert(self, collection: str, points: Any) -> None:
        self._late.append((collection, points))

    def add_fields(self, *about: Any) -> None:
        self._store.add_fields(*about)

    def update_payload(self, *about: Any) -> None:
        self._store.update_payload(*about)

    def delete(self, *about: Any) -> None:
        self._store.delete(*about)


def delete_before_commit(patch: Patch) -> None:
    """The old points are deleted before the placement that does without them is committed."""

    def learned(self: Writer, tasks: Any) -> None:
        original(self, tasks)
        old = [point_id(*entry) for task in tasks for entry in unpack(task.dropped)]
        if old:
            self._store.delete(self._generation.collection, old)

    original = Writer._learn_fields
    patch.setattr(Writer, "_learn_fields", learned)


def no_revision_check(patch: Patch) -> None:
    """What was prepared is committed as the document's present revision, whatever it was prepared from."""

    def commit(self: Any, number: int, token: Any, placements: Any, lease: Any, **about: Any) -> Any:
        with self.reading() as connection:
            table = schema.documents.c
            present = dict(connection.execute(select(table.doc_key, table.revision)).fetchall())
        return original(self, number, token, [_as_of(new, present[new.doc_key]) for new in placements], lease, **about)

    original = work.WorkQueue.commit_write
    patch.setattr(work.WorkQueue, "commit_write", commit)


def _as_of(new: Any, revision: int) -> Any:
    placement = None if new.placement is None else replace(new.placement, revision=revision)
    return new._replace(revision=revision, placement=placement)


def no_fencing_token(patch: Patch) -> None:
    """Nobody looks whether the lease is still the writer's."""
    patch.setattr(work, "require", lambda connection, lease: None)
    patch.setattr(generations, "require", lambda connection, lease: None)


def no_intent(patch: Patch) -> None:
    """What is about to be written is not written down."""

    def begin(self: Any, *arguments: Any, **about: Any) -> int:
        token: int = original(self, *arguments, **about)
        with self.writing() as connection:
            connection.execute(delete(schema.intents).where(schema.intents.c.token == token))
        return token

    original = work.WorkQueue.begin_write
    patch.setattr(work.WorkQueue, "begin_write", begin)


def garbage_forgotten(patch: Patch) -> None:
    """Garbage is forgotten before the store has deleted it, and not remembered when that fails."""

    def deleted(self: Writer, found: Any) -> None:
        self._catalog.clear_garbage([item.id for item in found])
        points = [point_id(*entry) for item in found for entry in unpack(item.entries)]
        self._store.delete(self._generation.collection, points)

    patch.setattr(Writer, "_delete", deleted)


def fence_skipped_on_one_route(patch: Patch) -> None:
    """Who asks for a generation by its number gets what its store has."""

    def passing(hits: Any, facts: Any, where: Any, principals: Any) -> Fenced:
        result = Fenced()
        result.passed = [(hit, facts[hit.doc_id], _metadata(facts[hit.doc_id])) for hit in hits if hit.doc_id in facts]
        return result

    def answer(query: Any, generation: Any, store: Any, reader: Any, route: str) -> Any:
        if route == "live":
            return original(query, generation, store, reader, route)
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(search, "fence", passing)
            return original(query, generation, store, reader, route)

    original = search.answer
    patch.setattr(reading, "answer", answer)


def _metadata(entry: Any) -> dict[str, Any]:
    import orjson

    found: dict[str, Any] = orjson.loads(entry.metadata)
    return found


def alias_without_compare_and_swap(patch: Patch) -> None:
    """Who switches takes the alias as it is by then."""

    def switch(self: Any, alias: str, to: int, *, expected: int, **about: Any) -> Any:
        return original(self, alias, to, expected=self.route(alias).version, **about)

    original = generations.Generations.switch
    patch.setattr(generations.Generations, "switch", switch)


def retained_not_updated(patch: Patch) -> None:
    """A former live generation receives no changes."""
    original = WriteSide.complete
    patch.setattr(WriteSide, "complete", lambda self: [item for item in original(self) if item.state != "retained"])


def cache_without_space(patch: Patch) -> None:
    """The cache takes a text's vector of one model for that of another."""
    get, put = SharedCache.get_many, SharedCache.put_many
    patch.setattr(SharedCache, "get_many", lambda self, space, texts: get(self, "", texts))
    patch.setattr(SharedCache, "put_many", lambda self, space, texts, vectors: put(self, "", texts, vectors))


def tombstone_dropped_too_early(patch: Patch) -> None:
    """A deleted document is forgotten though generations still hold it."""

    def purge(self: Any, *, changes_before: float) -> Any:
        with self.writing("revision") as connection:
            table = schema.documents
            gone = select(table.c.doc_key).where(table.c.deleted.is_(True))
            connection.execute(delete(schema.changes).where(schema.changes.c.doc_key.in_(gone)))
            connection.execute(delete(table).where(table.c.deleted.is_(True)))
        return original(self, changes_before=changes_before)

    original = letters.Letters.purge
    patch.setattr(letters.Letters, "purge", purge)


def retry_that_duplicates(patch: Patch) -> None:
    """A write that failed is repeated under other ids, though it may have been done."""

    def written(self: Writer, tasks: Any) -> Any:
        self._store, store = _Retrying(self._store), self._store  # type: ignore[assignment]
        try:
            return original(self, tasks)
        finally:
            self._store = store

    original = Writer._write_points
    patch.setattr(Writer, "_write_points", written)


class _Retrying:
    def __init__(self, store: Any) -> None:
        self._store = store

    def upsert(self, collection: str, points: Any) -> None:
        try:
            self._store.upsert(collection, points)
        except StoreError:
            again = [digest(one.encode()).hex() for one in points.ids]
            self._store.upsert(collection, replace(points, ids=again))


def point_ids_reused(patch: Patch) -> None:
    """A chunk lies under the same id whoever wrote it, so that a late delete meets the text that has come back."""

    def same(chunk: bytes, token: bytes) -> str:
        return point_id(chunk, write_token(0))

    for module in (prepare, write, repair, clean):
        patch.setattr(module, "point_id", same)


Plant = Callable[[Patch], None]
BUGS: Final[dict[str, Plant]] = {
    bug.__name__: bug
    for bug in (
        commit_before_upsert, delete_before_commit, no_revision_check, no_fencing_token, no_intent, garbage_forgotten,
        fence_skipped_on_one_route, alias_without_compare_and_swap, retained_not_updated, cache_without_space,
        tombstone_dropped_too_early, retry_that_duplicates, point_ids_reused,
    )
}  # fmt: skip


@contextmanager
def planted(name: str) -> Iterator[None]:
    """With this bug in the engine. What clean systems make was made before, what schedules begin with is made anew."""
    world.beginning.cache_clear()
    try:
        with pytest.MonkeyPatch.context() as patch:
            BUGS[name](patch)
            yield
    finally:
        world.beginning.cache_clear()
