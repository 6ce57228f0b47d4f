"""Words of a text for comparing what two texts say: lower case, without stop words, with English endings taken off."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_WORD: Final = re.compile(r"\d+(?:[.,:/-]\d+)*%?|\w+(?:['’]\w+)*", re.UNICODE)
_ENDINGS: Final = (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""), ("ly", ""))
_SHORTEST_STEM: Final = 3
STOP_WORDS: Final = frozenset(
    re.findall(
        r"\S+",
        """
    a about all also an and any are as at be because been being but by can could did do does for from had
    has have he her here his how i if in into is it its itself just may me might must my no not now of on one
    or our own per same shall she should so some such than that the their them then there these
    they this those through to too upon us very was we were what when where which while who whom why
    will with within would you your yes don't doesn't isn't can't won't aren't didn't wasn't cannot never
    """,
    )
)


def words_of(text: str) -> list[str]:
    """Every word and number of a text in order, in lower case and compatibility form (NFKC)."""
    return [match.group().replace("’", "'") for match in _WORD.finditer(unicodedata.normalize("NFKC", text).lower())]


def content_words(text: str) -> list[str]:
    """The words that say something, in order: stop words left out, plain English endings taken off."""
    return [stem(word) for word in words_of(text) if word not in STOP_WORDS]


def is_number(word: str) -> bool:
    """Whether a word is a number, a date, a time or a share."""
    return word[:1].isdigit()


def stem(word: str) -> str:
    """The word without the most usual English ending: crude, quick, and the same for both texts compared."""
    word = word.removesuffix("'s")
    if is_number(word):
        return word
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM and not word.endswith("ss"):
            word = word[: len(word) - len(ending)] + instead
            break
    return word[:-1] if word.endswith("e") and len(word) > _SHORTEST_STEM + 1 else word
