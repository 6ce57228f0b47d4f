"""Words and their weight, for the store in memory: BM25 (Robertson & Zaragoza 2009) over all texts, each time."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from math import log
from typing import Final

_WORD: Final = re.compile(r"[^\W_]+")
_SATURATION: Final = 1.2
_LENGTH: Final = 0.75
_KEPT_TEXTS: Final = 20_000


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


def _rarity(holding: int, texts: int) -> float:
    return log(1 + (texts - holding + 0.5) / (holding + 0.5))


def _share(count: int, length: float) -> float:
    return count * (_SATURATION + 1) / (count + _SATURATION * (1 - _LENGTH + _LENGTH * length))
