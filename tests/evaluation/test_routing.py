"""Sticky routing: one key, one arm, in every process; weights are kept, and ramping moves nobody out of the canary."""

from __future__ import annotations

from collections import Counter

import pytest

from regen.errors import EvaluationError
from regen.evaluation.routing import CANARY, LIVE, Split, canary_split, unit

KEYS = [f"user-{number}" for number in range(20_000)]


def test_arms_are_the_same_in_every_process() -> None:
    """The hash is of the key alone, and its values are fixed: a release that changed them would move every user."""
    assert unit("handbook", "user-1") == pytest.approx(0.6534088948646006, abs=1e-15)
    assert unit("a", "bc") != unit("ab", "c"), "parts are kept apart"
    assert "".join(canary_split(0.5, "g8").arm(key)[0] for key in KEYS[:24]) == "cccllclccclcllcllcccllll"


@pytest.mark.parametrize("weight", [0.01, 0.25, 0.9])
def test_the_canary_gets_its_share(weight: float) -> None:
    """Within four standard deviations of what the weight says."""
    share = sum(canary_split(weight).arm(key) == CANARY for key in KEYS) / len(KEYS)
    assert abs(share - weight) < 4 * (weight * (1 - weight) / len(KEYS)) ** 0.5


def test_ramping_up_keeps_who_is_in_the_canary() -> None:
    """Step by step from nobody to everybody, nobody who was in the canary leaves it."""
    inside: set[str] = set()
    for weight in (0.0, 0.01, 0.05, 0.2, 0.21, 0.5, 0.99, 1.0):
        now = {key for key in KEYS[:3_000] if canary_split(weight, "g8").arm(key) == CANARY}
        assert inside <= now
        inside = now
    assert len(inside) == 3_000


def test_raising_one_of_several_arms_moves_keys_into_it_only() -> None:
    """A/B/C: who was not moved into the raised arm stays where they were."""
    before = Split({"a": 2, "b": 1, "c": 1})
    after = Split({"a": 2, "b": 3, "c": 1})
    moved = Counter((before.arm(key), after.arm(key)) for key in KEYS if before.arm(key) != after.arm(key))
    assert set(moved) == {("a", "b"), ("c", "b")}
    shares = Counter(after.arm(key) for key in KEYS)
    assert shares["b"] / len(KEYS) == pytest.approx(0.5, abs=0.02)


def test_experiments_are_independent() -> None:
    """Who is in one canary is no more often in another one than everybody else."""
    first = [key for key in KEYS if canary_split(0.2, "one").arm(key) == CANARY]
    both = sum(canary_split(0.2, "two").arm(key) == CANARY for key in first)
    assert both / len(first) == pytest.approx(0.2, abs=0.03)


def test_zero_means_nobody_at_once() -> None:
    """An aborted canary answers no key any more."""
    assert {canary_split(0.0).arm(key) for key in KEYS[:500]} == {LIVE}
    assert {canary_split(1.0).arm(key) for key in KEYS[:500]} == {CANARY}


@pytest.mark.parametrize("weights", [{}, {"a": 0.0}, {"a": -0.1, "b": 1}, {"a": float("nan")}, {"a": float("inf")}])
def test_weights_that_mean_nothing_are_refused(weights: dict[str, float]) -> None:
    """No arm, none above zero, negative, infinite: the error shows what was given."""
    with pytest.raises(EvaluationError, match="weight"):
        Split(weights)


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_canary_weight_is_a_share(weight: float) -> None:
    """Beyond nobody and everybody there is nothing."""
    with pytest.raises(EvaluationError, match="a share from 0 to 1"):
        canary_split(weight)
