"""Conditions: a small grammar, three-valued truth, and errors that say what is valid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.errors import EvaluationError
from regen.evaluation.expressions import parse

NAMES = ("error_rate", "preference", "result")
EXACT = {"error_rate": (0.02, 0.02), "preference": (0.6, 0.6), "result": (0.95, 0.95)}
VAGUE = {"error_rate": (0.0, 0.05), "preference": (0.4, 0.7), "result": (0.95, 1.0)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("result >= 0.95", True),
        ("result > 0.95", False),
        ("error_rate < 0.01", False),
        ("error_rate<=2%", True),
        ("0.5 < preference", True),
        ("preference > error_rate", True),
        ("preference == 0.6 and error_rate != .02", False),
        ("preference == 0.6 && error_rate == 2.0%", True),
        ("result < 0.5 or preference > 0.5 and error_rate > 0.5", False),
        ("(result > 0.5 || preference > 0.5) and error_rate > 0.5", False),
        ("result > 0.5 || preference > 0.5 and error_rate > 0.5", True),
        ("((result > 0.5))", True),
    ],
)
def test_known_values_decide(text: str, expected: bool) -> None:
    """With exact values a condition is ordinary arithmetic; ``and`` binds closer than ``or``."""
    condition = parse(text, NAMES)
    assert condition.judge(EXACT) is expected
    assert str(condition) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("error_rate < 0.06", True),
        ("error_rate < 0.05", None),
        ("error_rate <= 0.05", True),
        ("error_rate > 0.05", False),
        ("preference > 0.5", None),
        ("preference > 0.4", None),
        ("preference >= 0.4", True),
        ("preference == 0.5", None),
        ("preference == 0.8", False),
        ("preference != 0.8", True),
        ("preference > error_rate", True),
        ("preference > 0.5 or error_rate < 0.1", True),
        ("preference > 0.5 or error_rate > 0.1", None),
        ("preference > 0.5 and error_rate > 0.1", False),
        ("preference > 0.5 and error_rate < 0.1", None),
    ],
)
def test_vague_values_decide_only_what_is_sure(text: str, expected: bool | None) -> None:
    """True or False only when every value in the intervals says so; else nobody knows."""
    assert parse(text, NAMES).judge(VAGUE) is expected


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
def test_a_sure_answer_is_right_for_every_value(low: float, high: float, inside: float, sign: str) -> None:
    """What an interval decides, every point of it decides alike."""
    low, high = sorted((low, high))
    point = low + inside * (high - low)
    condition = parse(f"result {sign} 0.5", NAMES)
    verdict = condition.judge({"result": (low, high)})
    if verdict is not None and low <= point <= high:
        assert condition.judge({"result": (point, point)}) is verdict


def test_what_is_not_measured_is_unknown() -> None:
    """A name without a value decides nothing, unless the other terms do."""
    assert parse("preference > 0.5", NAMES).judge({}) is None
    assert parse("preference > 0.5 or error_rate < 3%", NAMES).judge({"error_rate": (0.0, 0.01)}) is True
    assert parse("preference > 0.5 and result > 0.5", NAMES).names == ("preference", "result")


def test_only_nesting_is_limited() -> None:
    """Thirty terms in parentheses, one beside the other, are fine."""
    assert parse(" and ".join(["(result > 0.9)"] * 30), NAMES).judge(EXACT) is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the end where a name or a number"),
        ("result", "the end where one of < <="),
        ("result >", "the end where a name or a number"),
        ("result > 0.5 and", "the end where a name or a number"),
        ("result > 0.5 result", "'result' where and, or, or the end"),
        ("(result > 0.5", "the end where a closing parenthesis"),
        ("result = 0.5", "cannot be read at '= 0.5'"),
        ("result > --1", "cannot be read at '--1'"),
        ("1 < 2", "compares two numbers"),
        ("0.1 < result < 0.5", "'<' where and, or, or the end"),
        ("and > 0.5", "'and' where a name or a number"),
        ("eror_rate < 0.01", "did you mean error_rate"),
        ("__import__('os').system('x') > 0", "cannot be read"),
        ("result > 0.5; result", "cannot be read"),
        ("(" * 21 + "result > 1" + ")" * 21, "nests deeper than 20"),
        ("(" * 10_000, "nests deeper than 20"),
    ],
    ids=range(16),
)
def test_what_is_not_a_condition_is_told(text: str, message: str) -> None:
    """The error quotes the condition, says where it fails and what belongs there."""
    with pytest.raises(EvaluationError) as told:
        parse(text, NAMES)
    assert message in str(told.value)
    assert "Hint:" in str(told.value)
