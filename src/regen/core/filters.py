"""Metadata filters: one small typed language, parsed once, evaluated here and translated by each store.

    {"lang": "en"}                       equality (for a list value: membership)
    {"lang": {"in": ["en", "de"]}}       one of
    {"year": {"gte": 2020, "lt": 2024}}  ranges: gt, gte, lt, lte; numbers with numbers, strings with strings
    {"draft": {"exists": False}}         present (and not null), or absent

Clauses are joined by AND. Comparison is typed: 1 equals 1.0, but neither "1" nor True; a range never matches a
value of another type. The catalog's answer, given by :func:`matches`, is what a search returns; a store may only
narrow the candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal, TypeAlias

from regen.core.documents import Metadata
from regen.errors import ConfigError

Scalar: TypeAlias = str | int | float | bool
Operator: TypeAlias = Literal["eq", "in", "gt", "gte", "lt", "lte", "exists"]

_OPERATORS: Final[tuple[Operator, ...]] = ("eq", "in", "gt", "gte", "lt", "lte", "exists")
_RANGES: Final = frozenset({"gt", "gte", "lt", "lte"})


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition on one metadata key. ``value`` is a tuple for "in", a bool for "exists", else a scalar."""

    key: str
    operator: Operator
    value: Scalar | tuple[Scalar, ...]


Filter: TypeAlias = tuple[Clause, ...]


def kind_of(value: object) -> Literal["string", "number", "boolean"] | None:
    """The comparison type of a scalar, None for anything else (null, list, dictionary)."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return None


def parse_filter(where: Mapping[str, Any] | None) -> Filter:
    """Turn ``{"key": condition}`` into clauses.

    Raises ConfigError for an unknown operator or a value that no clause can hold.
    """
    if not where:
        return ()
    if not isinstance(where, Mapping):
        raise ConfigError(f"where must be a dictionary of conditions, not {type(where).__name__}")
    return tuple(clause for key, condition in where.items() for clause in _clauses(str(key), condition))


def _clauses(key: str, condition: object) -> Iterable[Clause]:
    if condition is None:
        return [Clause(key, "exists", False)]
    if isinstance(condition, list | tuple | set | frozenset):
        return [Clause(key, "in", tuple(_scalar(key, value) for value in condition))]
    if not isinstance(condition, Mapping):
        return [Clause(key, "eq", _scalar(key, condition))]
    return [_clause(key, str(operator), value) for operator, value in condition.items()]


def _clause(key: str, operator: str, value: object) -> Clause:
    if operator not in _OPERATORS:
        raise ConfigError(
            f"filter on {key!r} uses the unknown operator {operator!r}", hint=f"valid are {', '.join(_OPERATORS)}"
        )
    if operator == "exists":
        if not isinstance(value, bool):
            raise ConfigError(f"filter on {key!r}: exists takes true or false, not {value!r}")
        return Clause(key, "exists", value)
    if operator == "in":
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ConfigError(f"filter on {key!r}: in takes a list, not {value!r}")
        return Clause(key, "in", tuple(_scalar(key, item) for item in value))
    scalar = _scalar(key, value)
    if operator in _RANGES and isinstance(scalar, bool):
        raise ConfigError(f"filter on {key!r}: {operator} compares numbers or strings, not {value!r}")
    return Clause(key, operator, scalar)


def _scalar(key: str, value: object) -> Scalar:
    if isinstance(value, date):
        return value.isoformat()
    if kind_of(value) is None or value != value:  # noqa: PLR0124 - NaN equals nothing, not even itself
        raise ConfigError(
            f"filter on {key!r} compares with {value!r}", hint="compare with a string, a number, a boolean or a date"
        )
    return value  # type: ignore[return-value]


def matches(clauses: Filter, metadata: Metadata) -> bool:
    """Whether a document with this metadata satisfies every clause."""
    return all(_matches(clause, metadata.get(clause.key)) for clause in clauses)


def _matches(clause: Clause, found: object) -> bool:
    if clause.operator == "exists":
        return (found is not None) == clause.value
    values = found if isinstance(found, list | tuple) else (found,)
    return any(_compare(clause, value) for value in values)


def _compare(clause: Clause, found: Any) -> bool:
    if clause.operator == "in":
        assert isinstance(clause.value, tuple)
        return any(_equal(found, wanted) for wanted in clause.value)
    if clause.operator == "eq":
        return _equal(found, clause.value)
    kind = kind_of(found)
    if kind is None or kind == "boolean" or kind != kind_of(clause.value):
        return False
    wanted: Any = clause.value
    match clause.operator:
        case "gt":
            return bool(found > wanted)
        case "gte":
            return bool(found >= wanted)
        case "lt":
            return bool(found < wanted)
        case _:
            return bool(found <= wanted)


def _equal(found: object, wanted: object) -> bool:
    return kind_of(found) == kind_of(wanted) and found == wanted
