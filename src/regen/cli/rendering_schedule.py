"""What status says of sources and jobs, as lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from regen.cli.layout import bad, hint, labelled, listed
from regen.cli.moments import local
from regen.cli.quantities import ago, count, duration
from regen.core.alarms import Alert
from regen.core.freshness import Percentiles, SourceStatus
from regen.core.refresh import JobStatus, ScheduleStatus
from regen.core.results import StatusReport


def percentile_words(times: Percentiles) -> str:
    """``p50 1.2 s · p95 3.4 s · p99 5 s``."""
    known = (("p50", times.p50), ("p95", times.p95), ("p99", times.p99))
    return listed(f"{name} {duration(seconds)}" for name, seconds in known if seconds is not None)


def source_lines(report: StatusReport, now: float) -> Iterator[Text]:
    """Until when each source is searchable, and whether it is as fresh as it must be."""
    sources = report.freshness.sources
    if report.live is None or (len(sources) == 1 and sources[0].target is None):
        live = next((item for item in report.generations if item.number == report.live), None)
        if live is not None and live.searchable_until is not None:
            yield labelled("searchable", _until(live.searchable_until, now))
        return
    for source in sources:
        until = "not read in full yet" if source.searchable_until is None else _until(source.searchable_until, now)
        behind = f"{count(source.pending)} pending" if source.pending else ""
        yield labelled("source", listed([f"{source.name}: {count(source.documents)} documents", behind, until]))
        yield from _target_lines(source)


def _until(moment: float, now: float) -> str:
    return f"everything before {local(moment)} ({ago(moment, now)})"


def _target_lines(source: SourceStatus) -> Iterator[Text]:
    if source.target is None:
        return
    wanted = listed(f"{name} {duration(seconds)}" for name, seconds in source.target.items())
    if source.missed:
        yield bad(f"{source.name} is not as fresh as it must be: {source.missed}")
    elif source.met:
        yield labelled("", f"fresh enough: {percentile_words(source.source_to_searchable_seconds)} (target: {wanted})")
    else:
        yield labelled("", f"target: {wanted}; nothing changed lately")


def schedule_lines(schedule: ScheduleStatus, now: float) -> Iterator[Text]:
    """Each job: when it ran last, when it runs next, and what is wrong."""
    for job in schedule.jobs:
        yield labelled("job", listed([job.job, _last(job, now), _next(job, now)]))
        if job.error:
            times = f" ({count(job.failures)} times in a row)" if job.failures > 1 else ""
            yield bad(f"{job.job}{times}: {job.error}")
        if job.late:
            yield hint(job.late)
    if schedule.runner is not None:
        yield labelled("run by", schedule.runner)


def _last(job: JobStatus, now: float) -> str:
    return "has not run yet" if job.started_at is None else f"ran {ago(job.started_at, now)}"


def _next(job: JobStatus, now: float) -> str:
    waits = f", {job.waits}" if job.waits else ""
    if job.next_at is None:
        return "runs when its source changes" if job.followed else ""
    when = "due now" if job.next_at <= now else f"next in {duration(job.next_at - now)}"
    also = " and when its source changes" if job.followed else ""
    return f"{when}{also}{waits}"


def alert_lines(alerts: Sequence[Alert], now: float) -> Iterator[Text]:
    """The alarms that are on, and what could not be told of them."""
    for alert in alerts:
        since = f"since {ago(alert.fired_at, now)}" if alert.resolved_at is None else "over"
        unheard = f"nobody was told: {alert.error}" if alert.error else ""
        yield bad(listed([f"{alert.key} ({since}): {alert.detail}", unheard]))
