"""The grammar of --where, moments of --since, and numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from regen.cli.conditions import parse_conditions
from regen.cli.exits import UsageError
from regen.cli.moments import parse_moment
from regen.cli.quantities import ago, counted, duration, money
from regen.core.filters import matches, parse_filter

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("condition", "where"),
    [
        ("lang=en", {"lang": {"eq": "en"}}),
        ("lang = en ", {"lang": {"eq": "en"}}),
        ("title=a = b", {"title": {"eq": "a = b"}}),
        ("title=war in peace", {"title": {"eq": "war in peace"}}),
        ("year=2020", {"year": {"eq": 2020}}),
        ('year="2020"', {"year": {"eq": "2020"}}),
        ("share=0.5", {"share": {"eq": 0.5}}),
        ("open=true", {"open": {"eq": True}}),
        ("limit=NaN", {"limit": {"eq": "NaN"}}),
        ("year>=2020", {"year": {"gte": 2020}}),
        ("year<2024", {"year": {"lt": 2024}}),
        ("year > 1", {"year": {"gt": 1}}),
        ("day<=2026-03-01", {"day": {"lte": "2026-03-01"}}),
        ("lang in en,de", {"lang": {"in": ["en", "de"]}}),
        ("lang in en", {"lang": {"in": ["en"]}}),
        ("year in 2020, 2021", {"year": {"in": [2020, 2021]}}),
        ('name in ["a,b", "c"]', {"name": {"in": ["a,b", "c"]}}),
        ("draft", {"draft": {"exists": True}}),
        ("!draft", {"draft": {"exists": False}}),
        ("a.b-c:d=1", {"a.b-c:d": {"eq": 1}}),
    ],
)
def test_a_condition(condition: str, where: dict[str, Any]) -> None:
    """Each form of the grammar becomes one typed clause that the core understands."""
    assert parse_conditions([condition]) == where
    assert len(parse_filter(where)) == 1


def test_conditions_are_joined() -> None:
    """Several conditions, on one key or more, all have to hold."""
    where = parse_conditions(["year>=2020", "year<2024", "lang in en,de", "!draft", "year>=2020"])
    clauses = parse_filter(where)
    assert matches(clauses, {"year": 2021, "lang": "de"})
    assert not matches(clauses, {"year": 2024, "lang": "de"})
    assert not matches(clauses, {"year": 2021, "lang": "de", "draft": False})


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        (["a==3"], "'a==3' is not a condition"),
        (["a=>3"], "is not a condition"),
        (["a!=3"], "is not a condition"),
        (["=3"], "is not a condition"),
        (["a="], "is not a condition"),
        (["a b c"], "is not a condition"),
        ([""], "is not a condition"),
        (["a=null"], "is not a condition"),
        (["a=[1,2]"], "is not a condition"),
        (["a=1", "a=2"], "compares 'a' twice in the same way"),
        (["a>true"], "gt compares numbers or strings"),
    ],
)
def test_what_is_no_condition(conditions: list[str], message: str) -> None:
    """A condition that cannot be meant is a usage error with a hint."""
    with pytest.raises(UsageError) as caught:
        parse_conditions(conditions)
    assert message in caught.value.message
    assert caught.value.message.startswith("--where")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", NOW - 7200),
        ("2h ago", NOW - 7200),
        ("1d12h", NOW - 129_600),
        ("2026-03-01T12:30+01:00", NOW - 1800),
        ("2026-02-28T12:00:00Z", NOW - 86_400),
    ],
)
def test_moments(text: str, moment: float) -> None:
    """A moment is an ISO time, or a duration before now."""
    assert parse_moment(text, NOW) == moment


def test_a_moment_without_zone_is_local() -> None:
    """People mean their own clock."""
    local = datetime(2026, 2, 1, 8).astimezone()
    assert parse_moment("2026-02-01T08:00", NOW) == local.timestamp()


@pytest.mark.parametrize("text", ["yesterday", "", "ago", "2026-13-01", "2026-03-02"])
def test_what_is_no_moment(text: str) -> None:
    """What is no time, or is in the future, is a usage error."""
    with pytest.raises(UsageError, match="--since"):
        parse_moment(text, NOW)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0001, "< 1 ms"), (0.0123, "12 ms"), (0.0996, "0.1 s"), (1.44, "1.4 s"), (59.9, "59.9 s"), (125, "2 min 5 s"),
     (12_000, "3 h 20 min"), (180_000, "2 d 2 h")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    """Times are short and keep two digits that matter."""
    assert duration(seconds) == text


def test_money_counts_and_ages() -> None:
    """Small sums can be seen; one is not many; what has just happened has no age."""
    assert [money(dollars) for dollars in (0, 0.00001, 0.0123, 12.3456)] == ["$0.00", "< $0.0001", "$0.0123", "$12.35"]
    assert counted(1, "text") == "1 text"
    assert counted(5001, "text") == "5,001 texts"
    assert ago(NOW - 0.2, NOW) == "just now"
    assert ago(NOW - 7200, NOW) == "2 h 0 min ago"
