"""Simulated time, and the engine run by it: no thread of its own, no entropy, no waiting."""

from __future__ import annotations

import importlib
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any, Final, Protocol, TypeVar

from regen.errors import CatalogBusy, LeaseLost
from regen.ports.catalog import Catalog
from regen.ports.placements import Lease

T = TypeVar("T")
START: Final = 1_700_000_000.0
STEP_SECONDS: Final = 0.01
POLL_SECONDS: Final = 2.0
"""How often a process that waits for a lease looks again."""
_ENTERED: Final = ("regen.index", "regen.quality.gating", "regen.serving.on_read", "regen.monitoring.doctor")
"""Imported before the first run: what is loaded later would keep the real clock."""
_TIMED: Final = (
    "regen.engine.",
    "regen.serving.",
    "regen.verbs.",
    "regen.monitoring.",
    "regen.quality.",
    "regen.index",
)


class SimulatedClock:
    """Stands for the module ``time``; ``sleep`` hands over to whoever else may run."""

    def __init__(self) -> None:
        self.now = START
        self.sleeper: Callable[[float], None] = self._skip
        self._numbers = count()

    def time(self) -> float:
        """Seconds since the epoch."""
        return self.now

    monotonic = perf_counter = time

    def sleep(self, seconds: float) -> None:
        """Wait, of simulated time."""
        self.sleeper(seconds)

    def token_hex(self, size: int) -> str:
        """Stands for ``secrets.token_hex``: the next number."""
        return f"{next(self._numbers):0{2 * size}x}"

    def _skip(self, seconds: float) -> None:
        self.now += seconds


class Mortality(Protocol):
    """Who knows which owners of leases are dead, as a process of the same host can know it."""

    def is_dead(self, owner: str) -> bool:
        """Whether an owner is known to be dead."""
        ...


class HeldLease:
    """A lease without a thread that renews it: ``keep`` is called at steps, and renews when a third of it has passed.

    So a process that stalls for longer than its lease loses it, as a stopped process does.
    """

    held: dict[int, list[HeldLease]]
    """By the catalog's stand-in (its process): what it holds now. Filled by the class made for one run."""
    clock: SimulatedClock

    def __init__(self, catalog: Catalog, lease: Lease, seconds: float) -> None:
        self._catalog, self._seconds = catalog, seconds
        self.lease = lease
        self.held.setdefault(id(catalog), []).append(self)

    def keep(self, catalog: Catalog) -> None:
        """Renew, past the stand-in: it is another thread that does it."""
        if self.clock.now > self.lease.expires_at - self._seconds * 2 / 3:
            try:
                self.lease = catalog.renew(self.lease, at=self.clock.now, seconds=self._seconds)
            except (LeaseLost, CatalogBusy):
                return

    def require(self) -> None:
        """Renew now, or raise LeaseLost."""
        self.lease = self._catalog.renew(self.lease, at=self.clock.now, seconds=self._seconds)

    def release(self) -> None:
        """Give the lease back."""
        self.held[id(self._catalog)].remove(self)
        self._catalog.release(self.lease)


def pipeline(depth: int) -> Callable[..., None]:
    """A pipeline of one thread: up to ``depth`` items are begun before the first of them is finished and consumed."""

    def run(
        produce: Iterable[T], begin: Callable[[T], Callable[[], None]], consume: Callable[[T], None], halt: Any
    ) -> None:
        begun: deque[tuple[T, Callable[[], None]]] = deque()

        def finish() -> None:
            item, wait = begun.popleft()
            wait()
            consume(item)

        try:
            for item in produce:
                if halt.is_set():
                    break
                begun.append((item, begin(item)))
                if len(begun) > depth:
                    finish()
        finally:
            while begun:
                finish()

    return run


class AtOnce(Executor):
    """A pool of no thread: what is submitted has been done when ``submit`` returns."""

    def __init__(self, *_: object) -> None:
        """As many threads as are asked for, by any name."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Do it now; what it raises is raised by the future."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - as a pool of threads does
            future.set_exception(error)
        return future


@contextmanager
def simulated(clock: SimulatedClock, mortality: Mortality, *, depth: int = 0) -> Iterator[type[HeldLease]]:
    """Run regen by a simulated clock and in the caller's thread only; yields the class that its leases are of.

    Patched are: the module ``time`` wherever the engine, serving, verbs, monitoring and ``Index`` use it; the thread
    that renews leases; the threads of the pipeline and of the scan; who is known to be dead; the random ids of
    searches; the actor of switches; and the handing back of freed memory, which takes time and changes nothing.
    """
    for name in _ENTERED:
        importlib.import_module(name)
    from regen.engine import building, lease, lifecycle, reconcile, scan, upkeep  # noqa: PLC0415 - heavy, only for a run
    from regen.engine.control import Brake  # noqa: PLC0415 - likewise
    from regen.serving import reading  # noqa: PLC0415 - likewise

    held = type("SimulatedLease", (HeldLease,), {"held": {}, "clock": clock})
    patches: list[tuple[Any, str, Any]] = [
        (lease, "HeldLease", held),
        (lease, "_POLL_SECONDS", POLL_SECONDS),
        (lease, "is_dead", mortality.is_dead),
        (upkeep, "is_dead", mortality.is_dead),
        (lifecycle, "actor", lambda: "simulated"),
        (reconcile, "run_pipeline", pipeline(depth)),
        (reconcile, "give_back", lambda: None),
        (scan, "ThreadPoolExecutor", AtOnce),
        (building, "Brake", partial(Brake, clock=clock.monotonic, sleep=clock.sleep)),
        (reading, "secrets", clock),
        *((module, "time", clock) for module in _timed()),
    ]
    before = [getattr(module, name) for module, name, _ in patches]
    for module, name, new in patches:
        setattr(module, name, new)
    try:
        yield held
    finally:
        for (module, name, _), old in zip(patches, before, strict=True):
            setattr(module, name, old)


def _timed() -> list[Any]:
    """The modules that read the clock."""
    return [
        module
        for name, module in list(sys.modules.items())
        if name.startswith(_TIMED) and getattr(module, "time", None) is time
    ]
