"""A judge's calibration: figures by hand, what passes and what does not, and the lexical judge shown as it is."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from regen.core.claims import Claim, Judgment
from regen.errors import EvaluationError, JudgeError
from regen.evaluation.calibration import Calibration, LabelledClaim, calibrate, parse_claims, require_passed
from regen.judges.lexical import LexicalJudge
from regen.quality.judging import calibrate_judge, judge_claims, shipped_claims

TRUE, FALSE = Judgment(1.0, 1.0), Judgment(0.5, 1.0)


def labels(faithful: int, unfaithful: int, kind: str = "") -> list[LabelledClaim]:
    """So many claims of either label, faithful first."""
    claim = Claim("q", "a", ("p",))
    truths = [True] * faithful + [False] * unfaithful
    return [LabelledClaim(claim, truth, f"{kind}{number}", kind) for number, truth in enumerate(truths)]


def says(right_true: int, wrong_true: int, right_false: int, wrong_false: int) -> list[Judgment]:
    """Judgments of faithful claims (right, wrong) and of the others (right, wrong)."""
    return [TRUE] * right_true + [FALSE] * wrong_true + [FALSE] * right_false + [TRUE] * wrong_false


def test_figures_by_hand() -> None:
    """Agreement, kappa and balanced accuracy of a table worked out on paper; the interval holds the value."""
    found = calibrate(says(18, 2, 6, 4), labels(20, 10), judge="j")
    assert found.n == 30
    assert found.agreement == pytest.approx(24 / 30)
    assert found.balanced_accuracy == pytest.approx((0.9 + 0.6) / 2)
    # by chance: 22 of 30 called true, 20 of 30 are; 8 of 30 called false, 10 of 30 are
    chance = (22 * 20 + 8 * 10) / 900
    assert found.kappa == pytest.approx((0.8 - chance) / (1 - chance))
    # Wilson: 18 of 20 is 0.6990 to 0.9721, 6 of 10 is 0.3127 to 0.8318
    low = 0.75 - ((0.9 - 0.6990) ** 2 + (0.6 - 0.3127) ** 2) ** 0.5 / 2
    high = 0.75 + ((0.9721 - 0.9) ** 2 + (0.8318 - 0.6) ** 2) ** 0.5 / 2
    assert (round(found.ci_low, 3), round(found.ci_high, 3)) == (round(low, 3), round(high, 3))
    assert not found.passed
    assert found.reason == f"balanced accuracy 0.75 may be as low as {low:.2f}, below 0.7"


@pytest.mark.parametrize(
    ("judgments", "claims", "passed", "reason"),
    [
        (says(20, 0, 20, 0), labels(20, 20), True, "balanced accuracy 1.00, at least 0.89"),
        (says(18, 2, 18, 2), labels(20, 20), True, "balanced accuracy 0.90"),
        (says(16, 4, 16, 4), labels(20, 20), False, "may be as low as 0.65"),
        (says(20, 0, 0, 20), labels(20, 20), False, "balanced accuracy 0.50"),
        (says(10, 0, 9, 0), labels(10, 9), False, "19 labelled claims are too few"),
        (says(36, 0, 4, 0), labels(36, 4), False, "36 claims are faithful and 4 are not"),
        (says(0, 0, 40, 0), labels(0, 40), False, "0 claims are faithful and 40 are not"),
        ([], [], False, "0 labelled claims are too few"),
    ],
    ids=["perfect", "good", "fair", "says yes", "few", "lopsided", "one label", "none"],
)
def test_what_passes(judgments: list[Judgment], claims: list[LabelledClaim], passed: bool, reason: str) -> None:
    """Passing needs enough claims of both labels and a lower bound, not a lucky average."""
    found = calibrate(judgments, claims)
    assert found.passed is passed
    assert reason in found.reason
    assert 0 <= found.ci_low <= found.balanced_accuracy <= found.ci_high <= 1


def test_a_blind_spot_fails_a_good_judge() -> None:
    """A judge that is right on all but the negated claims would promote what negates its sources."""
    claims = [*labels(40, 37, "plain"), *labels(0, 3, "negated")]
    judgments = [*says(40, 0, 37, 0), FALSE, TRUE, TRUE]
    found = calibrate(judgments, claims)
    assert found.ci_low > 0.9
    assert not found.passed
    assert found.reason == "blind to negated (1 of 3 right)"
    judgments[-1] = FALSE
    assert calibrate(judgments, claims).passed


def test_the_lexical_judge_is_shown_as_it_is() -> None:
    """It passes what is quoted and finds what is made up, is blind to negation and other words, and may not gate."""
    found = calibrate_judge(LexicalJudge())
    right = {kind: (score.right, score.claims) for kind, score in found.kinds.items()}
    for kind in ("quoted", "shortened", "combined", "unsupported", "partial", "contradicted"):
        assert right[kind][0] == right[kind][1], kind
    for kind in ("negated", "swapped", "reworded"):
        assert 2 * right[kind][0] < right[kind][1], kind
    assert not found.passed
    assert "blind to reworded (0 of 4 right), negated (1 of 5 right), swapped (0 of 3 right)" in found.reason
    assert 0.6 < found.balanced_accuracy < 0.75
    with pytest.raises(JudgeError, match="'lexical/1' may not gate: balanced accuracy"):
        require_passed(found, "lexical/1")


def test_the_lexical_judge_may_gate_where_it_can_judge() -> None:
    """On claims without its blind spots it passes: a calibration is about claims like one's own."""
    able = {
        "quoted",
        "shortened",
        "combined",
        "negation_kept",
        "unsupported",
        "partial",
        "contradicted",
        "number_changed",
    }
    found = calibrate_judge(LexicalJudge(), [label for label in shipped_claims() if label.kind in able])
    assert found.passed, found.reason
    require_passed(found, "lexical/1")


