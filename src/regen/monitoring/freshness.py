"""Freshness: how far behind search is, and how long changes take to become searchable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from regen.core.freshness import Percentiles, Target
from regen.core.results import Freshness, GenerationStatus, StatusReport
from regen.monitoring.evaluated import last_evaluation, standing_alarms
from regen.monitoring.percentiles import percentiles
from regen.monitoring.scheduled import Jobs, source_statuses
from regen.ports.catalog import CURRENT_STATES, CatalogReader, Generation
from regen.ports.freshness import GenerationCounts

FEWEST: Final = 20
"""From so many changes on a generation's own figures speak for themselves."""


def status(
    reader: CatalogReader, alias: str, jobs: Jobs, *, target: Target | None = None, notes: Sequence[str] = ()
) -> StatusReport:
    """Whether search is fresh, complete and affordable, from what the catalog holds.

    ``target`` is that of sources which have none of their own.
    """
    now = jobs.now
    route = reader.route(alias)
    current = [item for item in reader.generations() if item.state in CURRENT_STATES]
    counted = [(item, reader.counts(item.number)) for item in current]
    shown = next((pair for pair in counted if pair[0].number == route.live), counted[-1] if counted else None)
    return StatusReport(
        alias=alias,
        live=route.live,
        generations=[_generation(item, counts, jobs) for item, counts in counted],
        freshness=replace(
            _freshness(reader, alias, shown, now),
            sources=list(source_statuses(reader, jobs, None if shown is None else shown[0].number, target)),
        ),
        cost_usd=reader.total_cost(),
        documents=reader.alive(),
        dead_letters=reader.dead_letters(),
        notes=list(notes),
        evaluation=last_evaluation(reader, alias, now=now),
        alarms=standing_alarms(reader, alias, route.live),
        schedule=jobs.status(),
    )


def _generation(generation: Generation, counts: GenerationCounts, jobs: Jobs) -> GenerationStatus:
    part = generation.recipe.embedding
    return GenerationStatus(
        number=generation.number,
        state=generation.state,
        model=part.model,
        dimensions=part.dimensions,
        space=generation.recipe.space,
        documents=counts.documents,
        chunks=counts.chunks,
        pending=counts.pending,
        failed=counts.failed,
        lag_seconds=_age(counts.oldest_pending_at, jobs.now),
        paused=generation.paused if generation.state == "building" else None,
        searchable_until=jobs.searchable_until(counts.oldest_pending_at),
    )


def _freshness(
    reader: CatalogReader, alias: str, shown: tuple[Generation, GenerationCounts] | None, now: float
) -> Freshness:
    if shown is None:
        return Freshness(0, 0, len(reader.dead_letters()), 0, 0.0, Percentiles())
    generation, counts = shown
    return Freshness(
        pending=counts.pending,
        stale=counts.stale,
        failed=counts.failed,
        deleted_still_present=counts.deleted_still_present,
        oldest_pending_seconds=_age(counts.oldest_pending_at, now),
        source_to_searchable_seconds=percentiles(_searchable_after(reader, alias, generation)),
    )


def _searchable_after(reader: CatalogReader, alias: str, shown: Generation) -> list[float]:
    """Seconds from change to searchable, as readers had it.

    What a generation was filled with was searchable before, by its predecessor: only what was logged since it was
    complete counts. While that is little, the predecessor's figures tell how it was before. The first generation ever
    had none: there the first load counts.
    """
    before = _predecessor(reader, alias, shown)
    if before is None:
        return reader.latencies(shown.number)
    own = reader.latencies(shown.number, after=shown.completed_at)
    if len(own) >= FEWEST or before.state not in CURRENT_STATES:
        return own
    since = None if _predecessor(reader, alias, before) is None else before.completed_at
    return own + reader.latencies(before.number, after=since, before=shown.completed_at)


def _predecessor(reader: CatalogReader, alias: str, generation: Generation) -> Generation | None:
    """The generation that answered when this one was complete, None for the first one and for what is incomplete."""
    at = generation.completed_at
    if at is None:
        return None
    number = generation.number
    served = (switch.live for switch in reader.switches(alias) if switch.live != number and switch.switched_at <= at)
    before = next(served, None)
    return next((item for item in reader.generations() if item.number == before), None)


def _age(since: float | None, now: float) -> float:
    return 0.0 if since is None else max(0.0, now - since)
