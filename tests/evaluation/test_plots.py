"""Drawings: true to their numbers."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.evaluation.plots import MOST_BARS, STRIP_WIDTH, Scale, Strip, axis, reach_of, scale_for, strip, win_loss

NUMBERS = st.floats(-1, 1, allow_subnormal=False)
SCALE = Scale(-0.1, 0.3, (-0.1, 0.0, 0.1, 0.2, 0.3))


@given(st.lists(NUMBERS, max_size=12))
def test_a_scale_shows_zero_and_every_value_between_a_few_round_ticks(values: list[float]) -> None:
    """Nothing lies outside, ticks are evenly spaced, and there are neither too many nor too few."""
    scale = scale_for(values)
    assert scale.low <= min([0.0, *values]) + 1e-9
    assert scale.high >= max([0.0, *values]) - 1e-9
    assert 0.0 in scale.ticks
    assert 2 <= len(scale.ticks) <= 6
    steps = [after - before for before, after in pairwise(scale.ticks)]
    assert max(steps) == pytest.approx(min(steps))


def test_a_scale_keeps_order_and_holds_back_what_lies_outside() -> None:
    """Left is less, right is more, and nothing is drawn beyond the edge."""
    places = [SCALE.x(value) for value in (-5.0, -0.1, 0.0, 0.1, 0.3, 5.0)]
    assert places == sorted(places)
    assert 0 < places[0] == places[1]
    assert places[-1] == places[-2] < STRIP_WIDTH
    assert places[3] - places[2] == pytest.approx(places[2] - places[1])


def test_values_that_are_no_numbers_do_not_stretch_a_scale() -> None:
    """An interval that is not known leaves the others readable."""
    assert scale_for([0.1, float("nan"), float("inf")]) == scale_for([0.1])


def test_an_axis_names_its_ticks() -> None:
    """Signs are shown, zero has none."""
    assert re.findall(">([^<>]+)</text>", axis(SCALE)) == ["−0.1", "0", "+0.1", "+0.2", "+0.3"]


@pytest.mark.parametrize(
    ("tone", "shape"), [("good", "<circle"), ("bad", "<rect"), ("unsure", "l6 6-6 6-6-6z"), ("plain", "hollow")]
)
def test_a_strip_says_by_its_shape_how_it_was_judged(tone: str, shape: str) -> None:
    """Four judgments, four shapes."""
    drawn = strip(Strip(0.1, 0.05, 0.15, None, tone, "nDCG@10"), SCALE)
    shapes = ["<circle", "<rect", "hollow"]
    assert shape in drawn
    assert [other for other in shapes if other in drawn and other != shape] == []


def test_a_strip_shows_interval_zero_and_bound_where_they_are() -> None:
    """Whiskers end at the interval's ends, the solid line is at zero, the dashed one at the bound."""
    drawn = strip(Strip(0.1, 0.05, 0.15, -0.01, "good", "x"), SCALE)
    assert f'd="M{SCALE.x(0.0):.1f} 0v30" class="zero"' in drawn
    assert f'd="M{SCALE.x(-0.01):.1f} 0v30" class="bound"' in drawn
    assert f"M{SCALE.x(0.05):.1f} 15H{SCALE.x(0.15):.1f}" in drawn
    assert f'cx="{SCALE.x(0.1):.1f}"' in drawn
    assert "bound" not in strip(Strip(0.1, 0.05, 0.15, None, "good", "x"), SCALE)


def test_labels_are_escaped() -> None:
    """A measure or collection of any name stays text."""
    drawn = strip(Strip(0.1, 0.05, 0.15, None, "good", '"><script>'), SCALE)
    assert 'aria-label="&quot;&gt;&lt;script&gt;"' in drawn


def bars(drawn: str, kind: str) -> list[float]:
    """The signed heights of the bars of one kind, in drawing units: up is positive."""
    path = re.findall(f'<path d="([^"]*)" class="{kind}"', drawn)[0]
    return [-float(height) for height in re.findall(r"v(-?[\d.]+)h", path)]


def test_win_and_loss_are_drawn_true_to_scale() -> None:
    """Wins go up and come first, losses go down, equal queries have no bar, the largest reaches the edge."""
    drawn = win_loss(np.array([-0.5, 0.25, 0.0, 0.5]), 0.5, "nDCG@10")
    assert bars(drawn, "won") == [50.0, 25.0]
    assert bars(drawn, "lost") == [-50.0]
    assert 'viewBox="0 0 4 100"' in drawn
    assert re.findall(r"M([\d.]+) 50h", drawn) == ["0.15", "1.15", "3.15"]


def test_thousands_of_queries_become_a_bar_each_few() -> None:
    """The page stays small, and the shape and its mean stay what they are."""
    deltas = np.linspace(1, -1, 5000)
    drawn = win_loss(deltas, 1.0, "x")
    assert f'viewBox="0 0 {MOST_BARS} 100"' in drawn
    assert len(bars(drawn, "won")) + len(bars(drawn, "lost")) == MOST_BARS
    heights = bars(drawn, "won") + bars(drawn, "lost")
    assert heights == sorted(heights, reverse=True)
    assert heights[0] == pytest.approx(50, abs=0.2)
    assert float(np.mean(heights)) == pytest.approx(0, abs=0.05)


def test_plots_side_by_side_share_the_largest_change() -> None:
    """One scale for all of them; where nothing changed, any will do."""
    assert reach_of([np.array([0.1, -0.7]), np.array([0.2]), np.array([])]) == 0.7
    assert reach_of([np.zeros(3)]) == 1.0
    assert reach_of([]) == 1.0
