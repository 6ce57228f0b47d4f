"""Unit length and unusable rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from regen.spaces.vectors import normalize, unusable_rows


@settings(max_examples=200, deadline=None)
@given(arrays.arrays(np.float32, (5, 3), elements=st.floats(-(2.0**120), 2.0**120, width=32)))
def test_rows_become_unit_length(vectors: np.ndarray) -> None:
    """Every row with a direction keeps it at length one, from the tiniest to the largest numbers; zero stays zero."""
    unit = normalize(vectors)
    assert unit.dtype == np.float32
    assert unit.shape == vectors.shape
    lengths = np.linalg.norm(unit.astype(np.float64), axis=1)
    assert np.allclose(lengths[vectors.any(axis=1)], 1.0, atol=1e-6)
    assert (lengths[~vectors.any(axis=1)] == 0).all()
    assert (np.sign(unit) * np.sign(vectors) >= 0).all()


def test_the_argument_is_not_changed() -> None:
    """Normalising makes a new array."""
    vectors = np.array([[3.0, 4.0]], dtype=np.float32)
    np.testing.assert_allclose(normalize(vectors), [[0.6, 0.8]])
    assert vectors.tolist() == [[3.0, 4.0]]


def test_unusable_rows_are_named() -> None:
    """Each unusable row has its reason; usable rows, tiny ones included, are not listed."""
    vectors = np.array([[1, 2], [np.nan, np.inf], [0, 0], [-np.inf, 1], [0, 1e-30]], dtype=np.float32)
    assert unusable_rows(vectors) == {1: "contains NaN", 2: "is a zero vector", 3: "contains infinity"}
    assert unusable_rows(vectors[[0, 4]]) == {}
    assert unusable_rows(np.empty((0, 2), dtype=np.float32)) == {}


def test_unusable_rows_normalise_without_warning() -> None:
    """NaN and infinity pass through normalisation as unusable rows, and disturb no other row."""
    unit = normalize(np.array([[np.nan, 1], [np.inf, 1], [0, 0], [0, 2]], dtype=np.float32))
    assert sorted(unusable_rows(unit)) == [0, 1, 2]
    assert unit[3].tolist() == [0.0, 1.0]
