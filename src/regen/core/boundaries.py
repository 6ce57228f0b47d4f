"""Candidate boundaries: where a text may be cut, and how readily.

A boundary is a character offset with a *level*: the higher, the longer it is kept. Among boundaries of one level a key
derived from the few characters that follow decides, never a position: what lies elsewhere in the document has no
say, so an edit there moves nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Positions: TypeAlias = NDArray[np.int64]

GLUED: Final = 0
"""Right after a heading: the first to be given up."""
TOKEN: Final = 1
WORD: Final = 2
SENTENCE: Final = 3
LINE: Final = 4
NESTED: Final = 5
"""A block or item inside a list item or a quote."""
ITEM: Final = 6
LEAD: Final = 7
"""Between "as follows:" and what follows."""
BLOCK: Final = 8
RULE: Final = 9
HEADING: Final = 10
"""A heading of level h is at ``HEADING + 6 - h``."""
CONTEXT: Final = 32
"""How many characters after a boundary decide about its key."""

_SPACES: Final = (*range(9, 14), *range(28, 33), 0x85, 0x1680, *range(0x2000, 0x2007), *range(0x2008, 0x200B))
_WIDE_SPACES: Final = (0x2028, 0x2029, 0x205F, 0x3000)
_LAST_SPACE: Final = 0x3000
_IS_SPACE: Final = np.zeros(_LAST_SPACE + 2, dtype=np.bool_)
_IS_SPACE[[*_SPACES, *_WIDE_SPACES]] = True  # without the no-break spaces: their authors do not want a cut there


@dataclass(frozen=True)
class Counted:
    """A text together with the offsets at which its tokens start, ascending."""

    text: str
    starts: Positions

    @cached_property
    def codes(self) -> NDArray[np.uint32]:
        """The code points of the text, followed by ``CONTEXT`` zeros."""
        padded = self.text + "\0" * CONTEXT
        return np.frombuffer(padded.encode("utf-32-le", "surrogatepass"), dtype="<u4")

    def ahead(self, positions: Positions) -> Positions:
        """How many tokens start before each position."""
        return np.searchsorted(self.starts, positions)

    def behind(self, positions: Positions) -> Positions:
        """How many tokens a piece that begins at each position leaves behind it.

        ``ahead(end) - behind(start)`` counts a piece's tokens; a token that a cut goes through counts on both sides.
        """
        ahead = self.ahead(positions)
        clean = np.zeros(len(positions), dtype=np.bool_)
        inside = ahead < len(self.starts)
        clean[inside] = self.starts[ahead[inside]] == positions[inside]
        return np.where(clean, ahead, np.maximum(ahead - 1, 0))

    def keys(self, positions: Positions) -> NDArray[np.uint64]:
        """A well-mixed key of the ``CONTEXT`` characters that follow each position; equal on every platform."""
        keys = np.zeros(len(positions), dtype=np.uint64)
        codes = self.codes
        for offset in range(CONTEXT):
            keys *= np.uint64(0x9E3779B97F4A7C15)
            keys += codes[positions + offset]
            keys ^= keys >> np.uint64(29)
        keys *= np.uint64(0xBF58476D1CE4E5B9)
        return keys ^ (keys >> np.uint64(32))


@dataclass(frozen=True, slots=True)
class Cuts:
    """Boundaries: ascending distinct positions and their levels, two arrays of equal length."""

    positions: Positions
    levels: NDArray[np.int64]

    @classmethod
    def of(cls, pairs: Sequence[tuple[int, int]]) -> Cuts:
        """Boundaries from (position, level) pairs in any order; of equal positions the highest level wins."""
        if not pairs:
            return NO_CUTS
        array = np.array(pairs, dtype=np.int64)
        array = array[np.lexsort((-array[:, 1], array[:, 0]))]
        distinct = np.ones(len(array), dtype=np.bool_)
        distinct[1:] = array[1:, 0] != array[:-1, 0]
        return cls(array[distinct, 0], array[distinct, 1])

    @classmethod
    def at(cls, positions: Positions, level: int) -> Cuts:
        """Boundaries of one level at ascending distinct positions."""
        return cls(positions, np.full(len(positions), level, dtype=np.int64))

    def where(self, keep: NDArray[np.bool_]) -> Cuts:
        """Those boundaries for which ``keep`` is true."""
        return Cuts(self.positions[keep], self.levels[keep])

    def inside(self, start: int, end: int) -> Cuts:
        """Those boundaries that lie strictly between two positions."""
        first = np.searchsorted(self.positions, start, side="right")
        last = np.searchsorted(self.positions, end, side="left")
        return Cuts(self.positions[first:last], self.levels[first:last])

    def joined(self, others: Sequence[Cuts]) -> Cuts:
        """These and further boundaries at other positions, in order."""
        positions = np.concatenate([self.positions, *[cuts.positions for cuts in others]])
        levels = np.concatenate([self.levels, *[cuts.levels for cuts in others]])
        order = np.argsort(positions, kind="stable")
        return Cuts(positions[order], levels[order])


NO_CUTS: Final = Cuts(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))

Tier: TypeAlias = Callable[[Counted, int, int], Cuts]
"""Finds boundaries strictly between two positions of a text. A finer tier is asked only about what does not fit."""


def word_cuts(counted: Counted, start: int, end: int) -> Cuts:
    """The starts of words: a character that is no white space after one that is."""
    space = _IS_SPACE[np.minimum(counted.codes[start:end], _LAST_SPACE + 1)]
    return Cuts.at(np.flatnonzero(space[:-1] & ~space[1:]) + (start + 1), WORD)


def token_cuts(counted: Counted, start: int, end: int) -> Cuts:
    """The starts of tokens, except before a mark that combines with the character before it."""
    first = np.searchsorted(counted.starts, start, side="right")
    last = np.searchsorted(counted.starts, end, side="left")
    positions = np.unique(counted.starts[first:last])
    codes = counted.codes[positions]
    joins = ((codes >= 0x300) & (codes < 0x370)) | ((codes >= 0xFE00) & (codes < 0xFE10)) | (codes == 0x200D)
    joins |= counted.codes[positions - 1] == 0x200D
    return Cuts.at(positions[~joins], TOKEN)


def coarse(tier: Tier, limit: int) -> Tier:
    """A tier that offers of another's many boundaries only the best, about one for every sixteenth of ``limit`` tokens.

    They are those with the highest keys, which would be kept longest anyway; it only spares looking at the others. The
    share hangs on ``limit`` alone: a share that hung on the text would let one edit move every boundary.
    """
    bits = (limit // 16).bit_length() - 1
    if bits <= 0:
        return tier

    def best(counted: Counted, start: int, end: int) -> Cuts:
        cuts = tier(counted, start, end)
        return cuts.where(counted.keys(cuts.positions) >> np.uint64(64 - bits) == np.uint64((1 << bits) - 1))

    return best
