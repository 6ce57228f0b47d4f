"""The sections of a report as values: what is said, in which order, with its plots. The template only places them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from regen.evaluation import plots, wording
from regen.evaluation.outcome import ALL, Arm, Comparison, Evaluation, QueryOutcome

Row = tuple[str, ...]
_EQUAL: Final = 1e-9
_TONES: Final[Mapping[str, str]] = {"promote": "good", "hold": "bad", "cannot_tell": "unsure"}


@dataclass(frozen=True, slots=True)
class Compared:
    """One comparison, ready to be shown. ``tone`` is plain where the gate has no condition for it.

    ``detail`` is there where the numbers beside it do not say it: for a condition on the candidate alone.
    """

    measure: str
    condition: str
    queries: str
    baseline: str
    candidate: str
    delta: str
    interval: str
    p_value: str
    effect: str
    detectable: str
    tone: str
    verdict: str
    settled_by: str
    detail: str
    strip: str


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice of a collection with its comparisons."""

    name: str
    queries: str
    rows: tuple[Compared, ...]


@dataclass(frozen=True, slots=True)
class Forest:
    """Comparisons drawn on one scale, and its axis. The slices, which are less sure, have a scale of their own."""

    axis: str
    groups: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class WinLoss:
    """What the queries of a collection won and lost by one measure."""

    measure: str
    won: str
    lost: str
    equal: str
    reach: str
    plot: str
    merged: str


@dataclass(frozen=True, slots=True)
class Collection:
    """One judged collection: the comparison on all its queries, on its slices, and query by query."""

    name: str
    anchor: str
    queries: str
    overall: Forest
    slices: Forest
    plots: tuple[WinLoss, ...]
    means: tuple[Row, ...]


def tone_of(comparison: Comparison) -> str:
    """``good``, ``bad`` or ``unsure`` as the gate judged; ``plain`` where it has no condition."""
    return _TONES[comparison.verdict] if comparison.condition is not None else "plain"


def collections_of(evaluation: Evaluation) -> tuple[Collection, ...]:
    """Every collection in the order in which it was judged, those without a comparison with their means alone."""
    names = dict.fromkeys([
        *(comparison.collection for comparison in evaluation.comparisons),
        *evaluation.candidate.collections,
        *(query.collection for query in evaluation.queries),
    ])  # fmt: skip
    return tuple(_collection(evaluation, name, at) for at, name in enumerate(names, start=1))


def _collection(evaluation: Evaluation, name: str, number: int) -> Collection:
    comparisons = [item for item in evaluation.comparisons if item.collection == name]
    queries = [query for query in evaluation.queries if query.collection == name]
    overall = [item for item in comparisons if item.slice == ALL]
    return Collection(
        wording.visible(name),
        f"collection-{number}",
        _query_count(overall, queries),
        _forest(overall),
        _forest([item for item in comparisons if item.slice != ALL]),
        win_loss_plots(queries),
        () if comparisons and evaluation.baseline else _means(evaluation, name),
    )


def _extent(item: Comparison) -> tuple[float, ...]:
    bound = () if item.bound is None else (item.bound,)
    return (item.delta, item.ci_low, item.ci_high, *bound)


def _query_count(overall: Sequence[Comparison], queries: Sequence[QueryOutcome]) -> str:
    number = max((item.queries for item in overall), default=0) or len(queries)
    return wording.counted(number, "judged query", "judged queries") if number else ""


def _forest(items: Sequence[Comparison]) -> Forest:
    scale = plots.scale_for(value for item in items for value in _extent(item))
    names = dict.fromkeys(item.slice for item in items)
    groups = (_slice(name, [item for item in items if item.slice == name], scale) for name in names)
    return Forest(plots.axis(scale), tuple(groups))


def _slice(name: str, items: Sequence[Comparison], scale: plots.Scale) -> Slice:
    return Slice(wording.visible(name), _query_count(items, ()), tuple(_compared(item, scale) for item in items))


def _compared(item: Comparison, scale: plots.Scale) -> Compared:
    tone = tone_of(item)
    words = wording.VERDICTS[item.verdict]
    spread = wording.interval(item.ci_low, item.ci_high)
    measure = wording.visible(item.measure)
    label = f"{measure}: difference {wording.signed(item.delta)}, interval {spread}"
    drawn = plots.Strip(item.delta, item.ci_low, item.ci_high, item.bound, tone, label)
    return Compared(
        measure,
        wording.visible(item.condition or ""),
        wording.count(item.queries),
        wording.score(item.baseline),
        wording.score(item.candidate),
        wording.signed(item.delta),
        spread,
        wording.probability(item.p_value),
        wording.signed(item.effect_size),
        wording.score(item.min_detectable),
        tone,
        "reported only" if tone == "plain" else f"{words.mark} {words.condition}",
        wording.settled_by(item) if tone == "unsure" else "",
        wording.visible(item.detail, 400) if tone != "plain" and item.bound is None else "",
        plots.strip(drawn, scale),
    )


