"""Filters as Weaviate's: each holds for every point that the clause holds for, and for few others.

A value that is not of its field's kind lies under no property, so the field's column is listed in ``odd``: a point with
an odd value passes every condition on that key, and the fence decides. Weaviate compares no texts by order, so ranges
of strings are left to the fence. Texts that are compared are kept in quotes (``weaviate_layout``). Nothing is negated:
what a point lacks is listed in ``lacks``, for the fields that there were when it was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from weaviate.classes.query import Filter as Condition

from regen.core.documents import Principal, Unrestricted
from regen.core.filters import Clause, Filter
from regen.ports import FieldKind
from regen.stores.comparisons import bounded, encodable, wanted
from regen.stores.cosine import ZERO
from regen.stores.records import field_column
from regen.stores.weaviate_layout import LACKS, property_of, quoted

_METHODS: Final = {"gt": "greater_than", "gte": "greater_or_equal", "lt": "less_than", "lte": "less_or_equal"}


def condition(
    where: Filter,
    fields: Mapping[str, FieldKind],
    late: frozenset[str],
    principals: frozenset[Principal] | Unrestricted | None,
) -> Any:
    """What every hit must satisfy; None when no point can. ``late`` are the fields that came after the collection."""
    must: list[Any] = [Condition.by_property(ZERO).equal(False)]
    for clause in where:
        if clause.key not in fields:
            continue
        if clause.operator == "in" and not clause.value:
            return None
        must.extend(_conditions(clause, fields[clause.key], clause.key in late))
    if not isinstance(principals, Unrestricted):
        known = sorted(filter(encodable, principals or ()))
        may = [Condition.by_property("public").equal(True), *_holds("access", known)]
        must.append(_any(may))
    return must[0] if len(must) == 1 else Condition.all_of(must)


def _conditions(clause: Clause, kind: FieldKind, late: bool) -> Iterator[Any]:
    column = field_column(clause.key)
    if clause.operator == "exists":
        if clause.value:
            yield from _holds("has", [column])
        elif not late:  # else points that were written before say nothing of it
            yield from _holds(LACKS, [column])
        return
    exact = _membership(clause, kind, column) if clause.operator in {"eq", "in"} else _range(clause, kind, column)
    if exact is not None:
        yield _any([*exact, *_holds("odd", [column])])


def _membership(clause: Clause, kind: FieldKind, column: str) -> list[Any]:
    element, values = wanted(clause, kind)
    if element == "string":
        return _holds(property_of(column), values)
    if element == "number":
        values = [float(value) + 0.0 for value in values]  # an index of Weaviate's tells minus zero from zero
    return [Condition.by_property(property_of(column)).equal(value) for value in values]


def _range(clause: Clause, kind: FieldKind, column: str) -> list[Any] | None:
    """The conditions of which one must hold, none of them for nothing; None to leave the clause to the fence."""
    return bounded(clause, kind, partial(_compared, column), texts=False)


def _compared(column: str, operator: str, value: float) -> Any:
    return getattr(Condition.by_property(property_of(column)), _METHODS[operator])(value + 0.0)


def _holds(column: str, values: Sequence[str]) -> list[Any]:
    return [Condition.by_property(column).contains_any([quoted(value) for value in values])] if values else []


def _any(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else Condition.any_of(parts)
