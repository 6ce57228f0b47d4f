"""Conditions on metadata as people write them: on a command line, in a form.

    lang=en   year>=2020   year<2024   lang in en,de   draft (is present)   !draft (is absent)

A value that is JSON is what JSON says (``2020`` a number, ``true`` a boolean, ``"2020"`` a string); anything else is a
string. Conditions are joined by AND.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from regen.core.filters import parse_filter
from regen.errors import ConfigError

EXAMPLES: Final = "write lang=en, year>=2020, year<2024, 'lang in en,de', draft (is present) or !draft (is absent)"

_KEY: Final = r"(?P<key>[^\s=<>!,]+)"
_COMPARISON: Final = re.compile(rf"{_KEY}\s*(?P<operator>>=|<=|=|>|<)\s*(?P<value>.*)", re.DOTALL)
_MEMBERSHIP: Final = re.compile(rf"{_KEY}\s+in\s+(?P<values>.+)", re.DOTALL)
_PRESENCE: Final = re.compile(rf"(?P<absent>!?)\s*{_KEY}")
_OPERATORS: Final = {"=": "eq", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def parse_conditions(conditions: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The ``where`` of a search, from its conditions. Raises ConfigError for what the grammar does not know."""
    where: dict[str, dict[str, Any]] = {}
    for condition in conditions:
        key, operator, value = _parse(condition.strip())
        clauses = where.setdefault(key, {})
        if operator in clauses and clauses[operator] != value:
            raise ConfigError(
                f"one condition compares {key!r} twice in the same way: with {clauses[operator]!r} and {value!r}",
                hint=f"conditions are joined by AND; for alternatives write '{key} in a,b'",
            )
        clauses[operator] = value
    parse_filter(where)
    return where


def _parse(condition: str) -> tuple[str, str, Any]:
    if match := _MEMBERSHIP.fullmatch(condition):
        return match["key"], "in", _values(match["values"])
    if match := _COMPARISON.fullmatch(condition):
        return match["key"], _OPERATORS[match["operator"]], _operand(condition, match["value"])
    if match := _PRESENCE.fullmatch(condition):
        return match["key"], "exists", not match["absent"]
    raise _not_a_condition(condition, EXAMPLES)


def _operand(condition: str, written: str) -> Any:
    if not written or written.startswith(("=", ">", "<")):
        raise _not_a_condition(condition, EXAMPLES)
    value = _value(written)
    if value is None:
        raise _not_a_condition(condition, "for keys that are absent or null write !key")
    if isinstance(value, list | dict):
        raise _not_a_condition(condition, "for one of several values write 'key in a,b'")
    return value


def _values(written: str) -> list[Any]:
    as_list = _value(written)
    return (
        as_list if isinstance(as_list, list) else [_value(part.strip()) for part in written.split(",") if part.strip()]
    )


def _value(written: str) -> Any:
    try:
        return json.loads(written, parse_constant=lambda constant: constant)
    except ValueError:
        return written


def _not_a_condition(condition: str, hint: str) -> ConfigError:
    return ConfigError(f"{condition!r} is not a condition", hint=hint)
