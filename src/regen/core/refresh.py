"""When a job runs next: one pure function of its policy, of what has been, and of now."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

from regen.core.cron import Cron
from regen.errors import ConfigError

Why: TypeAlias = Literal["first", "asked", "due", "retry", "changed"]
"""What makes a job run: it never did, it is asked for, its moment has come, it has failed, or its source has changed.

Of several reasons at one time the first in this order counts: a run for a change need not look at all of the source.
"""

FIRST_RETRY: Final = 5.0
LAST_RETRY: Final = 600.0
"""Seconds that a failed run is waited for: twice as long after each failure, up to the second number."""
PATIENCE: Final = 10.0
"""A source that never rests is waited for for so many times ``quiet_for``."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When a job is to run. Times are in seconds.

    ``cron`` names moments. After a change the source is waited for until it has been quiet for ``quiet_for``, but no
    longer than ``wait_at_most`` in all (None: ten times as long as ``quiet_for``). ``at_most_every`` is the least time
    between the beginnings of two runs, whatever asks for them. ``at_once`` lets a job run that has never run.
    """

    cron: Cron | None = None
    at_most_every: float = 0.0
    quiet_for: float = 0.0
    wait_at_most: float | None = None
    at_once: bool = True

    def __post_init__(self) -> None:
        if self.wait_at_most is not None and self.wait_at_most < self.quiet_for:
            raise ConfigError(
                f"wait_at_most ({self.wait_at_most:g} s) is shorter than quiet_for ({self.quiet_for:g} s)",
                hint="quiet_for waits for the source to rest, wait_at_most for how long in all",
            )

    @property
    def patience(self) -> float:
        """The longest that a change waits for its source to be quiet."""
        return PATIENCE * self.quiet_for if self.wait_at_most is None else self.wait_at_most

    @property
    def slowest(self) -> float:
        """How long a change that is seen at once may wait by this policy alone."""
        return max(self.patience, self.at_most_every)


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a job. Any of it may be missing, or lie in the future of a clock that was set back.

    ``since`` is when its schedule began to be watched. ``pending_since`` and ``changed_at`` are of the first and the
    last change that no run has taken up yet; ``asked`` says that somebody wants a run, whatever the clock says.
    """

    since: float
    started_at: float | None = None
    failures: int = 0
    failed_at: float | None = None
    pending_since: float | None = None
    changed_at: float | None = None
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Next:
    """When a job runs next, and why; ``held`` says what it waits for though it is wanted earlier."""

    at: float
    why: Why
    held: str = ""


def decide(policy: Policy, past: Past, now: float) -> Next | None:
    """When the job is to run (now, if that is not later than ``now``); None: nothing but a change makes it run.

    A time of the past that lies ahead (a clock was set back) is not waited for.
    """
    found = _wanted(policy, past, now)
    if found is None:
        return None
    if past.failures and past.failed_at is not None and past.failed_at <= now:
        found = _after_failure(found, past.failures, past.failed_at + backoff(past.failures), now)
    if past.started_at is not None and past.started_at <= now and policy.at_most_every:
        allowed = past.started_at + policy.at_most_every
        if found.at < allowed and now < allowed:
            found = Next(allowed, found.why, f"runs at most every {policy.at_most_every:g} s")
    return found


def _wanted(policy: Policy, past: Past, now: float) -> Next | None:
    """What asks for a run, without the brakes: the weightiest of what does so now, or what will do so next."""
    asking = [Next(now, "asked")] if past.asked else []
    if past.pending_since is not None:
        asking.append(_rested(policy, past.pending_since, past.changed_at, now))
    if past.started_at is None and policy.at_once:
        asking.append(Next(now, "first"))
    if policy.cron is not None:
        since = past.since if past.started_at is None else past.started_at
        due = policy.cron.next_after(since) if since <= now else now
        asking += [] if due is None else [Next(due, "due")]
    if past.failures:
        asking.append(Next(now, "retry"))
    ready = [item for item in asking if item.at <= now]
    return min(ready, key=_weight) if ready else min(asking, key=lambda item: item.at, default=None)


def _weight(item: Next) -> int:
    return get_args(Why).index(item.why)


def _rested(policy: Policy, pending_since: float, changed_at: float | None, now: float) -> Next:
    if pending_since > now:
        return Next(now, "changed")
    last = pending_since if changed_at is None or changed_at > now else max(pending_since, changed_at)
    at = min(last + policy.quiet_for, pending_since + policy.patience)
    return Next(at, "changed", f"waits until the source is quiet for {policy.quiet_for:g} s" if at > now else "")


def _after_failure(found: Next, failures: int, at: float, now: float) -> Next:
    """After a failure nothing makes a job run before its pause is over."""
    times = "once" if failures == 1 else f"{failures} times in a row"
    return Next(at, "retry", f"has failed {times}") if at > now else found


def backoff(failures: int) -> float:
    """Seconds from so many failures in a row to the next try."""
    return min(FIRST_RETRY * 2.0 ** min(failures - 1, 30), LAST_RETRY)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One job: when it runs next and what it waits for, when it ran last, and what went wrong with it since.

    Times are in seconds since the epoch; ``next_at`` is None where nothing but a change makes it run. ``succeeded_at``
    is the beginning of the last run that looked at everything and did well. ``late`` says why it has not run although
    it should have.
    """

    job: str
    next_at: float | None = None
    waits: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    succeeded_at: float | None = None
    failures: int = 0
    error: str = ""
    pending: int = 0
    followed: bool = False
    late: str = ""


@dataclass(frozen=True, slots=True)
class ScheduleStatus:
    """All jobs, and the process that runs them: host, process id and a random part; None while none does."""

    runner: str | None = None
    jobs: list[JobStatus] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that has ended, with a result or an error; after an error it is tried again at ``again_at``."""

    job: str
    why: Why
    seconds: float
    result: Any = None
    error: Exception | None = None
    again_at: float | None = None


@dataclass(frozen=True, slots=True)
class Leads:
    """This process runs the jobs now."""

    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StandsBy:
    """Another process runs the jobs; this one takes over when it ends."""

    leader: str
