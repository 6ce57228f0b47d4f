"""What the processes of a schedule share, and the stand-ins through which each of them speaks to it, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from regen.core.documents import Document
from regen.ports import KnownStamps, ScanBatch, StoredPayload, StoreHit, Vector, Vectors
from regen.stores.memory import MemoryStore
from regen.testing.schedules.documents import document

T = TypeVar("T")


class Caller(Protocol):
    """A process: every call of its ports goes through it."""

    def call(self, step: str, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Do it, or let go wrong what shall go wrong at this step."""
        ...


def stand_in(target: T, name: str, process: Caller) -> T:
    """What a process is given for a port: each public method is a step of it, and each page of an iterator too."""
    kind: Any = type(target)
    made: Any = _class(kind, name)()
    made._target, made._process = target, process  # noqa: SLF001 - the stand-in's own
    return cast("T", made)


@cache
def _class(kind: type, name: str) -> type:
    # Real members, not __getattr__: isinstance() against a Protocol looks at the class.
    members: dict[str, Any] = {"__doc__": f"The {name} of one process."}
    for member in dir(kind):
        if member == "close":
            members[member] = lambda _: None  # what others use stays open
        elif not member.startswith("_"):
            found = getattr(kind, member)
            members[member] = _method(member, f"{name}.{member}") if callable(found) else _attribute(member)
    return type(f"Shared{kind.__name__}", (), members)


def _attribute(member: str) -> property:
    return property(lambda one: getattr(one._target, member))  # noqa: SLF001 - the stand-in's own


def _method(member: str, step: str) -> Callable[..., Any]:
    def stepped(one: Any, /, *arguments: Any, **keywords: Any) -> Any:
        target, process = one._target, one._process  # noqa: SLF001 - the stand-in's own
        result = process.call(step, getattr(target, member), *arguments, **keywords)
        return _pages(result, f"{step}.next", process) if isinstance(result, Iterator) else result

    return stepped


def _pages(inner: Iterator[T], step: str, process: Caller) -> Iterator[T]:
    end = object()
    while (item := process.call(step, next, inner, end)) is not end:
        yield cast("T", item)


class LyingStore(MemoryStore):
    """A store in memory that can, for a while, not show what it has written, and delete what it said it had deleted.

    That is a store that breaks the port's promise: what must hold in spite of it is what rests on the catalog.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lies = self.told = 0
        self._calls = 0
        self._hidden: dict[str, int] = {}
        self._late: list[tuple[int, str, list[str]]] = []

    def state(self) -> object:
        """All that it holds, for :meth:`restore`; to be copied by who keeps it."""
        return self._collections, self._aliases

    def restore(self, state: Any) -> None:
        """Hold what another one held."""
        self._collections, self._aliases = state

    @property
    def lying(self) -> bool:
        """Whether anything is withheld at present."""
        return bool(self._hidden or self._late)

    def lie(self, calls: int) -> None:
        """Withhold the effect of the next write for so many further calls."""
        self.lies = calls
        self.told += 1

    def settle(self) -> None:
        """Make true all that was said."""
        self._calls += 1_000_000
        self._tick()
        self.lies = 0

    def upsert(self, collection: str, points: Any) -> None:
        """Write, and perhaps hide what was written."""
        self._tick()
        super().upsert(collection, points)
        if self.lies:
            self._hidden.update(dict.fromkeys(points.ids, self._calls + self.lies))
            self.lies = 0

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Delete, or do so later."""
        self._tick()
        if self.lies and ids:
            self._late.append((self._calls + self.lies, collection, list(ids)))
            self.lies = 0
        else:
            super().delete(collection, ids)

    def search(self, collection: str, vector: Vector, k: int, **about: Any) -> list[StoreHit]:
        """What is shown of the k best."""
        self._tick()
        return [hit for hit in super().search(collection, vector, k, **about) if hit.point_id not in self._hidden]

    def fetch(self, collection: str, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """Those of the points that are shown."""
        self._tick()
        return super().fetch(collection, [one for one in ids if one not in self._hidden])

    def scan(self, collection: str, batch: int = 6) -> Iterator[StoredPayload]:
        """All points, a few at a time: a lie about them would be no worse than their coming later."""
        self._tick()
        return super().scan(collection, min(batch, 6))

    def _tick(self) -> None:
        self._calls += 1
        self._hidden = {point: until for point, until in self._hidden.items() if until > self._calls}
        due = [late for late in self._late if late[0] <= self._calls]
        self._late = [late for late in self._late if late[0] > self._calls]
        for _, collection, ids in due:
            if collection in self.collections():
                super().delete(collection, ids)


class SharedCache:
    """A cache of vectors that all processes share."""

    def __init__(self, kept: dict[tuple[str, str], Vector]) -> None:
        self.kept = kept

    def get_many(self, space: str, texts: Sequence[str]) -> dict[int, Vector]:
        """The vectors that are there, by position."""
        return {at: self.kept[space, text] for at, text in enumerate(texts) if (space, text) in self.kept}

    def put_many(self, space: str, texts: Sequence[str], vectors: Vectors) -> None:
        """Keep vectors."""
        self.kept.update({(space, text): np.array(vectors[at]) for at, text in enumerate(texts)})

    def close(self) -> None:
        """Nothing to release."""


class SharedSource:
    """A source that others edit while it is read: ``holds`` maps a document's id to the number of its version."""

    name, full = "simulated", True

    def __init__(self, holds: dict[str, int]) -> None:
        self.holds = holds

    def scan(self, known: KnownStamps) -> Iterator[ScanBatch]:  # noqa: ARG002 - it has no stamps
        """All documents, two at a time, each as it is when its batch is read."""
        ids = list(self.holds)
        for start in range(0, len(ids), 2):
            yield ScanBatch(self._read(ids[start : start + 2]))

    def read(self, ids: Sequence[str]) -> tuple[ScanBatch, list[str]]:
        """The named documents, however often they are named, and which of them are not there."""
        wanted = list(dict.fromkeys(ids))
        return ScanBatch(self._read(wanted)), [one for one in wanted if one not in self.holds]

    def _read(self, ids: Sequence[str]) -> list[Document]:
        return [document(one, self.holds[one]) for one in ids if one in self.holds]
