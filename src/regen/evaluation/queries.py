"""Queries as BEIR (JSON lines) and TREC-like topic lists (id, tab, text) write them."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from regen.evaluation.judged import JudgedQuery
from regen.evaluation.lines import Line, counted, numbered, some

VALID: Final = (
    'one JSON object per line with "_id" and "text" '
    '(and, if wanted, "tags", "metadata", "principals", "fresh"), or one "id<TAB>text" per line'
)
FRESH: Final = ("fresh", "freshness_sensitive")
"""A key or a tag of either name marks a query that must be answered from the current revision."""
_KEYS: Final = ("_id", "id", "text", "tags", "metadata", "principals", "as", *FRESH)
_HEADERS: Final = frozenset({"qid", "id", "_id", "query-id", "query_id", "topic"})
_LONGEST_VALUE: Final = 64
_MANY_VALUES: Final = 20


@dataclass(frozen=True, slots=True)
class QueriesRead:
    """Queries as they were read, in the file's order, and what a reader must know about them."""

    queries: tuple[JudgedQuery, ...]
    problems: tuple[str, ...]


@dataclass(slots=True)
class _Draft:
    """A query before its metadata has been looked at beside that of all the others."""

    line: Line
    query: JudgedQuery
    metadata: dict[str, list[str]] = field(default_factory=dict)


def read_queries(lines: Iterable[str | bytes], file: str = "queries") -> QueriesRead:
    """Read queries in either form; the first character tells which. Raises EvaluationError, naming the line.

    Errors are: no id, no text, an id twice, a line that is neither form, and values of the wrong type. Metadata that
    cannot make slices, and keys that look misspelt, are reported.
    """
    drafts: list[_Draft] = []
    places: dict[str, int] = {}
    unread: Counter[str] = Counter()
    form = ""
    for line in numbered(lines, file):
        opening = "json" if line.text.lstrip().startswith("{") else "tsv"
        if form and opening != form:
            line.refuse(f"another form than the lines before: {line.text[:60]!r}", VALID)
        if not form and opening == "tsv" and line.text.split("\t")[0].strip().casefold() in _HEADERS:
            form = opening
            continue
        form = opening
        draft = _from_json(line, unread) if form == "json" else _from_columns(line)
        if draft.query.id in places:
            line.refuse(f"query id {draft.query.id!r} again, after line {places[draft.query.id]}", "each id once")
        places[draft.query.id] = line.number
        drafts.append(draft)
    queries, unfit = _with_metadata(drafts)
    return QueriesRead(queries, (*_unfit(file, unfit), *_misspelt(file, unread), *_garbled(file, queries)))


def _from_columns(line: Line) -> _Draft:
    columns = line.text.split("\t")
    if len(columns) != 2:
        line.refuse(f"{counted(len(columns), 'column')} parted by tabs: {line.text[:80]!r}", VALID)
    return _draft(line, columns[0], columns[1])


def _from_json(line: Line, unread: Counter[str]) -> _Draft:
    try:
        record = json.loads(line.text)
    except (ValueError, RecursionError) as error:
        line.refuse(f"no JSON ({error})", VALID)
    unread.update(key for key in record if key not in _KEYS)
    tags, metadata = _tags(record.get("tags"), line), _metadata(record.get("metadata"), line)
    fresh = _fresh(record, line) or any(mark in tags for mark in FRESH)
    for mark in FRESH:
        fresh = fresh or metadata.get(mark) == ["true"]
    principals = _principals(record, line)
    return _draft(line, _id(record, line), record.get("text"), tags, metadata, principals=principals, fresh=fresh)


def _draft(
    line: Line,
    query_id: str,
    text: Any,
    tags: tuple[str, ...] = (),
    metadata: dict[str, list[str]] | None = None,
    *,
    principals: tuple[str, ...] | None = None,
    fresh: bool = False,
) -> _Draft:
    query_id = query_id.strip()
    if not query_id:
        line.refuse("an empty query id", VALID)
    if not isinstance(text, str) or not text.strip():
        found = "no text" if text is None else f"the text {text!r}"
        line.refuse(f"query {query_id!r} has {found}", VALID, hint="A query without words cannot be asked: delete it.")
    try:
        text.encode()
    except UnicodeEncodeError:
        line.refuse(f"query {query_id!r} holds half of a character (a lone surrogate)", "text in UTF-8")
    return _Draft(line, JudgedQuery(query_id, text.strip(), tags, principals, fresh), metadata or {})


def _id(record: Mapping[str, Any], line: Line) -> str:
    value = record.get("_id", record.get("id"))
    if isinstance(value, bool) or not isinstance(value, str | int):
        line.refuse('no "_id"' if value is None else f'"_id" is {value!r}', VALID)
    return str(value)


