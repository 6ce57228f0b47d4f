"""Label-free signals: values by hand, published ones, a brute-force definition, and what must always hold."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.errors import EvaluationError
from regen.evaluation.signals import drift, jaccard_at, overlap_at, rank_biased_overlap
from regen.spaces.derive import neighbour_overlap

RANKINGS = st.lists(st.sampled_from("abcdefghijklmn"), unique=True, max_size=12)
PERSISTENCE = st.floats(0.05, 0.98)


def brute_force(first: list[str], second: list[str], p: float) -> float:
    """RBO's definition, (1 - p) Σ p^(d-1) A_d, with the assumption of Webber et al. spelt out rank by rank.

    Below its end the shorter ranking goes on to agree as often as up to there; below both, agreement stays as it is.
    """
    short, long = sorted((first, second), key=len)
    if not short:
        return 1.0 if not long else 0.0
    total, agreement = 0.0, 0.0
    for d in range(1, 3000):
        if d <= len(long):
            seen = len(set(short[:d]) & set(long[:d]))
            at_end = len(set(short) & set(long[: len(short)])) / len(short)
            agreement = (seen + at_end * max(0, d - len(short))) / d
        total += (1 - p) * p ** (d - 1) * agreement
    return total


@pytest.mark.parametrize(
    ("first", "second", "p", "value"),
    [
        ("12345", "23415", 0.9, 0.828), ("123", "132", 0.9, 0.955), ("abcdefghij", "abc", 0.9, 1.0),
        ("abc", "xyz", 0.9, 0.0),
    ],
)  # fmt: skip
def test_rank_biased_overlap_by_hand_and_as_published(first: str, second: str, p: float, value: float) -> None:
    """Another implementation's example; agreement by 1, 1/2, then 1 (0.1 + 0.045 + 0.81); a ranking's own beginning."""
    assert rank_biased_overlap(first, second, p) == pytest.approx(value, abs=1e-9)


@given(RANKINGS, RANKINGS, PERSISTENCE)
def test_rank_biased_overlap_is_its_definition(first: list[str], second: list[str], p: float) -> None:
    """The closed form equals the infinite sum, for rankings of any two lengths."""
    assert rank_biased_overlap(first, second, p) == pytest.approx(brute_force(first, second, p), abs=1e-9)


@given(RANKINGS, RANKINGS, PERSISTENCE, st.integers(1, 15))
def test_signals_are_symmetric_shares(first: list[str], second: list[str], p: float, k: int) -> None:
    """All lie between 0 and 1, do not care which ranking is which, and are 1 for a ranking and itself."""
    signals = [partial(rank_biased_overlap, p=p), partial(overlap_at, k=k), partial(jaccard_at, k=k)]
    for signal in signals:
        assert 0 <= signal(first, second) <= 1
        assert signal(first, second) == signal(second, first)
        assert signal(first, first) == pytest.approx(1.0, abs=1e-12)
    assert jaccard_at(first, second, k) <= overlap_at(first, second, k)


def test_a_change_at_the_top_weighs_more() -> None:
    """Swapping the first two ranks lowers RBO more than swapping the last two; overlap does not see either."""
    top, bottom = rank_biased_overlap("abcdef", "bacdef"), rank_biased_overlap("abcdef", "abcdfe")
    assert top < bottom < 1
    assert overlap_at("abcdef", "bacdef", 6) == overlap_at("abcdef", "abcdfe", 6) == 1


def test_overlap_by_hand() -> None:
    """Two of the first three are shared: 2/3 of the three, 2 of the four named at all."""
    assert overlap_at("abcz", "bcdz", 3) == pytest.approx(2 / 3)
    assert jaccard_at("abcz", "bcdz", 3) == 0.5
    assert overlap_at("ab", "abcd", 10) == 0.5
    assert overlap_at("", "", 10) == jaccard_at("", "", 10) == rank_biased_overlap("", "") == 1
    assert overlap_at("", "a", 10) == jaccard_at("", "a", 10) == rank_biased_overlap("", "a") == 0


def test_drift_over_queries() -> None:
    """Means over all queries of either side, with how many changed altogether and how many not at all."""
    before = {"q1": ["a", "b"], "q2": ["a", "b"], "q3": ["a", "b"]}
    after = {"q1": ["a", "b"], "q2": ["b", "c"], "q4": ["a"]}
    overlap, jaccard, rbo = drift(before, after, k=2)
    assert [signal.name for signal in (overlap, jaccard, rbo)] == ["overlap@2", "Jaccard@2", "RBO(p=0.9)"]
    assert overlap.value == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert jaccard.value == pytest.approx((1 + 1 / 3 + 0 + 0) / 4)
    assert rbo.value == pytest.approx((1 + rank_biased_overlap("ab", "bc")) / 4)
    assert overlap.detail == "mean over 4 queries: 2 share no document, 1 have the same 2 in the same order"
    assert drift({}, {}) == ()


@pytest.mark.parametrize("p", [0.0, 1.0, -0.5, 1.5, float("nan")])
def test_persistence_is_a_probability(p: float) -> None:
    """At 0 and 1 the measure is not defined."""
    with pytest.raises(EvaluationError, match="Valid: between 0 and 1"):
        rank_biased_overlap("ab", "ab", p)


def test_rankings_of_chunks_are_refused() -> None:
    """A document that is named twice would be counted twice."""
    for signal in [partial(rank_biased_overlap, p=0.9), partial(overlap_at, k=2), partial(jaccard_at, k=2)]:
        with pytest.raises(EvaluationError, match="twice"):
            signal("ab", "aa")
    with pytest.raises(EvaluationError, match="k is 0"):
        overlap_at("ab", "ab", 0)


def test_neighbourhoods_of_two_models_compare_whatever_their_dimensions() -> None:
    """The signal on vectors: kept by a rotation into more dimensions, near chance for unrelated vectors."""
    random = np.random.default_rng(7)
    vectors = random.normal(size=(200, 16)).astype(np.float32)
    turned = vectors @ np.linalg.qr(random.normal(size=(24, 16)))[0].T.astype(np.float32)
    assert neighbour_overlap(vectors, turned, 10) > 0.99
    assert neighbour_overlap(vectors, random.normal(size=(200, 8)).astype(np.float32), 10) < 0.15
