"""The headings of a Markdown text as plain words."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from regen.core.boundaries import HEADING, Counted
from regen.core.markdown import Markdown

_MARKED: Final = re.compile(r"#{1,6}(?=[ \t]|\Z)")
_UNDERLINE: Final = re.compile(r"=+|-+")
LONGEST: Final = 300
"""Characters; a longer line is no heading that anybody would ask for."""
_LINK: Final = re.compile(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])")
_EMPHASIS: Final = re.compile(r"(?<![\w*])(\*{1,3}|_{1,3})(?=\S)([^*_]+)(?<=\S)\1(?![\w*])")
_MARKUP: Final = re.compile(r"<[^>]*>|\{[#.:][^}]*\}|`|¶")
_NUMBER: Final = re.compile(r"(?:(?:\d+\.)+\d*|\d+\))[ \t]+")


def headings_of(text: str) -> list[str]:
    """The headings in the text's order, without markup and numbers; none from inside code, lists or quotes."""
    counted = Counted(text, np.zeros(0, dtype=np.int64))
    markdown = Markdown(counted)
    blocks = markdown.blocks(counted, -1, len(text) + 1)
    starts = {*_first_block(text), *blocks.positions[blocks.levels >= HEADING].tolist(), *markdown.glued.tolist()}
    found = [_heading_at(text, start) for start in sorted(starts)]
    return [heading for heading in found if heading]


def _first_block(text: str) -> list[int]:
    """Where the first block begins, which parts nothing and so is no boundary; none for indented code."""
    first = len(text) - len(text.lstrip())
    indent = text[text.rfind("\n", 0, first) + 1 : first].expandtabs(4)
    return [first] if len(indent) < 4 else []


def plain(heading: str) -> str:
    """A heading as words: links by their text, no emphasis, anchors or leading number ("2.1"); empty if too long."""
    if len(heading) > LONGEST:
        return ""
    words = _EMPHASIS.sub(r"\2", _MARKUP.sub("", _LINK.sub(r"\1", heading)))
    number = _NUMBER.match(words.strip())
    return " ".join(words.strip()[number.end() if number else 0 :].split())


def _heading_at(text: str, start: int) -> str:
    line, rest = _line(text, start)
    marked = _MARKED.match(line)
    if marked:
        content = line[marked.end() :].strip()
        bare = content.rstrip("#")
        return plain(bare if bare != bare.rstrip() or not bare else content)
    below, _ = _line(text, rest)
    return plain(line) if line and _UNDERLINE.fullmatch(below) else ""


def _line(text: str, start: int) -> tuple[str, int]:
    """The line that begins at a position, stripped, and where the next one begins."""
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    return text[start:end].strip(), end + 1
