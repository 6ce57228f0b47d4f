"""Filters as Pinecone's metadata filters: each holds for every point that the clause holds for, and for few others.

A value that is not of its field's kind lies under no key, so the field's column is listed in ``odd``: a point with an
odd value passes every condition on that key, and the fence decides. Pinecone compares no texts by order, so ranges of
strings are left to the fence. Whether a point that lacks a key passes a negation is not said anywhere, so nothing is
negated: what a point holds has a key of its own, whose absence is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from regen.core.documents import Principal, Unrestricted
from regen.core.filters import Clause, Filter
from regen.ports import FieldKind
from regen.stores.comparisons import bounded, encodable, wanted
from regen.stores.cosine import ZERO
from regen.stores.records import field_column

Where: TypeAlias = dict[str, Any]
HELD: Final = "h_"
"""What begins the key that a point has for each column under which it holds any value."""


def condition(
    where: Filter, fields: Mapping[str, FieldKind], principals: frozenset[Principal] | Unrestricted | None
) -> Where | None:
    """What every hit must satisfy; None when no point can."""
    must: list[Where] = [{ZERO: {"$exists": False}}]
    for clause in where:
        if clause.key not in fields:
            continue
        if clause.operator == "in" and not clause.value:
            return None
        must.extend(_conditions(clause, fields[clause.key]))
    if not isinstance(principals, Unrestricted):
        known = sorted(filter(encodable, principals or ()))
        must.append(_any([{"public": {"$eq": True}}, *_one_of("access", known)]))
    return must[0] if len(must) == 1 else {"$and": must}


def _conditions(clause: Clause, kind: FieldKind) -> Iterator[Where]:
    column = field_column(clause.key)
    if clause.operator == "exists":
        yield {HELD + column: {"$exists": bool(clause.value)}}
        return
    exact = _membership(clause, kind, column) if clause.operator in {"eq", "in"} else _range(clause, kind, column)
    if exact is not None:
        yield _any([*exact, *_one_of("odd", [column])])


def _membership(clause: Clause, kind: FieldKind, column: str) -> list[Where]:
    element, values = wanted(clause, kind)
    if element == "boolean":
        return [{column: {"$eq": value}} for value in values]
    return _one_of(column, [float(value) for value in values] if element == "number" else values)


def _range(clause: Clause, kind: FieldKind, column: str) -> list[Where] | None:
    """The conditions of which one must hold, none of them for nothing; None to leave the clause to the fence."""
    return bounded(clause, kind, lambda operator, value: {column: {f"${operator}": value}}, texts=False)


def _one_of(column: str, values: Sequence[Any]) -> list[Where]:
    return [{column: {"$in": list(values)}}] if values else []


def _any(parts: list[Where]) -> Where:
    return parts[0] if len(parts) == 1 else {"$or": parts}
