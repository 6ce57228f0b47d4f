"""Filters as Lance SQL: each condition holds for every point that the clause holds for, and for few others.

A value that is not of its field's kind lies in no column, so its key is listed in the column ``odd``: a point with an
odd value passes every condition on that key, and the fence decides. Column names are lower-case ASCII, because
DataFusion lower-cases identifiers; string literals need no escape but the doubled quote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from regen.core.documents import Principal, Unrestricted
from regen.core.filters import Clause, Filter
from regen.ports import FieldKind
from regen.stores.comparisons import bounded, encodable, wanted
from regen.stores.field_names import column_name

NOTHING: Final = "false"
_SIGNS: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def literal(text: str) -> str:
    """A string as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def one_of(column: str, texts: Iterable[str]) -> str:
    """The condition that a column is one of these strings."""
    return f"{column} IN ({','.join(map(literal, texts))})"


def predicate(
    where: Filter, fields: Mapping[str, FieldKind], principals: frozenset[Principal] | Unrestricted | None
) -> str | None:
    """One SQL condition for a filter and a caller: None when it narrows nothing, NOTHING when none can match."""
    parts = [_condition(clause, fields[clause.key]) for clause in where if clause.key in fields]
    parts = [part for part in parts if part is not None]
    if not isinstance(principals, Unrestricted):
        parts.append(_access(principals or frozenset()))
    if NOTHING in parts:
        return NOTHING
    return " AND ".join(f"({part})" for part in parts) or None


def _access(principals: frozenset[Principal]) -> str:
    known = sorted(filter(encodable, principals))
    if not known:
        return "access IS NULL"
    return f"access IS NULL OR array_has_any(access, [{','.join(map(literal, known))}])"


def _condition(clause: Clause, kind: FieldKind) -> str | None:
    column = column_name("f_", clause.key)
    odd = f"array_has(odd, '{column}')"
    if clause.operator == "exists":
        return f"{column} IS NOT NULL OR {odd}" if clause.value else f"{column} IS NULL AND NOT coalesce({odd}, false)"
    if clause.operator == "in" and not clause.value:
        return NOTHING
    exact = _membership(clause, kind, column) if clause.operator in {"eq", "in"} else _range(clause, kind, column)
    return exact if exact is None else f"{exact} OR {odd}"


def _membership(clause: Clause, kind: FieldKind, column: str) -> str:
    literals = [_literal(value) for value in wanted(clause, kind)[1]]
    if not literals:
        return NOTHING
    listed = ",".join(literals)
    return f"array_has_any({column}, [{listed}])" if kind == "strings" else f"{column} IN ({listed})"


def _range(clause: Clause, kind: FieldKind, column: str) -> str | None:
    found = bounded(clause, kind, lambda op, value: f"{column} {_SIGNS[op]} {_literal(value)}", texts=True)
    return None if found is None else next(iter(found), NOTHING)


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return literal(value)
    return repr(float(value))  # type: ignore[arg-type]  # a number
