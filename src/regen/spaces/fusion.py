"""Lists of different kinds made one by rank: scores of a vector search and of a word search have no common scale."""

from __future__ import annotations

from collections.abc import Sequence

from regen.spaces.merge import RANK_CONSTANT


def reciprocal_rank_fusion(lists: Sequence[Sequence[str]]) -> list[tuple[str, float]]:
    """Ids with their fused scores, best first; of equal scores the one that an earlier list names first.

    An id's score is the sum of 1 / (60 + rank) over the lists that name it, ranks from 1, an id named twice by a list
    at its first place (Cormack, Clarke & Büttcher, *Reciprocal Rank Fusion outperforms Condorcet and individual Rank
    Learning Methods*, SIGIR 2009). With n lists it lies between 0 and n/61.
    """
    scores: dict[str, float] = {}
    for ranked in lists:
        for rank, one in enumerate(dict.fromkeys(ranked), start=1):
            scores[one] = scores.get(one, 0.0) + 1 / (RANK_CONSTANT + rank)
    return sorted(scores.items(), key=lambda item: -item[1])
