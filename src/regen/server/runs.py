"""Runs: long work that is asked for over HTTP, done by threads of whichever server takes it up, and never forgotten.

A run is a row of the catalog. Its work follows from state: when a server ends in the middle, another one, or the same
after its restart, does the verb again, and that finds what is left to do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

import structlog

from regen.core.documents import canonical_json
from regen.core.results import Progress
from regen.errors import CatalogError, ConfigError, DocumentError, LeaseLost, RegenError
from regen.index import Index
from regen.ports.service import RequestedRun
from regen.server.access.caller import Caller
from regen.server.logs import LOG
from regen.server.problems import problem
from regen.server.tracing import span
from regen.server.work import READING, WORK, settled

WORKERS: Final = 3
LOOK_EVERY: Final = 2.0
BEAT_EVERY: Final = 5.0
FORSAKEN_AFTER: Final = 30.0
"""Seconds without a beat after which a run's server counts as gone."""
NOTE_EVERY: Final = 0.5
MOST_ATTEMPTS: Final = 5
"""A run that ends its server this often is not begun again."""


class Stopping(Exception):
    """The server is ending: a run stops at its next progress."""


class Interrupted(RegenError):
    """A run was begun several times, and each time its server ended before it did."""


class Runs:
    """The runs of one index. ``on_end`` is told of each that has ended here."""

    def __init__(self, index: Index, on_end: Callable[[RequestedRun, float], None]) -> None:
        self._index, self._on_end = index, on_end
        self.owner = index.new_owner()
        self._stop, self._wanted = threading.Event(), threading.Semaphore(0)
        self._held: set[int] = set()
        self._threads = [
            *(threading.Thread(target=self._work, name=f"regen-run-{n}", daemon=True) for n in range(WORKERS)),
            threading.Thread(target=self._beat, name="regen-run-beat", daemon=True),
        ]

    def start(self) -> None:
        """Take up what was asked for, by whomever and whenever."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Let runs stop at their next progress and wait for the next server."""
        self._stop.set()
        for _ in range(WORKERS):
            self._wanted.release()

    def join(self, within: float) -> None:
        """Wait for that."""
        deadline = time.monotonic() + within
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def begin(
        self, verb: str, arguments: Mapping[str, Any], caller: Caller, *, origin: str = "", once: str | None = None
    ) -> RequestedRun:
        """Ask for a run; with ``once`` the same as before under that word. Raises NotFound."""
        given = settled(self._index, verb, arguments)
        try:
            canonical_json(given)
        except DocumentError as error:
            raise ConfigError(f"{verb} was asked for by what the catalog cannot keep: {error.message}") from None
        found = self._index.records.request_run(verb, given, actor=caller.name, at=time.time(), once=once)
        if verb not in READING:
            told = {name: value for name, value in given.items() if name != "plan"}
            self._index.audit(verb, actor=caller.name, origin=origin, outcome=f"run {found.id} begun", **told)
        self._wanted.release()
        return found

    def get(self, number: int) -> RequestedRun:
        """A run as it stands. Raises NotFound."""
        return self._index.records.requested_run(number)

    # ── threads ─────────────────────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                run = self._claim()
            except CatalogError as error:
                LOG.warning("runs_not_looked_at", detail=str(error))
                run = None
            if run is None:
                self._wanted.acquire(timeout=LOOK_EVERY)
                continue
            self._held.add(run.id)
            try:
                self._do(run)
            finally:
                self._held.discard(run.id)

    def _claim(self) -> RequestedRun | None:
        records, now = self._index.records, time.time()
        unfinished = records.requested_runs(1_000, unfinished=True)
        if not unfinished:
            return None
        owners = {run.owner for run in unfinished if run.state == "running"}
        dead = [owner for owner in owners if self._index.is_gone(owner) and owner != self.owner]
        return records.claim_run(self.owner, at=now, stale=now - FORSAKEN_AFTER, dead=dead)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_EVERY):
            for number in list(self._held):
                try:
                    self._index.records.beat_run(number, self.owner, at=time.time())
                except RegenError as error:
                    LOG.warning("beat_failed", run=number, detail=str(error))

    def _do(self, run: RequestedRun) -> None:
        """Do a run, and keep how it ended."""
        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(run=run.id), span(f"regen.run.{run.verb}", run=run.id):
            LOG.info("run_begun", verb=run.verb, attempt=run.attempts, actor=run.actor)
            try:
                ended = self._ended(run)
            except (CatalogError, LeaseLost) as error:  # nothing can be written: whoever beats last decides
                LOG.warning("run_not_recorded", detail=str(error))
                return
            if ended is None:
                LOG.info("run_put_back", verb=run.verb)
                return
            LOG.info("run_ended", verb=run.verb, state=ended.state, error=(ended.error or {}).get("detail"))
            self._on_end(ended, time.perf_counter() - started)

    def _ended(self, run: RequestedRun) -> RequestedRun | None:
        """The run with its result or error; None when it was put back because the server ends."""
        records = self._index.records
        try:
            result = self._result(run)
        except Stopping:
            records.release_run(run.id, self.owner, at=time.time())
            return None
        except Exception as error:  # noqa: BLE001 - whatever it was, it is what the run ended with
            if not isinstance(error, RegenError):
                LOG.exception("run_failed_unexpectedly")
            told = problem(error, f"/v1/runs/{run.id}")
            ended = records.finish_run(run.id, self.owner, at=time.time(), error=told)
        else:
            ended = records.finish_run(run.id, self.owner, at=time.time(), result=result)
        if run.verb not in READING:
            outcome = f"run {run.id} {ended.state}" + (f": {ended.error['detail']}" if ended.error else "")
            self._index.audit(run.verb, actor=run.actor, origin="server", outcome=outcome)
        return ended

    def _result(self, run: RequestedRun) -> Mapping[str, Any]:
        if run.attempts > MOST_ATTEMPTS:
            raise Interrupted(
                f"the server ended {run.attempts - 1} times during this run",
                hint="the server's log tells why; ask for it again when that is mended",
            )
        given = {**run.arguments, "again": run.attempts > 1}
        with self._index.acting_as(run.actor):
            return WORK[run.verb](self._index, given, _Noting(self._index, run.id, self.owner, self._stop))


class _Noting:
    """Keeps a run's progress, not more often than anybody could read it, and stops it when the server ends."""

    def __init__(self, index: Index, number: int, owner: str, stop: threading.Event) -> None:
        self._index, self._number, self._owner, self._stop = index, number, owner, stop
        self._noted_at = float("-inf")

    def __call__(self, progress: Progress) -> None:
        if self._stop.is_set():
            raise Stopping
        now = time.monotonic()
        if now - self._noted_at >= NOTE_EVERY:
            self._noted_at = now
            self._index.records.beat_run(self._number, self._owner, at=time.time(), progress=asdict(progress))
