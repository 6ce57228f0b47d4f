"""What of a clause a store can be asked: values that can lie in a field of its kind, and bounds that lose no point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from regen.core.fields import conforms
from regen.core.filters import Clause, kind_of
from regen.ports import FieldKind

C = TypeVar("C")
_LOOSE: Final = {"gt": "gte", "gte": "gte", "lt": "lte", "lte": "lte"}


def encodable(value: object) -> bool:
    """Whether a value can lie in a store at all: half a surrogate pair cannot, so nothing kept equals it."""
    try:
        str(value).encode()
    except UnicodeEncodeError:
        return False
    return True


def wanted(clause: Clause, kind: FieldKind) -> tuple[FieldKind, list[Any]]:
    """Of an equality or a membership: the kind of the field's single values, and those that any could equal."""
    asked = clause.value if isinstance(clause.value, tuple) else (clause.value,)
    element: FieldKind = "string" if kind == "strings" else kind
    return element, [value for value in asked if conforms(value, element) and encodable(value)]


def bounded(clause: Clause, kind: FieldKind, make: Callable[[str, Any], C], *, texts: bool) -> list[C] | None:
    """Of a range: the conditions of which one must hold, none of them for nothing; None to leave it to the fence.

    ``make`` is given an operator (gt, gte, lt, lte) and a float, or a text where ``texts`` have an order in the store.
    A number that no float is equal to is rounded, and the bound includes it: the fence takes what is too much.
    """
    value: Any = clause.value
    if kind == "boolean" or kind_of(value) != ("string" if kind == "strings" else kind):
        return []
    if kind != "number" and not (texts and kind == "string" and encodable(value)):
        return None
    if conforms(value, kind):
        return [make(clause.operator, float(value) if kind == "number" else value)]
    try:
        rounded = float(value)
    except OverflowError:
        return None
    return None if abs(rounded) == float("inf") else [make(_LOOSE[clause.operator], rounded)]
