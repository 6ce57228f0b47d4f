"""Known queries are read from lines of JSON, and every mistake is told with its line."""

from __future__ import annotations

import pytest

from regen.errors import EvaluationError
from regen.evaluation.known import WITHIN, KnownQuery, read_known


def test_a_file_is_read() -> None:
    """Defaults, a single document and principals, blank lines and a byte order mark."""
    lines: list[str | bytes] = [
        b'\xef\xbb\xbf{"query": " how do I? ", "documents": ["a", "b", "a"]}',
        "",
        '{"query": "other", "documents": "c", "within": 1, "principals": ["team"]}',
        '{"query": "other", "documents": ["c"], "principals": []}',
    ]
    assert read_known(lines) == (
        KnownQuery("how do I?", ("a", "b"), WITHIN, None),
        KnownQuery("other", ("c",), 1, ("team",)),
        KnownQuery("other", ("c",), WITHIN, ()),
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("nonsense", "no JSON"),
        ("[1]", "no JSON object"),
        ('{"documents": ["a"]}', 'no "query"'),
        ('{"query": "  ", "documents": ["a"]}', '"query" is'),
        ('{"query": 7, "documents": ["a"]}', '"query" is 7'),
        ('{"query": "x"}', 'no "documents"'),
        ('{"query": "x", "documents": []}', 'no "documents"'),
        ('{"query": "x", "documents": [1]}', '"documents" is'),
        ('{"query": "x", "documents": ["a"], "within": 0}', '"within" is 0'),
        ('{"query": "x", "documents": ["a"], "within": true}', '"within" is True'),
        ('{"query": "x", "documents": ["a", "b"], "within": 1}', "2 documents within 1 ranks"),
        ('{"query": "x", "documents": ["a"], "rank": 1}', "the key 'rank'"),
        ('{"query": "x", "documents": ["a"], "principals": [""]}', '"principals" is'),
    ],
    ids=range(13),
)
def test_mistakes_are_told_with_their_line(line: str, told: str) -> None:
    """What was found, where, and what is valid."""
    with pytest.raises(EvaluationError) as raised:
        read_known(['{"query": "good", "documents": ["a"]}', line], "known.jsonl")
    assert raised.value.message.startswith("known.jsonl, line 2: ")
    assert told in raised.value.message
    assert "Valid: " in raised.value.message


def test_a_query_twice() -> None:
    """The same query for the same principals is a mistake, for others it is not."""
    line = '{"query": "x", "documents": ["a"]}'
    with pytest.raises(EvaluationError, match="after line 1"):
        read_known([line, line])
    assert len(read_known([line, '{"query": "x", "documents": ["a"], "principals": []}'])) == 2
