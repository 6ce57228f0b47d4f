"""The paired comparison against scipy's and textbook figures, its corrections, and what few queries can show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from regen.errors import EvaluationError
from regen.evaluation.power import fewest_queries, queries_needed, smallest_detectable
from regen.evaluation.resampling import bca_interval, bootstrap_means, draw_subsets, subset_interval
from regen.evaluation.statistics import Sample, compare, difference_sample, estimate_together


def pair(n: int, lift: float, deviation: float = 0.2, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Values of n queries on both sides with a normal difference."""
    rng = np.random.default_rng(seed)
    before = rng.random(n)
    return before, before + rng.normal(lift, deviation, n)


def scipy_p_value(before: np.ndarray, after: np.ndarray, draws: float) -> float:
    """The randomisation test as scipy has it."""
    tested = stats.permutation_test(
        (after, before),
        lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples", vectorized=True, n_resamples=draws, rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(tested.pvalue)


@pytest.mark.parametrize("n", [2, 5, 9, 13])
def test_small_collections_are_tested_exactly(n: int) -> None:
    """Up to 13 queries every sign pattern is tried: the p-value is scipy's exact one, whatever the seed."""
    before, after = pair(n, 0.1)
    wanted = scipy_p_value(before, after, np.inf)
    found = {compare(before, after, seed=seed).estimate.p_value for seed in range(3)}
    assert len(found) == 1
    assert found.pop() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(("lift", "n"), [(0.02, 300), (0.1, 40), (0.0, 60)])
def test_larger_collections_are_tested_by_random_signs(lift: float, n: int) -> None:
    """Beyond that the p-value agrees with scipy's random one, and is never zero."""
    before, after = pair(n, lift)
    ours = compare(before, after).estimate.p_value
    assert ours == pytest.approx(scipy_p_value(before, after, 9_999), abs=0.015)
    assert compare(before, before + 1).estimate.p_value == pytest.approx(1e-4)


def test_the_bootstrap_is_scipys_bca() -> None:
    """From the same resampled means the limits are those of scipy.stats.bootstrap, for skewed values too."""
    values = np.random.default_rng(3).exponential(size=60)
    theirs = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=4_000, rng=np.random.default_rng(5))
    ours, method = bca_interval(values, theirs.bootstrap_distribution, 0.05)
    assert method == "BCa"
    np.testing.assert_allclose(ours, tuple(theirs.confidence_interval), atol=1e-9)
    own = bootstrap_means(values[:, None], 20_000, np.random.default_rng(1))[:, 0]
    assert own.mean() == pytest.approx(values.mean(), abs=0.005)
    assert own.std() == pytest.approx(values.std() / 60**0.5, rel=0.03)


def test_the_bootstrap_says_when_its_correction_does_not_exist() -> None:
    """Resamples that all lie on one side have no bias correction: the percentile interval is used and named."""
    assert bca_interval(np.array([0.0, 1.0]), np.array([0.6, 0.7, 0.8]), 0.5)[1] == "percentile"
    limits, method = bca_interval(np.full(9, 0.2), np.full(99, 0.2), 0.05)
    assert method == "constant"
    assert limits == pytest.approx((0.2, 0.2))


@pytest.mark.parametrize("n", [7, 10, 12])
def test_the_interval_holds_the_shifts_that_the_test_does_not_reject(n: int) -> None:
    """Just inside a limit of the interval scipy's exact one-sided test accepts, just outside it rejects."""
    values = pair(n, 0.1)[1] - 0.5
    subsets = draw_subsets(values[:, None], np.ones((n, 1), dtype=bool), 9_999, np.random.default_rng(0))
    assert subsets.exact
    low, high = subset_interval(values.mean(), subsets.sums[:, 0], subsets.sizes[:, 0], 0.05)
    for limit, side, outward in ((low, "greater", -1e-6), (high, "less", 1e-6)):
        inside, outside = (
            stats.permutation_test(
                (values - (limit + step), np.zeros(n)), lambda x, y, axis: (x - y).mean(axis=axis),
                permutation_type="samples", vectorized=True, n_resamples=np.inf, alternative=side,
            ).pvalue
            for step in (-outward, outward)
        )  # fmt: skip
        assert inside > 0.025 >= outside


