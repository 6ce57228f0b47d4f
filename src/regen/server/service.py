"""What the routes share: the index, the settings, and the parts that live as long as the server."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request
from opentelemetry.metrics import get_meter

from regen.config.server import ServerSettings
from regen.errors import CatalogError, RegenError
from regen.index import Index
from regen.server.access.caller import Caller
from regen.server.access.doorkeeper import Doorkeeper
from regen.server.following import Follower
from regen.server.metrics import Metrics
from regen.server.runs import Runs
from regen.server.scheduling import Scheduler
from regen.server.telemetry import Telemetry

KEEP_ANSWERS: Final = 24 * 3_600.0
"""Seconds for which a request with an idempotency key is answered as it was the first time."""
SWEEP_EVERY: Final = 600.0
APART: Final = 8
"""Threads for what must not wait behind searches: changes, and the runs of operators."""
PER_CORE, MOST_AT_ONCE = 4, 40
"""Searches at once. With a model in this process more than a few a core only keep each other, and all else, from it."""
T = TypeVar("T")
PROBE_EVERY: Final = 3_600.0
"""Seconds between two looks whether a model has changed behind its name: eight short texts for each generation."""


class Service:
    """One index being served. Raises ConfigError when the schedule that regen.yaml asks for cannot work."""

    def __init__(self, index: Index, settings: ServerSettings) -> None:
        self.index, self.settings = index, settings
        self.doorkeeper = Doorkeeper(index, settings, index.root)
        self.metrics = Metrics(index, settings.tenant)
        self.telemetry = Telemetry(self.metrics.families, get_meter("regen"))
        self.follower = Follower(index, self.metrics.catch_up_failed, self.metrics.collector.feed)
        self.runs = Runs(index, self.metrics.run_ended)
        self.scheduler = Scheduler(index, self.metrics.collector.feed)
        self._apart = CapacityLimiter(APART)
        per_core = PER_CORE * (os.cpu_count() or 1)
        self._searches = CapacityLimiter(min(MOST_AT_ONCE, per_core) if index.model_is_local else MOST_AT_ONCE)
        self._stop, self._ends_at = threading.Event(), float("inf")
        self._sweeper = threading.Thread(target=self._sweep, name="regen-sweeper", daemon=True)

    def start(self) -> None:
        """Begin what goes on in the background. Raises ConfigError when an issuer's keys cannot be had."""
        if self.doorkeeper.tokens is not None:
            self.doorkeeper.tokens.keys.check()
        self.follower.start()
        self.runs.start()
        self.scheduler.start()
        self._sweeper.start()

    def wind_down(self) -> None:
        """Begin to end: requests that wait answer as it stands, streams end, runs stop at their next progress."""
        self._ends_at = min(self._ends_at, time.monotonic() + self.settings.stop_within)
        self._stop.set()
        self.scheduler.end()
        self.runs.end()

    def stop(self) -> None:
        """End it, within the time that the settings give. Idempotent."""
        self.wind_down()
        self.follower.stop(self._left())
        self.runs.join(self._left())
        self.scheduler.join(self._left())

    def _left(self) -> float:
        return max(0.0, self._ends_at - time.monotonic())

    async def apart(self, work: Callable[[], T]) -> T:
        """Do something in a thread that no search occupies: a deletion is not to wait for them."""
        return await to_thread.run_sync(work, limiter=self._apart)

    async def searching(self, work: Callable[[], T]) -> T:
        """Search in a thread, when it is this search's turn."""
        return await to_thread.run_sync(work, limiter=self._searches)

    @property
    def stopping(self) -> bool:
        """Whether the server ends."""
        return self._stop.is_set()

    @contextmanager
    def operating(self, request: Request, caller: Caller, action: str, **details: Any) -> Iterator[None]:
        """Do an operator's action in the caller's name, and keep in the audit log what came of it."""
        outcome = "done"
        try:
            with self.index.acting_as(caller.name):
                yield
        except RegenError as error:
            outcome = f"{type(error).__name__}: {error.message}"
            raise
        except Exception as error:
            outcome = f"failed: {type(error).__name__}"
            raise
        finally:
            self.index.audit(action, actor=caller.name, origin=origin_of(request), outcome=outcome, **details)

    def _sweep(self) -> None:
        probed_at = float("-inf")
        with suppress(CatalogError):  # a look is missed: what becomes searchable before the next one is not counted
            self.metrics.collector.feed()
        self.telemetry.offer()
        while not self._stop.is_set():
            if time.monotonic() - probed_at > PROBE_EVERY:
                probed_at = time.monotonic()
                with suppress(CatalogError):
                    self.metrics.collector.probe()
            with suppress(CatalogError):  # busy or out of reach: there is a next time
                self.index.records.forget_answers(time.time() - KEEP_ANSWERS)
            self._stop.wait(SWEEP_EVERY)
            self.telemetry.offer()  # what the catalog did not tell before


def service_of(request: Request) -> Service:
    """The service that answers a request."""
    found: Service = request.app.state.service
    return found


def origin_of(request: Request) -> str:
    """From where a request comes."""
    return "" if request.client is None else request.client.host


async def _served(request: Request) -> Service:
    """The same for routes, on the event loop: a plain function would cost each request a turn in the thread pool."""
    return service_of(request)


Served: TypeAlias = Annotated[Service, Depends(_served)]
