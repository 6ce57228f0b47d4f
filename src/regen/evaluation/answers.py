"""Answers of a RAG system: what they claim, and per-query measures that compare like any others.

A file of answers is read with the passages that its writer was given, or with those that a generation returns for the
query. The second asks a question that no other measure answers: does this generation's context still bear out the
answers that we know to be good?
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from regen.core.claims import Claim, Judgment
from regen.errors import EvaluationError
from regen.evaluation.lines import Line, counted, numbered, some

FAITHFULNESS: Final = "faithfulness"
SOURCE_USE: Final = "source_use"
ANSWER_MEASURES: Final = (FAITHFULNESS, SOURCE_USE)
"""The names under which a judge's shares are measured, per query, from 0 to 1."""
VALID: Final = (
    'one JSON object per line with "query_id" and "answer", and, if wanted, "question" and "passages" (a list of texts)'
)
_IDS: Final = ("query_id", "query-id", "_id", "id", "qid")
_PASSAGES: Final = ("passages", "contexts")


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one query. ``passages`` are None when the file does not say which were given, ``()`` for none."""

    query_id: str
    answer: str
    passages: tuple[str, ...] | None = None
    question: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerClaims:
    """What is to be judged, by query id, and everything about it that a reader must know."""

    claims: Mapping[str, Claim]
    problems: tuple[str, ...] = ()


def parse_answers(lines: Iterable[str | bytes], name: str) -> dict[str, Answer]:
    """Answers by query id from JSON lines; ``name`` is the file's, for messages.

    An empty answer is kept: it scores zero. Raises EvaluationError, naming the line: no JSON, a missing or wrong value,
    a query answered twice; and for no answers at all.
    """
    answers: dict[str, Answer] = {}
    places: dict[str, int] = {}
    for line in numbered(lines, name):
        answer = _parsed(line)
        if answer.query_id in places:
            line.refuse(
                f"another answer to query {answer.query_id!r}, after line {places[answer.query_id]}",
                "one answer to each query",
                hint="Answers of two systems belong in two files.",
            )
        places[answer.query_id] = line.number
        answers[answer.query_id] = answer
    if not answers:
        raise EvaluationError(f"{name}: no answers were found. Valid: {VALID}.")
    return answers


def make_claims(
    answers: Mapping[str, Answer],
    questions: Mapping[str, str],
    retrieved: Mapping[str, Sequence[str]] | None = None,
) -> AnswerClaims:
    """Put answers, the queries' texts and passages together.

    With ``retrieved`` (query id → passages, best first) each answer is judged against these, else against the passages
    of the file. Answers to queries that the collection does not have, and queries without an answer, are reported and
    not judged. Raises EvaluationError when passages are neither in the file nor given, and when nothing is left.
    """
    known = {query: answer for query, answer in answers.items() if query in questions}
    bare = [query for query, answer in known.items() if retrieved is None and answer.passages is None]
    if bare:
        raise EvaluationError(
            f"{counted(len(bare), 'answer')} without passages: {some(bare)}",
            hint='add "passages" to each line, or let a generation retrieve them',
        )
    if not known:
        raise EvaluationError(
            f"none of {counted(len(answers), 'answer')} ({some(answers)}) is to one of "
            f"{counted(len(questions), 'query', 'queries')} ({some(questions)})",
            hint="are the query ids spelt alike in both files?",
        )
    claims = {
        query: Claim(answer.question or questions[query], answer.answer, _passages(answer, retrieved))
        for query, answer in known.items()
    }
    return AnswerClaims(claims, tuple(_problems(answers, questions, known)))


def answer_measures(judgments: Mapping[str, Judgment]) -> dict[str, dict[str, float]]:
    """Measure → query id → value, as :func:`regen.evaluation.measures.measure` gives it: ready to be compared."""
    return {
        FAITHFULNESS: {query: judgment.faithful for query, judgment in judgments.items()},
        SOURCE_USE: {query: judgment.uses_sources for query, judgment in judgments.items()},
    }


def shared_queries(sides: Sequence[Mapping[str, Judgment]]) -> tuple[list[str], tuple[str, ...]]:
    """The queries that every side has a judgment of, in the first side's order, and what is left out, reported."""
    common = [query for query in sides[0] if all(query in side for side in sides)] if sides else []
    left = sorted({query for side in sides for query in side} - set(common))
    if not left:
        return common, ()
    return common, (
        f"{counted(len(left), 'query is', 'queries are')} judged on one side only: {some(left)}. Not compared.",
    )


def _passages(answer: Answer, retrieved: Mapping[str, Sequence[str]] | None) -> tuple[str, ...]:
    # A query for which nothing was retrieved has no passages: its answer cannot be borne out, and scores zero.
    return (answer.passages or ()) if retrieved is None else tuple(retrieved.get(answer.query_id, ()))


def _problems(answers: Mapping[str, Answer], questions: Collection[str], known: Mapping[str, Answer]) -> Iterable[str]:
    strangers = [query for query in answers if query not in known]
    if strangers:
        yield f"{counted(len(strangers), 'answer')} to queries that are not there: {some(strangers)}. Not judged."
    silent = [query for query in questions if query not in known]
    if silent:
        yield f"{counted(len(silent), 'query', 'queries')} without an answer: {some(silent)}. Not judged."
    empty = [query for query, answer in known.items() if not answer.answer.strip()]
    if empty:
        yield f"{counted(len(empty), 'answer is', 'answers are')} empty: {some(empty)}. They score zero."


def _parsed(line: Line) -> Answer:
    try:
        record = json.loads(line.text)
    except (ValueError, RecursionError) as error:
        line.refuse(f"no JSON ({error})", VALID)
    if not isinstance(record, dict):
        line.refuse(f"{type(record).__name__}, not an object", VALID)
    found = next((record[key] for key in _IDS if key in record), None)
    if isinstance(found, bool) or not isinstance(found, str | int) or not str(found).strip():
        line.refuse("no query id" if found is None else f"the query id {found!r}", VALID)
    answer, question = record.get("answer"), record.get("question")
    if not isinstance(answer, str):
        line.refuse("no answer" if answer is None else f'"answer" is {answer!r}', VALID)
    if question is not None and not isinstance(question, str):
        line.refuse(f'"question" is {question!r}', VALID)
    return Answer(str(found).strip(), answer, _given(record, line), question)


def _given(record: Mapping[str, Any], line: Line) -> tuple[str, ...] | None:
    passages = next((record[key] for key in _PASSAGES if record.get(key) is not None), None)
    if passages is None:
        return None
    if not isinstance(passages, list) or not all(isinstance(passage, str) for passage in passages):
        line.refuse('"passages" is no list of texts', VALID)
    return tuple(passages)
