"""Canary analysis: every way that a rollout can go, and what it tells."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from regen.errors import EvaluationError
from regen.evaluation.latencies import GROWTH, Latencies, ratio
from regen.evaluation.rollout import Action, Analysis, RolloutState, advance, resume, start
from regen.evaluation.sequential import Preference
from regen.evaluation.tallies import NAMES, ArmTally, Measurement

NOTHING = Measurement()
BETTER = Measurement(preference=Preference(wins=80, losses=20, ties=100))
WORSE = Measurement(preference=Preference(wins=20, losses=80, ties=100))


def went(analysis: Analysis, *measurements: Measurement) -> tuple[RolloutState, list[Action]]:
    """The state after these measurements, and every action; each state goes through JSON, as over a restart."""
    state, actions = start(analysis), []
    for measurement in measurements:
        state, action = advance(RolloutState.from_dict(json.loads(json.dumps(state.to_dict()))), measurement)
        actions.append(action)
    return state, actions


def kinds(actions: list[Action]) -> list[str]:
    """What was done."""
    return [action.kind for action in actions]


def arms(live: tuple[int, int], canary: tuple[int, int]) -> Measurement:
    """(queries, errors) of both arms."""
    return Measurement(ArmTally(live[0], live[1]), ArmTally(canary[0], canary[1]))


def test_a_better_candidate_goes_up_and_succeeds() -> None:
    """Weight by weight to the highest one, by the settings' own words."""
    state, actions = went(Analysis(step_weight=0.2, max_weight=0.5), BETTER, BETTER, BETTER)
    assert kinds(actions) == ["step_up", "step_up", "succeed"]
    assert [action.weight for action in actions] == [0.4, 0.5, 0.5]
    assert state.phase == "succeeded"
    assert '"preference > 0.4" holds' in state.reason


def test_a_worse_candidate_is_aborted_at_once() -> None:
    """The weight is zero from this action on, and the reason has the condition, its numbers and the confidence."""
    state, actions = went(Analysis(), NOTHING, WORSE)
    assert kinds(actions) == ["continue", "abort"]
    assert (actions[1].weight, state.weight) == (0.0, 0.0)
    for part in ('"preference < 0.5" holds', "preference in [0.09332, 0.3329]", "100 preferences", "alpha 0.05"):
        assert part in actions[1].reason
    with pytest.raises(EvaluationError, match="has aborted: failed"):
        advance(state, BETTER)


def test_count_is_how_often_a_step_must_succeed() -> None:
    """Three successful measurements a step; a step's count starts anew on the next one."""
    _, actions = went(Analysis(count=3, steps=(0.1, 1.0)), *[BETTER] * 6)
    assert kinds(actions) == ["continue", "continue", "step_up", "continue", "continue", "succeed"]
    assert [action.weight for action in actions[2:4]] == [1.0, 1.0]


def test_failures_up_to_the_limit_are_borne() -> None:
    """The limit counts over all steps, and the one beyond it aborts."""
    _, actions = went(Analysis(failure_limit=2), WORSE, WORSE, WORSE)
    assert kinds(actions) == ["continue", "continue", "abort"]
    assert "1 of 2 borne" in actions[0].reason


def test_too_long_undecided_pauses_until_resumed() -> None:
    """A pause keeps weight and evidence, lasts until resumed, and still aborts when it must."""
    analysis = Analysis(inconclusive_limit=1)
    state, actions = went(analysis, NOTHING, NOTHING, BETTER)
    assert kinds(actions) == ["continue", "pause", "pause"]
    assert [action.weight for action in actions] == [0.1, 0.1, 0.1]
    assert "cannot be told yet" in actions[2].reason
    resumed = resume(state)
    assert advance(resumed, NOTHING)[1].kind == "step_up", "what came in during the pause counts"
    much_worse = Measurement(preference=Preference(losses=500))
    assert advance(state, much_worse)[1].kind == "abort"
    patient, _ = went(analysis, NOTHING, NOTHING)
    assert advance(resume(patient), NOTHING)[1].kind == "continue", "it waits as long again"
    with pytest.raises(EvaluationError, match="only a paused rollout"):
        resume(resumed)


def test_inconclusive_counts_only_in_a_row() -> None:
    """A successful measurement in between forgives the inconclusive ones before it."""
    analysis = Analysis(inconclusive_limit=1, count=9, success_condition="error_rate < 5%", failure_condition=None)
    state, actions = went(analysis, NOTHING, arms((0, 0), (2_000, 0)), arms((0, 0), (2_000, 190)))
    assert kinds(actions) == ["continue", "continue", "continue"]
    assert (state.inconclusive, state.successes) == (1, 1), "a success, between two that were not"
    state, actions = went(analysis, NOTHING, arms((0, 0), (20, 0)))
    assert state.inconclusive == 2
    assert kinds(actions) == ["continue", "pause"]


