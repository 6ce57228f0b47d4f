"""Boundaries of Markdown: headings, blocks, list items and lines, found by one pass over the lines.

This is a scanner for boundaries, not a parser: it knows what begins where, and leaves inline markup alone. A document
that is no valid Markdown still has lines, so nothing can fail.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np

from regen.core.boundaries import (
    BLOCK,
    GLUED,
    HEADING,
    ITEM,
    LEAD,
    NESTED,
    RULE,
    Counted,
    Cuts,
    Positions,
    Tier,
    word_cuts,
)
from regen.core.prose import sentence_cuts
from regen.core.sourcecode import line_cuts

_LINE: Final = re.compile(
    r"""
    ^(?P<indent>[ \t]*+)(?:
        (?P<fence>`{3,}+(?=[^`\n]*+$)|~{3,}+)
      | (?P<heading>\#{1,6}+)(?=[ \t\r\n]|\Z)
      | (?P<underline>=++|-++)[ \t\r]*+$
      | (?P<rule>(?:\*[ \t]*+){3,}+|(?:_[ \t]*+){3,}+|(?:-[ \t]*+){3,}+)\r?$
      | (?P<item>[-*+]|\d{1,9}+[.)])(?=[ \t\r\n]|\Z)
      | (?P<quote>>)
      | (?P<html><(?:[A-Za-z/?]|!(?:--|\[|[A-Z])))
      | (?P<table>\|)
      | (?P<text>\S)
    )""",
    re.VERBOSE | re.MULTILINE,
)
_ITEM_FENCE: Final = re.compile(r"[ \t]++(`{3,}+(?=[^`\n]*+$)|~{3,}+)", re.MULTILINE)
_DELIMITERS: Final = re.compile(r"[ \t]*+\|?+[ \t]*+:?+-++:?+[ \t]*+\|[-:| \t]*+\r?$", re.MULTILINE)
_INDENTED: Final = re.compile(r"(?:(?:[ ]{4}|[ ]{0,3}\t)[^\n]*+(?:\n(?:[ \t\r]*+\n)*+|\Z))++")
_BLANK: Final = re.compile(r"\n(?=[ \t\r]*+(?:\n|\Z))")
_RAW_HTML: Final = re.compile(r"<(?:(!--)|(script|pre|style|textarea)\b|(\?)|(!\[CDATA\[))", re.IGNORECASE)
_RAW_END: Final = (r"-->", r"</(?:script|pre|style|textarea)>", r"\?>", r"\]\]>")
_TAB: Final = 4


@lru_cache(maxsize=64)
def _closing(fence: str) -> re.Pattern[str]:
    """What closes a fence: a line of at least as many of its characters."""
    return re.compile(rf"^[ \t]*+(?:>[ \t]*+)?+{re.escape(fence)}{re.escape(fence[0])}*+[ \t\r]*+$", re.MULTILINE)


@lru_cache(maxsize=8)
def _raw_end(index: int) -> re.Pattern[str]:
    return re.compile(_RAW_END[index], re.IGNORECASE)


@dataclass
class _Scanner:
    """The state of one pass. ``blocks`` and ``parts`` are (position, level); ``regions`` are cut at lines only."""

    text: str
    blocks: list[tuple[int, int]] = field(default_factory=list)
    parts: list[tuple[int, int]] = field(default_factory=list)
    regions: list[tuple[int, int]] = field(default_factory=list)
    glued: list[int] = field(default_factory=list)
    at: int = 0
    """Where the next line begins."""
    content: int | None = None
    """The indentation of the content of the list item that is open, None outside lists."""
    after_heading: bool = False
    lead: bool = False
    paragraph: int | None = None
    """Where the paragraph that is open begins."""
    quoted: bool = False
    quote_paused: bool = False
    """Whether the last line of the open quote was empty."""

    def run(self) -> _Scanner:
        while match := _LINE.search(self.text, self.at):
            start, kind = match.start(), match.lastgroup or "text"
            width = len(match["indent"].expandtabs(_TAB))
            blank = start > self.at or start == 0
            if blank:
                self.paragraph, self.quoted = None, False
            self._line(match, kind, start, width, blank)
        return self

    def _line(self, match: re.Match[str], kind: str, start: int, width: int, blank: bool) -> None:
        if self.content is not None and (width >= self.content or (kind == "text" and not blank)):
            self._inside_list(match, kind, start, blank)
        elif kind == "item" and width < 4 + (self.content or 0) and self._begins_list(match["item"]):
            self._item(match, start, width)
        elif width >= 4 and self.paragraph is None and (blank or self.after_heading):
            self._begin(start)
            self._region(start, self._matched(_INDENTED, start))
        elif kind == "fence":
            self._begin(start)
            self._fence(match["fence"], start, match.end())
        elif kind == "heading":
            self._heading(start, len(match["heading"]))
        elif kind in ("underline", "rule"):
            self._underline(match, start)
        elif kind == "quote":
            self._quote(match, start)
        else:
            self._paragraph(match, kind, start)

    def _inside_list(self, match: re.Match[str], kind: str, start: int, blank: bool) -> None:
        if kind == "fence" or (blank or kind == "item"):
            self.parts.append((start, NESTED))
        if kind == "fence":
            self._fence(match["fence"], start, match.end())
        else:
            self._next(match.end())

    def _begins_list(self, marker: str) -> bool:
        """A number other than 1 inside a paragraph is a year or a sum, no list."""
        return self.paragraph is None or not marker[0].isdigit() or marker[:-1] == "1"

    def _item(self, match: re.Match[str], start: int, width: int) -> None:
        if self.content is None:
            self._begin(start)
        else:
            self.parts.append((start, ITEM))
        self.content, self.paragraph = width + len(match["item"]) + 1, None
        fence = _ITEM_FENCE.match(self.text, match.end())
        if fence:
            self._fence(fence[1], start, fence.end())
        else:
            self._next(match.end())

    def _heading(self, start: int, level: int) -> None:
        self._begin(start, HEADING + 6 - level)
        self._next(start)
        self.after_heading, self.lead = True, False

    def _underline(self, match: re.Match[str], start: int) -> None:
        """A line of dashes: it makes the paragraph above it a heading, or it is a thematic break."""
        line = match["underline"]
        if line and self.paragraph is not None:
            level = HEADING + (5 if line[0] == "=" else 4)
            if self.blocks and self.blocks[-1][0] == self.paragraph:
                self.blocks[-1] = (self.paragraph, level)
            self.after_heading = True
        elif line and (line[0] == "=" or len(line) < 3):
            self._paragraph(match, "text", start)
            return
        else:
            self._begin(start, RULE)
            self.after_heading = True  # what follows a break stays with it, so that no piece ends in "---"
        self._next(start)
        self.paragraph, self.lead = None, False

    def _quote(self, match: re.Match[str], start: int) -> None:
        if not self.quoted:
            self._begin(start)
        elif self.quote_paused:
            self.parts.append((start, NESTED))
        self.quoted = True
        self._next(match.end())
        self.quote_paused = not self.text[match.end() : self.at].strip()

    def _paragraph(self, match: re.Match[str], kind: str, start: int) -> None:
        """Text, a table or HTML: a new block after a blank line or another block, else more of the same paragraph."""
        delimiters = match.group().lstrip()[:1] in ("-", ":") and _DELIMITERS.match(self.text, start)
        if (self.paragraph is not None and not delimiters) or (self.quoted and kind == "text"):
            self._next(match.end())
            return
        if delimiters and self.paragraph is not None:
            self._region(self.paragraph, self._until_blank(start))
            return
        self._begin(start)
        if kind == "table":
            self._region(start, self._until_blank(start))
        elif kind == "html":
            self._region(start, self._html_end(start))
        else:
            self.paragraph = start
            self._next(match.end())

    def _begin(self, start: int, level: int = BLOCK) -> None:
        """A block begins here: a boundary, unless it would leave a heading behind."""
        if self.after_heading:
            self.glued.append(start)
            if level >= RULE or self.text.startswith(("```", "~~~"), start):
                self.parts.append((start, GLUED))
        elif start:
            self.blocks.append((start, LEAD if self.lead and level == BLOCK else level))
        self.after_heading, self.content, self.paragraph, self.quoted = False, None, None, False

    def _next(self, position: int) -> None:
        end = self.text.find("\n", position)
        self.at = len(self.text) if end < 0 else end + 1
        self.lead = self.text[max(position, self.at - 8) : self.at].rstrip().endswith((":", "："))

    def _fence(self, fence: str, start: int, after: int) -> None:
        line_end = self.text.find("\n", after)
        closing = _closing(fence).search(self.text, line_end + 1) if line_end >= 0 else None
        self._region(start, closing.end() if closing else len(self.text))

    def _html_end(self, start: int) -> int:
        raw = _RAW_HTML.match(self.text, self.text.index("<", start))
        if raw is None:
            return self._until_blank(start)
        kind = next(index for index, group in enumerate(raw.groups()) if group)
        end = _raw_end(kind).search(self.text, raw.end())
        return end.end() if end else len(self.text)

    def _until_blank(self, start: int) -> int:
        blank = _BLANK.search(self.text, start)
        return blank.start() if blank else len(self.text)

    def _matched(self, pattern: re.Pattern[str], start: int) -> int:
        match = pattern.match(self.text, start)
        return match.end() - 1 if match and match.end() > start + 1 else start + 1

    def _region(self, start: int, end: int) -> None:
        """A stretch that is cut at lines only; the scan goes on after it."""
        self.regions.append((start, end))
        self._next(end)
        self.paragraph, self.lead = None, False


class Markdown:
    """The tiers of one Markdown text: blocks; items and nested blocks; lines of code and tables; sentences; words.

    ``glued`` are the positions right after headings, where no tier but the last resort cuts.
    """

    def __init__(self, counted: Counted) -> None:
        scanner = _Scanner(counted.text).run()
        self._blocks = Cuts.of(scanner.blocks)
        self._parts = Cuts.of(scanner.parts)
        self._regions = scanner.regions
        self._region_starts = [start for start, _ in scanner.regions]
        self.glued: Positions = np.array(scanner.glued, dtype=np.int64)

    @property
    def tiers(self) -> list[Tier]:
        """From coarse to fine."""
        return [self.blocks, self.parts, self.lines, self.sentences, self.words]

    def blocks(self, _counted: Counted, start: int, end: int) -> Cuts:
        """Headings, paragraphs, lists, tables, quotes, code and HTML blocks, thematic breaks."""
        return self._blocks.inside(start, end)

    def parts(self, _counted: Counted, start: int, end: int) -> Cuts:
        """List items, and blocks inside items and quotes."""
        return self._parts.inside(start, end)

    def lines(self, counted: Counted, start: int, end: int) -> Cuts:
        """The lines of code, tables and HTML."""
        first = max(bisect_right(self._region_starts, start) - 1, 0)
        found = []
        for region_start, region_end in self._regions[first:]:
            if region_start >= end:
                break
            found.append(line_cuts(counted, max(region_start, start), min(region_end, end)))
        return self._unglued(Cuts(*_concatenated(found)))

    def sentences(self, counted: Counted, start: int, end: int) -> Cuts:
        """Sentences, but none right after a heading."""
        return self._unglued(sentence_cuts(counted, start, end))

    def words(self, counted: Counted, start: int, end: int) -> Cuts:
        """Words, but none right after a heading."""
        return self._unglued(word_cuts(counted, start, end))

    def _unglued(self, cuts: Cuts) -> Cuts:
        if not len(self.glued):
            return cuts
        nearest = np.minimum(np.searchsorted(self.glued, cuts.positions), len(self.glued) - 1)
        return cuts.where(self.glued[nearest] != cuts.positions)


def _concatenated(cuts: list[Cuts]) -> tuple[Positions, Positions]:
    if not cuts:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return np.concatenate([part.positions for part in cuts]), np.concatenate([part.levels for part in cuts])