def test_for_many_normal_differences_it_is_the_t_interval() -> None:
    """Where the t-test's assumptions hold, interval and p-value are its own."""
    before, after = pair(400, 0.03)
    found, t_test = compare(before, after).estimate, stats.ttest_rel(after, before)
    limits = t_test.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((limits.low, limits.high), abs=0.002)
    assert found.p_value == pytest.approx(t_test.pvalue, abs=0.005)
    assert found.effect_size == pytest.approx((after - before).mean() / (after - before).std(ddof=1))


def test_one_win_among_ties_is_no_evidence() -> None:
    """Where the bootstrap alone is sure that nothing got worse, the interval reaches zero and the p-value is 1."""
    found = compare([0.5] * 20, [0.5] * 19 + [1.0]).estimate
    assert found.low == 0
    assert found.p_value == 1
    assert found.high > found.mean > 0


def test_equal_differences_are_a_point() -> None:
    """No change at all, and the same change everywhere, leave no doubt once there are enough queries."""
    same = compare([0.3] * 20, [0.3] * 20).estimate
    assert (same.mean, same.low, same.high, same.p_value, same.effect_size, same.method) == (0, 0, 0, 1, 0, "constant")
    more = compare([0.3] * 20, [0.4] * 20).estimate
    assert (more.low, more.high) == pytest.approx((0.1, 0.1))
    few = compare([0.3] * 4, [0.4] * 4).estimate
    assert few.too_few
    assert (few.low, few.high) == (-1, 1)


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.float64, st.integers(1, 40), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])), st.integers(0, 9)
)
def test_every_result_is_sane_and_mirrored(after: np.ndarray, seed: int) -> None:
    """Finite limits around the mean, a p-value in (0, 1], and the two sides exchanged give the mirror image."""
    before = np.random.default_rng(seed).choice([0.0, 0.5, 1.0], len(after))
    there, back = compare(before, after, resamples=499).estimate, compare(after, before, resamples=499).estimate
    assert -1 <= there.low <= there.mean <= there.high <= 1
    assert 0 < there.p_value <= 1
    assert there.p_value == back.p_value
    # The randomisation part is mirrored exactly; the bootstrap's quantiles are interpolated.
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-6)


def test_the_same_seed_gives_the_same_result_and_order_does_not_matter() -> None:
    """A seed decides everything; a comparison does not depend on its place, nor a collection on the others' draws."""
    samples = [difference_sample(*pair(50, 0.05, seed=each), f"c{each % 2}") for each in range(4)]
    first, again = estimate_together(samples, seed=4), estimate_together(samples, seed=4)
    assert first == again
    turned = estimate_together(samples[::-1], seed=4)[::-1]
    assert [each.p_value for each in turned] == pytest.approx([each.p_value for each in first], abs=0.01)
    assert estimate_together(samples, seed=5) != first


def holm(p_values: list[float]) -> list[float]:
    """Holm's correction, as published."""
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(np.array(p_values)[order] * np.arange(len(p_values), 0, -1))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(stepped, 1)
    return list(corrected)