def test_only_the_calibrated_judge_may_gate() -> None:
    """Never calibrated, or another one: refused, and told what to do."""
    passed = calibrate(says(20, 0, 20, 0), labels(20, 20), judge="a prompt/1")
    require_passed(passed, "a prompt/1")
    for calibration, message in (
        (None, "was never calibrated"),
        (passed, "calibrated was 'a prompt/1', not 'a prompt/2'"),
    ):
        with pytest.raises(JudgeError, match=message) as caught:
            require_passed(calibration, "a prompt/2")
        assert "judge-answers.md" in (caught.value.hint or "")


def test_the_shipped_claims_are_balanced_and_varied() -> None:
    """Out of the box there is something to calibrate with: both labels, many ways of being wrong, each claim once."""
    claims = shipped_claims()
    assert 40 <= len(claims) <= 60
    assert abs(2 * sum(label.faithful for label in claims) - len(claims)) <= 1
    kinds = Counter(label.kind for label in claims if not label.faithful)
    assert set(kinds) == {
        "number_changed",
        "negated",
        "swapped",
        "unsupported",
        "partial",
        "other_passage",
        "contradicted",
    }
    assert len({(label.claim.answer, label.claim.passages) for label in claims}) == len(claims)
    assert all(label.claim.passages and label.kind for label in claims)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: no JSON"),
        ("[1]", "line 2: list, not an object"),
        ('{"question": "q", "answer": "a", "passages": ["p"]}', 'line 2: "faithful" is None'),
        ('{"question": "q", "answer": "a", "passages": ["p"], "faithful": 1}', 'line 2: "faithful" is 1'),
        ('{"question": "q", "answer": "a", "passages": "p", "faithful": true}', '"passages" is no list of texts'),
        ('{"question": "q", "answer": " ", "passages": ["p"], "faithful": true}', "\"answer\" is ' '"),
        ('{"answer": "a", "passages": ["p"], "faithful": true}', "no question"),
        ('{"id": "x", "question": "q", "answer": "a", "passages": [], "faithful": true}', "again, after line 1"),
    ],
    ids=["json", "list", "unlabelled", "number", "passages", "empty", "question", "twice"],
)  # fmt: skip
def test_wrong_lines_are_told(line: str, message: str) -> None:
    """With the line's number, what was found and what is valid."""
    first = '{"id": "x", "question": "q", "answer": "a", "passages": ["p"], "faithful": false, "kind": "k"}'
    [good] = parse_claims([first], "claims.jsonl")
    assert good == LabelledClaim(Claim("q", "a", ("p",)), False, "x", "k")
    with pytest.raises(EvaluationError) as caught:
        parse_claims([first, line], "claims.jsonl")
    assert message in caught.value.message
    assert "Valid: " in caught.value.message


def test_no_claims_and_unequal_numbers_are_errors() -> None:
    """A calibration of nothing, or of half, is none."""
    with pytest.raises(EvaluationError, match="no labelled claims were found"):
        parse_claims(["", "  "], "claims.jsonl")
    with pytest.raises(EvaluationError, match="1 judgment for 2 labelled claims"):
        calibrate([TRUE], labels(1, 1))


def test_a_judge_that_breaks_its_contract_is_told() -> None:
    """Too few judgments, or no shares, are noticed before they become numbers."""

    class Careless:
        name = "careless"

        def __init__(self, *judgments: Judgment) -> None:
            self.judgments = list(judgments)

        def judge(self, claims: object) -> list[Judgment]:
            return self.judgments

    claims = {"q1": Claim("q", "a", ("p",))}
    with pytest.raises(JudgeError, match="0 judgments of 1 claims"):
        judge_claims(Careless(), claims)
    for share in (1.5, -0.1, float("nan")):
        with pytest.raises(JudgeError, match="gave"):
            judge_claims(Careless(Judgment(share, 0.0)), claims)
    assert judge_claims(Careless(TRUE), claims) == {"q1": TRUE}


def test_a_calibration_is_json() -> None:
    """It can be kept and shown."""
    found = calibrate(says(20, 0, 20, 0), labels(20, 20, "plain"), judge="j")
    assert isinstance(found, Calibration)
    assert json.loads(json.dumps(found.to_dict()))["kinds"] == {"plain": {"right": 40, "claims": 40}}
