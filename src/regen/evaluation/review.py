"""The review file: one proposed query a line, and what a person has decided about it.

It is JSON lines, and it is only ever appended to: what a person has decided, edited or added stays byte for byte, and a
query that is proposed again is recognised by its id. A line looks like

    {"id": "q-1f…", "state": "pending", "query": "…", "documents": {"guide.md": 1}, "origin": "title", "note": "…"}

A line of one's own needs "query" and "documents" only; it counts as accepted, of origin "added".
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

from regen.errors import EvaluationError
from regen.evaluation.lines import Line, counted, numbered, some
from regen.evaluation.qrels import MAX_GRADE
from regen.evaluation.starter import ORIGINS, Candidate, query_id

State: TypeAlias = Literal["pending", "accepted", "rejected", "edited"]
STATES: Final = get_args(State)
KEPT: Final = ("accepted", "edited")
"""The states whose queries count."""
VALID: Final = (
    'a JSON object with "query" and "documents" (a list of ids, or ids with grades), and, if wanted, "id", "state" '
    f'({", ".join(STATES)}), "origin", "note", "tags", "principals", "fresh"'
)
_PASSED_ON: Final = ("principals", "fresh")


@dataclass(frozen=True, slots=True)
class ReviewLine:
    """One query of the file. ``extra`` are keys that go into the collection as they are."""

    id: str
    state: State
    query: str
    documents: Mapping[str, int]
    origin: str
    tags: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def was_changed(self) -> bool:
        """Whether the text is another than the one that was proposed under this id."""
        return self.origin != "added" and self.id != query_id(self.query)


@dataclass(frozen=True, slots=True)
class Review:
    """The file's lines in order."""

    lines: tuple[ReviewLine, ...]

    def states(self) -> dict[str, int]:
        """How many lines are in each state, those with none included."""
        found = Counter(line.state for line in self.lines)
        return {state: found[state] for state in STATES}

    def is_known(self, candidate: Candidate) -> bool:
        """Whether the query is in the file already, in whatever state."""
        return any(candidate.id in (line.id, query_id(line.query)) for line in self.lines)

    def missing(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """The candidates that the file does not have yet, each once."""
        known = {name for line in self.lines for name in (line.id, query_id(line.query))}
        found = {candidate.id: candidate for candidate in reversed(list(candidates)) if candidate.id not in known}
        return list(reversed(found.values()))


def parse_review(lines: Iterable[str | bytes], name: str) -> Review:
    """Read a review file. Raises EvaluationError, naming the line, for what is no such line and for a query twice."""
    read: list[ReviewLine] = []
    places: dict[str, int] = {}
    for line in numbered(lines, name):
        parsed = _parsed(line)
        if parsed.id in places:
            line.refuse(
                f"query {parsed.query!r} ({parsed.id}) again, after line {places[parsed.id]}", "each query once"
            )
        places[parsed.id] = line.number
        read.append(parsed)
    return Review(tuple(read))


def review_line(candidate: Candidate) -> str:
    """The line of a new candidate, without its end; it is pending."""
    record = {
        "id": candidate.id,
        "state": "pending",
        "query": candidate.text,
        "documents": dict(candidate.documents),
        "origin": candidate.origin,
    }
    return json.dumps(record | ({"note": candidate.note} if candidate.note else {}), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Exported:
    """A judged collection as text: ``queries`` in BEIR's JSON lines, ``qrels`` in BEIR's columns; and what to know."""

    queries: str
    qrels: str
    count: int
    notes: tuple[str, ...] = ()


def export_review(review: Review, name: str) -> Exported:
    """The judged collection of all accepted and edited queries. Raises EvaluationError when there is none."""
    kept = [line for line in review.lines if line.state in KEPT]
    if not kept:
        states = ", ".join(f"{count} {state}" for state, count in review.states().items())
        raise EvaluationError(
            f"{name}: no query is accepted yet ({states})",
            hint='read the lines, and set "state" to "accepted" or "rejected"',
        )
    queries = [
        {"_id": line.id, "text": line.query, "tags": [f"origin={line.origin}", *line.tags], **line.extra}
        for line in kept
    ]
    qrels = [f"{line.id}\t{doc}\t{grade}" for line in kept for doc, grade in line.documents.items()]
    return Exported(
        "".join(json.dumps(query, ensure_ascii=False) + "\n" for query in queries),
        "\n".join(["query-id\tcorpus-id\tscore", *qrels, ""]),
        len(kept),
        tuple(_notes(review, kept)),
    )


def _notes(review: Review, kept: Sequence[ReviewLine]) -> Iterable[str]:
    pending = [line for line in review.lines if line.state == "pending"]
    changed = [line.query for line in pending if line.was_changed]
    if changed:
        yield (
            f"{counted(len(changed), 'query is', 'queries are')} still pending although the text was changed: "
            f'{some(changed)}. Set "state" to "edited".'
        )
    if pending:
        yield f"{counted(len(pending), 'query is', 'queries are')} not reviewed yet, and not in the collection."
    weak = Counter(line.origin for line in kept)
    yield "Origins: " + ", ".join(f"{count} {origin}" for origin, count in sorted(weak.items())) + "."


def _parsed(line: Line) -> ReviewLine:
    try:
        record = json.loads(line.text)
    except (ValueError, RecursionError) as error:
        line.refuse(f"no JSON ({error})", VALID)
    if not isinstance(record, dict):
        line.refuse(f"{type(record).__name__}, not an object", VALID)
    query = record.get("query")
    if not isinstance(query, str) or not query.strip():
        line.refuse("no query" if query is None else f'"query" is {query!r}', VALID)
    by_hand = record.get("state") is None and record.get("id") is None
    state = record.get("state", "accepted" if by_hand else "pending")
    if state not in STATES:
        line.refuse(f'"state" is {state!r}', f"one of {', '.join(STATES)}")
    origin = record.get("origin", "added")
    if origin not in ORIGINS:
        line.refuse(f'"origin" is {origin!r}', f"one of {', '.join(ORIGINS)}")
    documents = _documents(record.get("documents"), line)
    if state in KEPT and not any(grade > 0 for grade in documents.values()):
        line.refuse(f"the query {query!r} is {state}, but names no relevant document", VALID)
    found = str(record.get("id") or query_id(query))
    extra = {key: record[key] for key in _PASSED_ON if key in record}
    return ReviewLine(found, state, query.strip(), documents, origin, _tags(record.get("tags"), line), extra)


def _documents(value: Any, line: Line) -> dict[str, int]:
    graded = (
        dict.fromkeys(value, 1) if isinstance(value, list) and all(isinstance(doc, str) for doc in value) else value
    )
    if graded is None:
        return {}
    if not isinstance(graded, dict):
        line.refuse(f'"documents" is {value!r}', 'a list of ids, such as ["guide.md"], or ids with grades')
    for document, grade in graded.items():
        if isinstance(grade, bool) or not isinstance(grade, int) or not 0 <= grade <= MAX_GRADE:
            line.refuse(f"the grade of {document!r} is {grade!r}", "a whole number from 0, 1 for relevant")
        if not document.strip() or any(character in document for character in "\t\r\n"):
            line.refuse(f"a document with the id {document!r}", "an id that is not empty, without tabs and line ends")
    return graded


def _tags(value: Any, line: Line) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(tag, str) and tag.strip() for tag in value):
        line.refuse(f'"tags" is {value!r}', 'a list of words, such as ["lang=de"]')
    return tuple(tag.strip() for tag in value)
