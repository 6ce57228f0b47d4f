"""Running jobs when they are due, and when their sources change: one process per index, the others stand by."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from regen.core import rights
from regen.core.refresh import Leads, Next, Past, Policy, Ran, StandsBy, backoff, decide
from regen.engine.lease import LEASE_SECONDS, HeldLease, new_owner, writer_lease
from regen.errors import CatalogBusy, CatalogError, LeaseLost, SourceError
from regen.ports import StopSignal
from regen.ports.catalog import Catalog

LONGEST: Final = 30.0
"""A job looks at the clock at least so often: clocks are set, and machines sleep."""
STAND_BY: Final = 0.5
GLANCE: Final = 0.1
MANY: Final = 200
"""So many changed documents take long enough to read that others want to know of it."""


@dataclass(frozen=True, slots=True)
class Task:
    """A job: when it runs, and what it does. ``run`` is given the changed ids, or None for all there is to do.

    ``follow`` begins to listen for changes when it is called, and yields them until the signal is set.
    """

    name: str
    policy: Policy
    run: Callable[[Collection[str] | None], Any]
    follow: Callable[[StopSignal], Iterator[set[str]]] | None = None


Told: TypeAlias = Callable[[Ran | Leads | StandsBy], None]


class Runner:
    """Runs tasks until it is stopped. Of all runners of an index, in whatever process, one does at a time.

    Each task has a thread of its own, so a long one holds up no other. A run that fails is tried again, later each
    time.
    """

    def __init__(
        self,
        alias: str,
        catalog: Catalog,
        tasks: Sequence[Task],
        *,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._alias, self._catalog, self._tasks = alias, catalog, tasks
        self._lease_seconds = lease_seconds
        self.owner = new_owner()

    def run(self, stop: threading.Event, told: Told) -> None:
        """Run the tasks until ``stop`` is set; what is running then is finished first.

        ``told`` hears of every run, by one thread at a time. What it raises ends all of this, and is raised.
        """
        telling = _Telling(told)
        leader = ""
        while not stop.is_set() and telling.failure is None:
            try:
                with writer_lease(
                    self._catalog, rights.to_schedule(self._alias), self.owner, wait=0.0, seconds=self._lease_seconds
                ) as held:
                    self._lead(stop, held, telling)
                leader = ""
            except CatalogBusy as busy:
                leader = self._stand_by(busy, leader, telling)
                stop.wait(STAND_BY)
        if telling.failure is not None:
            raise telling.failure

    def _stand_by(self, busy: CatalogBusy, leader: str, telling: _Telling) -> str:
        holder = self._catalog.holder(rights.to_schedule(self._alias))
        found = busy.message if holder is None else holder.owner
        if found != leader:
            telling(StandsBy(found))
        return found

    def _lead(self, stop: threading.Event, held: HeldLease, telling: _Telling) -> None:
        ended = threading.Event()
        lanes = [_Lane(task, self._alias, self._catalog, telling, self.owner) for task in self._tasks]
        telling(Leads(tuple(task.name for task in self._tasks)))
        for lane in lanes:
            lane.start(ended, stop)
        try:
            while _is_ours(held) and not self._is_over(stop, telling):
                pass
        finally:
            ended.set()
            for lane in lanes:
                lane.wake()
        for lane in lanes:
            lane.join()

    def _is_over(self, stop: threading.Event, telling: _Telling) -> bool:
        """Wait until it is time to look after the lease; whether all of it ends before that."""
        until = time.monotonic() + self._lease_seconds / 3
        while time.monotonic() < until:
            if telling.failure is not None or stop.wait(GLANCE):
                return True
        return False


def _is_ours(held: HeldLease) -> bool:
    """Whether we still hold the lease; a catalog that cannot be asked just now cannot give it to anybody either."""
    try:
        held.require()
    except LeaseLost:
        return False
    except CatalogError:
        return True
    return True


@dataclass(slots=True)
class _Telling:
    """Tells one thing at a time, and keeps what the listener raises."""

    told: Told
    failure: BaseException | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, event: Ran | Leads | StandsBy) -> None:
        with self._turn:
            if self.failure is not None:
                return
            try:
                self.told(event)
            except BaseException as error:  # noqa: BLE001 - raised by Runner.run
                self.failure = error


class _Lane:
    """One task's thread, and the one that listens to its source."""

    def __init__(
        self,
        task: Task,
        alias: str,
        catalog: Catalog,
        telling: _Telling,
        owner: str,
    ) -> None:
        self._task, self._alias, self._catalog, self._telling = task, alias, catalog, telling
        self._owner = owner
        self._events = 0
        self._stop = threading.Event()
        self._turn = threading.Condition()
        self._changed: set[str] = set()
        self._all = False
        self._pending_since: float | None = None
        self._changed_at: float | None = None
        self._deaf = ""
        self._threads: list[threading.Thread] = []

    def start(self, ended: threading.Event, stop: threading.Event) -> None:
        """Begin; ``ended`` ends it, and when ``stop`` is set no further run begins."""
        self._stop = stop
        bodies = [self._work] if self._task.follow is None else [self._work, self._listen]
        for body in bodies:
            name = f"regen-{self._task.name}"
            self._threads.append(threading.Thread(target=body, args=(ended,), name=name, daemon=True))
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look again at what there is to do."""
        with self._turn:
            self._turn.notify_all()

    def join(self) -> None:
        """Wait until what is running has ended."""
        for thread in self._threads:
            thread.join()

    # ── listening ───────────────────────────────────────────────────────────────────────────────────────────

    def _listen(self, ended: threading.Event) -> None:
        """Hear of changes, again and again when the source cannot be followed."""
        assert self._task.follow is not None
        failures = 0
        while not ended.is_set():
            try:
                events = self._task.follow(ended)
                self._heard(None)  # nobody has heard of what was changed before: look at everything once
                self._deaf = ""
                self._note(follower=self._owner)
                for ids in events:
                    failures = 0
                    self._heard(ids)
                if not ended.is_set():
                    raise SourceError("the source has ceased to tell of its changes")  # noqa: TRY301 - as any other
            except Exception as error:  # noqa: BLE001 - told, and tried again
                failures += 1
                self._deaf = f"changes cannot be followed: {getattr(error, 'message', error)}"
                self._telling(Ran(self._task.name, "changed", 0.0, None, error, time.time() + backoff(failures)))
                with suppress(CatalogError):  # who follows is only believed while it holds the lease
                    self._note(follower="", error=self._deaf)
                ended.wait(backoff(failures))
        with suppress(CatalogError):  # likewise
            self._note(follower="")

    def _heard(self, ids: set[str] | None) -> None:
        with self._turn:
            now = time.time()
            self._events += 1
            if ids is None:
                self._all = True
            else:
                self._changed |= ids
                self._pending_since = now if self._pending_since is None else self._pending_since
                self._changed_at = now
            self._turn.notify_all()

    # ── working ─────────────────────────────────────────────────────────────────────────────────────────────

    def _work(self, ended: threading.Event) -> None:
        failures = 0
        while not ended.is_set() and not self._stop.is_set():
            try:
                self._look(ended)
                failures = 0
            except Exception as error:  # noqa: BLE001 - the catalog, most likely: told, and tried again
                failures += 1
                pause = backoff(failures)
                self._telling(Ran(self._task.name, "retry", 0.0, None, error, time.time() + pause))
                ended.wait(pause)

    def _look(self, ended: threading.Event) -> None:
        """Run if it is time, else wait until it may be."""
        events, past, now = self._events, self._past(), time.time()
        found = decide(self._task.policy, past, now)
        if found is not None and found.at <= now:
            self._run(found, past)
            return
        wait = LONGEST if found is None else min(LONGEST, found.at - now)
        if wait > 1.0 and past.pending_since is not None:
            self._note(pending=len(self._changed), pending_since=past.pending_since)
        with self._turn:
            if not ended.is_set() and self._events == events:
                self._turn.wait(wait)

    def _past(self) -> Past:
        """What is known of the job: by the catalog, where other processes write too, and by what was heard."""
        job = self._catalog.jobs(self._alias).get(self._task.name)
        if job is None:
            self._note()
            job = self._catalog.jobs(self._alias)[self._task.name]
        with self._turn:
            return Past(
                job.since, job.started_at, job.failures, job.failed_at, self._pending_since, self._changed_at, self._all
            )

    def _run(self, found: Next, past: Past) -> None:
        with self._turn:
            everything = self._all or not self._changed or found.why in {"first", "asked", "due"}
            ids, self._changed = self._changed, set()
            self._all, self._pending_since, self._changed_at = False, None, None
        if len(ids) >= MANY:
            self._note(pending=len(ids), pending_since=past.pending_since)
        started, clock = time.time(), time.perf_counter()
        try:
            result = self._task.run(None if everything else sorted(ids))
        except Exception as error:  # noqa: BLE001 - told, kept, and tried again
            self._failed(started, found, past, error, everything=everything, ids=ids)
            return
        full = {"succeeded_at": started} if everything else {}
        self._note(
            started_at=started, finished_at=time.time(), failures=0, failed_at=None, error=self._deaf,
            pending=0, pending_since=None, **full,
        )  # fmt: skip
        self._telling(Ran(self._task.name, found.why, time.perf_counter() - clock, result))

    def _failed(
        self, started: float, found: Next, past: Past, error: Exception, *, everything: bool, ids: set[str]
    ) -> None:
        """Keep in mind what was to be done, and in the catalog why it was not."""
        now, failures = time.time(), past.failures + 1
        with self._turn:
            self._all = self._all or everything
            self._changed |= ids
            self._pending_since = past.pending_since if past.pending_since is not None else self._pending_since
            self._changed_at = self._changed_at or past.changed_at
        self._telling(Ran(self._task.name, found.why, now - started, None, error, now + backoff(failures)))
        self._note(
            started_at=started, finished_at=now, failures=failures, failed_at=now,
            error=str(getattr(error, "message", error)) or type(error).__name__,
        )  # fmt: skip

    def _note(self, **changes: Any) -> None:
        self._catalog.amend_job(self._alias, self._task.name, at=time.time(), **changes)
