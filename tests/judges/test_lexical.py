"""The lexical judge: what it counts, and what it cannot understand."""

from __future__ import annotations

import pytest

from regen.errors import ConfigError
from regen.judges.lexical import LexicalJudge
from regen.ports.judges import Claim, Judge

PASSAGES = ("The catalog keeps tombstones for 7 days.", "Bees dance to show where flowers are.", "Rain fell.")


@pytest.mark.parametrize(
    ("answer", "faithful", "uses"),
    [
        ("The catalog keeps tombstones for 7 days.", 1.0, 1 / 3),
        ("Tombstones are kept by the catalog: 7 days.", 1.0, 1 / 3),
        ("The catalog keeps tombstones for 9 days.", 0.0, 1 / 3),
        ("The catalog keeps tombstones for 7 days. It is painted green every autumn.", 0.5, 1 / 3),
        ("Bees dance to show flowers. Rain fell. Tombstones are kept for 7 days.", 1.0, 1.0),
        ("Bees sing in choirs [2].", 0.0, 1 / 3),
        ("Bees dance to show flowers [3].", 1.0, 2 / 3),
        ("Bees dance [9].", 1.0, 1 / 3),
        ("It is so.", 1.0, 0.0),
        ("", 0.0, 0.0),
    ],
    ids=["quoted", "reordered", "number", "half", "three", "cited only", "cited too", "no such passage", "no content",
         "empty"],
)  # fmt: skip
def test_sentences_and_passages_are_counted(answer: str, faithful: float, uses: float) -> None:
    """Faithful is the share of borne-out sentences, source use the share of passages drawn on or cited."""
    [found] = LexicalJudge().judge([Claim("q", answer, PASSAGES)])
    assert found.faithful == faithful
    assert found.uses_sources == pytest.approx(uses)
    assert found.cost_usd == 0


def test_words_of_two_passages_bear_nothing_out() -> None:
    """A sentence needs one passage that says it, not words gathered from several."""
    claim = Claim("q", "Rain fell where bees keep tombstones.", PASSAGES)
    assert LexicalJudge().judge([claim])[0].faithful == 0.0
    assert LexicalJudge().judge([claim])[0].reason == "not in any passage: Rain fell where bees keep tombstones."


def test_it_is_blind_to_negation() -> None:
    """The known weakness, written down: a negated sentence passes, which is why it must not gate on such claims."""
    [found] = LexicalJudge().judge([Claim("q", "The catalog does not keep tombstones for 7 days.", PASSAGES)])
    assert found.faithful == 1.0


def test_names_parse_back() -> None:
    """The share that is asked for is part of the name where it is not the usual one, and is checked."""
    assert isinstance(LexicalJudge(), Judge)
    assert LexicalJudge.from_name(LexicalJudge().name).name == "lexical/1"
    assert LexicalJudge.from_name("lexical", share=0.5).name == "lexical/1 (share 0.5)"
    with pytest.raises(ConfigError, match="no version of the lexical judge"):
        LexicalJudge.from_name("lexical/2")
    for share in (0, 1.5, True, "much"):
        with pytest.raises(ConfigError, match=r"options\.share is"):
            LexicalJudge.from_name("lexical", share=share)  # type: ignore[arg-type]


def test_a_lower_share_believes_more() -> None:
    """The share decides how much of a sentence must be there."""
    claim = Claim("q", "Bees dance wildly at midnight to show flowers.", PASSAGES)
    assert LexicalJudge(0.9).judge([claim])[0].faithful == 0.0
    assert LexicalJudge(0.5).judge([claim])[0].faithful == 1.0
