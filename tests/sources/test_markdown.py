"""Front matter and headings."""

from __future__ import annotations

from typing import Any

import pytest

from regen.sources.markdown import FrontMatterError, first_heading, split_front_matter


@pytest.mark.parametrize(
    ("text", "metadata", "rest"),
    [
        ("---\na: 1\n---\ntext", {"a": 1}, "text"),
        ("---\r\na: 1\r\n---\r\ntext\r\n", {"a": 1}, "text\r\n"),
        ("---\na: 1\n...\ntext", {"a": 1}, "text"),
        ("---\na: 1\n---", {"a": 1}, ""),
        ("---\n---\ntext", {}, "text"),
        ("---\n# only a comment\n---\n\ntext", {}, "\ntext"),
        ("text", {}, "text"),
        ("---\nno end", {}, "---\nno end"),
        ("----\na: 1\n----\n", {}, "----\na: 1\n----\n"),
        ("\n---\na: 1\n---\n", {}, "\n---\na: 1\n---\n"),
        ("---\na: |\n  x\n  ---\n  y\n---\ntext", {"a": "x\n---\ny\n"}, "text"),
    ],
)
def test_where_front_matter_ends(text: str, metadata: dict[str, Any], rest: str) -> None:
    """Only a block at the very start counts, and what is behind it stays as it is."""
    assert split_front_matter(text) == (metadata, rest)


def test_values_are_what_json_can_hold() -> None:
    """Dates stay ISO 8601 strings, keys become strings, sets become lists."""
    front = (
        "day: 2024-05-01\nmoment: 2024-05-01T10:00:00Z\n7: seven\n2024-01-02: key\nyes: bool\n"
        "nested: {deep: [2024-01-01, 1.5, null]}\nset: !!set {b, a}\n"
    )
    assert split_front_matter(f"---\n{front}---\n")[0] == {
        "day": "2024-05-01",
        "moment": "2024-05-01T10:00:00+00:00",
        "7": "seven",
        "2024-01-02": "key",
        "true": "bool",
        "nested": {"deep": ["2024-01-01", 1.5, None]},
        "set": ["a", "b"],
    }


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("front", "reason"),
    [
        ("a: [", "not valid YAML"),
        ("a: b: c", r"line 2, column 5"),
        ("- a\n- b", "must be a mapping.*not list"),
        ("just text", "must be a mapping.*not str"),
        ("a: 2024-13-45", "not valid YAML"),
        ("a: !!python/object/apply:os.system [true]", "not valid YAML"),
        ("a: .nan", "JSON cannot hold"),
        ("a: 123456789012345678901234567890", "JSON cannot hold"),
        ("a: !!binary aGVsbG8=", "JSON cannot hold"),
        ("a: 1\nb: 2\na: 3", r"key 'a' comes twice \(line 4, column 1\)"),
        ("a: {b: 1, b: 2}", "key 'b' comes twice"),
        ("1: a\n'1': b", "key '1' twice"),
        ('a: "\\ud800"', "surrogate|not valid YAML"),
        ("a: " + "[" * 50_000, "nested too deeply|not valid YAML"),
        ("- " * 40_000, "nested too deeply|not valid YAML"),
        ("a: &a [*a]", "more than 10,000 values|nested too deeply"),
        (BOMB, "more than 10,000 values"),
        ("a: " + "x" * 200_000, "at most 100,000"),
    ],
)
def test_what_cannot_be_used_is_explained(front: str, reason: str) -> None:
    """Malformed, hostile or unusual YAML is a reason, never a crash and never a guess."""
    with pytest.raises(FrontMatterError, match=reason):
        split_front_matter(f"---\n{front}\n---\ntext")


@pytest.mark.parametrize(
    ("text", "heading"),
    [
        ("# Title", "Title"),
        ("intro\n\n## Second level ##\n# First", "Second level"),
        ("#\tTabbed #1 \r\ntext", "Tabbed #1"),
        ("   ### Indented", "Indented"),
        ("    # code", None),
        ("#hashtag\n#!shebang", None),
        ("#\n# Real", "Real"),
        ("# #\n# Real", "Real"),
        ("Title\n=====\n", "Title"),
        ("Title\r\n---\r\ntext", "Title"),
        ("intro\n\nLast *lines*\n---", "Last *lines*"),
        ("---\n\n# After a rule", "After a rule"),
        ("- item\n---\n# After a list", "After a list"),
        ("```bash\n# comment\n```\n# Real", "Real"),
        ("~~~~\n# one\n~~~\n# two\n~~~~\n# Real", "Real"),
        ("```\n# never closed", None),
        ("no heading\n\ntext", None),
        ("", None),
    ],
)
def test_the_first_heading(text: str, heading: str | None) -> None:
    """Headings of both kinds are found; code, lists and rules are not mistaken for them."""
    assert first_heading(text) == heading


def test_a_long_text_without_headings_is_quick() -> None:
    """No pattern runs away on a long line or on many short ones (it would take minutes)."""
    assert first_heading("a b " * 500_000) is None
    assert first_heading("a b\n\n" * 300_000) is None
    assert first_heading(" " * 1_000_000) is None
    assert first_heading("# " + " " * 1_000_000 + "x") == "x"