def win_loss_plots(queries: Sequence[QueryOutcome]) -> tuple[WinLoss, ...]:
    """One plot for each measure that both sides have, all on one scale."""
    measures = dict.fromkeys(measure for query in queries for measure in changes_of(query))
    deltas = {
        measure: np.array([changes[measure] for query in queries if measure in (changes := changes_of(query))])
        for measure in measures
    }
    reach = plots.reach_of(list(deltas.values()))
    return tuple(_win_loss(measure, values, reach) for measure, values in deltas.items())


def _win_loss(measure: str, deltas: plots.Floats, reach: float) -> WinLoss:
    won, lost = int((deltas > _EQUAL).sum()), int((deltas < -_EQUAL).sum())
    equal = len(deltas) - won - lost
    name = wording.visible(measure)
    label = f"{name}, query by query: {won} better, {lost} worse, {equal} equal"
    bars = -(-len(deltas) // plots.MOST_BARS)
    return WinLoss(
        name,
        wording.count(won),
        wording.count(lost),
        wording.count(equal),
        f"{reach:.2f}",
        plots.win_loss(deltas, reach, label),
        f"Each bar is the mean of about {bars} queries." if bars > 1 else "",
    )


def changes_of(query: QueryOutcome) -> dict[str, float]:
    """Candidate minus baseline by measure, for the measures that both sides have a number of."""
    return {
        measure: change
        for measure, value in query.candidate.items()
        if measure in query.baseline and math.isfinite(change := value - query.baseline[measure])
    }


def _means(evaluation: Evaluation, name: str) -> tuple[Row, ...]:
    return measure_rows(
        evaluation.baseline.collections.get(name, {}) if evaluation.baseline else {},
        evaluation.candidate.collections.get(name, {}),
    )


def measure_rows(baseline: Mapping[str, float], candidate: Mapping[str, float]) -> tuple[Row, ...]:
    """Measure, baseline, candidate and difference, a dash where one side has no number."""
    rows = []
    for measure in dict.fromkeys([*candidate, *baseline]):
        old, new = baseline.get(measure, math.nan), candidate.get(measure, math.nan)
        rows.append((wording.visible(measure), wording.score(old), wording.score(new), wording.signed(new - old)))
    return tuple(rows)


def summary_rows(baseline: Arm | None, candidate: Arm) -> tuple[Row, ...]:
    """What both generations are: a label, the baseline's value and the candidate's."""
    arms = (baseline, candidate)
    return (
        ("Model", *(wording.visible(arm.model) or wording.NOTHING if arm else wording.NOTHING for arm in arms)),
        ("Space", *(wording.visible(arm.space) or wording.NOTHING if arm else wording.NOTHING for arm in arms)),
        ("Documents", *(wording.count(arm.documents) if arm else wording.NOTHING for arm in arms)),
        ("Chunks", *(wording.count(arm.chunks) if arm else wording.NOTHING for arm in arms)),
        ("Cost so far", *(wording.dollars(arm.cost_usd) if arm else wording.NOTHING for arm in arms)),
    )


def latency_rows(baseline: Arm | None, candidate: Arm) -> tuple[Row, ...]:
    """A label, the baseline's value, the candidate's, and how they relate. Empty where nothing was timed."""
    new = candidate.latency
    old = baseline.latency if baseline else None
    if new is None and old is None:
        return ()
    timed = (("Half of the searches within (p50)", "p50"), ("95 % within (p95)", "p95"), ("99 % within (p99)", "p99"))
    rows = [_times(label, *(getattr(side, name) if side else math.nan for side in (old, new))) for label, name in timed]
    rates = (wording.percent(side.error_rate) if side else wording.NOTHING for side in (old, new))
    searches = (wording.count(side.searches) if side else wording.NOTHING for side in (old, new))
    return (*rows, ("Failed searches", *rates, ""), ("Searches timed", *searches, ""))


def _times(label: str, old: float, new: float) -> Row:
    ratio = f"× {new / old:.2f}" if old > 0 and math.isfinite(new / old) else ""
    return (label, wording.milliseconds(old), wording.milliseconds(new), ratio)


def shown(texts: Iterable[str], longest: int = 600) -> tuple[str, ...]:
    """Sentences that may quote untrusted text."""
    return tuple(wording.visible(text, longest) for text in texts)
