"""What the gate says: each bound from each side, the whole verdict, its words, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest

from regen.errors import EvaluationError
from regen.evaluation.conditions import (
    CheckCondition,
    Condition,
    ErrorRateCondition,
    Kind,
    LatencyCondition,
    MeasureCondition,
)
from regen.evaluation.gate import Decision, judge
from regen.evaluation.outcome import Arm, CheckResult, Comparison, Evaluation, Latency, QueryOutcome

M = "nDCG@10"


def outcome(
    number: int, before: float | None, after: float, collection: str = "support", tags: tuple[str, ...] = ()
) -> QueryOutcome:
    """One query's values of one measure; before of None: nothing is live."""
    baseline: Mapping[str, float] = {} if before is None else {M: before}
    return QueryOutcome(collection, f"q{number}", "text", tags, baseline, {M: after}, (), (), {})


def shifted(n: int, lift: float, deviation: float = 0.1, collection: str = "support") -> list[QueryOutcome]:
    """Differences that have exactly this mean, and nearly this deviation; every third query is in slice de."""
    noise = np.random.default_rng(5).normal(0, deviation, n)
    noise -= noise.mean()
    return [
        outcome(number, 0.5, 0.5 + lift + off, collection, ("lang=de",) if number % 3 == 0 else ("lang=en",))
        for number, off in enumerate(noise)
    ]


def bound(kind: Kind, value: float, **where: str) -> MeasureCondition:
    """A condition on the one measure."""
    return MeasureCondition(M, kind, value, **where)


def only(decision: Decision) -> Comparison:
    """The one comparison that the gate's condition is about."""
    (row,) = (row for row in decision.comparisons if row.condition is not None)
    return row


CASES = [
    ("min_lift", 0.0, 100, 0.05, "promote"), ("min_lift", 0.0, 100, -0.05, "hold"),
    ("min_lift", 0.0, 100, 0.01, "cannot_tell"), ("min_lift", 0.0, 100, -0.01, "cannot_tell"),
    ("min_lift", 0.04, 100, 0.08, "promote"), ("min_lift", 0.04, 100, 0.05, "cannot_tell"),
    ("min_lift", 0.04, 100, 0.01, "hold"), ("min_lift", -0.03, 100, 0.0, "promote"),
    ("max_drop", 0.03, 100, 0.0, "promote"), ("max_drop", 0.03, 100, 0.05, "promote"),
    ("max_drop", 0.03, 100, -0.02, "cannot_tell"), ("max_drop", 0.03, 100, -0.04, "cannot_tell"),
    ("max_drop", 0.03, 100, -0.06, "hold"), ("max_drop", 0.03, 20, 0.0, "cannot_tell"),
    ("max_drop", 0.0, 100, 0.05, "promote"), ("max_drop", 0.0, 100, 0.0, "cannot_tell"),
    ("min", 0.45, 100, 0.0, "promote"), ("min", 0.55, 100, 0.0, "hold"), ("min", 0.49, 100, 0.0, "cannot_tell"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "n", "lift", "verdict"), CASES)
def test_each_bound_from_each_side(kind: Kind, value: float, n: int, lift: float, verdict: str) -> None:
    """The interval wholly beyond the bound is met, wholly short of it is not met, across it cannot tell."""
    decision = judge(shifted(n, lift), [bound(kind, value)])
    row = only(decision)
    assert row.verdict == decision.verdict == verdict
    if kind != "min":
        beyond = row.ci_low > row.bound if row.bound is not None else False
        short = row.ci_high < row.bound if row.bound is not None else False
        assert (beyond, short) == (verdict == "promote", verdict == "hold")
    assert row.condition == f"{kind} {value:g}"
    on_the_bound = row.bound is not None and row.delta == pytest.approx(row.bound)
    assert (row.needed is not None) == (verdict == "cannot_tell" and not on_the_bound)


def test_a_row_holds_every_figure() -> None:
    """Means, difference, effect size and what could have been shown are of the same queries."""
    row = only(judge(shifted(100, 0.05), [bound("min_lift", 0.0)]))
    assert (row.baseline, row.candidate, row.delta) == pytest.approx((0.5, 0.55, 0.05))
    assert row.ci_low < 0.05 < row.ci_high
    assert row.p_value < 0.01
    assert row.effect_size == pytest.approx(0.05 / 0.1, rel=0.2)
    assert row.min_detectable == pytest.approx(2.83 * 0.1 / 100**0.5, rel=0.2)
    assert (row.queries, row.collection, row.slice, row.measure) == (100, "support", "all", M)


