"""Strictly increasing maps from the scores of one space to those of another, for one query.

Scores of two models are not comparable: one calls 0.8 what the other calls 0.4. A calibration puts old scores on the
new model's scale without changing their order. Which one is right depends on what it is for:

- the conditional mean (``isotonic``) predicts a document's new score best, but predictions spread less than real
  scores, so predicted documents hardly ever reach the top: a merge that uses it buries what is not migrated;
- matching *order statistics* (``order``) keeps, at every height, the number of irrelevant documents that score above
  it. A relevant document then meets as many rivals as in its own space, whichever space that is, so its expected rank
  is the one it had there: merged quality runs along the straight line between the two models. This is the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Scores: TypeAlias = NDArray[np.float64]
Basis: TypeAlias = Literal["order", "prior", "bound", "moment", "robust", "isotonic", "identity"]
FEWEST: Final = 3
"""Fewer scores have no spread worth the name: the map is then a shift."""
_LEAST_SLOPE: Final = 1e-6
"""Relative to the average slope: what makes an increasing map strictly increasing."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A strictly increasing, piecewise linear map of scores.

    ``knots`` and ``values`` (k,) ascend strictly; beyond them the map goes on with ``slope``. ``basis`` says what it
    was made from, ``support`` how many scores of this query.
    """

    knots: tuple[float, ...]
    values: tuple[float, ...]
    slope: float
    basis: Basis
    support: int = 0

    def __call__(self, scores: Scores) -> Scores:
        """Old scores (n,) on the new scale; NaN stays NaN."""
        given = np.asarray(scores, dtype=np.float64)
        inside = np.interp(given, self.knots, self.values)
        beyond = np.minimum(given - self.knots[0], 0.0) + np.maximum(given - self.knots[-1], 0.0)
        return np.asarray(inside + self.slope * beyond)


IDENTITY: Final = Calibration((0.0,), (0.0,), 1.0, "identity")


def line(slope: float, at: float, value: float, basis: Basis, support: int) -> Calibration:
    """The straight line through (at, value)."""
    return Calibration((at,), (value,), slope, basis, support)


def moment(old: Scores, new: Scores) -> Calibration:
    """Match mean and standard deviation. The scores need not belong to the same documents."""
    if min(len(old), len(new)) == 0:
        return IDENTITY
    spread_old, spread_new = float(np.std(old)), float(np.std(new))
    slope = spread_new / spread_old if min(len(old), len(new)) >= FEWEST and min(spread_old, spread_new) > 0 else 1.0
    return line(slope, float(np.mean(old)), float(np.mean(new)), "moment", min(len(old), len(new)))


def robust(old: Scores, new: Scores) -> Calibration:
    """Match median and interquartile range: a few outliers (a near duplicate of the query) do not tilt it."""
    if min(len(old), len(new)) == 0:
        return IDENTITY
    (low_old, at, high_old), (low_new, value, high_new) = (np.percentile(side, [25, 50, 75]) for side in (old, new))
    steep = high_new > low_new and high_old > low_old and min(len(old), len(new)) >= FEWEST
    slope = (high_new - low_new) / (high_old - low_old) if steep else 1.0
    return line(float(slope), float(at), float(value), "robust", min(len(old), len(new)))


def isotonic(old: Scores, new: Scores) -> Calibration:
    """The increasing map nearest to the pairs (old[i], new[i]) in least squares, made strictly increasing.

    Pool adjacent violators (Ayer et al. 1955; Barlow et al. 1972); each block becomes a knot at its mean, and the map
    is linear between knots and has the moment match's slope beyond them. It estimates a conditional mean: see the
    module.
    """
    fallback = moment(old, new)
    order = np.lexsort((new, old))
    blocks: list[tuple[float, float, int]] = []
    for x, y in zip(old[order].tolist(), new[order].tolist(), strict=True):
        x_sum, y_sum, count = x, y, 1
        while blocks and (blocks[-1][1] / blocks[-1][2] >= y_sum / count or blocks[-1][0] / blocks[-1][2] >= x):
            x_more, y_more, more = blocks.pop()
            x_sum, y_sum, count = x_sum + x_more, y_sum + y_more, count + more
        blocks.append((x_sum, y_sum, count))
    knots = np.array([x / count for x, _, count in blocks])
    values = np.array([y / count for _, y, count in blocks])
    if len(knots) < 2 or np.any(np.diff(knots) <= 0) or np.any(np.diff(values) <= 0):
        return fallback
    rise = float(values[-1] - values[0]) / float(knots[-1] - knots[0])
    slope = max(fallback.slope, rise * _LEAST_SLOPE)
    return Calibration(tuple(knots.tolist()), tuple(values.tolist()), slope, "isotonic", len(old))
