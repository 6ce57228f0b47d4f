"""A call that nobody waits for longer than its deadline: it runs in a thread, and is left behind if need be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Attempt(Generic[T]):
    """One call in a daemon thread, begun by the constructor: a thread that hangs does not keep a process alive.

    ``ended`` is called in that thread when the call is over, with whether it had been given up; before, ``given_up`` in
    the thread that gives it up. ``milliseconds`` counts from the beginning until either.
    """

    def __init__(
        self,
        call: Callable[[], T],
        ended: Callable[[Attempt[T], bool], None] = lambda *_: None,
        given_up: Callable[[Attempt[T]], None] = lambda _: None,
    ) -> None:
        self._call, self._ended, self._on_given_up = call, ended, given_up
        self._lock, self._over = threading.Lock(), threading.Event()
        self._given_up = self._done = False
        self.result: T | None = None
        self.error: BaseException | None = None
        self.milliseconds = 0.0
        self._started = time.perf_counter()
        threading.Thread(target=self._run, name="regen-rerank", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Whether the call ended within so many seconds of its beginning; else it is given up, for good."""
        self._over.wait(max(0.0, seconds - (time.perf_counter() - self._started)))
        with self._lock:  # so that a call is either given up or ended first, whichever thread is quicker
            if not self._done and not self._given_up:
                self._given_up = True
                self.milliseconds = self._elapsed()
                self._on_given_up(self)
            return not self._given_up

    def join(self) -> None:
        """Wait for as long as it takes. Raises what the call raised."""
        self._over.wait()
        if self.error is not None:
            raise self.error

    def _elapsed(self) -> float:
        return (time.perf_counter() - self._started) * 1e3

    def _run(self) -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = self._call()
        except BaseException as raised:  # noqa: BLE001 - whoever waits is told; when nobody does, it must end quietly
            error = raised
        with self._lock:
            self.result, self.error, self._done = result, error, True
            self.milliseconds = self._elapsed()
            self._ended(self, self._given_up)
        self._over.set()
