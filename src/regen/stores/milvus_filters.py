"""Filters as Milvus's expressions: each holds for every point that the clause holds for, and for few others.

A value that is not of its field's kind lies under no key, so the field's column is listed in ``odd``: a point with an
odd value passes every condition on that key, and the fence decides. Texts are compared by their bytes of UTF-8, which
is the order of their code points.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from regen.core.documents import Principal, Unrestricted
from regen.core.filters import Clause, Filter
from regen.ports import FieldKind
from regen.stores.comparisons import bounded, encodable, wanted
from regen.stores.records import field_column

NOTHING: Final = "false"
_SIGNS: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
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
    _, values = wanted(clause, kind)
    if kind == "strings":
        return _holds(column, values)
    return [f"{column} == {_value(value)}" for value in values]


def _range(clause: Clause, kind: FieldKind, column: str) -> list[str] | None:
    """The expressions of which one must hold, none of them for nothing; None to leave the clause to the fence."""

    def compared(operator: str, value: object) -> str:
        return f"{column} {_SIGNS[operator]} {_value(value)}"

    return bounded(clause, kind, compared, texts=True)


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
