"""The JSON that scripts rely on."""

from __future__ import annotations

import json

import orjson
import pytest
from tests.evaluation.examples import EXAMPLES, checks_only, first, held, promoted, undecided

COMPARISON = {
    "collection", "slice", "measure", "baseline", "candidate", "delta", "ci_low", "ci_high", "p_value",
    "min_detectable", "verdict",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - {"first"}))
def test_the_promised_keys_are_there(name: str) -> None:
    """Baseline, candidate, comparisons, checks and verdict, under the names that are written down."""
    data = EXAMPLES[name]().to_dict()
    assert {"baseline", "candidate", "comparisons", "checks", "verdict"} <= data.keys()
    for side in ("baseline", "candidate"):
        assert {"generation", "measures"} <= data[side].keys()
    assert all(item.keys() >= COMPARISON for item in data["comparisons"])
    assert data["checks"]
    assert all({"name", "passed", "detail"} <= check.keys() for check in data["checks"])


def test_a_first_evaluation_has_no_baseline() -> None:
    """It is there, and null: a script need not ask whether the key exists."""
    data = first().to_dict()
    assert data["baseline"] is None
    assert data["candidate"]["generation"] == 8


def test_the_three_verdicts_are_spelled_as_promised() -> None:
    """``promote``, ``hold`` and ``cannot_tell``; only the first is a met gate."""
    found = [(made.to_dict()["verdict"], made.met) for made in (promoted(), held(), undecided())]
    assert found == [("promote", True), ("hold", False), ("cannot_tell", False)]


def test_queries_are_given_only_when_asked_for() -> None:
    """They can be long; with them, both result lists and grades are there."""
    evaluation = undecided()
    assert "queries" not in evaluation.to_dict()
    whole = evaluation.to_dict(queries=True)["queries"]
    assert len(whole) == 20
    assert {"query_id", "baseline_documents", "candidate_documents", "grades"} <= whole[0].keys()


def test_it_is_json() -> None:
    """Nothing in it needs help, and it comes back as it was."""
    for made in (promoted(10), first(), checks_only()):
        data = made.to_dict(queries=True)
        assert orjson.loads(orjson.dumps(data)) == json.loads(json.dumps(data))
