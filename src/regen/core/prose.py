"""Boundaries of prose in any language: paragraphs and sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import numpy as np

from regen.core.boundaries import BLOCK, SENTENCE, Counted, Cuts

# Possessive quantifiers and the look-behind keep the search linear on runs of a million dots.
_PARAGRAPH: Final = re.compile(r"\n(?:[ \t\r\f\v]*+\n)++")
_STOP: Final = re.compile(
    r"""
    (?<![.!?…])(?P<stop>[.!?…]++)["'”’»)\]]*+\s++          # Latin, Cyrillic, Greek: only before white space
  | [؟۔।॥։።។။]++["'”’»)\]]*+\s*+                            # Arabic, Urdu, Indic, Armenian, Ethiopic, Khmer, Burmese
  | [。！？｡．]++["'”’」』）】》]*+\s*+                       # Chinese and Japanese: no white space needed
  | \n(?:[ \t\r]*+\n)++                                   # a blank line
  | \n(?=[ \t]*+(?:[-*+•]|\d{1,3}[.)])[ \t])                # a line that begins a list item
    """,
    re.VERBOSE,
)
_LAST_WORD: Final = re.compile(r"[^\s(\[\"'“‘«]+\Z")
_WORD_REACH: Final = 16
_ABBREVIATIONS: Final = frozenset(
    re.findall(
        r"\w+",
        """
        al approx art ca cf ch col dept dr ed eds eg eq eqs esp est etc fig figs gen hr ie inc jr lt ltd mr mrs
        ms no nos nr op p pp prof rev sec sr st tab usw vgl viz vol vs zb bzw bspw evtl inkl sog abb kap jan feb
        mar apr jun jul aug sep sept oct nov dec mme mlle sra srta
        """,
    )
)


def paragraph_cuts(counted: Counted, start: int, end: int) -> Cuts:
    """The first lines after blank lines."""
    found = [match.end() for match in _PARAGRAPH.finditer(counted.text, start, end) if match.end() < end]
    return Cuts.at(np.array(found, dtype=np.int64), BLOCK)


def sentence_cuts(counted: Counted, start: int, end: int) -> Cuts:
    """The starts of sentences, of paragraphs and of lines that begin a list item."""
    found = sorted({position for position in sentence_starts(counted.text, start, end) if start < position < end})
    return Cuts.at(np.array(found, dtype=np.int64), SENTENCE)


def sentence_starts(text: str, start: int, end: int) -> Iterator[int]:
    """Where a sentence begins between two positions. A heuristic: it errs towards long sentences."""
    for match in _STOP.finditer(text, start, end):
        at = match.end()
        stop = match["stop"]
        if stop is None or "\n\n" in match.group() or _ends(text, match.start(), stop, text[at : at + 1]):
            yield at


def _ends(text: str, stop_at: int, stop: str, following: str) -> bool:
    """Whether a full stop ends its sentence, and not an abbreviation, an initial or the number of a list item."""
    if following.islower():
        return False
    if stop != ".":
        return True
    reach = max(stop_at - _WORD_REACH, 0)
    last = _LAST_WORD.search(text[reach:stop_at])
    if last is None:
        return True
    word = last.group().replace(".", "")
    if word.isdigit() and len(word) <= 3:
        before = text[reach : reach + last.start()]
        return bool(before.rpartition("\n")[2].strip())  # "12." alone at the start of a line numbers an item
    initial = len(word) == 1 and word.isalpha() and word.isupper()
    return not initial and word.lower() not in _ABBREVIATIONS