@pytest.mark.parametrize(
    ("settings", "canary", "expected"),
    [
        ({"success_condition": "error_rate < 5%"}, (2_000, 4), "step_up"),
        ({"success_condition": "error_rate < 5%"}, (2_000, 400), "abort"),
        ({"success_condition": "error_rate < 5%"}, (2_000, 100), "continue"),
        ({"failure_condition": "error_rate > 5%"}, (2_000, 4), "step_up"),
        ({"failure_condition": "error_rate > 5%"}, (2_000, 400), "abort"),
        ({"failure_condition": "error_rate > 5%"}, (2_000, 100), "continue"),
        ({"failure_condition": "result > 5%", "metric": "error_rate_delta"}, (2_000, 400), "abort"),
        ({"failure_condition": "result > 5%", "metric": "error_rate_delta"}, (2_000, 4), "step_up"),
        ({"success_condition": "queries >= 2000", "failure_condition": "error_rate > 50%"}, (1_999, 0), "continue"),
        ({"success_condition": "queries >= 2000", "failure_condition": "error_rate > 50%"}, (2_000, 0), "step_up"),
    ],
)
def test_one_condition_alone_is_the_contrary_of_the_other(
    settings: dict[str, Any], canary: tuple[int, int], expected: str
) -> None:
    """As in Argo Rollouts: with one condition, what surely breaks it fails and what surely keeps it succeeds."""
    analysis = Analysis(**({"success_condition": None, "failure_condition": None} | settings))
    _, actions = went(analysis, arms((2_000, 4), canary))
    assert kinds(actions) == [expected], actions[0].reason


def test_evidence_of_the_arms_starts_anew_with_each_weight() -> None:
    """What was clicked at one weight is not mixed with the next one's; preferences go on."""
    first = replace(arms((900, 0), (100, 0)), preference=Preference(wins=80, losses=20))
    state, _ = went(Analysis(count=2), first, first, arms((80, 8), (20, 2)))
    assert state.step == 1
    assert (state.seen.baseline.queries, state.seen.candidate.errors) == (80, 2)
    assert state.seen.preference.decided == 200


def test_confidence_is_shared_out() -> None:
    """All names, and all steps of the names that start anew, together spend no more than alpha."""
    analysis = Analysis(
        success_condition="result > 0.4 and error_rate_delta < 1%",
        failure_condition="preference < 0.5 or latency_ratio > 1.5 or queries > 9",
        steps=(0.1, 0.5),
    )
    shared = 2 * sum(map(analysis.alpha_of, ("error_rate_delta", "latency_ratio")))
    assert analysis.alpha_of("preference") / 2 + shared == pytest.approx(0.05), (
        "each edge of a preference has its share"
    )


@pytest.mark.parametrize(
    ("success", "failure", "edges"),
    [
        ("preference > 0.45", "preference < 0.5", 2), ("preference > 0.5", None, 2), (None, "0.5 > preference", 2),
        ("result >= 0.5", "preference < 0.5", 2), ("preference > 0.5", "preference < 0.5", 1),
        ("preference > 0.6", "preference < 0.5", 1), ("preference > 0.4 and preference < 0.6", None, 1),
        ("preference > click_rate", "preference < 0.5", 1), ("preference != 0.5", None, 1),
    ],
)  # fmt: skip
def test_each_edge_has_all_confidence_where_only_one_can_be_wrong(
    success: str | None, failure: str | None, edges: int
) -> None:
    """Whatever the truth, verdicts of both sides are not both wrong: then neither waits for the other's share."""
    analysis = Analysis(success_condition=success, failure_condition=failure)
    names = {name for condition in analysis.conditions() for name in condition.names if name != "result"}
    assert analysis.alpha_of("preference") == pytest.approx(edges * 0.05 / len(names))


def test_a_slow_candidate_is_aborted() -> None:
    """By the ratio of the 95th percentiles, with both sides' uncertainty in it."""
    generator = np.random.default_rng(4)
    quick, slow = generator.gamma(4, 5, 3_000), generator.gamma(4, 10, 600)
    analysis = Analysis(success_condition="latency_ratio < 1.2", failure_condition="latency_ratio > 1.2")
    for times, expected in ((slow, "abort"), (quick[:600], "continue"), (slow[:20], "continue")):
        live = ArmTally(queries=3_000, latencies=Latencies.of(quick))
        canary = ArmTally(queries=len(times), latencies=Latencies.of(times))
        assert kinds(went(analysis, Measurement(live, canary))[1]) == [expected]


def test_every_name_can_be_measured() -> None:
    """Each name has an interval, before anything was counted and after, and it holds the plain estimate."""
    tally = ArmTally(200, 10, 20, 100, 30, Latencies.of([10.0] * 200))
    for name in NAMES:
        low, high = NOTHING.interval(name, 0.05)
        assert low <= high
        low, high = Measurement(tally, tally, Preference(10, 10)).interval(name, 0.05)
        plain = {"preference": 0.5, "error_rate": 0.05, "zero_result_rate": 0.1, "click_rate": 0.3, "decided": 20.0}
        expected = plain.get(name, 1.0 if name == "latency_ratio" else 200.0 if name == "queries" else 0.0)
        assert low <= expected <= high


