"""Percentiles of durations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regen.core.freshness import Percentiles


def percentiles(seconds: Sequence[float]) -> Percentiles:
    """p50, p95 and p99 of durations, None for an empty sequence."""
    if not seconds:
        return Percentiles()
    p50, p95, p99 = np.percentile(np.asarray(seconds), [50, 95, 99])
    return Percentiles(float(p50), float(p95), float(p99))
