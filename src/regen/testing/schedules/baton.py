"""Actors in threads of which exactly one runs at a time: who goes on is said, never left to the system."""

from __future__ import annotations

import threading
from collections.abc import Callable

from regen.testing.schedules.clock import SimulatedClock


class Baton:
    """Runs actors one at a time. The one that runs may hand over, sleep on the simulated clock, or end.

    An actor that ends or sleeps is followed by the next in the order in which they were spawned, round and round. If
    all who are left sleep, the clock goes on to the first who wakes.
    """

    def __init__(self, clock: SimulatedClock) -> None:
        self.clock = clock
        self.running = ""
        self.failures: list[tuple[str, BaseException]] = []
        self._actors: dict[str, _Actor] = {}
        self._over = _closed()

    def spawn(self, name: str, work: Callable[[], None]) -> None:
        """Add an actor; it runs when its turn comes."""
        self._actors[name] = _Actor(name, threading.Thread(target=self._live, args=(name, work), name=name))

    def run(self) -> None:
        """Run all actors, those that they spawn included, to their ends. An exception ends its actor only."""
        if self._actors:
            self._wake(next(iter(self._actors)))
            self._over.acquire()
        for actor in self._actors.values():
            actor.thread.join()

    def others(self) -> list[str]:
        """Who else could run now, in order."""
        return [
            actor.name
            for actor in self._actors.values()
            if actor.name != self.running and not actor.ended and actor.wakes_at <= self.clock.now
        ]

    def hand_to(self, name: str) -> None:
        """Let another one run; returns when the baton comes back."""
        me = self._actors[self.running]
        self._wake(name)
        me.gate.acquire()

    def sleep(self, seconds: float) -> None:
        """Let others run for so long, of simulated time."""
        me = self._actors[self.running]
        me.wakes_at = self.clock.now + seconds
        following = self._next()
        if following != me.name:
            self.hand_to(following)
        self.clock.now = max(self.clock.now, me.wakes_at)
        me.wakes_at = 0.0

    def _live(self, name: str, work: Callable[[], None]) -> None:
        me = self._actors[name]
        me.gate.acquire()
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - told when all is over
            self.failures.append((name, error))
        me.ended = True
        if all(actor.ended for actor in self._actors.values()):
            self._over.release()
        else:
            self._wake(self._next())

    def _wake(self, name: str) -> None:
        actor = self._actors[name]
        self.running = name
        if not actor.thread.is_alive() and not actor.ended:
            actor.thread.start()
        actor.gate.release()

    def _next(self) -> str:
        """Who runs when the present one ends or sleeps; the clock goes on if everybody sleeps."""
        names = list(self._actors)
        at = names.index(self.running)
        left = [name for name in names[at + 1 :] + names[: at + 1] if not self._actors[name].ended]
        awake = [name for name in left if self._actors[name].wakes_at <= self.clock.now]
        if awake:
            return awake[0]
        first = min(left, key=lambda name: self._actors[name].wakes_at)
        self.clock.now = self._actors[first].wakes_at
        return first


class _Actor:
    __slots__ = ("ended", "gate", "name", "thread", "wakes_at")

    def __init__(self, name: str, thread: threading.Thread) -> None:
        self.name, self.thread = name, thread
        self.gate = _closed()
        self.ended = False
        self.wakes_at = 0.0


def _closed() -> threading.Lock:
    """A lock that is held: whoever acquires it waits until another thread releases it."""
    lock = threading.Lock()
    lock.acquire()
    return lock
