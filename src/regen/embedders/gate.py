"""A provider's limit is its account's, not a thread's: when one thread is told to wait, all threads wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, Lock
from typing import Final
from weakref import WeakValueDictionary

from regen.errors import RateLimited, TextRejected

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 20.0
PATIENCE: Final = 60.0


class Gate:
    """What every call to one account passes. Thread-safe.

    A call that ends in RateLimited closes the gate for as long as the provider asks (else for a pause that doubles from
    0.5 to 20 seconds). When the time is over one call goes first, alone: the others follow when it has succeeded. So
    a throttled account sees no request before it is ready again, and then one, however many threads there are.

    A caller waits at most ``patience`` seconds; if the gate stays closed for longer, RateLimited is raised at once.
    """

    def __init__(self, *, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._clock = patience, clock
        self._changed = Condition()
        self._opens = 0.0
        self._throttled = self._testing = False
        self._refusals = 0

    @contextmanager
    def passage(self) -> Iterator[None]:
        """Make one call inside. Raises RateLimited, without a call, when the wait would be too long."""
        first = self._enter()
        succeeded = False
        try:
            yield
            succeeded = True
        except RateLimited as error:
            self._close(error.retry_after)
            raise
        except TextRejected:
            succeeded = True  # the provider has listened
            raise
        finally:
            self._leave(first=first, succeeded=succeeded)

    def _enter(self) -> bool:
        """Wait until a call may be made; tells whether it is the one that tries first."""
        with self._changed:
            while True:
                left = self._opens - self._clock()
                if left > self._patience:
                    raise RateLimited(f"the provider asked to wait {left:.0f} s longer", retry_after=left)
                if left > 0:
                    self._changed.wait(left)
                elif self._throttled and self._testing:
                    self._changed.wait()
                else:
                    self._testing = self._throttled
                    return self._throttled

    def _close(self, seconds: float | None) -> None:
        with self._changed:
            if seconds is None:
                seconds = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._refusals, 10))
            self._refusals += 1
            self._throttled = True
            self._opens = max(self._opens, self._clock() + seconds)

    def _leave(self, *, first: bool, succeeded: bool) -> None:
        with self._changed:
            if first:  # a call that began before the gate was closed says nothing about now
                self._testing = False
                if succeeded and self._opens <= self._clock():
                    self._throttled, self._refusals = False, 0
            self._changed.notify_all()


_gates: Final[WeakValueDictionary[str, Gate]] = WeakValueDictionary()
_finding: Final = Lock()


def gate_of(account: str) -> Gate:
    """The gate of an account; all embedders of the process that use the account share it while one of them lives."""
    with _finding:
        gate = _gates.get(account)
        if gate is None:
            gate = _gates[account] = Gate()
        return gate
