"""Bringing the index in step with what was accepted: one thread, woken by each request, and by nobody now and then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from regen.core.backlog import Backlog
from regen.errors import CatalogBusy, RegenError
from regen.index import Index
from regen.server.logs import LOG

LOOK_EVERY: Final = 2.0
"""Seconds between two looks at what another process may have logged, or a crash left behind."""
LONGEST_PAUSE: Final = 30.0


class Follower:
    """Catches up in the background. ``on_failure`` is told of each attempt that failed; the next one comes later.

    ``on_moved`` is called when something has become searchable.
    """

    def __init__(self, index: Index, on_failure: Callable[[Exception], None], on_moved: Callable[[], None]) -> None:
        self._index, self._on_failure, self._on_moved = index, on_failure, on_moved
        self._wanted, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="regen-follower", daemon=True)
        self.backlog = Backlog(0, 0, 0)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Something was logged."""
        self._wanted.set()

    def stop(self, within: float) -> None:
        """End after the catch-up under way. What is left is found by whoever looks next."""
        self._stop.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(within)

    def look(self) -> Backlog:
        """What is logged, and what of it is searchable, from the catalog."""
        self.backlog = self._index.backlog()
        return self.backlog

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            self._wanted.wait(LOOK_EVERY)
            self._wanted.clear()
            if self._stop.is_set():
                return
            failures = 0 if self._caught_up() else failures + 1
            if failures:
                self._stop.wait(min(LONGEST_PAUSE, 0.2 * 2**failures))
                self._wanted.set()

    def _caught_up(self) -> bool:
        try:
            if self.look().behind:
                self._index.catch_up()
                self.look()
                self._on_moved()
        except CatalogBusy:  # another process writes: what it leaves is found at the next look
            return False
        except Exception as error:  # noqa: BLE001 - a defect must not end the background for good
            self._on_failure(error)
            LOG.error(
                "catch_up_failed", error=type(error).__name__, detail=str(error), known=isinstance(error, RegenError)
            )
            return False
        return True
