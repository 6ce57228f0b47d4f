"""What the catalog keeps of jobs that run by the clock or on changes, and of alarms that somebody is to hear of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from regen.core.alarms import Alert


@dataclass(frozen=True, slots=True)
class Job:
    """One job's past. Times are in seconds since the epoch.

    ``since`` is when it was first heard of. ``started_at`` is the beginning of the last run that has ended,
    ``succeeded_at`` the beginning of the last one that did well, ``failures`` how many in a row did not since, the last
    of them with ``error``. ``pending`` changes wait for a run, the first since ``pending_since``. ``follower`` is who
    hears of the source's changes as they are made, if anybody does.
    """

    name: str
    since: float
    started_at: float | None = None
    finished_at: float | None = None
    succeeded_at: float | None = None
    failures: int = 0
    failed_at: float | None = None
    error: str = ""
    pending: int = 0
    pending_since: float | None = None
    follower: str = ""


class JobReader(Protocol):
    """Questions about jobs and alarms."""

    def jobs(self, alias: str) -> dict[str, Job]:
        """All jobs of an index, by name."""
        ...

    def alerts(self, alias: str) -> list[Alert]:
        """The alarms that are on, and those whose end is still to be told, oldest first."""
        ...


class JobWriter(Protocol):
    """What is written of jobs and alarms."""

    def amend_job(self, alias: str, name: str, *, at: float, **changes: Any) -> None:
        """Set these fields of a job, which is added, known since ``at``, if it is not there."""
        ...

    def keep_alert(self, alias: str, alert: Alert) -> None:
        """Add an alarm, or put it in the place of the one with its key."""
        ...

    def forget_alert(self, alias: str, key: str) -> None:
        """Remove an alarm; does nothing if it is not there."""
        ...
