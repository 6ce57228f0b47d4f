"""What a reader of ``status`` should know about searches that are answered while a generation is filled."""

from __future__ import annotations

from regen.ports.catalog import CatalogReader
from regen.ports.rollouts import Rollout

MERGING = ("rolling", "on_read")


def notes(catalog: CatalogReader, alias: str) -> list[str]:
    """One sentence on the route under way, one on a background that fails, one on a bridge that is off."""
    rollout = catalog.rollout(alias)
    if rollout is None:
        return _bridge_that_is_off(catalog, alias)
    if rollout.kind == "bridge":
        return [f"bridge to generation {rollout.candidate} until it is filled: {rollout.reason}"]
    return _merging(catalog, rollout) if rollout.kind in MERGING else []


def _merging(catalog: CatalogReader, rollout: Rollout) -> list[str]:
    counts = catalog.counts(rollout.candidate)
    held = counts.documents - counts.stale - counts.deleted_still_present
    rest = max(0, catalog.alive() - held)
    told = f"{rollout.kind}: generation {rollout.candidate} answers for the {held:,} documents that it holds as"
    told = f"{told} they are now, the live generation for the other {rest:,}"
    building = any(item.number == rollout.candidate and item.state == "building" for item in catalog.generations())
    failure = rollout.state.get("failure") if building else None
    return [told, f"{rollout.kind}: nothing is placed in the background at present: {failure}"] if failure else [told]


def _bridge_that_is_off(catalog: CatalogReader, alias: str) -> list[str]:
    newest = next(iter(catalog.rollouts(alias, 1)), None)
    if newest is None or newest.kind != "bridge" or newest.weight > 0:
        return []
    building = any(item.number == newest.candidate and item.state == "building" for item in catalog.generations())
    return [f"bridge to generation {newest.candidate}: {newest.reason}"] if building else []
