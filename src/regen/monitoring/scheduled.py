"""What status tells of jobs and sources: when each is refreshed, what went wrong, and until when it is searchable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from regen.core import rights
from regen.core.freshness import Percentiles, SourceStatus, Target, missed
from regen.core.refresh import JobStatus, Next, Past, Policy, ScheduleStatus, decide
from regen.monitoring.percentiles import percentiles
from regen.ports.catalog import CatalogReader
from regen.ports.feeds import Feed, Feeds
from regen.ports.freshness import SourceCounts
from regen.ports.jobs import Job

HEARD_WITHIN: Final = 1.0
"""Seconds within which a change of a source that is followed has been heard of."""
GRACE: Final = 60.0
"""A job is called late when it should have begun so many seconds ago."""
_WINDOW: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of an index as the catalog has them now, and who runs them."""

    feeds: Feeds
    timed: Mapping[str, Policy]
    known: Mapping[str, Job]
    runner: str | None
    now: float

    @classmethod
    def of(cls, reader: CatalogReader, alias: str, feeds: Feeds, timed: Mapping[str, Policy], now: float) -> Jobs:
        """What the catalog has; ``timed`` are the jobs beside the sources', by name."""
        holder = reader.holder(rights.to_schedule(alias))
        runner = holder.owner if holder is not None and holder.expires_at > now else None
        return cls(feeds, timed, reader.jobs(alias), runner, now)

    def status(self) -> ScheduleStatus:
        """All jobs that are configured, or that somebody keeps running."""
        policies = {feed.job: feed.policy for feed in self.feeds}
        found = [self._job(name, policy) for name, policy in [*policies.items(), *self.timed.items()]]
        return ScheduleStatus(self.runner, [job for job in found if job is not None])

    def _job(self, name: str, policy: Policy) -> JobStatus | None:
        job = self.known.get(name)
        followed = self._is_followed(name)
        if job is None:
            return (
                None if policy.cron is None else JobStatus(name, policy.cron.next_after(self.now), late=self._nobody())
            )
        if policy.cron is None and not followed and not job.failures:
            return None
        found = decide(policy, self._past(job), self.now)
        return JobStatus(
            name,
            None if found is None else found.at,
            "" if found is None else found.held,
            job.started_at,
            job.finished_at,
            job.succeeded_at,
            job.failures,
            job.error,
            job.pending,
            followed,
            self._late(found),
        )

    def _past(self, job: Job) -> Past:
        return Past(job.since, job.started_at, job.failures, job.failed_at, job.pending_since, job.pending_since)

    def _late(self, found: Next | None) -> str:
        if found is None or found.at > self.now - GRACE:
            return self._nobody() if found is not None and found.at <= self.now else ""
        return self._nobody() or "it is running, or waits for another writer"

    def _nobody(self) -> str:
        return "" if self.runner else "no process runs the schedule: regen sync --schedule"

    def _is_followed(self, name: str) -> bool:
        job = self.known.get(name)
        return job is not None and self.runner is not None and job.follower == self.runner

    def known_until(self, feed: Feed) -> float | None:
        """All changes of a source before this are in the change log; None before it was read in full."""
        job = self.known.get(feed.job)
        if not feed.source.full and feed.watchable is None and feed.policy.cron is None:
            return self.now  # what is pushed is in the log when the call returns
        if job is None:
            return None
        if self._is_followed(feed.job):
            return self.now - HEARD_WITHIN if job.pending_since is None else job.pending_since
        return job.succeeded_at

    def searchable_until(self, oldest_pending_at: float | None, feeds: Sequence[Feed] | None = None) -> float | None:
        """Everything before this, of these sources or of all, is in a generation that lacks nothing older."""
        known = [self.known_until(feed) for feed in (self.feeds if feeds is None else feeds)]
        bounds = [self.now, *known, *([] if oldest_pending_at is None else [oldest_pending_at])]
        return None if None in bounds else min(bound for bound in bounds if bound is not None)


def source_statuses(
    reader: CatalogReader, jobs: Jobs, generation: int | None, default: Target | None
) -> Iterator[SourceStatus]:
    """Each source that is configured or has documents. Pushed documents have the default target."""
    found = reader.sources(generation)
    feeds = {feed.name: feed for feed in jobs.feeds}
    for name in dict.fromkeys([*feeds, *found]):
        counts = found.get(name, SourceCounts(0, 0, None))
        feed = feeds.get(name)
        if feed is None and not counts.documents and not counts.pending:
            continue
        target = default if feed is None else feed.target or default
        yield _source(reader, jobs, generation, (name, counts, feed, target))


def _source(
    reader: CatalogReader,
    jobs: Jobs,
    generation: int | None,
    source: tuple[str, SourceCounts, Feed | None, Target | None],
) -> SourceStatus:
    name, counts, feed, target = source
    after = jobs.now - (_WINDOW if target is None else target.window)
    seconds = [] if generation is None else reader.latencies(generation, after=after, source=name)
    measured = percentiles(seconds) if seconds else Percentiles()
    waiting = 0.0 if counts.oldest_pending_at is None else max(0.0, jobs.now - counts.oldest_pending_at)
    wrong = "" if target is None else missed(target, measured, waiting)
    judged = target is not None and (bool(seconds) or bool(wrong))
    until = jobs.searchable_until(counts.oldest_pending_at, [] if feed is None else [feed])
    return SourceStatus(
        name, counts.documents, counts.pending, waiting, measured, until,
        None if target is None else target.bounds, not wrong if judged else None, wrong,
    )  # fmt: skip
