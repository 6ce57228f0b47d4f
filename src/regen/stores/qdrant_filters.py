"""Filters as Qdrant's conditions: each holds for every point that the clause holds for, and for few others.

A value that is not of its field's kind lies under no key of the payload, so the field's column is listed in ``odd``: a
point with an odd value passes every condition on that key, and the fence decides. Qdrant compares no texts by order, so
ranges of strings are left to the fence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qdrant_client import models

from regen.core.documents import Principal, Unrestricted
from regen.core.filters import Clause, Filter
from regen.ports import FieldKind
from regen.stores.comparisons import bounded, encodable, wanted
from regen.stores.records import field_column


def condition(
    where: Filter, fields: Mapping[str, FieldKind], principals: frozenset[Principal] | Unrestricted | None
) -> models.Filter | None:
    """What every hit must satisfy; None when no point can."""
    must: list[Any] = []
    for clause in where:
        if clause.key not in fields:
            continue
        if clause.operator == "in" and not clause.value:
            return None
        must.extend(_conditions(clause, fields[clause.key]))
    if not isinstance(principals, Unrestricted):
        must.append(_visible(principals or frozenset()))
    return models.Filter(must=must)


def _visible(principals: frozenset[Principal]) -> models.Filter:
    known = sorted(filter(encodable, principals))
    may: list[Any] = [models.FieldCondition(key="public", match=models.MatchValue(value=True))]
    return models.Filter(should=may + ([_any("access", known)] if known else []))


def _conditions(clause: Clause, kind: FieldKind) -> Iterator[models.Filter]:
    column = field_column(clause.key)
    if clause.operator == "exists":
        present = _any("has", [column])
        yield models.Filter(must=[present]) if clause.value else models.Filter(must_not=[present])
        return
    exact = _membership(clause, kind, column) if clause.operator in {"eq", "in"} else _range(clause, kind, column)
    if exact is not None:
        yield models.Filter(should=[*exact, _any("odd", [column])])


def _membership(clause: Clause, kind: FieldKind, column: str) -> list[models.FieldCondition]:
    element, values = wanted(clause, kind)
    if element == "number":  # a match compares whole numbers only
        numbers = [float(value) for value in values]
        return [models.FieldCondition(key=column, range=models.Range(gte=one, lte=one)) for one in numbers]
    if element == "boolean":
        return [models.FieldCondition(key=column, match=models.MatchValue(value=value)) for value in values]
    return [_any(column, values)] if values else []


def _range(clause: Clause, kind: FieldKind, column: str) -> list[models.FieldCondition] | None:
    """The conditions of which one must hold, none of them for nothing; None to leave the clause to the fence."""

    def compared(operator: str, value: Any) -> models.FieldCondition:
        return models.FieldCondition(key=column, range=models.Range(**{operator: value}))

    return bounded(clause, kind, compared, texts=False)


def _any(key: str, values: list[str]) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchAny(any=values))