def _fresh(record: Mapping[str, Any], line: Line) -> bool:
    values = [record[key] for key in FRESH if record.get(key) is not None]
    if any(not isinstance(value, bool) for value in values):
        line.refuse(f'"{FRESH[0]}" is {values[0]!r}', "true or false")
    return any(values)


def _principals(record: Mapping[str, Any], line: Line) -> tuple[str, ...] | None:
    value = record.get("principals", record.get("as"))
    if record.get("as", value) != value:
        line.refuse(f'"principals" is {value!r}, but "as" is {record["as"]!r}', "one of the two keys")
    if value is None:
        return None
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(name, str) and name for name in listed):
        line.refuse(f'"principals" is {value!r}', 'a list of names, such as ["team:docs"], or [] for the public')
    return tuple(listed)


def _tags(value: Any, line: Line) -> tuple[str, ...]:
    """Tags are meant as slices, so whatever is no tag is refused."""
    valid = 'a list of words, such as ["german", "kind=howto"], or an object of words, such as {"lang": "de"}'
    listed: list[str | None]
    if value is None:
        return ()
    if isinstance(value, Mapping):
        listed = [
            tag and f"{key}={tag}"
            for key, held in value.items()
            for tag in map(_word, held if isinstance(held, list) else [held])
        ]
    elif isinstance(value, list):
        listed = [_word(tag) for tag in value]
    else:
        listed = [_word(value)]
    if not all(listed):
        line.refuse(f'"tags" is {value!r}', valid)
    return tuple(dict.fromkeys(tag for tag in listed if tag))


def _metadata(value: Any, line: Line) -> dict[str, list[str]]:
    """Key → words; a list is read as plain tags (key ""). What is no word is kept as "", to be reported."""
    if value is None:
        return {}
    if isinstance(value, list):
        return {"": [_word(tag) or "" for tag in value]}
    if not isinstance(value, Mapping):
        line.refuse(f'"metadata" is {value!r}', 'an object, such as {"lang": "de"}, or a list of words')
    return {
        key: [_word(one) or "" for one in (held if isinstance(held, list) else [held])]
        for key, held in value.items()
        if held is not None
    }


def _word(value: Any) -> str | None:
    """A tag's text, None for what cannot be one; numbers and truth values are spelt as JSON spells them."""
    if isinstance(value, str):
        return value.strip() or None
    return json.dumps(value) if isinstance(value, bool | int | float) else None


def _with_metadata(drafts: list[_Draft]) -> tuple[tuple[JudgedQuery, ...], list[str]]:
    """Metadata becomes tags, except keys that would give next to every query a slice of its own."""
    values: dict[str, list[str]] = {}
    for draft in drafts:
        for key, words in draft.metadata.items():
            values.setdefault(key, []).extend(words)
    unfit = [key for key, words in values.items() if not _makes_slices(words)]
    return tuple(_tagged(draft, unfit) for draft in drafts), unfit


def _makes_slices(words: list[str]) -> bool:
    distinct = set(words)
    if "" in distinct or any(len(word) > _LONGEST_VALUE for word in distinct):
        return False
    return len(distinct) <= _MANY_VALUES or len(words) >= 2 * len(distinct)


def _tagged(draft: _Draft, unfit: list[str]) -> JudgedQuery:
    query = draft.query
    found = [
        f"{key}={word}" if key else word for key, words in draft.metadata.items() if key not in unfit for word in words
    ]
    tags = tuple(dict.fromkeys([*query.tags, *found]))
    return JudgedQuery(query.id, query.text, tags, query.principals, query.fresh)


def _unfit(file: str, unfit: list[str]) -> list[str]:
    if not unfit:
        return []
    report = (
        f"{file}: metadata that cannot make slices (long values, no words, or next to one value per query): "
        f"{some(unfit)}. It is not used; write what shall be a slice under tags."
    )
    return [report]


def _misspelt(file: str, unread: Counter[str]) -> list[str]:
    found = []
    for key, count in sorted(unread.items()):
        near = difflib.get_close_matches(key.casefold(), _KEYS, n=1, cutoff=0.8)
        if near:
            found.append(
                f"{file}: {counted(count, 'query has', 'queries have')} the key {key!r}, which is not read. "
                f"Is {near[0]!r} meant?"
            )
    return found


def _garbled(file: str, queries: tuple[JudgedQuery, ...]) -> list[str]:
    garbled = [query.id for query in queries if "\ufffd" in query.text]
    if not garbled:
        return []
    report = (
        f"{file}: {counted(len(garbled), 'query holds', 'queries hold')} characters that were lost in an earlier "
        f"conversion (U+FFFD): {some(garbled)}."
    )
    return [report]