@pytest.mark.parametrize("kind", ["min_lift", "max_drop"])
def test_identical_rankings_meet_both(kind: Kind) -> None:
    """Where no query's value changed there is nothing to doubt."""
    decision = judge([outcome(number, number / 40, number / 40) for number in range(40)], [bound(kind, 0.0)])
    assert decision.verdict == "promote"
    assert "no query's value changed" in decision.reasons[0]


def test_identical_rankings_are_no_improvement() -> None:
    """A lift that is asked for and does not happen is not met."""
    decision = judge([outcome(number, 0.5, 0.5) for number in range(40)], [bound("min_lift", 0.01)])
    assert decision.verdict == "hold"


def test_one_win_among_ties_proves_nothing() -> None:
    """No query got worse, and yet a single better one is not told from chance."""
    queries = [outcome(number, 0.5, 1.0 if number == 3 else 0.5) for number in range(20)]
    decision = judge(queries, [bound("min_lift", 0.0)])
    assert decision.verdict == "cannot_tell"
    assert only(decision).ci_low == 0


def test_twenty_queries_cannot_tell_a_small_difference_but_more_can() -> None:
    """A true lift of 0.03 needs about as many queries as the gate says."""
    few = judge(shifted(20, 0.03), [bound("min_lift", 0.0)])
    assert few.verdict == "cannot_tell"
    needed = only(few).needed
    assert needed is not None
    assert 30 < needed < 150
    assert f"about {needed} more judged queries would settle it" in few.reasons[0]
    assert judge(shifted(20 + needed, 0.03), [bound("min_lift", 0.0)]).verdict == "promote"
    assert judge(shifted(20, 0.3), [bound("min_lift", 0.0)]).verdict == "promote"


def test_too_few_queries_say_so() -> None:
    """Five queries cannot meet or miss anything, however large or small the difference, and the reason names six."""
    for lift, deviation in ((0.4, 0.01), (-0.4, 0.01), (0.0, 0.0)):
        decision = judge(shifted(5, lift, deviation), [bound("min_lift", 0.0)])
        assert decision.verdict == "cannot_tell"
        assert "5 judged queries are too few; with fewer than 6" in decision.reasons[0]
        assert only(decision).needed is not None
    assert judge(shifted(6, 0.4, 0.01), [bound("min_lift", 0.0)]).verdict == "promote"


def test_no_number_of_queries_settles_a_tie() -> None:
    """Where the mean lies on the bound, no number is promised."""
    decision = judge(shifted(100, 0.0), [bound("min_lift", 0.0)])
    assert only(decision).needed is None
    assert "too close to the bound" in decision.reasons[0]


def test_the_worst_condition_decides() -> None:
    """Any condition that is not met holds; else any that cannot tell; else promote. Reasons come in that order."""
    better, unsure, worse = (
        shifted(100, lift, collection=name) for name, lift in (("a", 0.05), ("b", 0.005), ("c", -0.08))
    )
    assert judge(better, [bound("min_lift", 0.0)]).verdict == "promote"
    assert judge(better + unsure, [bound("min_lift", 0.0)]).verdict == "cannot_tell"
    decision = judge(better + unsure + worse, [bound("min_lift", 0.0)])
    assert decision.verdict == "hold"
    assert [reason.split(":")[0] for reason in decision.reasons] == [f"{M} on c", f"{M} on b", f"{M} on a"]


def test_a_condition_counts_where_it_says() -> None:
    """A collection or slice that no condition names is reported, and never counts."""
    good, bad = shifted(100, 0.05, collection="a"), shifted(100, -0.08, collection="b")
    decision = judge(good + bad, [bound("min_lift", 0.0, collection="a")])
    assert decision.verdict == "promote"
    reported = {(row.collection, row.slice): row.verdict for row in decision.comparisons if row.condition is None}
    assert reported.keys() == {
        (name, part) for name in "ab" for part in ("all", "lang=de", "lang=en") if (name, part) != ("a", "all")
    }
    assert reported["b", "all"] == "hold"


