"""Known queries: a text and the documents that it must return, as somebody who knows them said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from regen.evaluation.lines import Line, numbered

WITHIN: Final = 10
VALID: Final = (
    'one JSON object per line with "query" and "documents" (and, if wanted, "within", a number of ranks, and '
    '"principals")'
)
_KEYS: Final = frozenset({"query", "documents", "within", "principals"})


@dataclass(frozen=True, slots=True)
class KnownQuery:
    """A query that must return each of these documents among its first ``within`` documents.

    ``principals`` are on whose behalf it is asked: None for somebody who may see everything, ``()`` for somebody who
    sees public documents only.
    """

    text: str
    documents: tuple[str, ...]
    within: int = WITHIN
    principals: tuple[str, ...] | None = None


def read_known(lines: Iterable[str | bytes], file: str = "known queries") -> tuple[KnownQuery, ...]:
    """Read known queries, one JSON object a line. Raises EvaluationError that names the line.

    Errors are: no JSON object, an unknown key, no query, no documents, a tolerance below 1, fewer ranks than documents,
    and values of the wrong type. The same query for the same principals twice is one too.
    """
    places: dict[tuple[object, ...], int] = {}
    found = []
    for line in numbered(lines, file):
        query = _query(line)
        key = (query.text, query.principals)
        if key in places:
            line.refuse(f"the query {query.text!r} again, after line {places[key]}", "each query once")
        places[key] = line.number
        found.append(query)
    return tuple(found)


def _query(line: Line) -> KnownQuery:
    record = _record(line)
    text = record.get("query")
    if not isinstance(text, str) or not text.strip():
        line.refuse('no "query"' if text is None else f'"query" is {text!r}', VALID)
    documents = _names(record, "documents", line)
    if not documents:
        line.refuse('no "documents"', VALID, hint="A known query without documents could never fail: delete it.")
    within = record.get("within", WITHIN)
    if isinstance(within, bool) or not isinstance(within, int) or within < 1:
        line.refuse(f'"within" is {within!r}', "a number of ranks, at least 1")
    if within < len(documents):
        line.refuse(f"{len(documents)} documents within {within} ranks", "at least as many ranks as documents")
    return KnownQuery(text.strip(), documents, within, _names(record, "principals", line))


def _record(line: Line) -> Mapping[str, Any]:
    try:
        record = json.loads(line.text)
    except (ValueError, RecursionError) as error:
        line.refuse(f"no JSON ({error})", VALID)
    if not isinstance(record, dict):
        line.refuse(f"no JSON object: {line.text[:60]!r}", VALID)
    if unknown := sorted(record.keys() - _KEYS):
        line.refuse(f"the key {unknown[0]!r}", VALID)
    return record


def _names(record: Mapping[str, Any], key: str, line: Line) -> tuple[str, ...] | None:
    """A list of names, without repetition; one name may stand for itself. None when the key is absent or null."""
    value = record.get(key)
    if value is None:
        return None
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(name, str) and name for name in listed):
        line.refuse(f'"{key}" is {value!r}', 'a list of names, such as ["a.md"]')
    return tuple(dict.fromkeys(listed))
