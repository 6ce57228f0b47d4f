"""Token counts for models that have no tokenizer of their own: fast, approximate, and the same everywhere.

A token is a run of word characters, cut every ``width`` characters, or a single other character that is not a space.
Ideographs, kana, Hangul syllables and emoji count one each. Characters are classified by fixed ranges of code points,
not by the Unicode tables of the running Python, so that chunk boundaries do not move when Python is upgraded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Starts: TypeAlias = NDArray[np.int64]

SPACE, WORD, SINGLE, JOINER = range(4)
CHARACTERS_PER_TOKEN: Final = 4
LONGEST_WORD: Final = 24
BLOCK_CHARACTERS: Final = 1 << 17

# Later ranges override earlier ones; bounds are inclusive.
_RANGES: Final[tuple[tuple[int, int, int], ...]] = (
    (0x00, 0x20, SPACE), (0x21, 0x7E, SINGLE), (0x30, 0x39, WORD), (0x41, 0x5A, WORD), (0x5F, 0x5F, WORD),
    (0x61, 0x7A, WORD), (0x7F, 0xA0, SPACE), (0xA1, 0xBF, SINGLE), (0xAA, 0xAA, WORD), (0xB5, 0xB5, WORD),
    (0xBA, 0xBA, WORD), (0xD7, 0xD7, SINGLE), (0xF7, 0xF7, SINGLE),
    (0x1100, 0x11FF, SINGLE), (0x1680, 0x1680, SPACE),
    (0x2000, 0x200B, SPACE), (0x200C, 0x200F, JOINER), (0x2010, 0x2027, SINGLE), (0x2028, 0x202F, SPACE),
    (0x2030, 0x205E, SINGLE), (0x205F, 0x205F, SPACE), (0x2060, 0x206F, JOINER),
    (0x20A0, 0x20CF, SINGLE), (0x20D0, 0x20FF, JOINER), (0x2190, 0x2BFF, SINGLE),
    (0x2E00, 0x2FFF, SINGLE), (0x3000, 0x3000, SPACE), (0x3001, 0xA4CF, SINGLE), (0xAC00, 0xD7AF, SINGLE),
    (0xF900, 0xFAFF, SINGLE), (0xFE00, 0xFE0F, JOINER), (0xFE10, 0xFE6F, SINGLE), (0xFEFF, 0xFEFF, JOINER),
    (0xFF00, 0xFFEF, SINGLE), (0x1F000, 0x1FAFF, SINGLE), (0x1F3FB, 0x1F3FF, JOINER), (0x20000, 0x3FFFF, SINGLE),
    (0xE0000, 0xE0FFF, JOINER),
)  # fmt: skip


@cache
def _classes() -> NDArray[np.uint8]:
    """Classify every code point, shape (0x110000,). What no range names is a letter of some script."""
    table = np.full(0x110000, WORD, dtype=np.uint8)
    for first, last, kind in _RANGES:
        table[first : last + 1] = kind
    table.flags.writeable = False
    return table


def word_starts(texts: Sequence[str]) -> list[Starts]:
    """Find where words and single other characters start, ascending; a word of over 24 characters counts more."""
    return [starts for block in _blocks(texts) for starts in _starts(block, LONGEST_WORD)]


def approximate_starts(texts: Sequence[str]) -> list[Starts]:
    """Do as :func:`word_starts`, with a token every four characters of a word: about what subword tokenizers give."""
    return [starts for block in _blocks(texts) for starts in _starts(block, CHARACTERS_PER_TOKEN)]


def weighted_starts(texts: Sequence[str], weights: NDArray[np.uint8], whole: int) -> list[Starts]:
    """Do as :func:`word_starts`, where a character of code point c is ``weights[c] / whole`` tokens, rounded up a word.

    ``weights`` has shape (0x110000,). A character of more than one token is given as often as it has tokens.
    """
    return [starts for block in _blocks(texts) for starts in _weighted(block, weights, whole)]


def _blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield consecutive texts in blocks that stay in the processor's cache."""
    block: list[str] = []
    size = 0
    for text in texts:
        block.append(text)
        size += len(text)
        if size >= BLOCK_CHARACTERS:
            yield block
            block, size = [], 0
    if block:
        yield block


def _starts(texts: list[str], width: int) -> list[Starts]:
    joined = " ".join(texts)  # the space ends a word, so that none runs on into the next text
    classes = _classes()[_code_points(joined)]
    return _by_text(_merge(_cut_words(classes == WORD, width), np.flatnonzero(classes == SINGLE)), texts)


def _weighted(texts: list[str], weights: NDArray[np.uint8], whole: int) -> list[Starts]:
    codes = _code_points(" ".join(texts))
    if not codes.size:
        return _by_text(np.empty(0, dtype=np.int64), texts)
    classes = _classes()[codes]
    weight = np.where(classes == SPACE, 0, weights[codes].astype(np.int64))
    before = np.cumsum(weight) - weight
    # Counting starts afresh at each word, so that an edit moves no token of another word.
    begins = (classes != WORD) | (np.concatenate([[SPACE], classes[:-1]]) != WORD)
    before -= before[np.maximum.accumulate(np.where(begins, np.arange(codes.size), 0))]
    tokens = -(-(before + weight) // whole) + (-before // whole)  # tokens begun up to here, less those begun before
    return _by_text(np.repeat(np.arange(codes.size), tokens), texts)


def _by_text(tokens: Starts, texts: list[str]) -> list[Starts]:
    """Split offsets into the joined texts into offsets into each text; writes to ``tokens``."""
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    offsets = np.cumsum(lengths + 1) - (lengths + 1)
    bounds = np.searchsorted(tokens, [*offsets, int(lengths.sum()) + len(texts)])
    tokens -= np.repeat(offsets, np.diff(bounds))
    edges = bounds.tolist()
    return [tokens[first:last] for first, last in pairwise(edges)]


def _code_points(text: str) -> NDArray[np.uint8] | NDArray[np.uint32]:
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _cut_words(inside: NDArray[np.bool_], width: int) -> Starts:
    """Find the first character of each word and every ``width``-th after it, ascending."""
    if not inside.size:
        return np.empty(0, dtype=np.int64)
    edges = np.flatnonzero(np.diff(inside.view(np.int8), prepend=np.int8(0), append=np.int8(0)))
    starts, ends = edges[::2], edges[1::2]
    pieces = (ends - starts + (width - 1)) // width
    if pieces.size == 0 or pieces.max() == 1:
        return starts
    before = np.cumsum(pieces) - pieces
    within = np.arange(int(pieces.sum())) - np.repeat(before, pieces)
    cut: Starts = np.repeat(starts, pieces) + width * within
    return cut


def _merge(words: Starts, singles: Starts) -> Starts:
    tokens = np.concatenate([words, singles])
    tokens.sort(kind="stable")  # two ascending runs: the stable sort merges them in one pass
    return tokens
