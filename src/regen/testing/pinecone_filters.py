"""Pinecone's metadata filters and rules, as its documentation describes them, for the server of our tests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

MOST_METADATA: Final = 40_960
_MOST_CHOICES: Final = 10_000
_ID: Final = re.compile(r"[\x01-\x7f]{1,512}")
_COMPARED: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "$gt": lambda held, asked: held > asked,
    "$gte": lambda held, asked: held >= asked,
    "$lt": lambda held, asked: held < asked,
    "$lte": lambda held, asked: held <= asked,
}


class BadFilter(ValueError):
    """A filter that Pinecone refuses."""


def passes(metadata: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Whether metadata satisfies a filter that :func:`check_filter` has let through."""
    for key, wanted in asked.items():
        if key == "$and":
            good = all(passes(metadata, one) for one in wanted)
        elif key == "$or":
            good = any(passes(metadata, one) for one in wanted)
        else:
            conditions = wanted if isinstance(wanted, dict) else {"$eq": wanted}
            good = all(_holds(metadata.get(key), name, value) for name, value in conditions.items())
        if not good:
            return False
    return True


def _holds(held: Any, operator: str, asked: Any) -> bool:
    if operator == "$exists":
        return (held is not None) is asked
    values = held if isinstance(held, list) else [] if held is None else [held]
    if operator in _COMPARED:
        return any(_is_number(one) and _COMPARED[operator](one, asked) for one in values)
    choices = asked if isinstance(asked, list) else [asked]
    found = any(_same(one, choice) for one in values for choice in choices)
    return found if operator in {"$eq", "$in"} else bool(values) and not found


def check_filter(asked: Any) -> None:
    """Raise BadFilter for an operator that there is not, or an operand of a wrong type."""
    if not isinstance(asked, dict):
        raise BadFilter("filter must be an object")
    for key, wanted in asked.items():
        if key in {"$and", "$or"}:
            if not isinstance(wanted, list) or not wanted:
                raise BadFilter(f"the {key} operator must be followed by a list of expressions, got {wanted!r} instead")
            for one in wanted:
                check_filter(one)
        elif key.startswith("$"):
            raise BadFilter(f"{key} is not a valid operator")
        else:
            conditions = wanted if isinstance(wanted, dict) else {"$eq": wanted}
            for name, value in conditions.items():
                _check_operand(key, name, value)


def _check_operand(key: str, operator: str, value: Any) -> None:
    if operator in _COMPARED:
        good = _is_number(value)
    elif operator in {"$eq", "$ne"}:
        good = isinstance(value, str | bool) or _is_number(value)
    elif operator in {"$in", "$nin"}:
        good = isinstance(value, list) and all(isinstance(one, str) or _is_number(one) for one in value)
        good = good and 0 < len(value) <= _MOST_CHOICES
    elif operator == "$exists":
        good = isinstance(value, bool)
    else:
        raise BadFilter(f"{operator} is not a valid operator")
    if not good:
        raise BadFilter(f"the {operator} operator on {key!r} cannot be followed by {str(value)[:80]}")


def metadata_problem(metadata: Any) -> str | None:
    """Why Pinecone would refuse metadata, None when it takes them."""
    if not isinstance(metadata, dict):
        return "metadata must be an object"
    for key, value in metadata.items():
        if key.startswith("$"):
            return f"metadata key {key!r} must not begin with $"
        strings = isinstance(value, list) and all(isinstance(one, str) for one in value)
        if not (strings or isinstance(value, str | bool) or _is_number(value)):
            return (
                f"metadata value must be a string, number, boolean or list of strings, got {json.dumps(value)[:80]} "
                f"for field {key!r}"
            )
    size = len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MOST_METADATA:
        return f"Metadata size is {size} bytes, which exceeds the limit of {MOST_METADATA} bytes per vector"
    return None


def is_id(text: Any) -> bool:
    """Whether a text may be a record's id."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(held: Any, asked: Any) -> bool:
    return bool(held == asked) and isinstance(held, bool) == isinstance(asked, bool)
