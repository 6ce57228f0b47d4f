"""A rollout's confidence sequence as a drawing that narrows, with its steps and the bounds of its conditions. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from regen.ports.rollouts import Rollout
from regen.server.console import charts, words
from regen.server.console.charts import Frame
from regen.server.console.trends import Drawn

if TYPE_CHECKING:
    from regen.evaluation.rollout import Analysis, RolloutState
    from regen.evaluation.trail import Look

HEIGHT: Final = 120.0
_BOUND: Final = re.compile(r"(\w+)\s*(>=|<=|>|<)\s*(-?\d+(?:\.\d+)?)")
EXACT: Final = frozenset({"queries", "decided"})
CENTRES: Final = {"preference": 0.5, "latency_ratio": 1.0}


@dataclass(frozen=True, slots=True)
class Narrowed:
    """One name's interval over all looks, the newest in words, and the bounds that its conditions set."""

    name: str
    newest: str
    bounds: str
    chart: Drawn


@dataclass(frozen=True, slots=True)
class WeightStep:
    """One weight of the plan: ``done``, ``now`` or ``later``."""

    weight: float
    stage: str


def narrowed(rollout: Rollout, now: float) -> list[Narrowed]:
    """A drawing for every uncertain name of the rollout's conditions."""
    from regen.evaluation.trail import looks  # noqa: PLC0415 - statistics: heavy, and no page but a rollout's needs them

    state = state_of(rollout)
    if state is None:
        return []
    seen = looks(rollout.state)
    names = [name for name in state.values() if state.analysis.resolved(name) not in EXACT]
    return [_narrowed(name, state, seen, rollout, now) for name in names]


def state_of(rollout: Rollout) -> RolloutState | None:
    """What a rollout has learned; None for one that compares nothing."""
    from regen.evaluation.rollout import RolloutState  # noqa: PLC0415 - likewise

    return RolloutState.from_dict(rollout.state["rollout"]) if "rollout" in rollout.state else None


def _narrowed(name: str, state: RolloutState, seen: Sequence[Look], rollout: Rollout, now: float) -> Narrowed:
    low, high = state.values()[name]
    bounds = bounds_of(state.analysis, name)
    until = now if rollout.status in {"running", "paused"} else rollout.changed_at
    told = ", ".join(f"{kind} {sign} {value:g}" for kind, sign, value in bounds)
    return Narrowed(
        name.replace("_", " "), f"{_number(low)} to {_number(high)}", told, _chart(name, seen, bounds, rollout, until)
    )


def _chart(
    name: str, seen: Sequence[Look], bounds: Sequence[tuple[str, str, float]], rollout: Rollout, until: float
) -> Drawn:
    title = f"{name.replace('_', ' ')}, where the truth lies"
    own = [look for look in seen if name in look.values]
    if not own:
        return Drawn(
            title, empty="Nothing was measured yet: the first look comes after one interval and a minute for clicks."
        )
    low, high = _scale(name, own, [value for _, _, value in bounds])
    frame = Frame(rollout.started_at, max(until, rollout.started_at + 1), low, high, HEIGHT)
    rows = [(look.at, _or(look.values[name][0], low), _or(look.values[name][1], high)) for look in own]
    steps = [look.at for look in own if look.kind == "step_up"]
    parts = [
        charts.band(frame, rows, "band"),
        charts.level(frame, CENTRES.get(name, 0.0), "base"),
        *(charts.level(frame, value, f"bound {kind}") for kind, _, value in bounds),
        *(charts.moment(frame, at, "step") for at in steps),
    ]
    last = rows[-1]
    label = f"{title}: after {words.plural(len(own), 'look')} between {_number(last[1])} and {_number(last[2])}"
    return Drawn(title, charts.drawing(parts, label, "sequence", HEIGHT), _number(high), _number(low),
                 words.ago(rollout.started_at, until), "now" if rollout.status == "running" else rollout.status,
                 words.plural(own[-1].queries, "query", "queries"))  # fmt: skip


def _scale(name: str, own: Sequence[Look], bounds: Sequence[float]) -> tuple[float, float]:
    """From the widest look that is bounded at all, but no wider than what the newest and the bounds need by far."""
    ends = [end for look in own for end in look.values[name] if end is not None]
    newest = [end for end in own[-1].values[name] if end is not None]
    wanted = [*newest, *bounds, CENTRES.get(name, 0.0)]
    least, most = min(wanted), max(wanted)
    room = max((most - least) * 1.5, 1e-3)
    return max(min([*ends, least]), least - room), min(max([*ends, most]), most + room)


def bounds_of(analysis: Analysis, name: str) -> list[tuple[str, str, float]]:
    """The bounds that conditions set to a name: ``success`` or ``failure``, the sign, the value."""
    found = []
    for kind, text in (("success", analysis.success_condition), ("failure", analysis.failure_condition)):
        found += [(kind, sign, float(value)) for of, sign, value in _BOUND.findall(text or "") if of == name]
    return found


def weight_steps(rollout: Rollout) -> list[WeightStep]:
    """The weights that a rollout goes through."""
    state = state_of(rollout)
    if state is None:
        return []
    over = rollout.status == "succeeded"
    return [
        WeightStep(weight, "done" if over or at < state.step else "now" if at == state.step else "later")
        for at, weight in enumerate(state.analysis.weights)
    ]


def _or(value: float | None, open_end: float) -> float:
    return open_end if value is None else value


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "\u2212") if math.isfinite(value) else "∞" if value > 0 else "\u2212∞"
