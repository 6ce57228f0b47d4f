"""Label-free signals: how much two rankings differ. That says something changed, never that it became better or worse.

They raise alarms about drift and never decide a promotion: a better model also returns other documents. The overlap of
vectors' neighbourhoods is ``regen.spaces.derive.neighbour_overlap``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from regen.errors import EvaluationError
from regen.evaluation.lines import counted
from regen.evaluation.outcome import Signal


def overlap_at(first: Sequence[str], second: Sequence[str], k: int) -> float:
    """The share of the first ``k`` documents that two rankings have in common, 0 to 1.

    Where both are shorter than ``k``, the share of the longer one; 1 for two empty rankings.
    """
    one, other = _top(first, k), _top(second, k)
    return len(one & other) / max(len(one), len(other)) if one or other else 1.0


def jaccard_at(first: Sequence[str], second: Sequence[str], k: int) -> float:
    """Documents in both of the first ``k`` by documents in either, 0 to 1 (Jaccard 1901); 1 for two empty rankings."""
    one, other = _top(first, k), _top(second, k)
    return len(one & other) / len(one | other) if one or other else 1.0


def rank_biased_overlap(first: Sequence[str], second: Sequence[str], p: float = 0.9) -> float:
    """Extrapolated rank-biased overlap of two rankings, 0 to 1: early ranks weigh most.

    Webber, Moffat and Zobel, "A similarity measure for indefinite rankings", ACM TOIS 28(4), 2010, equation 32, which
    handles rankings of different lengths by taking the agreement seen to go on. A reader goes from one rank to the next
    with probability ``p``: 0.9 puts 86 % of the weight on the first ten. The rankings are orders, so ties must have
    been broken (``in_order`` does, as trec_eval). 1 for two empty rankings, 0 when one is empty.
    """
    if not 0 < p < 1:
        raise EvaluationError(
            f"p is {p}. Valid: between 0 and 1, neither included.", hint="0.9 looks at about ten ranks."
        )
    for ranking in (first, second):
        _distinct(ranking)
    short, long = sorted((first, second), key=len)
    if not short:
        return 1.0 if not long else 0.0
    s, size = len(short), len(long)
    shared = _shared(short, long)
    seen = [shared[d - 1] / d * p**d for d in range(1, size + 1)]
    # Below the shorter ranking's end, its agreement up to there is taken to go on.
    assumed = [shared[s - 1] * (d - s) / (s * d) * p**d for d in range(s + 1, size + 1)]
    rest = ((shared[-1] - shared[s - 1]) / size + shared[s - 1] / s) * p**size
    return min(1.0, (1 - p) / p * math.fsum([*seen, *assumed]) + rest)


def drift(
    before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]], *, k: int = 10, p: float = 0.9
) -> tuple[Signal, ...]:
    """Signals over all queries that either side answered: query id → document ids, best first.

    A query that only one side answered counts as changed altogether. No signals when there are no queries.
    """
    queries = sorted(before.keys() | after.keys())
    if not queries:
        return ()
    pairs = [(before.get(query, ()), after.get(query, ())) for query in queries]
    overlaps = [overlap_at(one, other, k) for one, other in pairs]
    over = f"mean over {counted(len(queries), 'query', 'queries')}"
    apart, same = overlaps.count(0.0), sum(one[:k] == other[:k] for one, other in pairs)
    detail = f"{over}: {apart} share no document, {same} have the same {k} in the same order"
    return (
        Signal(f"overlap@{k}", _mean(overlaps), detail),
        Signal(f"Jaccard@{k}", _mean([jaccard_at(one, other, k) for one, other in pairs]), over),
        Signal(f"RBO(p={p:g})", _mean([rank_biased_overlap(one, other, p) for one, other in pairs]), over),
    )


def _shared(short: Sequence[str], long: Sequence[str]) -> list[int]:
    """How many documents both rankings have down to each rank of the longer one."""
    one: set[str] = set()
    other: set[str] = set()
    counts: list[int] = []
    for rank, document in enumerate(long):
        found = counts[-1] if counts else 0
        other.add(document)
        found += document in one
        if rank < len(short):
            one.add(short[rank])
            found += short[rank] in other
        counts.append(found)
    return counts


def _top(ranking: Sequence[str], k: int) -> set[str]:
    if k < 1:
        raise EvaluationError(f"k is {k}. Valid: at least 1.")
    _distinct(ranking)
    return set(ranking[:k])


def _distinct(ranking: Sequence[str]) -> None:
    if len(set(ranking)) != len(ranking):
        raise EvaluationError(
            "A ranking names a document twice. Valid: each document once.",
            hint="Chunk hits become documents by rank_documents.",
        )


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)
