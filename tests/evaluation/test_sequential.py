"""Always-valid tests: the formulas are the integrals that they claim to be, and every look is honest."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from tests.evaluation.users import first_crossing, preferring

from regen.errors import EvaluationError
from regen.evaluation.evidence import EdgeSide, beta_mixture, credit_mixture, gamma_mixture, normal_mixture, two_rates
from regen.evaluation.sequential import AdaptiveMean, BoundedMean, Difference, MixtureSprt, Preference

RUNS, LOOKS = 2_000, 400
OneSample: TypeAlias = MixtureSprt | BoundedMean | AdaptiveMean
SIDES: tuple[EdgeSide, ...] = ("below", "above")
ONE_SAMPLE: list[OneSample] = [MixtureSprt(), BoundedMean(), AdaptiveMean()]


def test_the_beta_mixture_is_its_integral() -> None:
    """The closed form equals the likelihood ratio averaged over the prior, numerically."""
    prior = stats.beta(2.0, 2.0)
    ratio, _ = integrate.quad(lambda q: prior.pdf(q) * (q / 0.3) ** 9 * ((1 - q) / 0.7) ** 11, 0, 1)
    assert float(beta_mixture(9, 20, 0.3, prior=2.0)) == pytest.approx(np.log(ratio))


def test_the_normal_mixture_is_its_integral() -> None:
    """The closed form equals the likelihood ratio averaged over a normal prior, numerically."""
    prior = stats.norm(0, 0.3)
    ratio, _ = integrate.quad(lambda d: prior.pdf(d) * np.exp((d * 6.0 - 20 * d * d / 2) / 0.25), -3, 3)
    assert float(normal_mixture(6.0, 20, 0.25, 0.09)) == pytest.approx(np.log(ratio))


def test_the_gamma_mixture_is_its_integral() -> None:
    """The closed form equals the exponential supermartingale averaged over its prior, numerically."""
    scale, expected, deviation, variation = 2.0, 20.0, 7.0, 30.0
    shape = expected / scale**2

    def prior(u: float) -> float:
        return float(u ** (shape - 1) * np.exp(-shape * u))

    def process(u: float) -> float:
        rate = (1 - u) / scale
        penalty = (-np.log(u) - scale * rate) / scale**2
        return float(np.exp(rate * deviation - penalty * variation))

    ratio = integrate.quad(lambda u: prior(u) * process(u), 0, 1)[0] / integrate.quad(prior, 0, 1)[0]
    assert float(gamma_mixture(deviation, variation, scale, expected)) == pytest.approx(np.log(ratio))


@pytest.mark.parametrize("delta", [-0.4, -0.05, 0.0, 0.2])
def test_two_rates_are_held_against_the_best_pair(delta: float) -> None:
    """The null of a difference is the pair of rates that explains both arms best: a fine grid finds no better one."""
    rates = np.linspace(max(0, -delta), min(1, 1 - delta), 200_001)[1:-1]
    best = np.max(stats.binom.logpmf(30, 100, rates) + stats.binom.logpmf(25, 50, rates + delta))
    saturated = stats.binom.logpmf(30, 100, 0.3) + stats.binom.logpmf(25, 50, 0.5)
    lost = float(two_rates(30, 100, 25, 50, delta)) - float(two_rates(30, 100, 25, 50, 0.2))
    assert lost == pytest.approx(saturated - best, abs=1e-6)


def test_an_average_look_at_fair_coins_finds_nothing() -> None:
    """Exactly, over all outcomes of 12 fair queries: the mixture averages 1, so it is a martingale and not more."""
    wins = np.arange(13)
    chance = stats.binom.pmf(wins, 12, 0.5)
    for side in SIDES:
        evidence = [credit_mixture([1.0, -1.0], [won, 12 - won], 0.5, side) for won in wins]
        assert float((chance * np.exp(evidence)).sum()) == pytest.approx(1.0)
    assert float((chance * np.exp(beta_mixture(wins, 12, 0.5))).sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.5])
def test_looking_after_every_query_keeps_alpha(rate: float) -> None:
    """Over 2,000 runs in which nothing is wrong, at most 5 % ever cross, though each is looked at 400 times."""
    generator, count = np.random.default_rng(1), np.arange(1, LOOKS + 1)
    a, b = (np.cumsum(generator.random((RUNS, LOOKS)) < rate, axis=1) for _ in range(2))
    tests = {
        "rate": beta_mixture(a, count, rate),
        "sprt": normal_mixture(a - count * rate, count, 0.25, 0.01),
        "two": two_rates(a, count, b, count),
        "unequal": two_rates(a[:, 3::4], count[3::4], b[:, : LOOKS // 4], count[: LOOKS // 4]),
    }
    crossed = {name: float(np.isfinite(first_crossing(evidence, 0.05)).mean()) for name, evidence in tests.items()}
    assert max(crossed.values()) <= 0.05, crossed
    assert float(np.isfinite(first_crossing(beta_mixture(a, count, rate + 0.15), 0.05)).mean()) > 0.5


def test_a_fixed_test_looked_at_repeatedly_does_not_keep_alpha() -> None:
    """Why all this is needed: the usual z-test at 5 %, looked at 400 times, cries wolf in a quarter of the runs."""
    generator, count = np.random.default_rng(2), np.arange(1, LOOKS + 1)
    wins = np.cumsum(generator.random((RUNS, LOOKS)) < 0.5, axis=1)
    crossed = (np.abs(2 * wins - count) / np.sqrt(count) > 1.96)[:, 9:].any(axis=1)
    assert float(crossed.mean()) > 0.25


@pytest.mark.parametrize("state", ONE_SAMPLE, ids=lambda state: type(state).__name__)
def test_intervals_cover_the_mean_at_all_looks(state: OneSample) -> None:
    """Of 200 streams of skewed outcomes, no more than 5 % ever have an interval without the true mean in it."""
    generator, missed = np.random.default_rng(3), 0
    for _ in range(200):
        running, outside = state, False
        for part in generator.beta(0.5, 2.0, (12, 20)):
            running = running.update_many(part)
            low, high = running.interval(0.05)
            outside |= not low <= 0.2 <= high
        missed += outside
        assert high - low < 0.5, "the interval says something"
    assert missed <= 10


@pytest.mark.parametrize("make", [MixtureSprt, BoundedMean, AdaptiveMean])
@settings(max_examples=25, deadline=None)
@given(outcomes=st.lists(st.floats(-1, 1), max_size=40))
def test_one_by_one_is_all_at_once(make: Callable[..., Any], outcomes: list[float]) -> None:
    """The state after single updates equals that after one of many, and survives JSON."""
    start = make(low=-1.0, high=1.0, null=0.0)
    single = start
    for outcome in outcomes:
        single = single.update(outcome)
    many = start.update_many(outcomes)
    assert many.to_dict() == pytest.approx(single.to_dict())
    again = make(**json.loads(json.dumps(many.to_dict())))
    assert again == many
    assert 0 <= again.p_value <= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 300), st.integers(0, 300), st.sampled_from([0.2, 0.05, 0.001]))
def test_the_p_value_and_the_interval_agree(wins: int, losses: int, alpha: float) -> None:
    """The interval leaves out one half exactly when the p-value is at most alpha."""
    state = Preference(wins, losses, ties=7)
    low, high = state.interval(alpha)
    assert 0 <= low <= high <= 1
    assert (not low <= 0.5 <= high) == (state.p_value <= alpha) or abs(state.p_value / alpha - 1) < 1e-4


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1, 1), max_size=60), st.integers(0, 60))
def test_graded_credits_add_up_in_any_order(credits_: list[float], cut: int) -> None:
    """One by one, in parts, backwards, through JSON: the same state, whose interval and p-value agree."""
    state = Preference().update_many(credits_)
    one_by_one = Preference()
    for credit in reversed(credits_):
        one_by_one = one_by_one.update(credit)
    parts = Preference().update_many(credits_[:cut]).plus(Preference().update_many(credits_[cut:]))
    again = Preference(**json.loads(json.dumps(state.to_dict())))
    assert state == one_by_one == parts == again
    assert state.decided + state.ties == len(credits_)
    low, high = state.interval(0.2)
    assert (not low <= 0.5 <= high) == (state.p_value <= 0.2) or abs(state.p_value / 0.2 - 1) < 1e-4


def test_a_small_credit_is_weaker_evidence() -> None:
    """A hundred half credits say less than a hundred whole ones, and more than twenty."""
    half, whole, few = (
        Preference().update_many([credit] * count) for credit, count in ((-0.5, 100), (-1, 100), (-1, 20))
    )
    assert whole.interval(0.05)[1] < half.interval(0.05)[1] < few.interval(0.05)[1] < 0.5


@pytest.mark.parametrize("share", [0.3, 0.5, 0.6])
def test_the_share_of_graded_credit_is_covered_at_all_looks(share: float) -> None:
    """Runs of credits of many sizes whose true share is known: each edge misses it in at most 5 % of them."""
    generator = np.random.default_rng(8)
    sizes = generator.choice([0.0, 0.3, 0.5, 1.0], (RUNS, LOOKS))
    credits_ = np.where(generator.random(sizes.shape) < share, sizes, -sizes)
    for side in SIDES:
        wrong = float(np.isfinite(first_crossing(preferring(credits_, side, share), 0.05)).mean())
        assert wrong <= 0.05
    found = float(np.isfinite(first_crossing(preferring(credits_, "below", share + 0.2), 0.05)).mean())
    assert found > 0.5, "and it finds what is there"


def test_rates_near_zero_are_narrow() -> None:
    """A thousand queries without an error: the rate is surely below one percent, and zero is not ruled out."""
    low, high = BoundedMean(count=1_000, total=0.0).interval(0.05)
    assert low == 0.0
    assert 0.003 < high < 0.01


def test_credits_with_many_ties_are_known_better_than_their_range_says() -> None:
    """The adaptive interval of a mean credit is narrower than that of the mixture SPRT, which assumes the worst."""
    credits_ = np.tile([0, 0, 0, 0, -1, 0, 0, 0, 1, 0], 100)
    adaptive = AdaptiveMean(-1.0, 1.0, 0.0).update_many(credits_).interval(0.05)
    assumed = MixtureSprt(-1.0, 1.0, 0.0).update_many(credits_).interval(0.05)
    assert adaptive[1] - adaptive[0] < 0.75 * (assumed[1] - assumed[0])


@pytest.mark.parametrize("make", [MixtureSprt, BoundedMean, AdaptiveMean])
def test_another_range_is_the_same_test(make: Callable[..., Any]) -> None:
    """Outcomes from -1 to 3 have the interval of those from 0 to 1, stretched, and the same p-value."""
    outcomes = np.random.default_rng(6).beta(1, 3, 150)
    plain, stretched = make(null=0.4).update_many(outcomes), make(-1.0, 3.0, 0.6).update_many(4 * outcomes - 1)
    assert stretched.p_value == pytest.approx(plain.p_value)
    assert stretched.interval(0.05) == pytest.approx([4 * end - 1 for end in plain.interval(0.05)], abs=1e-4)


def test_nothing_seen_says_nothing() -> None:
    """Before the first query every interval is the whole range, and every p-value 1."""
    assert [state.interval(0.05) for state in ONE_SAMPLE] == [(0.0, 1.0)] * 3
    assert Preference().interval(0.05) == (0.0, 1.0)
    assert Difference().interval(0.05) == Difference(10, 5).interval(0.05) == (-1.0, 1.0)
    assert {state.p_value for state in (*ONE_SAMPLE, Preference(), Difference(), Preference(ties=9))} == {1.0}


def test_a_difference_finds_the_worse_arm() -> None:
    """Candidate less baseline is negative when the candidate is worse, and its interval holds the truth."""
    state = Difference().update_many("baseline", [1, 1, 0, 1] * 100).update_many("candidate", [1, 0, 0, 0] * 100)
    low, high = state.interval(0.05)
    assert low < -0.5 < high < 0
    assert state.p_value < 1e-9
    assert state.update("candidate", 1.0).candidate_total == 101.0
    assert Difference(**json.loads(json.dumps(state.to_dict()))) == state


@pytest.mark.parametrize("outcome", [1.01, -0.01, float("nan"), float("inf")])
def test_outcomes_outside_the_range_are_refused(outcome: float) -> None:
    """Nothing is promised for such outcomes, so they never enter; the error names the value and the range."""
    for state in ONE_SAMPLE:
        with pytest.raises(EvaluationError, match=r"must lie in \[0, 1\]"):
            state.update_many([0.5, outcome])
    with pytest.raises(EvaluationError, match=r"must lie in \[0, 1\]"):
        Difference().update("candidate", outcome)
    with pytest.raises(EvaluationError, match=r"must lie in \[-1, 1\]"):
        Preference().update(outcome + 1 if outcome > 0 else outcome - 1)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, float("nan")])
def test_alpha_is_a_probability(alpha: float) -> None:
    """An interval at no confidence, or at full confidence, is refused."""
    with pytest.raises(EvaluationError, match="between 0 and 1"):
        BoundedMean(count=3, total=1.0).interval(alpha)
