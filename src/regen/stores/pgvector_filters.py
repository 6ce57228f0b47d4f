"""Filters as SQL conditions: each holds for every point that the clause holds for, and for few others.

A value that is not of its field's kind lies in no column, so the field's column is listed in the column ``odd``: a
point with an odd value passes every condition on that key, and the fence decides. Texts are compared by code point
(collation "C"), as Python compares them. Column names are of letters, digits and underscores; values are parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from regen.core.documents import Principal, Unrestricted
from regen.core.filters import Clause, Filter
from regen.ports import FieldKind
from regen.stores.comparisons import bounded, encodable, wanted

_SIGNS: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
TYPES: Final[dict[FieldKind, str]] = {"string": "text", "number": "float8", "boolean": "boolean", "strings": "text[]"}


@dataclass(slots=True)
class Condition:
    """One SQL condition and its parameters. ``never`` says that no point can satisfy it."""

    parts: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    never: bool = False

    @property
    def text(self) -> str:
        """What follows WHERE."""
        return " AND ".join(f"({part})" for part in self.parts) or "true"


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    values: tuple[Any, ...] = ()


_NOTHING: Final = _Part("false")


def condition(
    where: Filter,
    fields: Mapping[str, tuple[str, FieldKind]],
    principals: frozenset[Principal] | Unrestricted | None,
) -> Condition:
    """The condition of a filter and a caller; ``fields`` gives each filterable key its column and kind."""
    found = Condition()
    for part in _parts(where, fields, principals):
        found.parts.append(part.text)
        found.values.extend(part.values)
        found.never |= part is _NOTHING
    return found


def _parts(
    where: Filter,
    fields: Mapping[str, tuple[str, FieldKind]],
    principals: frozenset[Principal] | Unrestricted | None,
) -> Iterator[_Part]:
    for clause in where:
        if clause.key in fields:
            part = _part(clause, *fields[clause.key])
            if part is not None:
                yield part
    if not isinstance(principals, Unrestricted):
        known = sorted(filter(encodable, principals or ()))
        yield _Part("access IS NULL OR access && %s::text[]", (known,)) if known else _Part("access IS NULL")


def _part(clause: Clause, column: str, kind: FieldKind) -> _Part | None:
    odd = f"odd @> '{{{column}}}'"  # in this form an index on odd serves it
    if clause.operator == "exists":
        present = f"{column} IS NOT NULL OR coalesce({odd}, false)"
        return _Part(present if clause.value else f"NOT ({present})")
    if clause.operator == "in" and not clause.value:
        return _NOTHING
    exact = _membership(clause, kind, column) if clause.operator in {"eq", "in"} else _range(clause, kind, column)
    # Not _NOTHING itself: a point with an odd value may satisfy what no conforming value does.
    return None if exact is None else _Part(f"{exact.text} OR {odd}", exact.values)


def _membership(clause: Clause, kind: FieldKind, column: str) -> _Part:
    element, values = wanted(clause, kind)
    if element == "number":
        values = [float(value) for value in values]
    if not values:
        return _NOTHING
    if kind == "strings":
        return _Part(f"{column} && %s::text[]", (values,))
    return _Part(f"{column} = ANY(%s::{TYPES[kind]}[])", (values,))


def _range(clause: Clause, kind: FieldKind, column: str) -> _Part | None:
    cast = "::float8" if kind == "number" else ""
    found = bounded(clause, kind, lambda op, value: _Part(f"{column} {_SIGNS[op]} %s{cast}", (value,)), texts=True)
    return None if found is None else next(iter(found), _NOTHING)
