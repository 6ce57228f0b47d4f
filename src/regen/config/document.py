"""YAML that remembers where everything stood: line numbers for errors, and no key twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from regen.errors import ConfigError

KeyPath: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """The values of a YAML file, and the line (from 1) on which each key or list item stands."""

    values: Mapping[str, Any]
    lines: Mapping[KeyPath, int]

    def line_of(self, path: KeyPath) -> int | None:
        """The line of a key, or of the nearest thing around it that has one; None for the file as a whole."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return None


def parse_yaml(text: str, name: str) -> YamlDocument:
    """Parse a YAML mapping. ``name`` is how messages call the file.

    Raises ConfigError with line and column for syntax errors, and for duplicate keys, empty files and non-mappings.
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        lines = _positions(node, name)
        values = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, name) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name} is not valid YAML: {error}", hint="it must be plain UTF-8 text") from None
    if values is None:
        raise ConfigError(f"{name} is empty", hint="write one with `regen init`")
    if not isinstance(values, dict):
        raise ConfigError(
            f"{name} must be a mapping of keys to values, not {_kind(values)}", hint="its first line is `version: 1`"
        )
    return YamlDocument(values, lines)


def _syntax_error(error: yaml.MarkedYAMLError, name: str) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
    problem = error.problem or error.context or "cannot be parsed"
    hint = "check the indentation and quotes on this line and the one before it"
    if "\\t" in problem:
        hint = "YAML is indented by spaces, never by tabs"
    return ConfigError(f"{place}: not valid YAML: {problem}", hint=hint)


def _kind(value: object) -> str:
    return {list: "a list", str: "a text", bool: "a boolean"}.get(type(value), type(value).__name__)


def _positions(root: yaml.Node | None, name: str) -> dict[KeyPath, int]:
    lines: dict[KeyPath, int] = {}
    pending: list[tuple[KeyPath, yaml.Node, tuple[yaml.Node, ...]]] = [] if root is None else [((), root, ())]
    while pending:
        path, node, around = pending.pop()
        if any(node is outer for outer in around):
            raise ConfigError(f"{name}:{node.start_mark.line + 1}: a YAML anchor contains itself", hint="write it out")
        children = _children(node, name)
        for key, child, line in children:
            lines[(*path, key)] = line
            pending.append(((*path, key), child, (*around, node)))
    return lines


def _children(node: yaml.Node, name: str) -> list[tuple[str | int, yaml.Node, int]]:
    if isinstance(node, yaml.SequenceNode):
        return [(index, item, item.start_mark.line + 1) for index, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return []
    first_seen: dict[str, int] = {}
    children: list[tuple[str | int, yaml.Node, int]] = []
    for key_node, child in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in first_seen:
            raise ConfigError(
                f"{name}:{line}:{key_node.start_mark.column + 1}: the key {key!r} appears twice, "
                f"first on line {first_seen[key]}",
                hint="keep one of the two",
            )
        first_seen[key] = line
        children.append((key, child, line))
    return children