def test_a_slice_can_hold_what_the_whole_would_not() -> None:
    """German queries got worse while all together got better: a condition on the slice sees it."""
    queries = [
        outcome(number, 0.5, 0.2 if number % 4 == 0 else 0.9, tags=("lang=de",) if number % 4 == 0 else ())
        for number in range(80)
    ]
    assert judge(queries, [bound("min_lift", 0.0)]).verdict == "promote"
    decision = judge(queries, [bound("min_lift", 0.0), bound("max_drop", 0.05, slice="lang=de")])
    assert decision.verdict == "hold"
    assert decision.reasons[0].startswith(f"{M} on support, slice lang=de: \u22120.3000")


def test_more_conditions_ask_for_stronger_evidence() -> None:
    """Intervals of a gate's conditions are widened together; reported rows do not widen them."""
    queries = [row for name in "abcdef" for row in shifted(60, 0.02, collection=name)]
    alone = only(judge(queries, [bound("min_lift", 0.0, collection="a")]))
    together = judge(queries, [bound("min_lift", 0.0)]).comparisons[0]
    assert together.ci_low < alone.ci_low < alone.ci_high < together.ci_high
    assert only(judge(shifted(60, 0.02, collection="a"), [bound("min_lift", 0.0)])).ci_low == alone.ci_low


def test_the_first_generation_is_judged_by_floors_only() -> None:
    """Where nothing is live, min is judged, and what needs a baseline is told to be open."""
    queries = [outcome(number, None, 0.5 + number % 3 / 10) for number in range(60)]
    conditions: list[Condition] = [bound("min", 0.5), bound("min_lift", 0.0), LatencyCondition("p95", max_ratio=1.5)]
    decision = judge(queries, conditions, candidate_latency=Latency(1, 2, 3, 0, 60))
    assert decision.verdict == "promote"
    assert any("nothing is live yet" in reason for reason in decision.reasons)
    assert "nothing is live yet" in decision.checks[0].detail
    assert judge(queries, [bound("min", 0.7)]).verdict == "hold"


@pytest.mark.parametrize(("passed", "gates", "verdict"), [
    (True, True, "promote"), (False, True, "hold"), (False, False, "cannot_tell"), (True, False, "cannot_tell"),
])  # fmt: skip
def test_without_conditions_the_checks_decide(passed: bool, gates: bool, verdict: str) -> None:
    """A gating check that fails holds; advice does not, but is no proof either."""
    decision = judge(shifted(50, -0.3), [], checks=[CheckResult("gone", passed, "3 documents", gates)])
    assert decision.verdict == verdict
    assert (decision.reasons[0] == "gone: 3 documents") == (verdict == "hold")


def test_nothing_at_all_proves_nothing() -> None:
    """No conditions and no checks: nothing speaks for the candidate."""
    decision = judge([], [])
    assert decision.verdict == "cannot_tell"
    assert decision.reasons == ("nothing was measured that could speak for this generation",)


def test_a_check_is_advisory_or_required_as_configured() -> None:
    """The configuration decides over the check's own default, and a required check must have run."""
    failed, advice = CheckResult("recall", passed=False, detail="0.8"), CheckResult("order", False, "9", gates=False)
    queries = shifted(100, 0.05)
    better = bound("min_lift", 0.0)
    assert judge(queries, [better], checks=[failed]).verdict == "hold"
    relaxed = judge(queries, [better, CheckCondition("recall", advisory=True)], checks=[failed])
    assert (relaxed.verdict, relaxed.checks[0].gates) == ("promote", False)
    assert judge(queries, [better], checks=[advice]).verdict == "promote"
    assert judge(queries, [better, CheckCondition("order")], checks=[advice]).verdict == "hold"
    missing = judge(queries, [better, CheckCondition("recal")], checks=[failed])
    assert missing.checks[1].hint == "checks: recall"
    assert judge(queries, [better, CheckCondition("absent", advisory=True)]).verdict == "promote"


LIVE = Latency(p50=10, p95=20, p99=40, error_rate=0.0, searches=100)


