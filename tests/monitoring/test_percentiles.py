"""Percentiles of durations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.freshness import Percentiles
from regen.monitoring.percentiles import percentiles


@given(st.lists(st.floats(0.0, 1e6), min_size=1))
def test_they_are_numpys(seconds: list[float]) -> None:
    """In any order, of one or many."""
    found = percentiles(seconds)
    assert [found.p50, found.p95, found.p99] == pytest.approx(list(np.percentile(seconds, [50, 95, 99])), abs=1e-9)


def test_of_nothing_there_are_none() -> None:
    """No duration has been measured yet."""
    assert percentiles([]) == Percentiles()
