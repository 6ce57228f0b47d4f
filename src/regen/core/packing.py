"""Packing: which of the candidate boundaries stay, so that every piece fits and an edit moves only what is near it.

Filling pieces from the start moves every later boundary when a word is inserted. Here instead boundaries are *given
up*, the weakest first (by level, then by a key of the text beside it), whenever the two pieces that it parts fit
together. The order is content's own, so whether a boundary stays depends on weaker boundaries nearby, on no
position and on nothing far away. Two neighbouring pieces never fit into one, so pieces are more than half full on
the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regen.core.boundaries import Counted, Cuts, Tier


def cut(counted: Counted, tiers: Sequence[Tier], limit: int) -> list[int]:
    """The positions at which the pieces of a text begin, and its length as the last; each has up to ``limit`` tokens.

    A tier is asked for boundaries only inside what is too long between the boundaries of the tiers before it.
    """
    length = len(counted.text)
    cuts = Cuts(np.array([0, length], dtype=np.int64), np.zeros(2, dtype=np.int64))
    for tier in tiers:
        too_long = _longer(counted, cuts, limit)
        if not too_long:
            break
        cuts = cuts.joined([tier(counted, start, end) for start, end in too_long])
    return _given_up(counted, cuts, limit)


def _longer(counted: Counted, cuts: Cuts, limit: int) -> list[tuple[int, int]]:
    """The stretches between neighbouring boundaries that have more than ``limit`` tokens."""
    sizes = counted.ahead(cuts.positions[1:]) - counted.behind(cuts.positions[:-1])
    longer = np.flatnonzero(sizes > limit)
    return list(zip(cuts.positions[longer].tolist(), cuts.positions[longer + 1].tolist(), strict=True))


def _given_up(counted: Counted, cuts: Cuts, limit: int) -> list[int]:
    positions = cuts.positions
    inner = positions[1:-1]
    order = np.lexsort((counted.keys(inner), cuts.levels[1:-1])) + 1  # stable: equal keys go from left to right
    sizes = _Sizes(counted.ahead(positions).tolist(), counted.behind(positions).tolist())
    kept = _agglomerate(sizes, order.tolist(), limit)
    rank = np.zeros(len(positions), dtype=np.int64)
    rank[order] = np.arange(len(order))
    _widen_slivers(kept, sizes, cuts.levels.tolist(), rank.tolist(), limit)
    return positions[kept].tolist()  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class _Sizes:
    ahead: list[int]
    behind: list[int]

    def between(self, left: int, right: int) -> int:
        """The tokens between two boundaries, given by their numbers."""
        return self.ahead[right] - self.behind[left]


def _agglomerate(sizes: _Sizes, order: list[int], limit: int) -> list[int]:
    """The boundaries that stay. One pass is enough: what did not fit can never fit later, pieces only grow."""
    ahead, behind = sizes.ahead, sizes.behind  # the one loop over all candidates: no call in it
    count = len(ahead)
    before, after = list(range(-1, count - 1)), list(range(1, count + 1))
    for index in order:
        left, right = before[index], after[index]
        if ahead[right] - behind[left] <= limit:
            after[left] = right
            before[right] = left
    kept, index = [], 0
    while index < count:
        kept.append(index)
        index = after[index]
    return kept


def _widen_slivers(kept: list[int], sizes: _Sizes, levels: list[int], rank: list[int], limit: int) -> None:
    """Move the boundary of a piece under an eighth of the limit to the best of its level that leaves both a quarter.

    Only to where still no two neighbours fit into one. Changes ``kept``.
    """
    last = len(kept) - 1
    for number in range(1, last):
        left, here, right = kept[number - 1 : number + 2]
        if min(sizes.between(left, here), sizes.between(here, right)) >= limit // 8:
            continue
        others = [
            index
            for index in range(left + 1, right)
            if levels[index] == levels[here]
            and limit // 4 <= sizes.between(left, index) <= limit
            and limit // 4 <= sizes.between(index, right) <= limit
            and (number == 1 or sizes.between(kept[number - 2], index) > limit)
            and (number == last - 1 or sizes.between(index, kept[number + 2]) > limit)
        ]
        kept[number] = max(others, key=rank.__getitem__, default=here)