@pytest.mark.parametrize(("condition", "candidate", "verdict"), [
    (LatencyCondition("p95", max_ratio=1.5), Latency(10, 30, 99, 0, 100), "promote"),
    (LatencyCondition("p95", max_ratio=1.5), Latency(10, 30.1, 40, 0, 100), "hold"),
    (LatencyCondition("p50", max_ms=9), Latency(10, 20, 40, 0, 100), "hold"),
    (LatencyCondition("p99", max_ratio=2, max_ms=60), Latency(10, 20, 70, 0, 100), "hold"),
    (LatencyCondition("p99", max_ratio=2, max_ms=70), Latency(10, 20, 70, 0, 100), "promote"),
    (LatencyCondition("p95", max_ratio=1.5), None, "cannot_tell"),
    (LatencyCondition("p95", max_ratio=1.5), Latency(0, 0, 0, 0, 0), "cannot_tell"),
    (ErrorRateCondition(0.01), Latency(10, 20, 40, 0.01, 100), "promote"),
    (ErrorRateCondition(0.01), Latency(10, 20, 40, 0.02, 100), "hold"),
    (ErrorRateCondition(0.01), None, "cannot_tell"),
])  # fmt: skip
def test_latency_and_errors(condition: Condition, candidate: Latency | None, verdict: str) -> None:
    """They become checks, are compared with the live generation under the same load, and must have been measured."""
    decision = judge(
        shifted(100, 0.05), [bound("min_lift", 0), condition], baseline_latency=LIVE, candidate_latency=candidate
    )
    assert decision.verdict == verdict
    assert decision.checks[0].passed == (verdict == "promote")
    assert (decision.checks[0].name in decision.reasons[0]) == (verdict != "promote")


def test_a_baseline_whose_latency_is_unknown_allows_no_ratio() -> None:
    """There is a live generation, so that its missing latency is no excuse."""
    condition = LatencyCondition("p95", max_ratio=1.5)
    assert judge(shifted(100, 0.05), [condition], candidate_latency=LIVE).verdict == "cannot_tell"


@pytest.mark.parametrize(("condition", "told", "hint"), [
    (MeasureCondition("nDCG@100", "min_lift", 0), "no measure 'nDCG@100'", "did you mean 'nDCG@10'"),
    (bound("min_lift", 0, collection="suport"), "no collection 'suport'", "did you mean 'support'"),
    (bound("min_lift", 0, slice="lang=fr"), "slice 'lang=fr' is empty", "slices there are: all, lang=de, lang=en"),
])  # fmt: skip
def test_names_that_are_not_there(condition: Condition, told: str, hint: str) -> None:
    """An unknown collection, slice or measure is an error that names those there are."""
    with pytest.raises(EvaluationError, match=told) as caught:
        judge(shifted(30, 0.1), [condition])
    assert hint in str(caught.value.hint)


def test_conditions_without_any_collection() -> None:
    """A gate on a measure needs something to be measured."""
    with pytest.raises(EvaluationError, match=r"nDCG@10 min_lift 0, and there is no judged collection"):
        judge([], [bound("min_lift", 0)])


def test_queries_that_do_not_fit_together() -> None:
    """A query twice, a query without its value, and a side without a measure are errors."""
    with pytest.raises(EvaluationError, match="'q1' of collection 'support' was measured twice"):
        judge([outcome(1, 0.1, 0.2), outcome(1, 0.1, 0.2)], [])
    with pytest.raises(EvaluationError, match="'q2' of collection 'support' was measured by nothing"):
        judge([outcome(1, 0.1, 0.2), outcome(2, None, 0.2)], [])
    lopsided = QueryOutcome("support", "q", "", (), {"RR": 1.0}, {M: 1.0}, (), (), {})
    with pytest.raises(EvaluationError, match="only one side"):
        judge([lopsided], [])


@pytest.mark.parametrize(("kind", "value"), [("max_drop", -0.1), ("min", 0.0), ("min_lift", float("nan")), ("mean", 1)])
def test_impossible_bounds(kind: Kind, value: float) -> None:
    """A bound that means nothing is refused where it is made."""
    with pytest.raises(EvaluationError):
        MeasureCondition(M, kind, value)
    with pytest.raises(EvaluationError, match="no limit"):
        LatencyCondition("p95")


def test_a_decision_is_plain_json() -> None:
    """Whatever was judged, the result holds finite numbers only, so that its JSON is valid everywhere."""
    for queries in (shifted(1, 0.1), shifted(3, 0.0, 0.0), shifted(30, 0.0, 0.0), shifted(40, 0.1)):
        decision = judge(queries, [bound("min_lift", 0.0), bound("min", 0.3)])
        evaluation = Evaluation(None, Arm(1, {}), decision.comparisons, decision.checks, decision.verdict)
        assert json.dumps(evaluation.to_dict(), allow_nan=False)


def test_the_same_arguments_give_the_same_decision() -> None:
    """Nothing but the arguments decides."""
    queries = shifted(50, 0.03)
    assert judge(queries, [bound("min_lift", 0)], seed=3) == judge(queries, [bound("min_lift", 0)], seed=3)
