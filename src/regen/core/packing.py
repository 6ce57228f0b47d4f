"""Packing: which of the candidate boundaries stay, so that every piece fits and an edit moves only what is near it.

Filling pieces from the start moves every later boundary when a word is inserted. Here instead boundaries are *given
up*, the weakest first (by level, then by a key of the text beside it), whenever the two pieces that it parts fit
together. The order is content's own, so whether a boundary stays depends on weaker boundaries nearby, on no
position and on nothing far away. Two neighbouring pieces never fit into one, so pieces are more than half full on
the mean.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    ahead, behind = counted.ahead(positions).tolist(), counted.behind(positions).tolist()
    kept = _agglomerate(ahead, behind, order.tolist(), limit)
    return positions[kept].tolist()  # type: ignore[no-any-return]


def _agglomerate(ahead: list[int], behind: list[int], order: list[int], limit: int) -> list[int]:
    """The boundaries that stay. One pass is enough: what did not fit can never fit later, pieces only grow."""
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
