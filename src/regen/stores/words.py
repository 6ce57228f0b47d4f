"""Words and their weight, for stores that know none of their own: BM25 (Robertson & Zaragoza 2009).

:func:`bm25` scores all texts of a small corpus. Where the store knows how rare a word is, and only that,
:func:`weighed` gives it the rest of BM25 as a sparse vector.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from math import log
from typing import Final

_WORD: Final = re.compile(r"[^\W_]+")
_SATURATION: Final = 1.2
_LENGTH: Final = 0.75
_KEPT_TEXTS: Final = 20_000
_USUAL_LENGTH: Final = 128
"""Words of a text that is neither long nor short, where the texts of a corpus are not known."""


@lru_cache(_KEPT_TEXTS)
def words(text: str) -> Counter[str]:
    """How often each word stands in a text; case and accents make no difference."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return Counter(_WORD.findall("".join(letter for letter in plain if not unicodedata.combining(letter))))


def bm25(query: str, texts: Sequence[str]) -> list[float]:
    """The score of each text for a query; 0 for one that holds none of its words."""
    asked = words(query)
    held = [words(text) for text in texts]
    lengths = [sum(counts.values()) for counts in held]
    usual = sum(lengths) / max(1, len(texts)) or 1.0
    weights = {word: _rarity(sum(word in counts for counts in held), len(texts)) for word in asked}
    return [
        sum(weight * _share(counts[word], length / usual) for word, weight in weights.items() if word in counts)
        for counts, length in zip(held, lengths, strict=True)
    ]


def weighed(text: str) -> dict[int, float]:
    """BM25 without the rarity: a number of 32 bits for each word, and the weight that the text gives it."""
    counts = words(text)
    length = sum(counts.values()) / _USUAL_LENGTH
    weights: dict[int, float] = {}
    for word, count in counts.items():
        number = word_number(word)
        weights[number] = weights.get(number, 0.0) + _share(count, length)
    return weights


def word_number(word: str) -> int:
    """The number under which a word lies in a sparse vector; two words may share one, which is rare."""
    return int.from_bytes(blake2b(word.encode(), digest_size=4).digest(), "big")


def _rarity(holding: int, texts: int) -> float:
    return log(1 + (texts - holding + 0.5) / (holding + 0.5))


def _share(count: int, length: float) -> float:
    return count * (_SATURATION + 1) / (count + _SATURATION * (1 - _LENGTH + _LENGTH * length))
