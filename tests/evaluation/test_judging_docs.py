"""What the how-tos of judges and starter collections say is what the code does."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from regen.evaluation.answers import make_claims, parse_answers
from regen.evaluation.calibration import parse_claims
from regen.evaluation.review import parse_review
from regen.judges.lexical import LexicalJudge
from regen.judges.openai_chat import ChatJudge, open_chat
from regen.quality.judging import calibrate_judge, shipped_claims

DOCS = Path(__file__).parents[2] / "docs" / "how-to"
JUDGES, STARTER = ((DOCS / name).read_text() for name in ("judge-answers.md", "first-judged-collection.md"))


def examples(text: str) -> list[list[str]]:
    """The lines of each JSON example."""
    return [block.splitlines() for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]


def test_the_examples_are_read() -> None:
    """An answer, a labelled claim, a proposal and a line of one's own, as printed."""
    answer, claim = examples(JUDGES)
    claims = make_claims(parse_answers(answer, "docs"), {"q7": "How long are tombstones kept?"}).claims
    assert LexicalJudge().judge(list(claims.values()))[0].faithful == 1.0
    assert parse_claims(claim, "docs")[0].kind == "negated"
    proposed, added = examples(STARTER)
    [one, two] = parse_review([*proposed, *added], "docs").lines
    assert (one.state, one.origin, two.state, two.origin) == ("pending", "title", "accepted", "added")


def test_every_option_is_documented() -> None:
    """The table of options names what openai/… takes, and nothing else."""
    [table] = re.findall(r"\| option of `openai/…`.*?\n\n", JUDGES, re.DOTALL)
    named = {name for row in table.splitlines()[2:] if row for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    taken = {*inspect.signature(open_chat).parameters, *inspect.signature(ChatJudge.from_name).parameters}
    assert named == taken - {"name", "root", "options"}


def test_the_figures_of_the_lexical_judge_are_true() -> None:
    """What the how-to says of its calibration is what comes out."""
    found, claims = calibrate_judge(LexicalJudge()), shipped_claims()
    faithful = sum(label.faithful for label in claims)
    assert f"regen brings {len(claims)} labelled claims: {faithful} faithful" in JUDGES
    figures = f"{found.balanced_accuracy:.2f} ({found.ci_low:.2f} to {found.ci_high:.2f})"
    assert f"Its balanced accuracy is {figures}" in JUDGES
    negated, swapped = found.kinds["negated"], found.kinds["swapped"]
    assert f"{negated.claims - negated.right} of {negated.claims} negated claims and all with swapped roles" in JUDGES
    assert swapped.right == 0