def test_quantiles_hold_at_every_look() -> None:
    """Of 200 streams, no more than 5 % ever have an interval without the true p95 in it; buckets are 5 % wide."""
    generator, missed = np.random.default_rng(5), 0
    truth = 20 * float(np.log(20))
    for _ in range(200):
        seen, outside = Latencies(), False
        for part in generator.exponential(20, (10, 60)):
            seen = seen.plus(Latencies.of(part))
            low, high = seen.interval(0.95, 0.05)
            outside |= not low <= truth <= high
        missed += outside
        assert low > 20
        assert seen.count == 600
    assert missed <= 10
    assert Latencies.of([3.0, 50.0, 50.0]).quantile(0.5) == pytest.approx(50.0 * 1.02, rel=0.03)
    assert Latencies.of([0.0]).quantile(0.5) <= 0.001 * GROWTH


def test_a_ratio_has_both_sides_uncertainty() -> None:
    """Each side's interval at half of alpha; nothing is known before both have searches; only the tail counts."""
    times = np.random.default_rng(7).exponential(20, 900)
    quick, slow = Latencies.of(times), Latencies.of(2 * times)
    (low, high), (slow_low, slow_high) = quick.interval(0.95, 0.025), slow.interval(0.95, 0.025)
    assert ratio(quick, slow, 0.95, 0.05) == (slow_low / high, slow_high / low)
    assert 1.2 < slow_low / high < 2 < slow_high / low < 3.2
    assert ratio(Latencies(), Latencies(), 0.95, 0.05) == ratio(quick, Latencies(), 0.95, 0.05) == (0.0, np.inf)
    tailed = ArmTally(latencies=Latencies.of([10.0] * 1_800 + [90.0] * 200))
    even = ArmTally(latencies=Latencies.of([10.0] * 2_000))
    assert 9.5 < even.latencies.interval(0.95, 0.05)[0] <= 10.0 <= even.latencies.interval(0.95, 0.05)[1] < 10.5
    assert Measurement(even, tailed).interval("latency_ratio", 0.05)[0] > 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"success_condition": None, "failure_condition": None}, "needs a condition"),
        ({"success_condition": "preferense > 0.5"}, "did you mean preference"),
        ({"failure_condition": "preference <"}, "where a name or a number"),
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"interval": 0}, "interval is 0"),
        ({"interval": float("nan")}, "interval is nan"),
        ({"count": 0}, "count 0"),
        ({"failure_limit": -1}, "limit is below zero"),
        ({"metric": "clicks"}, "metric is 'clicks'"),
        ({"step_weight": 0.6}, "step_weight is 0.6"),
        ({"max_weight": 1.5}, "max_weight 1.5"),
        ({"steps": (0.5, 0.5)}, "steps are"),
        ({"steps": (0.0, 0.5)}, "steps are"),
        ({"steps": (0.5, 1.1)}, "steps are"),
    ],
    ids=range(14),
)
def test_settings_that_cannot_be_followed_are_refused(settings: dict[str, Any], message: str) -> None:
    """Before anything starts, with what is valid."""
    with pytest.raises(EvaluationError) as told:
        Analysis(**settings)
    assert message in str(told.value)
    assert "Hint:" in str(told.value)


@pytest.mark.parametrize(
    ("step", "highest", "weights"),
    [
        (0.1, 0.5, (0.1, 0.2, 0.3, 0.4, 0.5)),
        (0.15, 0.5, (0.15, 0.3, 0.45, 0.5)),
        (1.0, 1.0, (1.0,)),
        (0.5, 0.5, (0.5,)),
    ],
)
def test_weights_rise_to_the_highest(step: float, highest: float, weights: tuple[float, ...]) -> None:
    """By the step, and the last one is the highest weight, whole step or not."""
    assert Analysis(step_weight=step, max_weight=highest).weights == weights


def test_clicks_may_come_later_than_their_queries() -> None:
    """A measurement may settle more queries than were asked since the one before."""
    late = ArmTally(10, 0, 0, 2, 1).plus(ArmTally(5, 0, 0, 13, 4))
    assert (late.queries, late.settled, late.clicked) == (15, 15, 5)


@pytest.mark.parametrize(
    ("tally", "message"),
    [((10, 11), "errors is 11 of 10"), ((10, 0, 11), "zero_results is 11"), ((9, 0, 0, 5, 6), "clicked is 6 of 5")],
)
def test_parts_larger_than_their_whole_are_refused(tally: tuple[Any, ...], message: str) -> None:
    """A miscounted measurement never enters the tests."""
    with pytest.raises(EvaluationError, match=message):
        ArmTally(*tally)


def test_times_that_cannot_be_are_refused() -> None:
    """Negative, infinite, not a number."""
    for time in (-1.0, float("inf"), float("nan")):
        with pytest.raises(EvaluationError, match="cannot take"):
            Latencies.of([1.0, time])
