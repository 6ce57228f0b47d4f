"""Glob patterns as small machines that walk down a folder tree together with the listing.

A pattern is matched one path segment at a time, so that a folder in which nothing can match is never entered.
``**`` stands for any number of folders, ``*``, ``?`` and ``[…]`` for parts of one name. As in a shell, a wildcard
does not match a leading dot: ``.git`` and ``.venv`` are entered only by a pattern that says ``.git/…``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Final, TypeAlias

from regen.errors import ConfigError

_Segment: TypeAlias = re.Pattern[str] | None  # None is **
_NOT_HIDDEN: Final = r"(?!\.)"


@dataclass(frozen=True, slots=True)
class Place:
    """How far each pattern has come in one folder. ``open`` is False where nothing below can match."""

    positions: frozenset[tuple[int, int]]
    names: tuple[re.Pattern[str], ...]

    @property
    def open(self) -> bool:
        """Whether anything in this folder or below can match."""
        return bool(self.positions)

    def accepts(self, name: str) -> bool:
        """Whether a file of this name, in this folder, matches."""
        return any(pattern.match(name) for pattern in self.names)


class GlobSet:
    """Several glob patterns; a path matches when one of them does. ``key`` names the setting in errors.

    With ``hidden``, wildcards match a leading dot too. Raises ConfigError for patterns that can never match.
    """

    def __init__(self, patterns: Sequence[str], *, key: str = "glob", hidden: bool = False) -> None:
        if not patterns:
            raise ConfigError(f"{key} is empty", hint='for example "**/*.md"')
        self._any_folder = re.compile("" if hidden else _NOT_HIDDEN)
        self._patterns = tuple(_compile(pattern, key, hidden) for pattern in patterns)
        self.root = self._place({(number, 0) for number in range(len(self._patterns))})

    def enter(self, place: Place, folder: str) -> Place:
        """The place inside the folder of this name."""
        positions = set()
        for number, position in place.positions:
            segment = self._patterns[number][position]
            if segment is None:
                if self._any_folder.match(folder):
                    positions.add((number, position))
            elif segment.match(folder) and position + 1 < len(self._patterns[number]):
                positions.add((number, position + 1))
        return self._place(positions)

    def at(self, folders: Sequence[str]) -> Place:
        """The place inside a path of folders."""
        place = self.root
        for folder in folders:
            place = self.enter(place, folder)
        return place

    def matches(self, path: str) -> bool:
        """Whether a whole path, relative and with slashes, matches."""
        *folders, name = path.split("/")
        return self.at(folders).accepts(name)

    def _place(self, positions: set[tuple[int, int]]) -> Place:
        # ** may stand for no folder at all: being at it is being behind it too.
        reached = set(positions)
        for number, position in positions:
            behind = position
            while self._patterns[number][behind] is None:
                behind += 1
                reached.add((number, behind))
        ends = [self._patterns[number][-1] for number, position in sorted(reached) if self._is_last(number, position)]
        return Place(frozenset(reached), tuple(end for end in ends if end is not None))

    def _is_last(self, number: int, position: int) -> bool:
        return position + 1 == len(self._patterns[number])


def _compile(pattern: str, key: str, hidden: bool) -> tuple[_Segment, ...]:
    parts = [part for part in pattern.split("/") if part not in {"", "."}]
    if pattern.startswith("/") or ".." in parts or not parts or "\\" in pattern:
        raise ConfigError(
            f"{key}: {pattern!r} is not a pattern below the folder", hint='patterns are relative: "guides/**/*.md"'
        )
    if re.search(r"\{[^/]*,[^/]*\}", pattern):
        raise ConfigError(
            f"{key}: {pattern!r} uses braces, which patterns here do not know",
            hint=f'give a list: {key}: ["**/*.md", "**/*.txt"]',
        )
    if parts[-1] == "**":
        parts.append("*")
    return tuple(None if part == "**" else _segment(part, hidden) for part in parts)


def _segment(part: str, hidden: bool) -> re.Pattern[str]:
    guard = "" if hidden or part.startswith(".") else _NOT_HIDDEN
    return re.compile(guard + translate(part))
