"""Filters as Chroma's ``where``: each holds for every point that the clause holds for, and for few others.

A value that is not of its field's kind lies under no key, so the field's column is listed in ``odd``: a point with an
odd value passes every condition on that key, and the fence decides. Chroma compares no texts by order, so ranges of
strings are left to the fence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from regen.core.documents import Principal, Unrestricted
from regen.core.filters import Clause, Filter
from regen.ports import FieldKind
from regen.stores.comparisons import bounded, encodable, wanted
from regen.stores.records import field_column

Where: TypeAlias = dict[str, Any]


def condition(
    where: Filter, fields: Mapping[str, FieldKind], principals: frozenset[Principal] | Unrestricted | None
) -> tuple[Where | None, bool]:
    """What every hit must satisfy, None for nothing in particular; and whether any point can."""
    must: list[Where] = []
    for clause in where:
        if clause.key not in fields:
            continue
        if clause.operator == "in" and not clause.value:
            return None, False
        must.extend(_conditions(clause, fields[clause.key]))
    if not isinstance(principals, Unrestricted):
        known = sorted(filter(encodable, principals or ()))
        must.append(_any([{"public": True}, *_holds("access", known)]))
    return _all(must), True


def _conditions(clause: Clause, kind: FieldKind) -> Iterator[Where]:
    column = field_column(clause.key)
    if clause.operator == "exists":
        yield {"has": {"$contains" if clause.value else "$not_contains": column}}
        return
    exact = _membership(clause, kind, column) if clause.operator in {"eq", "in"} else _range(clause, kind, column)
    if exact is not None:
        yield _any([*exact, *_holds("odd", [column])])


def _membership(clause: Clause, kind: FieldKind, column: str) -> list[Where]:
    element, values = wanted(clause, kind)
    if element == "number":
        values = [float(value) for value in values]
    if kind == "strings":
        return _holds(column, values)
    return [{column: {"$in": values}}] if values else []


def _range(clause: Clause, kind: FieldKind, column: str) -> list[Where] | None:
    """The conditions of which one must hold, none of them for nothing; None to leave the clause to the fence."""
    return bounded(clause, kind, lambda operator, value: {column: {f"${operator}": value}}, texts=False)


def _holds(column: str, values: Sequence[str]) -> list[Where]:
    return [{column: {"$contains": value}} for value in values]


def _any(parts: list[Where]) -> Where:
    return parts[0] if len(parts) == 1 else {"$or": parts}


def _all(parts: list[Where]) -> Where | None:
    return None if not parts else parts[0] if len(parts) == 1 else {"$and": parts}
