"""What is open once in a process, however many stores use it: a folder that its library allows one client on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """One open thing for each place, closed when its last user lets it go. Thread-safe."""

    def __init__(self, open_one: Callable[[Path], T], close_one: Callable[[Path, T], None]) -> None:
        self._open, self._close = open_one, close_one
        self._held: dict[Path, tuple[T, int]] = {}
        self._lock = threading.Lock()

    def take(self, place: Path) -> T:
        """Open a place, or have one more user of it."""
        with self._lock:
            thing, users = self._held.get(place) or (self._open(place), 0)
            self._held[place] = thing, users + 1
            return thing

    def let_go(self, place: Path) -> None:
        """Have one user less, and close the place when it was the last one."""
        with self._lock:
            thing, users = self._held.pop(place)
            if users > 1:
                self._held[place] = thing, users - 1
            else:
                self._close(place, thing)
