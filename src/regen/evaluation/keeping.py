"""An evaluation as the catalog keeps it: all but what is large, and enough of that to draw every query's change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Final, TypeVar

from regen.evaluation import changed
from regen.evaluation.outcome import Arm, CheckResult, Comparison, Evaluation, Latency, QueryOutcome, Signal

DIGITS: Final = 5
MOST_QUERIES: Final = 5_000
"""Of so many queries the values are kept. The most changed ones are kept whole."""
_T = TypeVar("_T")


def to_kept(evaluation: Evaluation) -> dict[str, Any]:
    """As JSON, without the ranked documents of most queries."""
    measure = changed.leading_measure(evaluation)
    pick = changed.most_changed if evaluation.baseline is not None else changed.weakest
    whole = [] if measure is None else pick(evaluation.queries, measure)
    return evaluation.to_dict() | {
        "values": _columns(evaluation.queries[:MOST_QUERIES]),
        "shown_queries": [asdict(item) for item in whole],
    }


def from_kept(data: Mapping[str, Any]) -> Evaluation:
    """Read back what was kept. Most queries then have values only; those kept before values were have none."""
    whole = {(item["collection"], item["query_id"]): _of(QueryOutcome, item) for item in data.get("shown_queries", ())}
    plain: dict[str, Any] = {name: data[name] for name in _PLAIN if name in data}
    listed: dict[str, Any] = {name: tuple(data.get(name, ())) for name in ("reasons", "problems", "notes")}
    return Evaluation(
        baseline=_arm(data["baseline"]) if data.get("baseline") else None,
        candidate=_arm(data["candidate"]),
        comparisons=tuple(_of(Comparison, item) for item in data.get("comparisons", ())),
        checks=tuple(_of(CheckResult, item) for item in data.get("checks", ())),
        signals=tuple(_of(Signal, item) for item in data.get("signals", ())),
        queries=tuple(whole.get((item.collection, item.query_id), item) for item in _queries(data.get("values", {}))),
        **plain,
        **listed,
    )


_PLAIN: Final = (
    "verdict", "catalog_revision", "recipe", "alias", "evaluated_at", "seconds", "method", "answers",
)  # fmt: skip


def _columns(queries: Sequence[QueryOutcome]) -> dict[str, Any]:
    """Values by collection, measure and side, one list entry a query: a tenth of what a dictionary each would take."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(item.collection for item in queries):
        own = [item for item in queries if item.collection == name]
        measures = dict.fromkeys(measure for item in own for measure in (*item.candidate, *item.baseline))
        found[name] = {
            "ids": [item.query_id for item in own],
            "candidate": {measure: [_short(item.candidate.get(measure)) for item in own] for measure in measures},
            "baseline": {measure: [_short(item.baseline.get(measure)) for item in own] for measure in measures},
        }
    return found


def _short(value: float | None) -> float | None:
    return None if value is None else round(float(value), DIGITS)


def _queries(collections: Mapping[str, Any]) -> Iterator[QueryOutcome]:
    for name, kept in collections.items():
        for at, query in enumerate(kept["ids"]):
            sides = [
                {measure: values[at] for measure, values in kept[side].items() if values[at] is not None}
                for side in ("baseline", "candidate")
            ]
            yield QueryOutcome(name, query, "", (), sides[0], sides[1], (), (), {})


def _arm(data: Mapping[str, Any]) -> Arm:
    timed = data.get("latency")
    return _of(Arm, {**data, "latency": _of(Latency, timed) if timed else None})


def _of(kind: type[_T], data: Mapping[str, Any]) -> _T:
    """A value of a dataclass from what was kept of it: tuples for lists, NaN for what JSON has no number for."""
    numbers = {item.name for item in fields(kind) if item.type == "float"}  # type: ignore[arg-type]
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: _value(value, name in numbers) for name, value in data.items() if name in known})


def _value(value: Any, number: bool) -> Any:
    if value is None and number:
        return float("nan")
    return tuple(value) if isinstance(value, list) else value
