"""Upkeep beside the work of a process: who pushes a document does not wait while a collection is compacted or indexed.

One thread, which lives for as long as there is something to do. What it has to tell is told by the next result.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Tending:
    """Runs upkeep in the background, one round at a time. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._told: list[str] = []

    def ask(self, upkeep: Callable[[], list[str]]) -> None:
        """Begin a round, unless one is under way: what it leaves is seen when it is next looked whether upkeep pays."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, args=(upkeep,), name="regen-upkeep")
                self._thread.start()

    def told(self) -> list[str]:
        """What rounds have done, or why they could not, since this was last asked."""
        with self._lock:
            told, self._told = self._told, []
        return told

    def finish(self) -> None:
        """Wait for the round that is under way."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self, upkeep: Callable[[], list[str]]) -> None:
        try:
            told = upkeep()
        except Exception as error:  # noqa: BLE001 - nobody waits for this thread: the next result tells
            told = [f"upkeep failed: {type(error).__name__}: {error}"]
        with self._lock:
            self._told += told
            self._thread = None
