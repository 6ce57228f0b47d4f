"""An index as monitoring sees it, from what the catalog holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from regen.core.alarms import KINDS
from regen.core.observations import CostShare, GenerationObserved, ModelCost, Observation, Quality, RolloutObserved
from regen.monitoring.evaluated import standing_alarms
from regen.ports.catalog import CURRENT_STATES, SOURCE_STAGE, CatalogReader, Generation


def observe(reader: CatalogReader, alias: str, *, now: float, tenant: str | None = None) -> Observation:
    """All figures of this moment. ``tenant`` is the metadata key by which costs are told apart."""
    route, rollout = reader.route(alias), reader.rollout(alias)
    current = [item for item in reader.generations() if item.state in CURRENT_STATES]
    letters = reader.letters_by_generation()
    costs = reader.costs_by_model()
    alerts = reader.alerts(alias)
    evaluated = {item.number: kept for item in current for kept in reader.evaluations(alias, item.number, limit=1)}
    return Observation(
        at=now,
        live=route.live,
        documents=reader.alive(),
        head=reader.head(),
        dead_letters={"source" if number == SOURCE_STAGE else str(number): count for number, count in letters.items()},
        generations=[_generation(reader, item, letters.get(item.number, 0), now) for item in current],
        qualities=[quality for number, kept in evaluated.items() for quality in _qualities(number, kept.result)],
        evaluated_at={number: kept.evaluated_at for number, kept in evaluated.items()},
        costs=costs,
        shares=[share for item in current for share in _shares(reader, item, costs, tenant)],
        rollout=None
        if rollout is None
        else RolloutObserved(rollout.kind, rollout.candidate, rollout.status, rollout.weight),
        alarms=len(standing_alarms(reader, alias, route.live)),
        alerts={kind: sum(it.kind == kind and it.resolved_at is None for it in alerts) for kind in KINDS},
        untold=sum(bool(it.error) for it in alerts),
    )


def _generation(reader: CatalogReader, item: Generation, failed: int, now: float) -> GenerationObserved:
    counts, behind = reader.counts(item.number), reader.behind_of(item.number)
    return GenerationObserved(
        number=item.number,
        state=item.state,
        model=item.recipe.embedding.model,
        space=item.recipe.space,
        documents=counts.documents,
        chunks=counts.chunks,
        pending=counts.pending,
        stale_documents=counts.stale,
        stale_chunks=behind.stale_chunks,
        mismatched_revisions=behind.mismatched,
        deleted_still_present=counts.deleted_still_present,
        failed=failed,
        frontier=now if counts.oldest_pending_at is None else counts.oldest_pending_at,
        watermark=item.watermark,
    )


def _qualities(number: int, result: dict[str, Any]) -> Iterator[Quality]:
    """The candidate's measures: a number, or one for each collection."""
    for name, value in result.get("candidate", {}).get("measures", {}).items():
        if isinstance(value, dict):
            for measure, figure in value.items():
                if isinstance(figure, int | float):
                    yield Quality(number, str(name), str(measure), float(figure))
        elif isinstance(value, int | float):
            yield Quality(number, "all", str(name), float(value))


def _shares(
    reader: CatalogReader, item: Generation, costs: Sequence[ModelCost], tenant: str | None
) -> Iterator[CostShare]:
    """A generation's cost among the sources and tenants whose chunks it holds."""
    paid = [cost for cost in costs if cost.generation == item.number and cost.usd > 0]
    if not paid:
        return
    chunks = reader.chunks_by_owner(item.number, tenant)
    total = sum(chunks.values())
    for (source, owner), count in chunks.items():
        for cost in paid:
            yield CostShare(source, owner, cost.model, cost.usd * count / total if total else 0.0)
