"""What a Markdown file says of itself: YAML front matter and a title."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any, Final, cast

import yaml

_FRONT_MATTER: Final = re.compile(r"---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_MAX_FRONT_MATTER: Final = 100_000  # characters
_MAX_VALUES: Final = 10_000
_MAX_DEPTH: Final = 50
# libyaml walks nested values on the C stack and crashes the process at some thousand levels. A text with fewer of the
# characters that open a level cannot nest that deep; the slow parser in Python, which raises, takes the others.
_LEVEL_OPENERS: Final = "[{-:?"
_MAX_OPENERS: Final = 500

_HEADING: Final = re.compile(
    r"""^[ ]{0,3}(?:
        (?P<fence>`{3,}|~{3,})
      | \#{1,6}[ \t]+(?P<atx>[^\r\n]*?)[ \t]*\r?$
      | (?![ \t>\-*+\#])(?P<setext>[^\r\n]*\S)[ \t]*\r?\n[ ]{0,3}(?:=+|-+)[ \t]*\r?$
    )""",
    re.MULTILINE | re.VERBOSE,
)
_CLOSING_HASHES: Final = re.compile(r"(?:^|[ \t]+)#+$")


class FrontMatterError(ValueError):
    """The front matter cannot be used; the message says why."""


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The front matter as JSON values, and the text behind it, untouched.

    A text without a ``---`` block at its very start has none. Raises FrontMatterError for YAML that is malformed,
    is not a mapping, or holds what JSON cannot.
    """
    found = _FRONT_MATTER.match(text) if text.startswith("---") else None
    if found is None:
        return {}, text
    loaded = _load(found[1])
    if loaded is None:
        return {}, text[found.end() :]
    if not isinstance(loaded, dict):
        raise FrontMatterError(f"front matter must be a mapping of keys to values, not {type(loaded).__name__}")
    return _Plain().mapping(loaded), text[found.end() :]


def first_heading(text: str) -> str | None:
    """The text of the first Markdown heading (``# …`` or underlined) outside fenced code, None without one."""
    start = 0
    while found := _HEADING.search(text, start):
        start = found.end()
        if fence := found["fence"]:
            start = _behind_fence(text, fence, start)
            continue
        heading = found["setext"] or _CLOSING_HASHES.sub("", found["atx"] or "")
        if heading:
            return heading
    return None


def _behind_fence(text: str, fence: str, start: int) -> int:
    closing = re.compile(rf"^[ ]{{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t]*\r?$", re.MULTILINE)
    found = closing.search(text, start)
    return found.end() if found else len(text)  # an unclosed fence reaches to the end


class _StrictMappings:
    """A second ``access:`` must not silently undo the first: a key that comes twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value!r} comes twice", problem_mark=key.start_mark
                    )
                seen.add((key.tag, key.value))
        return cast("dict[Any, Any]", super().construct_mapping(node, deep=deep))  # type: ignore[misc]


class _FastLoader(_StrictMappings, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Parses with libyaml where PyYAML was built with it."""


class _SlowLoader(_StrictMappings, yaml.SafeLoader):
    """Parses in Python."""


def _load(block: str) -> object:
    if len(block) > _MAX_FRONT_MATTER:
        raise FrontMatterError(f"front matter has {len(block):,} characters; at most {_MAX_FRONT_MATTER:,} are read")
    fast = sum(map(block.count, _LEVEL_OPENERS)) <= _MAX_OPENERS
    try:
        return yaml.load(block, Loader=_FastLoader if fast else _SlowLoader)  # noqa: S506 (both are safe loaders)
    except yaml.MarkedYAMLError as error:
        raise FrontMatterError(f"front matter is not valid YAML: {_located(error)}") from error
    except RecursionError:
        raise FrontMatterError("front matter is nested too deeply") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # ValueError: a date such as 2024-13-45
        raise FrontMatterError(f"front matter is not valid YAML: {' '.join(str(error).split())}") from error


def _located(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "it cannot be parsed"
    mark = error.problem_mark or error.context_mark
    # +2: lines are counted from 0, and the opening --- is the file's first line.
    return f"{problem} (line {mark.line + 2}, column {mark.column + 1})" if mark else problem


class _Plain:
    """Turns what YAML can hold into what JSON can hold: dates become ISO 8601 strings, keys become strings.

    Count and depth of values are bounded: a few lines of YAML with aliases can stand for billions, or for a list
    that holds itself.
    """

    def __init__(self) -> None:
        self._values = 0

    def mapping(self, value: dict[Any, Any], depth: int = 0) -> dict[str, Any]:
        plain = {}
        for key, item in value.items():
            name = _key(key)
            if name in plain:
                raise FrontMatterError(f"front matter has the key {name!r} twice, written in two ways")
            plain[name] = self._value(item, depth + 1)
        return plain

    def _value(self, value: object, depth: int) -> Any:
        self._values += 1
        if self._values > _MAX_VALUES:
            raise FrontMatterError(f"front matter holds more than {_MAX_VALUES:,} values")
        if depth > _MAX_DEPTH:
            raise FrontMatterError("front matter is nested too deeply")
        if isinstance(value, dict):
            return self.mapping(value, depth)
        if isinstance(value, list | tuple):
            return [self._value(item, depth + 1) for item in value]
        if isinstance(value, set):
            return sorted((self._value(item, depth + 1) for item in value), key=repr)
        return _scalar(value)


def _scalar(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, str):
        return _valid_text(value)
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    shown = repr(value)
    raise FrontMatterError(f"front matter holds {shown[:40]}, which JSON cannot hold; quote it to keep it as text")


def _key(key: object) -> str:
    plain = _scalar(key) if not isinstance(key, tuple) else str(key)
    names = {None: "null", True: "true", False: "false"}
    return names[plain] if plain is None or isinstance(plain, bool) else str(plain)


def _valid_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FrontMatterError(f"front matter holds half a character (a lone surrogate) in {text[:40]!r}") from None
    return text
