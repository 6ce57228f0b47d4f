"""What status tells of evaluations: the last one, and what of the live generation must be looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from regen.core.results import EvaluationStatus
from regen.ports.catalog import CatalogReader

REASONS: Final = 3
"""So many reasons of a verdict are told."""
_FLOOR: Final = "min "


def last_evaluation(reader: CatalogReader, alias: str, *, now: float) -> EvaluationStatus | None:
    """The newest evaluation, of whatever generation; None before the first."""
    for kept in reader.evaluations(alias, limit=1):
        return EvaluationStatus(
            generation=kept.generation,
            against=kept.against,
            verdict=kept.verdict,
            evaluated_at=kept.evaluated_at,
            age_seconds=max(0.0, now - kept.evaluated_at),
            reasons=list(kept.result.get("reasons", []))[:REASONS],
        )
    return None


def standing_alarms(reader: CatalogReader, alias: str, live: int | None) -> list[str]:
    """What the live generation's newest evaluation found wrong with it: means below a floor, failed checks.

    They stand until an evaluation finds otherwise.
    """
    if live is None:
        return []
    return [alarm for kept in reader.evaluations(alias, live, limit=1) for alarm in _alarms(kept.result)]


def _alarms(result: Mapping[str, Any]) -> Iterator[str]:
    for item in result.get("comparisons", []):
        rule = item.get("condition") or ""
        if rule.startswith(_FLOOR) and item["candidate"] < float(rule.removeprefix(_FLOOR)):
            where = item["collection"] if item["slice"] == "all" else f"{item['collection']}, {item['slice']}"
            yield f"{item['measure']} on {where} is {item['candidate']:.4f}, and must be at least {rule[len(_FLOOR) :]}"
    for check in result.get("checks", []):
        if not check["passed"] and check.get("gates", True):
            yield f"{check['name']}: {check['detail']}"
