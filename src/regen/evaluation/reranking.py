"""Whether a reranker helps: searches with it beside the same searches without it, query by query. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from regen.evaluation.conditions import MeasureCondition
from regen.evaluation.gate import judge
from regen.evaluation.outcome import Comparison, QueryOutcome


@dataclass(frozen=True, slots=True)
class RerankJudgement:
    """What judging a reranker found. It ``helps`` only if it is surely better: else it costs time for nothing.

    ``without`` and ``reranked`` are means by measure, of each collection alike. ``depth`` is how many texts it scored
    for a query, as many as fit the budget where it was judged; ``milliseconds`` what that took (p50, p95).
    """

    model: str
    generation: int
    helps: bool
    reason: str
    measure: str
    without: Mapping[str, float]
    reranked: Mapping[str, float]
    comparisons: tuple[Comparison, ...]
    queries: int
    depth: int = 0
    milliseconds: Mapping[str, float] | None = None
    failures: int = 0
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def judge_reranking(
    model: str, generation: int, queries: Sequence[QueryOutcome], measure: str, *, seed: int = 0
) -> RerankJudgement:
    """Decide by one ``measure``, on each collection: its mean must surely rise, by the gate's own test.

    The baseline of ``queries`` is without the reranker, the candidate with it. Where it is worse, or where the queries
    are too few to tell, it does not help. Where nothing changes it does not either, though the gate would let an equal
    generation pass: it would cost time for nothing. Raises EvaluationError for a measure that was not computed.
    """
    decision = judge(queries, [MeasureCondition(measure, "min_lift", 0.0)], seed=seed)
    judged = [row for row in decision.comparisons if row.condition is not None]
    names = list(dict.fromkeys(name for outcome in queries for name in outcome.candidate))
    return RerankJudgement(
        model=model,
        generation=generation,
        helps=decision.verdict == "promote" and all(row.delta > 0 for row in judged),
        reason="; ".join(decision.reasons),
        measure=measure,
        without={name: _mean(queries, name, "baseline") for name in names},
        reranked={name: _mean(queries, name, "candidate") for name in names},
        comparisons=decision.comparisons,
        queries=len(queries),
    )


def too_slow(judgement: RerankJudgement, budget_ms: float) -> RerankJudgement:
    """The judgement of a reranker that cannot order two texts within the budget, whatever it could do with more."""
    return replace(judgement, helps=False, reason=f"{budget_ms:g} ms allow it fewer than two texts")


def _mean(queries: Sequence[QueryOutcome], name: str, side: str) -> float:
    """The mean over collections of each one's mean."""
    values: dict[str, list[float]] = {}
    for outcome in queries:
        values.setdefault(outcome.collection, []).append(getattr(outcome, side)[name])
    return float(np.mean([np.mean(found) for found in values.values()]))
