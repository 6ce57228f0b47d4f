"""Filters as Milvus's expressions: each holds for every point that the clause holds for, and for few others.

A value that is not of its field's kind lies under no key, so the field's column is listed in ``odd``: a point with an
odd value passes every condition on that key, and the fence decides. Texts are compared by their bytes of UTF-8, which
is the order of their code points.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from regen.core.documents import Principal, Unrestricted
from regen.core.fields import conforms
from regen.core.filters import Clause, Filter, kind_of
from regen.ports import FieldKind
from regen.stores.records import encodable, field_column

NOTHING: Final = "false"
_SIGNS: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_LOOSE: Final = {"gt": ">=", "gte": ">=", "lt": "<=", "lte": "<="}
_ESCAPES: Final = str.maketrans({'"': r"\"", "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


def literal(text: str) -> str:
    """A text in an expression."""
    return f'"{text.translate(_ESCAPES)}"'


def one_of(column: str, texts: Iterable[str]) -> str:
    """The expression that a column is one of these texts."""
    return f"{column} in {_list(map(literal, texts))}"


def expression(
    where: Filter, fields: Mapping[str, FieldKind], principals: frozenset[Principal] | Unrestricted | None
) -> str:
    """What every hit must satisfy, empty for nothing in particular, NOTHING when no point can."""
    parts = [part for clause in where if clause.key in fields for part in _parts(clause, fields[clause.key])]
    if not isinstance(principals, Unrestricted):
        known = sorted(filter(encodable, principals or ()))
        parts.append(_any(["public == true", *_holds("access", known)]))
    return NOTHING if NOTHING in parts else " and ".join(f"({part})" for part in parts)


def _parts(clause: Clause, kind: FieldKind) -> Iterator[str]:
    column = field_column(clause.key)
    if clause.operator == "exists":
        (present,) = _holds("has", [column])
        yield present if clause.value else f"not ({present})"
        return
    if clause.operator == "in" and not clause.value:
        yield NOTHING
        return
    exact = _membership(clause, kind, column) if clause.operator in {"eq", "in"} else _range(clause, kind, column)
    if exact is not None:
        yield _any([*exact, *_holds("odd", [column])])


def _membership(clause: Clause, kind: FieldKind, column: str) -> list[str]:
    asked = clause.value if isinstance(clause.value, tuple) else (clause.value,)
    element: FieldKind = "string" if kind == "strings" else kind
    wanted: list[Any] = [value for value in asked if conforms(value, element) and encodable(value)]
    if kind == "strings":
        return _holds(column, wanted)
    return [f"{column} == {_value(value)}" for value in wanted]


def _range(clause: Clause, kind: FieldKind, column: str) -> list[str] | None:
    """The expressions of which one must hold, none of them for nothing; None to leave the clause to the fence."""
    value: Any = clause.value
    if kind == "boolean" or kind_of(value) != ("string" if kind == "strings" else kind):
        return []
    if kind == "strings" or not encodable(value):
        return None
    if conforms(value, kind):
        return [f"{column} {_SIGNS[clause.operator]} {_value(value)}"]
    try:
        rounded = float(value)
    except OverflowError:
        return None
    return None if abs(rounded) == float("inf") else [f"{column} {_LOOSE[clause.operator]} {rounded!r}"]


def _holds(column: str, values: list[str]) -> list[str]:
    return [f"json_contains_any({column}, {_list(map(literal, values))})"] if values else []


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return literal(value) if isinstance(value, str) else repr(float(value))  # type: ignore[arg-type]  # a number


def _any(parts: list[str]) -> str:
    return " or ".join(parts)


def _list(literals: Iterable[str]) -> str:
    return f"[{', '.join(literals)}]"
