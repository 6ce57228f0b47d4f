"""What runs by the clock beside the sources: evaluations, checks and upkeep, and the alarms that they raise."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Final

from regen.core.alarms import Found
from regen.core.cron import Cron
from regen.core.freshness import Target
from regen.core.refresh import Policy
from regen.core.results import GcReport
from regen.engine.schedule import Task
from regen.monitoring.alarms import AlarmBook, Alerting, Told, failing_jobs, late_sources
from regen.monitoring.scheduled import Jobs, source_statuses
from regen.ports.catalog import Catalog
from regen.ports.feeds import Feeds

if TYPE_CHECKING:
    from regen.evaluation.outcome import CheckResult
    from regen.quality.gating import QualitySide
    from regen.quality.monitoring import Watched
    from regen.quality.settings import EvaluationSettings

LOOK: Final = Policy(Cron("*/10 * * * * *", UTC), at_once=False)
"""How often targets and failing jobs are looked at, and alarms told."""
NOTHING_LIVE: Final = "no generation is live yet"


@dataclass(frozen=True, slots=True)
class Schedule:
    """When what runs by the clock; None: not at all. ``checks`` are those of ``check_names``."""

    evaluate: Policy | None = None
    reprocess: bool = False
    checks: Policy | None = None
    check_names: tuple[str, ...] = ("model_unchanged", "known_queries")
    gc: Policy | None = None

    @property
    def jobs(self) -> dict[str, Policy]:
        """The jobs by name."""
        named = {"evaluate": self.evaluate, "checks": self.checks, "gc": self.gc}
        return {name: policy for name, policy in named.items() if policy is not None}


class ScheduleVerbs:
    """Jobs that are not a source's."""

    alias: str
    _catalog: Catalog
    _feeds: Feeds
    _target: Target | None
    _schedule: Schedule
    _alerting: Alerting | None
    _evaluation: EvaluationSettings | None

    @property
    def _quality(self) -> QualitySide:
        raise NotImplementedError

    def gc(self, *, now: bool = False) -> GcReport:
        """Remove what is no longer needed."""
        raise NotImplementedError

    def raise_alarms(self, found: Watched) -> Told:
        """Note the alarms of an evaluation of the live generation, and tell what is new and what is over."""
        noted = [
            Found(f"{alarm.kind} {alarm.subject}", alarm.kind, alarm.detail, alarm.documents) for alarm in found.alarms
        ]
        book = self._book
        book.note(noted, lambda alert: alert.kind in {"floor", "check"}, time.time())
        return book.tell(time.time())

    def _timed_tasks(self) -> list[Task]:
        """The jobs beside the sources. Raises ConfigError for what cannot work: a check that is none, no address."""
        schedule, runs = self._schedule, {"evaluate": self._evaluate_job, "checks": self._check_job, "gc": self._gc_job}
        if schedule.checks is not None:
            from regen.quality.checks import require_checks  # noqa: PLC0415 - heavy: only who checks

            require_checks(schedule.check_names)
        if self._alerting is not None and self._alerting.webhook is not None:
            self._alerting.webhook.require()
        tasks = [Task(name, policy, runs[name]) for name, policy in schedule.jobs.items()]
        if self._alerting is not None:
            tasks.append(Task("alarms", LOOK, self._alarm_job))
        return tasks

    def _evaluate_job(self, _ids: Collection[str] | None) -> str:
        if self._catalog.route(self.alias).live is None:  # the first load goes on: that is no failure
            return f"not evaluated: {NOTHING_LIVE}"
        from regen.quality.monitoring import floors_of, watch  # noqa: PLC0415 - heavy: only who evaluates

        floors = floors_of(self._evaluation.gate if self._evaluation is not None else ())
        found = watch(self, floors, reprocess=self._schedule.reprocess)  # type: ignore[arg-type]
        told = self.raise_alarms(found)
        return f"generation {found.generation} evaluated: {len(found.alarms)} alarms" + (f"; {told}" if told else "")

    def _check_job(self, _ids: Collection[str] | None) -> str:
        if self._catalog.route(self.alias).live is None:
            return f"not checked: {NOTHING_LIVE}"
        names = self._schedule.check_names
        results = self._quality.check_live(names)
        wrong = [_found(result) for result in results if not result.passed]
        keys = {f"check {name}" for name in names}
        self._book.note(wrong, lambda alert: alert.key in keys, time.time())
        return "; ".join(f"{result.name}: {result.detail}" for result in results)

    def _gc_job(self, _ids: Collection[str] | None) -> str:
        report = self.gc()
        return f"gc: {report.points:,} points, {report.contents:,} texts, {report.tombstones:,} tombstones removed"

    def _alarm_job(self, _ids: Collection[str] | None) -> Told | None:
        """Look at targets and at failing jobs, and tell what nobody has been told of."""
        assert self._alerting is not None
        now, book = time.time(), self._book
        jobs = Jobs.of(self._catalog, self.alias, self._feeds, self._schedule.jobs, now)
        live = self._catalog.route(self.alias).live
        sources = [] if live is None else list(source_statuses(self._catalog, jobs, live, self._target))
        failing = failing_jobs(list(jobs.known.values()), self._alerting.after_failures)
        book.note([*late_sources(sources), *failing], lambda alert: alert.kind in {"freshness", "job"}, now)
        return book.tell(now) or None

    @property
    def _book(self) -> AlarmBook:
        return AlarmBook(self.alias, self._catalog, self._alerting or Alerting())


def _found(result: CheckResult) -> Found:
    hint = f" Hint: {result.hint}" if result.hint else ""
    return Found(f"check {result.name}", "check", result.detail + hint, tuple(result.documents))
