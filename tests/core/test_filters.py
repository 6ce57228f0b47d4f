"""The filter language: what parses, what matches, and that comparison is typed."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.filters import Clause, matches, parse_filter
from regen.errors import ConfigError

SCALARS = st.one_of(st.text(max_size=3), st.integers(-3, 3), st.floats(-3, 3), st.booleans())
VALUES = st.one_of(st.none(), SCALARS, st.lists(SCALARS, max_size=3))


def holds(where: dict[str, Any], **metadata: Any) -> bool:
    """Whether a document with this metadata satisfies a filter."""
    return matches(parse_filter(where), metadata)


def test_a_filter_becomes_clauses() -> None:
    """Each condition its own clause, in order; short forms are written out."""
    parsed = parse_filter({"a": 1, "b": ["x"], "c": {"gte": 1, "lt": 2}, "d": None, "e": {"exists": True}})
    assert parsed == (
        Clause("a", "eq", 1), Clause("b", "in", ("x",)), Clause("c", "gte", 1), Clause("c", "lt", 2),
        Clause("d", "exists", False), Clause("e", "exists", True),
    )  # fmt: skip
    assert parse_filter(None) == parse_filter({}) == ()


def test_dates_compare_as_their_text() -> None:
    """A date in a filter meets the ISO text that metadata holds."""
    assert holds({"day": date(2024, 5, 1)}, day="2024-05-01")
    assert holds({"day": {"gt": date(2024, 1, 1)}}, day="2024-05-01")
    assert not holds({"day": {"lt": date(2024, 1, 1)}}, day="2024-05-01")


@pytest.mark.parametrize(
    ("wanted", "found"), [(1, 1.0), (True, True), ("a", "a"), (1, [3, 1]), ("y", ["x", "y"]), (0.0, -0.0)]
)
def test_equal(wanted: Any, found: Any) -> None:
    """Numbers by value, texts and booleans by identity of kind, lists by membership."""
    assert holds({"key": wanted}, key=found)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [(1, "1"), (1, True), (True, 1), (False, 0), ("1", 1), ("a", "A"), ("a", None), (1, {"a": 1}), (1, [])],
)
def test_not_equal(wanted: Any, found: Any) -> None:
    """Another kind is never equal."""
    assert not holds({"key": wanted}, key=found)


@given(SCALARS, VALUES)
def test_in_is_any_of_equal(wanted: Any, found: Any) -> None:
    """One of a single value is equality, and adding values only lets more through."""
    one = holds({"key": {"in": [wanted]}}, key=found)
    assert one == holds({"key": wanted}, key=found)
    assert not one or holds({"key": {"in": [wanted, "more"]}}, key=found)


@given(st.one_of(st.integers(-5, 5), st.text(max_size=2)), VALUES)
def test_ranges_part_the_line(bound: Any, found: Any) -> None:
    """A scalar of the bound's kind is below, equal or above; anything else is none of these."""
    below, equal, above = (holds({"key": {operator: bound}}, key=found) for operator in ("lt", "eq", "gt"))
    assert holds({"key": {"lte": bound}}, key=found) == (below or equal)
    assert holds({"key": {"gte": bound}}, key=found) == (above or equal)
    if not isinstance(found, list):
        same_kind = isinstance(found, str) if isinstance(bound, str) else type(found) in {int, float}
        assert below + equal + above == same_kind


@given(VALUES)
def test_exists_is_not_null(found: Any) -> None:
    """Null counts as absent; an empty list does not."""
    assert holds({"key": {"exists": True}}, key=found) == (found is not None)
    assert not holds({"key": {"exists": True}}, other=found)
    assert holds({"key": None}, other=found)


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ({"a": {"like": 1}}, "valid are eq, in, gt, gte, lt, lte, exists"),
        ({"a": {"exists": 1}}, "exists takes true or false, not 1"),
        ({"a": {"in": "abc"}}, "in takes a list"),
        ({"a": {"gt": False}}, "compares numbers or strings"),
        ({"a": float("nan")}, "compares with nan"),
        ({"a": {"eq": None}}, "compares with None"),
        ({"a": b"bytes"}, "string, a number, a boolean or a date"),
        ("lang", "must be a dictionary"),
    ],
    ids=str,
)
def test_what_no_clause_can_hold(where: Any, told: str) -> None:
    """It is an error that names the key and says what is valid."""
    with pytest.raises(ConfigError) as caught:
        parse_filter(where)
    assert told in str(caught.value)
