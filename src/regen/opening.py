"""From a regen.yaml to the index that it describes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from regen import registry
from regen.assembly import CACHE_PATH, OVERRIDES
from regen.core.documents import canonical_json
from regen.core.priority import Priority
from regen.core.refresh import Policy
from regen.engine.settings import Limits, Migration, Rescore
from regen.index import Index
from regen.monitoring.alarms import Alerting
from regen.monitoring.webhook import Webhook
from regen.ports.feeds import Feed
from regen.verbs.scheduling import Schedule

if TYPE_CHECKING:
    from regen.config.models import Settings
    from regen.config.refresh import BesideSource
    from regen.ports.judges import Writer
    from regen.quality.answering import Judging
    from regen.quality.settings import EvaluationSettings

CALIBRATIONS: Final = ".regen/calibrations.json"
"""Where it is kept what a judge was found to be worth."""


def open(path: str | Path = "regen.yaml") -> Index:  # noqa: A001 - regen.open reads as what it does
    """The index that a regen.yaml describes. Raises ConfigError."""
    from regen.config import load_settings  # noqa: PLC0415 - pydantic is only needed by who has a file

    settings = load_settings(path)
    part, bounds = settings.embedding, settings.limits
    filterable = settings.metadata.filterable
    return Index(
        embedder=part.model,
        embedding=part.model_dump(include=set(OVERRIDES)),
        store=settings.store.url,
        catalog=settings.catalog.url,
        sources=[feed(own, beside, settings) for own, beside in settings.feeds],
        freshness=None if settings.freshness is None else settings.freshness.build(),
        schedule=_schedule(settings),
        alerts=_alerting(settings),
        alias=settings.alias,
        text=settings.text,
        chunking=settings.chunking.build(),
        metric=settings.metric,
        index=settings.index,
        promote=settings.migration.promote,
        migration=migration(settings),
        evaluation=evaluation_settings(settings),
        keep_queries=settings.usage.keep_queries,
        rollout=settings.rollout.given(),
        rerank=None if settings.rerank is None else settings.rerank.model_dump(),
        filterable=None if filterable == "auto" else filterable,
        ray=settings.ray.model_dump(),
        reopen=partial(open, Path(path).absolute()),
        limits=Limits(
            **bounds.model_dump(),
            keep_changes=settings.changes.keep,
            retain=settings.migration.retain,
            priority=Priority(tuple(settings.migration.priority)),
        ),
        cache="auto" if part.cache is None else CACHE_PATH if part.cache else None,
        root=settings.root,
    )


def migration(settings: Settings) -> Migration:
    """How a generation is built, and what serves meanwhile."""
    given = settings.migration
    rescore = Rescore() if given.rescore is None else Rescore(**given.rescore.model_dump())
    return Migration(**given.model_dump(include={"strategy", "pilot", "throttle", "drain"}), rescore=rescore)


def feed(own: Mapping[str, Any], beside: BesideSource, settings: Settings) -> Feed:
    """A source with when it is refreshed and how fresh it must be."""
    target = beside.freshness or settings.freshness
    return Feed(
        registry.make_source(own, settings.root),
        Policy() if beside.refresh is None else beside.refresh.build(),
        None if target is None else target.build(),
    )


def _schedule(settings: Settings) -> Schedule:
    """What runs by the clock beside the sources."""
    part, default = settings.schedule, Schedule()
    return Schedule(
        evaluate=None if part.evaluate is None else part.evaluate.build(),
        reprocess=part.evaluate is not None and part.evaluate.reprocess,
        checks=None if part.checks is None else part.checks.build(),
        check_names=default.check_names if part.checks is None else tuple(part.checks.names),
        gc=None if part.gc is None else part.gc.build(),
    )


def _alerting(settings: Settings) -> Alerting | None:
    """Who is told of alarms. With targets they are noted, and shown by status, even where nobody is."""
    part = settings.alerts
    if part is not None:
        return Alerting(Webhook(part.webhook_url_env, part.secret_env, part.timeout), part.after_failures)
    targets = [settings.freshness, *(beside.freshness for _, beside in settings.feeds)]
    return Alerting() if any(targets) else None


def evaluation_settings(settings: Settings) -> EvaluationSettings | None:
    """What candidates are measured by; None where the file says nothing of it: the defaults."""
    if not settings.gate and settings.evaluation == type(settings.evaluation)():
        return None
    from regen.quality.settings import CollectionFiles, EvaluationSettings  # noqa: PLC0415 - statistics are heavy

    return EvaluationSettings(
        collections=[
            CollectionFiles(item.name, settings.root / item.queries, settings.root / item.qrels)
            for item in settings.evaluation.collections
        ],
        measures=tuple(settings.evaluation.measures),
        gate=tuple(condition for item in settings.gate for condition in item.build()),
        searches=settings.evaluation.searches,
        max_age=settings.evaluation.max_age,
        known=settings.root / settings.evaluation.known_queries if settings.evaluation.known_queries else (),
        answers={
            item.name: str(settings.root / item.answers)
            for item in settings.evaluation.collections
            if item.answers is not None
        },
        judge=_judging(settings),
        writer=_writer(settings),
    )


def _writer(settings: Settings) -> Callable[[], Writer] | None:
    """What writes queries for a first judged collection; made only when it is asked to."""
    named = settings.evaluation.writer
    return None if named is None else lambda: registry.make_writer(named.model, named.options, settings.root)


def _judging(settings: Settings) -> Judging | None:
    """Who judges answers; made only when there is something to judge."""
    named = settings.evaluation.judge
    if named is None:
        return None
    from regen.quality.answering import Judging  # noqa: PLC0415 - statistics are heavy

    return Judging(
        lambda: registry.make_judge(named.model, named.options, settings.root),
        key=canonical_json([named.model, named.options]).decode(),
        labels=settings.root / named.labels if named.labels else None,
        kept=settings.root / CALIBRATIONS,
    )
