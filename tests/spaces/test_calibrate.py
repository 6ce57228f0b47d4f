"""Calibrations: strictly increasing whatever they are fitted on, and what earlier queries add."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from regen.spaces.calibrate import IDENTITY, Calibration, Scores, isotonic, moment, robust
from regen.spaces.prior import MEMORY, CalibrationPrior

PAIRED: tuple[Callable[[Scores, Scores], Calibration], ...] = (moment, robust, isotonic)
scores = st.integers(0, 12).flatmap(
    lambda count: st.tuples(*[arrays.arrays(np.float64, count, elements=st.integers(-50, 50).map(float))] * 2)
)


def descending(*values: float) -> Scores:
    """Scores, best first."""
    return np.array(values, dtype=np.float64)


@pytest.mark.parametrize("method", PAIRED, ids=lambda method: method.__name__)
@settings(max_examples=150, deadline=None)
@given(pair=scores)
def test_every_calibration_is_strictly_increasing(
    method: Callable[[Scores, Scores], Calibration], pair: tuple[Scores, Scores]
) -> None:
    """Whatever it is fitted on (ties, reversed order, nothing), a higher old score gives a higher new one."""
    grid = np.linspace(-200, 200, 801)
    assert (np.diff(method(*pair)(grid)) > 0).all()


@settings(max_examples=100, deadline=None)
@given(scores, scores)
def test_order_statistics_too(earlier: tuple[Scores, Scores], now: tuple[Scores, Scores]) -> None:
    """The same of the calibration that leans on earlier queries."""
    old, new = np.sort(now[0])[::-1], np.sort(now[1])[::-1]
    prior = CalibrationPrior().learn(np.sort(earlier[0])[::-1], np.sort(earlier[1])[::-1])
    assert (np.diff(prior.calibrate(old, new)(np.linspace(-200, 200, 801))) > 0).all()


@settings(max_examples=100, deadline=None)
@given(scores, st.sampled_from([0.5, 3.0]), st.sampled_from([-7.0, 2.0]))
def test_scale_and_shift_do_not_matter(pair: tuple[Scores, Scores], scale: float, shift: float) -> None:
    """Old scores on another scale are calibrated to the same new ones, so no merge depends on units."""
    old, new = (np.sort(one)[::-1] for one in pair)
    for method in (moment, robust, isotonic, CalibrationPrior().calibrate):
        if len(np.unique(old)) < 3 or len(np.unique(new)) < 3:
            continue
        first, second = method(old, new), method(old * scale + shift, new)
        if first.slope != 1.0:
            np.testing.assert_allclose(first(old), second(old * scale + shift), atol=1e-6)


def test_isotonic_follows_the_pairs() -> None:
    """Increasing pairs are hit exactly, whatever their shape; pairs out of order are pooled to their mean."""
    old = np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(isotonic(old, old**3)(old), old**3)
    pooled = isotonic(old, np.array([1.0, 5.0, 3.0, 9.0]))
    np.testing.assert_allclose(pooled(np.array([1.0, 2.5, 4.0])), [1.0, 4.0, 9.0])
    assert pooled.basis == "isotonic"


def test_an_outlier_does_not_tilt_the_robust_match() -> None:
    """One near duplicate of the query moves the moment match, not the robust one."""
    old = np.linspace(0, 1, 21)
    new = 2 * old
    new[-1] = 50.0
    assert robust(old, new).slope == pytest.approx(2.0)
    assert moment(old, new).slope > 10


def test_nothing_to_go_by_is_the_identity() -> None:
    """Without scores and without earlier queries no scale is known: scores stay as they are, and it says so."""
    none = descending()
    assert CalibrationPrior().calibrate(none, descending(3.0)) is IDENTITY
    assert moment(none, none) is IDENTITY
    np.testing.assert_array_equal(IDENTITY(np.array([1.5, -2.0])), [1.5, -2.0])


def test_earlier_queries_give_the_scale_when_this_one_cannot() -> None:
    """With no shared score the map is that of earlier queries; with one, that query's level and their slope."""
    prior = CalibrationPrior()
    for shift in (0.0, 1.0, 2.0):
        old = np.linspace(1, 0, 30) + shift
        prior = prior.learn(old, 3 * old + 5)
    np.testing.assert_allclose(prior.calibrate(descending(), descending())(np.array([0.5])), [6.5], atol=0.2)
    one = prior.calibrate(descending(1.0), descending(20.0))
    assert one.slope == pytest.approx(3.0, rel=0.01)
    assert 8.0 < float(one(np.array([1.0]))[0]) < 20.0
    many = prior.calibrate(np.linspace(1, 0, 100), np.linspace(20, 19, 100))
    assert float(many(np.array([1.0]))[0]) == pytest.approx(20.0, abs=1.0)
    assert prior.calibrate(descending(), descending()).basis == "prior"
    assert many.basis == "order"


def test_few_scores_lean_on_earlier_queries_and_many_do_not() -> None:
    """The slope moves from the pooled one to the query's own as scores are added."""
    prior = CalibrationPrior().learn(np.linspace(1, 0, 100), np.linspace(2, 0, 100))
    slopes = [prior.calibrate(np.linspace(1, 0, n), np.linspace(5, 0, n)).slope for n in (2, 10, 100)]
    assert 2.0 < slopes[0] < slopes[1] < slopes[2] < 5.0


def test_a_prior_is_kept_as_json_and_fades() -> None:
    """Read back it calibrates the same; queries of long ago lose their weight."""
    old = np.linspace(1, 0, 20)
    prior = CalibrationPrior().learn(old, 2 * old, 0.4)
    assert CalibrationPrior.from_dict(prior.to_dict()) == prior
    for _ in range(5 * MEMORY):
        prior = prior.learn(old, 4 * old, 0.1)
    assert prior.queries == pytest.approx(MEMORY, rel=0.02)
    assert prior.calibrate(descending(), descending()).slope == pytest.approx(4.0, rel=0.01)
    assert prior.pending_share(None) == pytest.approx(0.1, abs=0.01)
