"""Running what regen.yaml asks for by the clock, and following sources, while the server runs: one thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from regen.core.refresh import Leads, Ran, StandsBy, backoff
from regen.core.results import SyncResult
from regen.errors import CatalogError
from regen.index import Index
from regen.server.logs import LOG


class Scheduler:
    """Runs the index's schedule, if it has one; of several servers, one does. ``on_moved`` is called after each sync.

    Raises ConfigError for a schedule that cannot work.
    """

    def __init__(self, index: Index, on_moved: Callable[[], None]) -> None:
        self._runner, self._on_moved = index.background(), on_moved
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="regen-schedule", daemon=True)

    def start(self) -> None:
        """Begin, where anything is to be run."""
        if self._runner is not None:
            self._thread.start()

    def end(self) -> None:
        """Begin no further run."""
        self._stop.set()

    def join(self, within: float) -> None:
        """Wait for what is running. What is cut off is due again for whoever runs the schedule next."""
        if self._thread.is_alive():
            self._thread.join(within)

    def _run(self) -> None:
        assert self._runner is not None
        failures = 0
        while not self._stop.is_set():
            try:
                self._runner.run(self._stop, self._tell)
            except Exception as error:  # noqa: BLE001 - a catalog out of reach must not end the schedule for good
                failures += 1
                LOG.error("schedule_failed", error=type(error).__name__, detail=str(error))
                self._stop.wait(backoff(failures))

    def _tell(self, event: Ran | Leads | StandsBy) -> None:
        if isinstance(event, Leads):
            LOG.info("schedule_runs", jobs=list(event.jobs))
        elif isinstance(event, StandsBy):
            LOG.info("schedule_stands_by", leader=event.leader)
        elif event.error is not None:
            LOG.error("job_failed", job=event.job, error=type(event.error).__name__, detail=str(event.error))
        elif isinstance(event.result, SyncResult):
            counts = event.result.documents
            LOG.info("job_ran", job=event.job, why=event.why, changed=counts.changed, failed=counts.failed)
            with suppress(CatalogError):  # what became searchable is counted at the next look
                self._on_moved()
        elif event.result is not None:
            LOG.info("job_ran", job=event.job, why=event.why, result=str(event.result))
