"""Answers of a RAG system: read, put together with queries and passages, judged, and compared in pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regen.core.claims import Claim, Judgment
from regen.errors import EvaluationError
from regen.evaluation.answers import Answer, answer_measures, make_claims, parse_answers, shared_queries
from regen.evaluation.statistics import compare
from regen.judges.lexical import LexicalJudge
from regen.quality.judging import judge_claims, read_answers

QUESTIONS = {"1": "What do bees do?", "2": "How long?", "3": "Why?"}
LINES = [
    '{"query_id": "1", "answer": "Bees dance.", "passages": ["Bees dance at noon."]}',
    '{"_id": 2, "answer": "", "contexts": ["Seven days."], "question": "How long is it kept?"}',
    '{"query_id": "9", "answer": "Nobody asked.", "passages": []}',
]


def test_answers_become_claims() -> None:
    """The query's text unless the line has its own; what does not match is reported with counts, never dropped."""
    answers = parse_answers(LINES, "answers.jsonl")
    assert answers["2"] == Answer("2", "", ("Seven days.",), "How long is it kept?")
    found = make_claims(answers, QUESTIONS)
    assert found.claims == {
        "1": Claim("What do bees do?", "Bees dance.", ("Bees dance at noon.",)),
        "2": Claim("How long is it kept?", "", ("Seven days.",)),
    }
    assert found.problems == (
        "1 answer to queries that are not there: '9'. Not judged.",
        "1 query without an answer: '3'. Not judged.",
        "1 answer is empty: '2'. They score zero.",
    )


def test_a_generation_is_judged_by_what_it_retrieves() -> None:
    """Good answers against two generations' passages: the one that lost the evidence is seen, query by query."""
    answers = {str(number): Answer(str(number), f"Bees dance number {number}.") for number in range(40)}
    questions = dict.fromkeys(answers, "What?")
    good = {query: [f"Bees dance number {query}.", "Rain."] for query in answers}
    bad = {query: passages if int(query) % 2 else ["Rain."] for query, passages in good.items()} | {"3": []}
    judge = LexicalJudge()
    before, after = (judge_claims(judge, make_claims(answers, questions, side).claims) for side in (good, bad))
    shared, problems = shared_queries([before, after])
    assert (len(shared), problems) == (40, ())
    sides = [answer_measures(side) for side in (before, after)]
    values = [np.array([side["faithfulness"][query] for query in shared]) for side in sides]
    assert (values[0].mean(), values[1].mean()) == (1.0, 19 / 40)
    found = compare(values[0], values[1], seed=1)
    assert found.estimate.high < 0
    assert sides[0]["source_use"]["0"] == 0.5


def test_queries_of_one_side_are_not_compared() -> None:
    """Pairs need both; what is left out is said."""
    one = Judgment(1.0, 1.0)
    common, problems = shared_queries([{"a": one, "b": one, "c": one}, {"b": one, "a": one, "d": one}])
    assert common == ["a", "b"]
    assert problems == ("2 queries are judged on one side only: 'c', 'd'. Not compared.",)
    assert shared_queries([]) == ([], ())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "line 2: no JSON"),
        ("3", "line 2: int, not an object"),
        ('{"answer": "a"}', "line 2: no query id"),
        ('{"query_id": true, "answer": "a"}', "the query id True"),
        ('{"query_id": "2"}', "line 2: no answer"),
        ('{"query_id": "2", "answer": 5}', '"answer" is 5'),
        ('{"query_id": "2", "answer": "a", "question": 5}', '"question" is 5'),
        ('{"query_id": "2", "answer": "a", "passages": "p"}', '"passages" is no list of texts'),
        ('{"query_id": "1", "answer": "a"}', "another answer to query '1', after line 1"),
    ],
    ids=["json", "number", "no id", "boolean", "no answer", "answer", "question", "passages", "twice"],
)
def test_wrong_lines_are_told(line: str, message: str) -> None:
    """With the line's number, what was found and what is valid."""
    with pytest.raises(EvaluationError) as caught:
        parse_answers([LINES[0], line], "answers.jsonl")
    assert message in caught.value.message


def test_answers_that_cannot_be_judged_are_told(tmp_path: Path) -> None:
    """No passages anywhere, no query in common, no answers, no file."""
    bare = parse_answers(['{"query_id": "1", "answer": "Bees."}'], "a")
    with pytest.raises(EvaluationError, match="1 answer without passages: '1'"):
        make_claims(bare, QUESTIONS)
    assert make_claims(bare, QUESTIONS, {"1": ["Bees."]}).claims["1"].passages == ("Bees.",)
    given = parse_answers([LINES[0]], "a")
    assert make_claims(given, QUESTIONS, {}).claims["1"].passages == ()  # nothing was retrieved: the file's do not help
    with pytest.raises(EvaluationError, match=r"none of 1 answer \('1'\) is to one of 1 query \('x'\)"):
        make_claims(bare, {"x": "?"})
    with pytest.raises(EvaluationError, match="no answers were found"):
        parse_answers([], "a")
    with pytest.raises(EvaluationError, match="answers cannot be read"):
        read_answers(tmp_path / "none.jsonl")
    (tmp_path / "answers.jsonl").write_text("\n".join(LINES))
    assert list(read_answers(tmp_path / "answers.jsonl")) == ["1", "2", "9"]
