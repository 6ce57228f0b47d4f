"""The gate between equals: on simulated A/A comparisons of real values it claims a difference in at most 5 of 100.

The values are those of two real systems for real judged queries (``benchmarks/gate_values.py`` measured them). For each
simulated comparison a coin decides for each query which system is called the baseline, in all measures at once: what
remains is a null hypothesis that is true by construction, with the ties, skew and dependence of real measures.

Wrong is any claim of a difference anywhere in the gate: a condition ``min_lift: 0`` that is met or not met, or a
condition ``max_drop`` that is not met. ("Met" for values of which none differs at all claims nothing.) A wrong verdict
of the gate as a whole needs at least one of these, so it is rarer still.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from regen.evaluation.conditions import MeasureCondition
from regen.evaluation.gate import Decision, judge
from regen.evaluation.outcome import Comparison, QueryOutcome

MEASURES = ("nDCG@10", "RR@10", "R@100")
SYSTEMS = ("wordllama/l2-supercat-64", "wordllama/l2-supercat-256")
GATE = (
    *(MeasureCondition(measure, "min_lift", 0.0) for measure in MEASURES),
    *(MeasureCondition("nDCG@10", "min_lift", 0.0, slice=part) for part in ("long", "short")),
    MeasureCondition("R@100", "max_drop", 0.01),
)


def real_values() -> list[QueryOutcome]:
    """Judged queries of scifact and cranfield with the values of two systems."""
    with Path(__file__).with_name("per_query.tsv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    outcomes = []
    for number, row in enumerate(rows):
        first, second = ({name: float(row[f"{system} {name}"]) for name in MEASURES} for system in SYSTEMS)
        tags = ("long",) if number % 3 == 0 else ("short",)
        outcomes.append(QueryOutcome(row["collection"], row["query"], "", tags, first, second, (), (), {}))
    return outcomes


def between_equals(pool: Sequence[QueryOutcome], queries: int, rng: np.random.Generator) -> list[QueryOutcome]:
    """So many queries, each with its two sides as a coin decides."""
    chosen = []
    for number in rng.choice(len(pool), queries, replace=False):
        query = pool[number]
        sides = (query.candidate, query.baseline) if rng.integers(2) else (query.baseline, query.candidate)
        chosen.append(QueryOutcome(query.collection, query.query_id, "", query.tags, *sides, (), (), {}))
    return chosen


def claims(row: Comparison) -> bool:
    """Whether a comparison claims a difference that is not there."""
    if row.condition is None or (row.ci_low, row.ci_high) == (0, 0):
        return False
    return row.verdict == "hold" or (row.verdict == "promote" and row.bound == 0)


def share_wrong(collections: Sequence[str], queries: int, runs: int, resamples: int) -> tuple[float, float]:
    """The share of gates with any wrong claim, and of gates that promote or hold."""
    rng = np.random.default_rng(11)
    values = real_values()
    pools = [[query for query in values if query.collection == name] for name in collections]
    decisions: list[Decision] = []
    for run in range(runs):
        drawn = [query for pool in pools for query in between_equals(pool, queries, rng)]
        decisions.append(judge(drawn, GATE, resamples=resamples, seed=run))
    wrong = [any(map(claims, decision.comparisons)) for decision in decisions]
    decided = [decision.verdict != "cannot_tell" for decision in decisions]
    return float(np.mean(wrong)), float(np.mean(decided))


def test_the_gate_is_honest_between_equals() -> None:
    """In 2,000 A/A comparisons of 40 queries, three measures and two slices, at most 5 % make any wrong claim."""
    wrong, decided = share_wrong(["scifact"], queries=40, runs=2_000, resamples=999)
    assert 0.005 < wrong <= 0.05  # a gate that never says anything would be honest, too
    assert decided <= wrong


@pytest.mark.slow
@pytest.mark.parametrize(
    ("collections", "queries"), [(["scifact"], 300), (["scifact", "cranfield"], 100), (["cranfield"], 30)]
)
def test_the_gate_is_honest_for_many_queries_and_several_collections(collections: list[str], queries: int) -> None:
    """The same in 1,000 comparisons of whole collections, and two collections that one gate is judged on."""
    wrong, decided = share_wrong(collections, queries, runs=1_000, resamples=999)
    assert wrong <= 0.05 + 2 * (0.05 * 0.95 / 1_000) ** 0.5  # two standard errors of the simulation
    assert decided <= wrong


def test_without_correction_the_gate_would_not_be_honest() -> None:
    """The simulation can fail: intervals taken one by one claim a difference far more often than 5 %."""
    rng, pool = np.random.default_rng(1), [query for query in real_values() if query.collection == "scifact"]
    wrong = 0
    for run in range(120):
        drawn = between_equals(pool, 40, rng)
        wrong += any(
            any(map(claims, judge(drawn, [condition], resamples=499, seed=run).comparisons)) for condition in GATE
        )
    assert wrong / 120 > 0.06
