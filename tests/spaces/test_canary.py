"""The canary: it passes maps that work, and says of the others what is wrong with them."""

from __future__ import annotations

import numpy as np
import pytest
from tests.spaces.synthetic import two_models

from regen.errors import MapRefused
from regen.spaces.canary import canary
from regen.spaces.fitting import MapKind
from regen.spaces.maps import fit

FRESH = slice(-24, None)
FITTED = slice(None, -24)


@pytest.mark.parametrize("kind", ["ridge", "procrustes", "low_rank", "semi_orthogonal"])
def test_a_map_that_works_passes(kind: MapKind) -> None:
    """Mapped vectors of fresh texts are nearest to their own."""
    source, target = two_models(600, 24, 24)
    found = canary(fit(kind, source[FITTED], target[FITTED], seed=0), source[FRESH], target[FRESH])
    assert found.passed
    assert found.found > 0.7
    assert found.reverse < 0.25


@pytest.mark.parametrize("kind", ["ridge", "procrustes"])
def test_a_map_in_the_wrong_direction_is_caught(kind: MapKind) -> None:
    """Between equal dimensions a reversed map has every right shape; the canary names the mistake."""
    source, target = two_models(600, 24, 24)
    found = canary(fit(kind, target[FITTED], source[FITTED], seed=0), source[FRESH], target[FRESH])
    assert found.problem is not None
    assert "wrong direction" in found.problem


def test_pairs_that_slipped_by_a_row_are_caught() -> None:
    """One text missing on one side makes every later pair wrong."""
    source, target = two_models(600, 24, 16)
    slipped = fit("ridge", source[:500], target[1:501], seed=0)
    found = canary(slipped, source[FRESH], target[FRESH])
    assert found.problem is not None
    assert "not of the same texts" in found.problem
    assert "prefix" in found.problem


def test_a_prefix_on_one_side_is_named() -> None:
    """A prefix shifts all vectors of one side alike; that is told apart from other misfits."""
    source, target = two_models(600, 24, 24, noise=0.01)
    shifted = target[FRESH] + np.full(24, 0.4, dtype=np.float32)
    found = canary(fit("ridge", source[FITTED], target[FITTED], seed=0), source[FRESH], shifted)
    assert found.offset > 0.9
    assert found.problem is not None
    assert found.problem.endswith("is a likely cause")
    assert "one constant vector" in found.problem


def test_too_few_canaries_are_refused() -> None:
    """Seven texts cannot tell a map from luck."""
    source, target = two_models(200, 8, 8)
    fitted = fit("ridge", source, target, seed=0)
    with pytest.raises(MapRefused, match="7 and 7 canary vectors"):
        canary(fitted, source[:7], target[:7])
