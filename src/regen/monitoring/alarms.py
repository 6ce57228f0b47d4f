"""The book of alarms: what is wrong is noted in the catalog, and told from there, so that no crash loses any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from regen.core.alarms import Alert, Found, compared, untold
from regen.core.freshness import SourceStatus
from regen.errors import ConfigError
from regen.monitoring.webhook import Webhook, WebhookError
from regen.ports.catalog import Catalog
from regen.ports.jobs import Job


@dataclass(frozen=True, slots=True)
class Alerting:
    """Who is told of alarms, and after how many failures in a row a job is one."""

    webhook: Webhook | None = None
    after_failures: int = 3


@dataclass(frozen=True, slots=True)
class Told:
    """What one round of telling came to; ``error`` is why something could not be told, empty if all was."""

    fired: tuple[str, ...] = ()
    resolved: tuple[str, ...] = ()
    error: str = ""

    def __bool__(self) -> bool:
        return bool(self.fired or self.resolved or self.error)

    def __str__(self) -> str:
        parts = [f"alarm: {', '.join(self.fired)}" if self.fired else ""]
        parts.append(f"over: {', '.join(self.resolved)}" if self.resolved else "")
        parts.append(f"not told: {self.error}" if self.error else "")
        return "; ".join(filter(None, parts))


@dataclass(frozen=True, slots=True)
class AlarmBook:
    """The alarms of one index."""

    alias: str
    catalog: Catalog
    alerting: Alerting

    def note(self, found: Sequence[Found], looked_at: Callable[[Alert], bool], now: float) -> None:
        """Keep what is wrong; alarms that were looked at and are not among it are over."""
        changed = compared(self.catalog.alerts(self.alias), found, looked_at, now)
        for alert in changed.keep:
            self.catalog.keep_alert(self.alias, alert)
        for key in changed.forget:
            self.catalog.forget_alert(self.alias, key)

    def tell(self, now: float) -> Told:
        """Tell what nobody has been told of yet; what cannot be told is tried again, later each time."""
        fired: list[str] = []
        resolved: list[str] = []
        for alert in untold(self.catalog.alerts(self.alias), now):
            try:
                if self.alerting.webhook is not None:
                    self.alerting.webhook.tell(self.alias, alert, now)
            except (WebhookError, ConfigError) as error:
                later = replace(alert, attempts=alert.attempts + 1, tried_at=now, error=error.message)
                self.catalog.keep_alert(self.alias, later)
                return Told(tuple(fired), tuple(resolved), error.message)  # the others would fare no better just now
            if alert.resolved_at is None:
                heard = replace(alert, told="fired", attempts=0, tried_at=None, error="")
                self.catalog.keep_alert(self.alias, heard)
                fired.append(f"{alert.key}: {alert.detail}")
            else:
                self.catalog.forget_alert(self.alias, alert.key)
                resolved.append(alert.key)
        return Told(tuple(fired), tuple(resolved))


def late_sources(sources: Sequence[SourceStatus]) -> Iterator[Found]:
    """Sources that are not as fresh as they must be."""
    for source in sources:
        if source.missed:
            yield Found(f"freshness {source.name}", "freshness", source.missed)


def failing_jobs(jobs: Sequence[Job], after: int) -> Iterator[Found]:
    """Jobs that have failed so often in a row."""
    for job in jobs:
        if job.failures >= after:
            yield Found(f"job {job.name}", "job", f"failed {job.failures} times in a row: {job.error}")
