"""How many texts fit into a time, learned from calls."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from regen.core.pace import GROWTH, MARGIN, START, WINDOW, Pace


def served(
    pace: Pace, constant: float, each: float, budget: float, searches: int, *, most: int = 1000
) -> list[tuple[int, float]]:
    """Searches, one after the other, of a reranker that takes constant + each * texts: (texts, milliseconds)."""
    calls = []
    for _ in range(searches):
        texts = pace.fits(budget, most)
        took = constant + each * texts
        if texts >= 2:
            calls.append((texts, took))
            (pace.kept if took <= budget else pace.missed)(texts, took)
    return calls


def test_the_first_call_is_small() -> None:
    """Nothing is known: a few texts, or as many as there are."""
    assert Pace().fits(1e9, 50) == START
    assert Pace().fits(1.0, 3) == 3


@pytest.mark.parametrize(("constant", "each"), [(0.0, 1.0), (20.0, 0.5), (60.0, 0.01), (0.0, 8.0), (5.0, 3.0)])
def test_depth_grows_to_what_fits_and_never_over(constant: float, each: float) -> None:
    """A reranker of constant speed: after a few searches nearly all of the planned time is used, and never more."""
    calls = served(Pace(), constant, each, 80.0, 40)
    assert max(took for _, took in calls) <= 80.0
    ideal = min(1000.0, (80.0 * MARGIN - constant) / each)
    assert calls[-1][0] >= int(0.9 * ideal)
    growth = [after / before for (before, _), (after, _) in pairwise(calls)]
    assert max(growth) <= GROWTH


def test_single_slow_calls_change_little() -> None:
    """Three of thirty-two calls that took fifty times as long leave the depth nearly where it was."""
    pace = Pace()
    served(pace, 10.0, 1.0, 80.0, 40)
    before = pace.fits(80.0, 1000)
    for _ in range(3):
        pace.late(before, 4000.0)
    assert pace.fits(80.0, 1000) >= 0.8 * before


def test_a_missed_deadline_halves_the_depth_at_once_and_success_brings_it_back() -> None:
    """The reaction does not wait for statistics; the way back is gradual."""
    pace = Pace()
    served(pace, 0.0, 1.0, 80.0, 40)
    before = pace.fits(80.0, 1000)
    pace.missed(before, 80.0)
    assert pace.fits(80.0, 1000) <= before / 2
    depths = [texts for texts, _ in served(pace, 0.0, 1.0, 80.0, 40)]
    assert depths[:6] == sorted(depths[:6])
    assert depths[0] < depths[2] < depths[5]
    assert depths[-1] >= 0.9 * before


@pytest.mark.parametrize("factor", [3.0, 10.0])
def test_a_reranker_that_becomes_slow_is_followed(factor: float) -> None:
    """When each text takes several times as long, few searches miss their deadline before the depth has fallen."""
    pace = Pace()
    served(pace, 2.0, 1.0, 80.0, 40)
    calls = served(pace, 2.0, factor, 80.0, 3 * WINDOW)
    assert sum(took > 80.0 for _, took in calls) <= 6
    assert calls[-1][1] <= 80.0
    back = served(pace, 2.0, 1.0, 80.0, 3 * WINDOW)
    assert back[-1][0] >= 0.8 * (80.0 * MARGIN - 2.0)


def test_nothing_fits_and_then_it_does() -> None:
    """A hopeless reranker gets no call; probes of two texts that went well bring it back."""
    pace = Pace()
    for texts in (8, 4, 2):
        pace.missed(texts, 80.0)
    assert pace.fits(80.0, 50) < 2
    for _ in range(WINDOW):
        pace.kept(2, 3.0)
    assert pace.fits(80.0, 50) >= 2
    assert served(pace, 1.0, 1.0, 80.0, 40, most=50)[-1][0] == 50


def test_noise_keeps_the_budget_nearly_always() -> None:
    """Times that vary by a fifth: at most one search in fifty is late, and most of the time is used."""
    rng, pace, late, used = np.random.default_rng(3), Pace(), 0, []
    for _ in range(500):
        texts = pace.fits(80.0, 200)
        took = (5.0 + texts) * float(rng.lognormal(0.0, 0.1))
        late += took > 80.0
        used.append(texts)
        (pace.kept if took <= 80.0 else pace.missed)(texts, min(took, 80.0))
    assert late <= 10
    assert np.median(used) >= 45
