"""Faults are injected, not waited for: every call of a wrapped port is a named step at which something may go wrong.

    steps = Steps(CrashAt("before catalog.commit_write"))
    index = Index(embedder=..., catalog=steps.wrap(catalog, "catalog"), store=steps.wrap(store, "store"))

A step has two moments, ``before store.upsert`` and ``after store.upsert``; each item of an iterator that a port returns
is a step too (``source.scan.next``). Moments are numbered per name, from 1. The same work reaches the same moments
equally often; only the order *between* threads may differ.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from functools import wraps
from threading import Lock
from typing import Any, NoReturn, TypeAlias, TypeVar, cast

T = TypeVar("T")
OnStep: TypeAlias = Callable[[str, int], None]
"""(moment, how often it has been reached) -> nothing, or an exception that the caller of the port gets."""


class Crashed(BaseException):
    """The simulated death of a process. No ``except Exception`` survives it."""


class Steps:
    """Wraps ports and tells ``on_step`` of every moment. Thread-safe; ``trace`` holds the moments in order."""

    def __init__(self, on_step: OnStep | None = None) -> None:
        self.on_step = on_step
        self.trace: list[str] = []
        self._counts: Counter[str] = Counter()
        self._lock = Lock()

    def wrap(self, port: T, name: str) -> T:
        """A stand-in for a port that has all its public methods, and so all its optional powers."""
        return cast("T", _proxy(port, name, self))

    def reach(self, moment: str) -> None:
        """A moment has come."""
        with self._lock:
            self.trace.append(moment)
            self._counts[moment] += 1
            occurrence = self._counts[moment]
        if self.on_step is not None:
            self.on_step(moment, occurrence)

    def counts(self) -> dict[str, int]:
        """How often each moment was reached, by name: equal for equal work."""
        with self._lock:
            return dict(sorted(self._counts.items()))


class CrashAt:
    """Dies at one moment: by SIGKILL, or by raising Crashed there and at every later moment, for the dead do nothing.

    ``crashed`` tells whether it happened (without ``kill``).
    """

    def __init__(self, moment: str, occurrence: int = 1, *, kill: bool = False) -> None:
        self.moment, self.occurrence, self.kill = moment, occurrence, kill
        self.crashed = False

    def __call__(self, moment: str, occurrence: int) -> None:
        """Die, if this is the moment or it has passed."""
        if not self.crashed and (moment, occurrence) == (self.moment, self.occurrence):
            self.crashed = True
            if self.kill:
                kill_this_process()
        if self.crashed:
            raise Crashed(f"{self.moment}, {self.occurrence}")


class FailAt:
    """Raises ``error`` once, at one moment. ``after store.upsert`` is a store that fails *after* having written."""

    def __init__(self, moment: str, error: Exception, occurrence: int = 1) -> None:
        self.moment, self.error, self.occurrence = moment, error, occurrence
        self.failed = False

    def __call__(self, moment: str, occurrence: int) -> None:
        """Fail, if this is the moment."""
        if (moment, occurrence) == (self.moment, self.occurrence):
            self.failed = True
            raise self.error


def kill_this_process() -> NoReturn:
    """SIGKILL: no ``finally``, no ``atexit``, no flush."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable: SIGKILL cannot be survived")


def _proxy(target: object, name: str, steps: Steps) -> object:
    # Real members of a class of its own, not __getattr__: isinstance() against a Protocol looks at the class.
    members: dict[str, Any] = {}
    for member in dir(target):
        if not member.startswith("_"):
            found = getattr(target, member)
            members[member] = _method(found, f"{name}.{member}", steps) if callable(found) else _attribute(member)
    members["__doc__"] = f"The {name} {type(target).__name__}, with named steps."
    proxy: Any = type(f"Stepped{type(target).__name__}", (), members)()
    proxy._target = target  # noqa: SLF001 - the proxy's own
    return cast("object", proxy)


def _attribute(member: str) -> property:
    return property(lambda proxy: getattr(proxy._target, member))  # noqa: SLF001 - the proxy's own


def _method(call: Callable[..., Any], step: str, steps: Steps) -> Callable[..., Any]:
    @wraps(call)
    def stepped(_: object, /, *arguments: Any, **keywords: Any) -> Any:
        steps.reach(f"before {step}")
        result = call(*arguments, **keywords)
        steps.reach(f"after {step}")
        if step.endswith(".within"):  # a store's writing half: its steps are the store's
            return _proxy(result, step.removesuffix(".within"), steps)
        return _items(result, f"{step}.next", steps) if isinstance(result, Iterator) else result

    return stepped


def _items(inner: Iterator[T], step: str, steps: Steps) -> Iterator[T]:
    for item in inner:
        steps.reach(f"before {step}")
        yield item
