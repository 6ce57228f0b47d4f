"""Filters as queries of Elasticsearch and OpenSearch: each holds for every point of its clause, and for few others.

A value that is not of its field's kind, or too long for the index, is listed by its column in ``open``: such a point
passes every condition on that key, and the fence decides. Texts are compared by their bytes of UTF-8, which is the
order of their code points. 0.0 and -0.0 are different terms of a number field: neither side ever says -0.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from regen.core.documents import Principal, Unrestricted
from regen.core.filters import Clause, Filter
from regen.ports import FieldKind
from regen.stores.comparisons import bounded, encodable, wanted
from regen.stores.records import field_column

Query: TypeAlias = dict[str, Any]
OPEN: Final = "open"
"""The key of a record that lists the columns on which the index cannot answer for it."""
_WORDS: Final = 1000
"""So many words are looked for; a server refuses 1,024. What is no letter of ASCII may be a word of its own."""
_LONGEST_WORD: Final = 255
_TERMS: Final = 65_536
"""So many values a ``terms`` query takes (index.max_terms_count)."""


def conditions(
    where: Filter, fields: Mapping[str, FieldKind], principals: frozenset[Principal] | Unrestricted | None
) -> list[Query] | None:
    """What every hit must satisfy, all of it; None when no point can."""
    must: list[Query] = []
    for clause in where:
        if clause.key not in fields:
            continue
        if clause.operator == "in" and not clause.value:
            return None
        must.extend(_conditions(clause, fields[clause.key]))
    if not isinstance(principals, Unrestricted):
        known = sorted(filter(encodable, principals or ()))
        must.append(_any([{"term": {"public": True}}, *_among("access", known), *_among(OPEN, ["access"])]))
    return must


def worded(column: str, query: str) -> Query:
    """What a text must hold some of: the words of a query, of a very long one the first."""
    left, kept = _WORDS, []
    for piece in dict.fromkeys(query.encode("utf-8", "ignore").decode().split()):
        most = 1 + len(piece) // _LONGEST_WORD + sum(not (char.isascii() and char.isalnum()) for char in piece)
        kept.append(piece if most <= left else piece[:left])
        left = max(left - most, 0)
    return {"match": {column: {"query": " ".join(kept)}}}


def _conditions(clause: Clause, kind: FieldKind) -> Iterator[Query]:
    column = field_column(clause.key)
    if clause.operator == "exists":
        present = {"term": {"has": column}}
        yield present if clause.value else {"bool": {"must_not": [present]}}
        return
    exact = _membership(clause, kind, column) if clause.operator in {"eq", "in"} else _range(clause, kind, column)
    if exact is not None:
        yield _any([*exact, *_among(OPEN, [column])])


def _membership(clause: Clause, kind: FieldKind, column: str) -> list[Query]:
    element, values = wanted(clause, kind)
    return _among(column, [float(value) + 0.0 for value in values] if element == "number" else values)


def _range(clause: Clause, kind: FieldKind, column: str) -> list[Query] | None:
    """The queries of which one must hold, none of them for nothing; None to leave the clause to the fence."""

    def compared(operator: str, value: Any) -> Query:
        return {"range": {column: {operator: value + 0.0 if kind == "number" else value}}}

    return bounded(clause, kind, compared, texts=True)


def _among(column: str, values: Sequence[Any]) -> list[Query]:
    return [{"terms": {column: list(values[start : start + _TERMS])}} for start in range(0, len(values), _TERMS)]


def _any(parts: list[Query]) -> Query:
    return parts[0] if len(parts) == 1 else {"bool": {"should": parts, "minimum_should_match": 1}}
