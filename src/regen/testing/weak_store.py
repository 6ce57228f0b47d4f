"""A store of the weakest powers that the port allows, which goes wrong as real ones do, by a seeded plan.

    store = WeakStore(Weakness(stale=3, partial=0.2, doubled=0.2), seed=7)

It has the port's required methods and, if asked for, an alias of its own, but no payload updates, no new fields, no
upkeep. What may go wrong, each from what a real store was seen to do (docs/adr/0017):

- ``stale``: a read shows the collection as it was up to so many writes ago; deleted points come back for a while;
- ``partial``: a share of the writes and deletes do a part of their batch, and then raise StoreError;
- ``doubled``: a share of a batch is there twice until the store settles, and is counted, scanned and found so; with
  ``lasting`` until it is deleted;
- ``dangling``: an alias outlives its collection, and names what is not there;
- ``delay``: an alias is seen where it was for so many reads after it was set.

``settle`` ends all of it: what was acknowledged is what is seen, and nothing goes wrong any more. Thread-safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from threading import RLock

from regen.core.documents import Principal, Unrestricted
from regen.core.filters import Filter
from regen.errors import CollectionMissing, StoreError
from regen.ports import CollectionSpec, Payload, Points, StoredPayload, StoreHit, Vector, Vectors
from regen.stores.memory import MemoryStore


@dataclass(frozen=True, slots=True)
class Weakness:
    """How weak the store is: numbers of writes or reads, and shares from 0 to 1."""

    stale: int = 0
    partial: float = 0.0
    doubled: float = 0.0
    lasting: bool = False
    dangling: bool = False
    delay: int = 0


class WeakStore:
    """The store. ``faults`` counts what has gone wrong, by name."""

    def __init__(self, weakness: Weakness, seed: int = 0) -> None:
        self._weak, self._lock = weakness, RLock()
        self._random = Random(seed)  # noqa: S311 - faults, not secrets
        self._now = MemoryStore()
        self._past: list[MemoryStore] = []
        self._doubled: dict[str, set[str]] = {}
        self.faults: dict[str, int] = dict.fromkeys(("stale", "partial", "doubled"), 0)

    def settle(self) -> None:
        """From now on nothing goes wrong, and what was acknowledged is seen."""
        with self._lock:
            if not self._weak.lasting:
                self._doubled.clear()
            self._weak = Weakness()
            self._past.clear()

    # ── the port ──

    def create(self, collection: str, spec: CollectionSpec) -> None:
        """As any store."""
        with self._lock:
            self._now.create(collection, spec)
            self._past.clear()  # which collections there are is known at once, everywhere

    def drop(self, collection: str) -> None:
        """As any store."""
        with self._lock:
            self._now.drop(collection)
            self._doubled.pop(collection, None)
            self._past.clear()

    def collections(self) -> list[str]:
        """As any store."""
        return self._now.collections()

    def upsert(self, collection: str, points: Points) -> None:
        """Write all of the batch, or a part of it with an error."""
        with self._lock:
            self._remember()
            done = self._part(len(points.ids))
            if done != 0:
                self._now.upsert(collection, points if done is None else _first(points, done))
            self._double(collection, points.ids[:done])
            self._fail(collection, done)

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Remove all of them, or a part with an error; a point that is there twice goes twice."""
        with self._lock:
            self._remember()
            done = self._part(len(ids))
            self._now.delete(collection, ids[:done])
            self._doubled.get(collection, set()).difference_update(ids[:done])
            self._fail(collection, done)

    def search(
        self,
        collection: str,
        vector: Vector,
        k: int,
        *,
        where: Filter = (),
        principals: frozenset[Principal] | Unrestricted | None = None,
    ) -> list[StoreHit]:
        """What was there a while ago, some of it twice."""
        with self._lock:
            found = self._seen().search(collection, vector, k, where=where, principals=principals)
            twice = self._doubled.get(collection, set())
            return [copy for hit in found for copy in ([hit, hit] if hit.point_id in twice else [hit])][:k]

    def fetch(self, collection: str, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """What was there a while ago."""
        with self._lock:
            return self._seen().fetch(collection, ids)

    def count(self, collection: str) -> int:
        """What was there a while ago, counted twice where it is twice."""
        with self._lock:
            return self._seen().count(collection) + len(self._doubled.get(collection, ()))

    def scan(self, collection: str, batch: int = 4096) -> Iterator[StoredPayload]:
        """What was there a while ago; what is there twice comes in two pages."""
        with self._lock:
            pages = list(self._seen().scan(collection, batch))
            twice = set(self._doubled.get(collection, ()))
        for page in pages:
            yield page
            if again := [at for at, point_id in enumerate(page.ids) if point_id in twice]:
                yield StoredPayload([page.ids[at] for at in again], _rows(page.payload, again))

    def close(self) -> None:
        """Nothing to release."""

    # ── what goes wrong ──

    def _remember(self) -> None:
        if self._weak.stale:
            self._past = [*self._past, deepcopy_of(self._now)][-self._weak.stale :]

    def _seen(self) -> MemoryStore:
        if self._past and self._random.random() < 0.5:
            self.faults["stale"] += 1
            return self._random.choice(self._past)
        return self._now

    def _part(self, count: int) -> int | None:
        """How many of a batch are done before it fails, None when it does not."""
        if count and self._random.random() < self._weak.partial:
            self.faults["partial"] += 1
            return self._random.randrange(count + 1)
        return None

    def _double(self, collection: str, ids: Sequence[str]) -> None:
        for point_id in ids:
            if self._random.random() < self._weak.doubled:
                self.faults["doubled"] += 1
                self._doubled.setdefault(collection, set()).add(point_id)

    def _fail(self, collection: str, done: int | None) -> None:
        if done is not None:
            raise StoreError(f"collection {collection!r}: the connection was dropped after {done} points")


class WeakAliasStore(WeakStore):
    """The same with an alias of its own: it may dangle, and moves late."""

    def __init__(self, weakness: Weakness, seed: int = 0) -> None:
        super().__init__(weakness, seed)
        self._aliases: dict[str, list[str]] = {}
        self._reads = 0

    def settle(self) -> None:
        """From now on an alias is where it was set last."""
        super().settle()
        self._aliases = {alias: targets[-1:] for alias, targets in self._aliases.items()}

    def drop(self, collection: str) -> None:
        """Leave aliases that point here dangling, if it is that weak."""
        super().drop(collection)
        if not self._weak.dangling:
            self._aliases = {alias: held for alias, held in self._aliases.items() if held[-1] != collection}

    def set_alias(self, alias: str, collection: str) -> None:
        """Point an alias, to be seen after a while."""
        if collection not in self._now.collections():
            raise CollectionMissing(f"there is no collection {collection!r}")
        with self._lock:
            self._aliases.setdefault(alias, []).append(collection)
            self._reads = self._weak.delay

    def alias_target(self, alias: str) -> str | None:
        """Where an alias is seen to point, be it at nothing."""
        with self._lock:
            targets = self._aliases.get(alias)
            if targets is None:
                return None
            late = self._reads > 0 and len(targets) > 1
            self._reads = max(0, self._reads - 1)
            return targets[-2 if late else -1]


def deepcopy_of(store: MemoryStore) -> MemoryStore:
    """A store that holds the same and shares nothing."""
    copy = MemoryStore()
    copy._collections = deepcopy(store._collections)  # noqa: SLF001 - of the same kind
    return copy


def _first(points: Points, count: int) -> Points:
    """The first so many points of a batch."""
    return Points(points.ids[:count], points.vectors[:count], _rows(points.payload, range(count)))


def _rows(payload: Payload, rows: Iterable[int]) -> Payload:
    """Some rows of a payload."""
    chosen = list(rows)
    own = {name: [getattr(payload, name)[at] for at in chosen] for name in payload.__slots__ if name != "audit"}
    return Payload(**own, audit={key: [values[at] for at in chosen] for key, values in payload.audit.items()})
