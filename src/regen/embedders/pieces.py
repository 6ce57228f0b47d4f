"""A memory in front of a SentencePiece-style tokenizer: each distinct word is tokenised once, not once per occurrence.

Such a tokenizer writes a space as ``▁`` and merges pairs of symbols over the whole text. No token of its vocabulary
has a ``▁`` after another character, and none contains a newline, so no merge ever crosses the place before a space or
a newline: cutting the text there and joining the parts' tokens gives the very tokens of the whole text. Texts are cut
into *units* (a word with the spaces before it, or a newline with the word after it), and units repeat.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

REMEMBERED_CHARACTERS: Final = 8_000_000
"""The memory starts afresh when its units are longer than this together (about 1 million words, 250 MB)."""


class PieceTokenizer:
    """Token ids and starts, equal to those of ``tokenizer`` without special tokens. Thread-safe.

    ``tokenizer`` must prepend ``▁``, replace spaces by it and have no pre-tokenizer, and is not changed.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        from tokenizers import Tokenizer, normalizers  # noqa: PLC0415 - the vendor is imported on first use only

        self._whole = Tokenizer.from_str(tokenizer.to_str())
        self._whole.no_padding()
        self._units = Tokenizer.from_str(self._whole.to_str())
        self._units.normalizer = normalizers.Replace(" ", "▁")
        special = sorted(token.content for token in tokenizer.get_added_tokens_decoder().values())
        self._irregular = re.compile("|".join(map(re.escape, ["▁", *special])))
        self._memory = _Memory()

    def ids(self, texts: Sequence[str]) -> list[NDArray[np.uint16]]:
        """Token ids of each text."""
        units, memory = self._prepare(texts)
        known = memory.ids.__getitem__
        return [
            np.frombuffer(b"".join(map(known, parts)), dtype=np.uint16)
            if parts is not None
            else np.array(self._whole.encode(text, add_special_tokens=False).ids, dtype=np.uint16)
            for text, parts in zip(texts, units, strict=True)
        ]

    def starts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Character offsets at which the tokens of each text start, ascending.

        A token that begins with a space starts at the space. A character outside the vocabulary is several tokens,
        one per byte, which start at the same offset.
        """
        units, memory = self._prepare(texts)
        known = memory.widths.__getitem__
        return [
            _starts(b"".join(map(known, parts)))
            if parts is not None
            else _offsets(self._whole.encode(text, add_special_tokens=False).offsets)
            for text, parts in zip(texts, units, strict=True)
        ]

    def _prepare(self, texts: Sequence[str]) -> tuple[list[list[str] | None], _Memory]:
        """Cut the texts into units, None for a text that must be tokenised whole, and learn the new ones."""
        units = [None if self._irregular.search(text) else cut(text) for text in texts]
        memory = self._memory
        if memory.characters > REMEMBERED_CHARACTERS:
            memory = self._memory = _Memory()
        distinct = set().union(*(parts for parts in units if parts))
        new = [unit for unit in distinct if unit not in memory.widths]
        if new:
            self._learn(new, memory)
        return units, memory

    def _learn(self, units: list[str], memory: _Memory) -> None:
        spelled = [unit if unit[0] in " \n" else " " + unit for unit in units]
        for unit, text, found in zip(
            units, spelled, self._units.encode_batch(spelled, add_special_tokens=False), strict=True
        ):
            first = np.array([start for start, _ in found.offsets] + [len(text)], dtype=np.int32)
            memory.ids[unit] = np.array(found.ids, dtype=np.uint16).tobytes()
            memory.widths[unit] = np.diff(first).tobytes()  # written last: what has widths has ids
            memory.characters += len(unit)


class _Memory:
    """Unit -> packed token ids (uint16), and unit -> packed distances (int32) from each token's start to the next."""

    def __init__(self) -> None:
        self.ids: dict[str, bytes] = {}
        self.widths: dict[str, bytes] = {}
        self.characters = 0


def cut(text: str) -> list[str]:
    """Cut a text into units, in order.

    A unit that begins with neither a space nor a newline stands for one space (for the text's first unit the one that
    the tokenizer prepends) and itself; every other unit stands for exactly its own characters.
    """
    words = text.replace("\n", " \n").split(" ") if text else []
    return _with_runs(words) if "" in words else words


def _with_runs(words: Iterable[str]) -> list[str]:
    """Units of words of which some are empty, as runs of spaces leave them."""
    units = []
    spaces = 0
    for word in words:
        if not word:
            spaces += 1
            continue
        units.append(" " * (spaces + (word[0] != "\n")) + word if spaces else word)
        spaces = 0
    return [*units, " " * spaces] if spaces else units


def _starts(widths: bytes) -> NDArray[np.int64]:
    ends = np.cumsum(np.frombuffer(widths, dtype=np.int32), dtype=np.int64)
    starts = np.empty_like(ends)
    starts[:1] = 0
    starts[1:] = np.maximum(ends[:-1] - 1, 0)  # less the prepended space, which is not in the text
    return starts


def _offsets(offsets: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    return np.array([start for start, _ in offsets], dtype=np.int64)
