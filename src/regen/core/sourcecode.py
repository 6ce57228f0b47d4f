"""Boundaries of program text in any language, from blank lines and indentation alone."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from regen.core.boundaries import BLOCK, LINE, NESTED, Counted, Cuts

_DEFINITION: Final = BLOCK + 1
_LINE: Final = re.compile(r"^([ \t]*+)([^\s])", re.MULTILINE)
_CLOSING: Final = re.compile(r"[)\]}>]|(?:end|else|elif|elsif|except|catch|finally|fi|done|esac|then)\b")
_LINE_START: Final = re.compile(r"\n(?=[^\n])")
_TAB: Final = 4
_DEEPEST: Final = BLOCK - NESTED


def definition_cuts(counted: Counted, start: int, end: int) -> Cuts:
    """Lines after a blank line, and lines at the left margin after deeper ones; the less indented, the stronger.

    A line that closes something (a bracket, "end", "else") begins nothing.
    """
    text = counted.text
    pairs: list[tuple[int, int]] = []
    previous_end, previous_width = start, 0
    for match in _LINE.finditer(text, start, end):
        at = match.start()
        width = len(match[1].expandtabs(_TAB))
        closing = _CLOSING.match(text, match.start(2)) is not None
        apart = at > previous_end + 1 or (width == 0 and previous_width > 0)
        if apart and at > start and not closing:
            pairs.append((at, _DEFINITION if width == 0 else BLOCK - min(width // _TAB, _DEEPEST)))
        following = text.find("\n", match.end())
        previous_end = end if following < 0 else following
        previous_width = previous_width if closing else width
    return Cuts.of(pairs)


def line_cuts(counted: Counted, start: int, end: int) -> Cuts:
    """The starts of all lines that are not empty."""
    found = [match.end() for match in _LINE_START.finditer(counted.text, start, end) if match.end() < end]
    return Cuts.at(np.array(found, dtype=np.int64), LINE)
