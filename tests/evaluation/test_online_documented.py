"""The page on online comparison says what the code does."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from regen.evaluation.rollout import Analysis
from regen.evaluation.tallies import NAMES

PAGE = (Path(__file__).parents[2] / "docs" / "concepts" / "online-comparison.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_run(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Each example on the page runs by itself and prints something."""
    exec(compile(EXAMPLES[number], f"example {number}", "exec"), {})
    assert capsys.readouterr().out


def test_there_are_examples() -> None:
    """The test above has something to run."""
    assert len(EXAMPLES) == 2


def test_every_setting_is_documented_with_its_default() -> None:
    """The table of settings has all of them, and the defaults of the code."""
    rows = dict(re.findall(r"^\| (`[^|]+`) \|([^|]*)\|", PAGE, re.MULTILINE))
    written: dict[str, str] = {}
    for names, defaults in rows.items():
        shares = [defaults] if names.count("`") == 2 else defaults.split(",")
        written |= dict(zip(re.findall(r"`(\w+)`", names), shares, strict=False))
    for setting in fields(Analysis):
        default = setting.default
        expected = f"{default:g}" if isinstance(default, float | int) else f"`{default}`" if default else ""
        assert written[setting.name].strip() == expected, setting.name


def test_every_name_of_a_condition_is_documented() -> None:
    """The table of names has all that a condition may use."""
    table = PAGE[PAGE.index("### Conditions") :]
    assert [name for name in NAMES if f"`{name}`" not in table] == []
