"""What is known of collections that live elsewhere: read once, looked at again now and then, and after a miss."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Final, Generic, Protocol, TypeVar

from regen.core.filters import Filter
from regen.errors import StoreError
from regen.ports import FieldKind

LOOK_AGAIN_SECONDS: Final = 30.0
"""Another process may drop a collection, or make it anew: so long it may go unnoticed by who only reads."""


class HasFields(Protocol):
    """What is kept of a collection tells by which metadata keys it can be filtered."""

    @property
    def fields(self) -> Mapping[str, FieldKind]:
        """Kinds by key."""
        ...


L = TypeVar("L", bound=HasFields)


class Layouts(Generic[L]):
    """The layouts of a store's collections. Safe for threads.

    ``read`` looks a collection up, None where there is none; ``missing`` makes the error that says so.
    """

    def __init__(self, read: Callable[[str], L | None], missing: Callable[[str], Exception]) -> None:
        self._read, self._missing = read, missing
        self._lock = Lock()
        self._held: dict[str, tuple[L, float]] = {}

    def of(self, collection: str, *, anew: bool = False) -> L:
        """A collection's layout, as it was when last looked at, or ``anew``. Raises what ``missing`` makes."""
        with self._lock:
            held = None if anew else self._held.get(collection)
        if held is None or time.monotonic() - held[1] > LOOK_AGAIN_SECONDS:
            layout = self._read(collection)
            if layout is None:
                self.forget(collection)
                raise self._missing(collection)
            held = layout, time.monotonic()
            with self._lock:
                self._held[collection] = held
        return held[0]

    def for_filter(self, collection: str, where: Filter) -> L:
        """The layout that a search needs: another process may have added a field that it filters by."""
        layout = self.of(collection)
        known = all(clause.key in layout.fields for clause in where)
        return layout if known else self.of(collection, anew=True)

    def forget(self, collection: str) -> None:
        """Look at a collection anew when it is next asked for."""
        with self._lock:
            self._held.pop(collection, None)


def check_made(collection: str, found: int, wanted: int) -> None:
    """Raise StoreError where a collection was there already, with vectors of other dimensions."""
    if found != wanted:
        raise StoreError(
            f"collection {collection!r} exists with {found} dimensions, not {wanted}",
            hint="drop it first, or choose another name",
        )
