"""The bridge decision: off unless it is better with confidence."""

from __future__ import annotations

import numpy as np
import pytest
from tests.spaces.synthetic import texts

from regen.errors import EvaluationError, SpaceMismatch
from regen.spaces.bridge import blend, choose_weight, known_item_values
from regen.spaces.vectors import normalize


def values(queries: int, gains: dict[float, float], seed: int = 0) -> tuple[np.ndarray, dict[float, np.ndarray]]:
    """Values per query without a bridge, and with each weight, better by a mean gain amid noise."""
    rng = np.random.default_rng(seed)
    nothing = rng.random(queries)
    return nothing, {weight: nothing + gain + 0.2 * rng.standard_normal(queries) for weight, gain in gains.items()}


def test_a_bridge_that_helps_is_used_at_its_best_weight() -> None:
    """A clear gain at one weight is found, with a bound above zero and an honest expectation."""
    decided = choose_weight(*values(400, {0.25: 0.05, 0.5: 0.12, 1.0: -0.3}), seed=0)
    assert decided.weight == 0.5
    assert 0 < decided.low < decided.gain < 0.2
    assert decided.means[1.0] < decided.nothing


def test_without_a_gain_the_bridge_is_off_nearly_always() -> None:
    """Over 200 worlds in which every blend is worth nothing, one is chosen in about 5 % at most."""
    chosen = [
        choose_weight(*values(60, {0.25: 0.0, 0.5: 0.0, 1.0: 0.0}, seed), seed=seed).weight for seed in range(200)
    ]
    assert np.mean(np.array(chosen) > 0) < 0.09
    off = choose_weight(*values(60, {0.5: 0.0}), seed=0)
    assert (off.weight, off.gain) == (0.0, 0.0)
    assert "no blend" in off.reason


def test_a_loss_is_reported_and_off() -> None:
    """A bridge that loses is off, and its means show the loss."""
    decided = choose_weight(*values(200, {0.5: -0.05, 1.0: -0.2}), seed=0)
    assert decided.weight == 0.0
    assert decided.low < 0
    assert decided.means[1.0] < decided.means[0.5] < decided.nothing


def test_identical_values_are_no_gain() -> None:
    """A bridge that changes nothing is not switched on, and nothing is divided by zero."""
    nothing = np.linspace(0, 1, 30)
    assert choose_weight(nothing, {0.5: nothing, 1.0: nothing}, seed=0).weight == 0.0


def test_too_little_to_decide_on_is_refused() -> None:
    """Nineteen queries, other queries, or no weights are an error."""
    nothing = np.zeros(19)
    for blends in ({0.5: nothing}, {0.5: np.zeros(20)}, {}):
        with pytest.raises(EvaluationError, match="19 queries"):
            choose_weight(nothing, blends, seed=0)


def test_blends_run_from_the_old_query_to_the_bridged() -> None:
    """Weight 0 is the old query, 1 the bridged one, lengths do not weigh, and the result has unit length."""
    old, bridged = texts(5, 8, 0), texts(5, 8, 1)
    np.testing.assert_allclose(blend(old * 7, bridged, 0.0), old, atol=1e-6)
    np.testing.assert_allclose(blend(old, bridged * 7, 1.0), bridged, atol=1e-6)
    np.testing.assert_allclose(blend(old, bridged, 0.5), normalize(old + bridged), atol=1e-6)
    with pytest.raises(SpaceMismatch, match=r"\(5, 4\)"):
        blend(old, bridged[:, :4], 0.5)


def test_known_items_are_valued_by_their_rank() -> None:
    """First is 1, second 1/log2(3), beyond k nothing; a tie counts against the document."""
    documents = np.eye(4, dtype=np.float32)
    queries = np.array([[1, 0, 0, 0], [0.9, 1, 0, 0], [0.9, 1, 0, 0], [1, 1, 0, 0]], dtype=np.float32)
    found = known_item_values(queries, documents, np.array([0, 0, 2, 0]), k=2)
    np.testing.assert_allclose(found, [1, 1 / np.log2(3), 0, 1 / np.log2(3)])
