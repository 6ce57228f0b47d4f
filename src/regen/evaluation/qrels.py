"""Relevance judgments as BEIR and TREC write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from regen.evaluation.judged import Qrels
from regen.evaluation.lines import Line, counted, numbered

VALID: Final = (
    "BEIR's three columns, parted by tabs, under the header 'query-id<TAB>corpus-id<TAB>score', "
    "or TREC's four, 'query 0 document grade'"
)
MAX_GRADE: Final = 1000
"""trec_eval counts documents per grade in an array as long as the highest grade; an id in the wrong column fills it."""
_GRADE: Final = re.compile(r"[+-]?[0-9]{1,9}")
_HEADERS: Final = frozenset({"query-id", "query_id", "queryid", "query", "qid", "topic", "topic-id", "topic_id"})


@dataclass(frozen=True, slots=True)
class QrelsRead:
    """Judgments as they were read, and what a reader must know about them."""

    qrels: Qrels
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Judgment:
    query: str
    document: str
    grade: int
    line: Line


def read_qrels(lines: Iterable[str | bytes], file: str = "qrels") -> QrelsRead:
    """Read judgments in BEIR or TREC form; the number of columns tells which.

    A judgment that occurs twice is kept once and reported; two different grades for one query and document are an
    EvaluationError, as is every line that is not a judgment.
    """
    first: dict[tuple[str, str], _Judgment] = {}
    repeated: list[_Judgment] = []
    for judgment in _judgments(lines, file):
        held = first.setdefault((judgment.query, judgment.document), judgment)
        if held.grade != judgment.grade:
            judgment.line.refuse(
                f"query {judgment.query!r} and document {judgment.document!r} are judged {judgment.grade}, "
                f"but {held.grade} in line {held.line.number}",
                "one grade for each query and document",
                hint="Decide which of the two lines is right, and delete the other.",
            )
        if held is not judgment:
            repeated.append(judgment)
    qrels: dict[str, dict[str, int]] = {}
    for judgment in first.values():
        qrels.setdefault(judgment.query, {})[judgment.document] = judgment.grade
    return QrelsRead(qrels, _repetition(file, repeated))


def _judgments(lines: Iterable[str | bytes], file: str) -> Iterator[_Judgment]:
    columns = 0
    for position, line in enumerate(numbered(lines, file)):
        fields = _fields(line)
        if columns and len(fields) != columns:
            line.refuse(f"{counted(len(fields), 'column')} after lines with {columns}", VALID, hint=_hint(fields))
        if len(fields) not in {3, 4}:
            line.refuse(f"{counted(len(fields), 'column')}: {line.text[:80]!r}", VALID, hint=_hint(fields))
        columns = len(fields)
        if position == 0 and fields[0].casefold() in _HEADERS and not _GRADE.fullmatch(fields[-1]):
            continue
        yield _judgment(fields, line)


def _judgment(fields: list[str], line: Line) -> _Judgment:
    query, document, grade = fields[0], fields[-2], fields[-1]
    if not query or not document:
        line.refuse("an empty query or document id", VALID)
    if not _GRADE.fullmatch(grade) or abs(int(grade)) > MAX_GRADE:
        line.refuse(
            f"the grade {grade!r}",
            f"a whole number from -{MAX_GRADE} to {MAX_GRADE}; above 0 is relevant, and more is better",
            hint=f"The columns are {VALID}.",
        )
    return _Judgment(query, document, int(grade), line)


def _fields(line: Line) -> list[str]:
    """By tabs where there are any, since ids of documents may hold blanks; else by blanks."""
    if "\t" in line.text:
        return [part.strip() for part in line.text.split("\t")]
    return line.text.split()


def _hint(fields: list[str]) -> str | None:
    if len(fields) > 4:
        return "Where ids hold blanks, part the columns by tabs."
    if len(fields) == 1 and fields[0].count(",") in {2, 3}:
        return "The columns seem to be parted by commas; part them by tabs."
    return None


def _repetition(file: str, repeated: list[_Judgment]) -> tuple[str, ...]:
    if not repeated:
        return ()
    one = repeated[0]
    report = (
        f"{file}: {counted(len(repeated), 'judgment')} given again with the same grade, first in line "
        f"{one.line.number}: query {one.query!r}, document {one.document!r}. Each counts once."
    )
    return (report,)
