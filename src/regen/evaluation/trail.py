"""What a rollout's confidence sequence looked like at every look, so that people can see it narrow. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from regen.evaluation.rollout import Action, RolloutState

MOST_LOOKS: Final = 400
"""So many looks are kept; beyond, every second one of the older half goes."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look: when, at which weight, what was decided, and the interval of each name; a bound of None is open."""

    at: float
    weight: float
    kind: str
    queries: int
    values: Mapping[str, tuple[float | None, float | None]]


def look(at: float, state: RolloutState, action: Action) -> dict[str, Any]:
    """A look as the catalog keeps it: the state that was judged, and what was decided."""
    return {
        "at": at,
        "weight": state.weight,
        "kind": action.kind,
        "queries": state.seen.candidate.queries,
        "values": {name: [_finite(low), _finite(high)] for name, (low, high) in state.values().items()},
    }


def extended(trail: Sequence[Mapping[str, Any]], newest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A trail with one look more, thinned where it has grown too long. The first look stays, and every decision."""
    longer = [*trail, newest]
    if len(longer) <= MOST_LOOKS:
        return longer
    half = len(longer) // 2
    kept = [item for at, item in enumerate(longer[:half]) if at % 2 == 0 or item["kind"] != "continue"]
    return [*kept, *longer[half:]]


def looks(state: Mapping[str, Any]) -> list[Look]:
    """The looks of a rollout's state, oldest first; none for one that was begun before they were kept."""
    return [
        Look(
            float(item["at"]),
            float(item["weight"]),
            str(item["kind"]),
            int(item["queries"]),
            {name: (low, high) for name, (low, high) in item["values"].items()},
        )
        for item in state.get("trail", ())
    ]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