def test_several_comparisons_share_the_error() -> None:
    """Independent ones are corrected like Holm and Bonferroni, equal ones not at all, dependent ones in between."""
    pairs = [pair(80, 0.03 * each, seed=each) for each in range(5)]
    alone = [compare(*each).estimate for each in pairs]
    apart = estimate_together([difference_sample(*each, f"c{number}") for number, each in enumerate(pairs)])
    assert [each.p_value for each in apart] == pytest.approx(holm([each.p_value for each in alone]), abs=0.03)
    assert apart[0].level == pytest.approx(1 - 0.95 ** (1 / 5), rel=0.15)
    equal = estimate_together([difference_sample(*pairs[2], "c")] * 5)
    assert equal[0].level == pytest.approx(0.05, rel=0.1)
    assert equal[0].p_value == pytest.approx(alone[2].p_value, abs=0.01)
    before, after = pairs[2]
    noise = np.random.default_rng(0).normal(0, 0.05, 80)
    near = estimate_together([difference_sample(before, after, "c"), difference_sample(before, after + noise, "c")])
    assert 0.026 < near[0].level < 0.049


def test_corrections_only_widen() -> None:
    """No interval gets narrower and no p-value smaller when more is compared at once."""
    samples = [difference_sample(*pair(60, 0.02 * each, seed=each), "c") for each in range(6)]
    for sample, together in zip(samples, estimate_together(samples), strict=True):
        (alone,) = estimate_together([sample])
        assert together.low <= alone.low
        assert together.high >= alone.high
        assert together.p_value >= alone.p_value - 0.01


def test_a_slice_is_estimated_from_its_own_queries() -> None:
    """Queries outside a slice change nothing about its mean and deviation."""
    before, after = pair(40, 0.1)
    rows = np.arange(10, 30)
    part = difference_sample(before[rows], after[rows], "c", rows)
    alone = compare(before[rows], after[rows]).estimate
    found = estimate_together([difference_sample(before, after, "c"), part], confidence=0.95)[1]
    assert (found.mean, found.deviation, found.queries) == (alone.mean, alone.deviation, 20)
    assert found.p_value >= alone.p_value - 0.01


@pytest.mark.parametrize("n", [20, 100])
def test_the_smallest_detectable_difference_is_found_four_times_in_five(n: int) -> None:
    """Simulated differences of that size are told from zero by 80 % of collections, give or take five."""
    size = smallest_detectable(0.2, n, 0.05)
    rng = np.random.default_rng(2)
    found = [
        estimate_together([Sample(rng.normal(size, 0.2, n), (-1, 1))], resamples=499, seed=seed)[0].low > 0
        for seed in range(400)
    ]
    assert 0.74 <= np.mean(found) <= 0.86


@pytest.mark.parametrize(("distance", "queries"), [(0.01, 50), (0.05, 20), (0.02, 300), (0.003, 20)])
def test_needed_queries_are_the_fewest_that_do(distance: float, queries: int) -> None:
    """With so many more the distance is detectable, with one less it is not."""
    more = queries_needed(distance, 0.2, queries, 0.05)
    assert more is not None
    assert (
        smallest_detectable(0.2, queries + more, 0.05) <= distance < smallest_detectable(0.2, queries + more - 1, 0.05)
    )


def test_no_number_of_queries_settles_a_tie() -> None:
    """A difference that is nothing, or next to nothing, is not promised to be settled."""
    assert queries_needed(0.0, 0.2, 50, 0.05) is None
    assert queries_needed(1e-6, 0.2, 50, 0.05) is None


@pytest.mark.parametrize(("level", "fewest"), [(0.05, 6), (0.01, 8), (0.5, 2), (0.0625, 5)])
def test_the_fewest_queries_that_can_show_anything(level: float, fewest: int) -> None:
    """That many unanimous queries are significant, one less is not."""
    assert fewest_queries(level) == fewest
    unanimous = 2 / 2.0 ** np.array([fewest, fewest - 1])
    assert unanimous[0] <= level < unanimous[1]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([1, 2], [1], "2 values cannot be paired with 1"),
        ([], [], "cannot be compared"),
        ([np.nan], [1], "not a finite"),
    ],
)
def test_values_that_cannot_be_compared(before: list[float], after: list[float], told: str) -> None:
    """Unequal numbers of queries, none at all, and values that are no numbers are errors."""
    with pytest.raises(EvaluationError, match=told):
        compare(before, after)
