"""How a linear map between two spaces is solved for: one factorisation each, and how many pairs it takes.

Rows are pairs: X (n, d1) of the source space and Y (n, d2) of the target. Both are centred first; a map is then
y ≈ ȳ + (x − x̄) W. Everything is float64 here; the map that is kept is float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Matrix: TypeAlias = NDArray[np.float64]
MapKind: TypeAlias = Literal["ridge", "procrustes", "semi_orthogonal", "low_rank"]
KINDS: Final[tuple[MapKind, ...]] = ("ridge", "procrustes", "semi_orthogonal", "low_rank")
HELD_OUT: Final = 0.2
"""The share of the pairs on which a map is scored and which its scored fit never sees."""
FLOOR: Final = 50
"""Fewer pairs cannot be scored: a fifth of them is ten, the neighbours that the score counts."""
_PENALTIES: Final = np.logspace(-6, 2, 17)
"""Candidate penalties, as multiples of the mean squared singular value of X: free of the scale of the vectors."""


@dataclass(frozen=True, slots=True)
class Solution:
    """W as the product of its factors, one of shape (d1, d2) or two of (d1, r) and (r, d2), with the two means."""

    factors: tuple[Matrix, ...]
    source_mean: Matrix
    target_mean: Matrix
    penalty: float = 0.0

    def predict(self, source: Matrix) -> Matrix:
        """Mapped vectors (n, d2), not brought to any length."""
        mapped = source - self.source_mean
        for factor in self.factors:
            mapped = mapped @ factor
        return np.asarray(mapped + self.target_mean)


def pairs_needed(kind: MapKind, source_dimensions: int, target_dimensions: int, rank: int | None = None) -> int:
    """The fewest pairs with which a map of this kind is fitted.

    The rule: the pairs that a fit sees (four fifths) must hold twice as many numbers (d2 each) as the map has free.
    With ordinary least squares the error that the fit adds is d1 / (n − d1 − 1) of the noise: at twice the number of
    unknowns it still doubles the noise, below that it diverges.
    """
    small, large = sorted((source_dimensions, target_dimensions))
    free = {
        "ridge": source_dimensions * target_dimensions,
        "procrustes": small * (small - 1) // 2,
        "semi_orthogonal": small * large - small * (small + 1) // 2,
        "low_rank": (rank or max(1, small // 4)) * (small + large - (rank or max(1, small // 4))),
    }[kind]
    return max(FLOOR, ceil(2 * free / target_dimensions / (1 - HELD_OUT)))


def solve(kind: MapKind, source: Matrix, target: Matrix, *, rank: int | None = None) -> Solution:
    """Fit a map of this kind to all given pairs."""
    if kind == "ridge":
        return _ridge(source, target)
    if kind == "low_rank":
        return _low_rank(source, target, rank)
    return _orthogonal(source, target)


def _ridge(source: Matrix, target: Matrix) -> Solution:
    """Centred ridge regression (Hoerl & Kennard 1970), its penalty by generalised cross-validation.

    Leaving one pair out at a time, rotated so that all pairs weigh the same (Golub, Heath & Wahba 1979), gives a score
    that one eigendecomposition of XᵀX yields for every penalty at once.
    """
    x_mean, y_mean = source.mean(axis=0), target.mean(axis=0)
    x, y = source - x_mean, target - y_mean
    powers, axes = np.linalg.eigh(x.T @ x)
    powers = np.maximum(powers, 0.0)
    projected = axes.T @ (x.T @ y)
    # Along an axis without spread there is nothing to explain; its projection is zero but for rounding.
    explained = np.sum(projected**2, axis=1) / np.maximum(powers, powers.max() * 1e-12 + 1e-300)
    total, best_error, best = float(np.sum(y**2)), np.inf, float(_PENALTIES[-1])
    for penalty in _PENALTIES * max(float(powers.mean()), 1e-300):
        kept = powers / (powers + penalty)
        residual = max(total - float(np.sum(explained * (2 * kept - kept**2))), 0.0)
        error = residual / max(len(x) - 1 - float(kept.sum()), 1.0) ** 2
        if error < best_error:
            best_error, best = error, float(penalty)
    return Solution((axes @ (projected / (powers + best)[:, None]),), x_mean, y_mean, best)


def _orthogonal(source: Matrix, target: Matrix) -> Solution:
    """The rotation (or semi-orthogonal matrix) and scale that fit best in least squares.

    Equal dimensions: orthogonal Procrustes (Schönemann 1966); with centring and one scale, Schönemann & Carroll 1970.
    For unequal ones W has orthonormal rows or columns, whichever are fewer, and maximises the same trace.
    """
    x_mean, y_mean = source.mean(axis=0), target.mean(axis=0)
    centred = source - x_mean
    left, sizes, right = np.linalg.svd(centred.T @ (target - y_mean), full_matrices=False)
    rotation = left @ right
    spread = float(np.sum((centred @ rotation) ** 2))
    return Solution((rotation * (sizes.sum() / spread if spread > 0 else 1.0),), x_mean, y_mean)


def _low_rank(source: Matrix, target: Matrix, rank: int | None) -> Solution:
    """Reduced-rank ridge regression (Izenman 1975; Mukherjee & Zhu 2011): ridge, projected on its main outputs.

    Without a rank, the smallest of a few whose error on an inner hold-out is within 1 % of the best.
    """
    if rank is None:
        rank = _best_rank(source, target)
    full = _ridge(source, target)
    return _truncated(full, _main_outputs(full, source), rank)


def _main_outputs(full: Solution, source: Matrix) -> Matrix:
    fitted = (source - full.source_mean) @ full.factors[0]
    _, axes = np.linalg.eigh(fitted.T @ fitted)
    return np.asarray(axes[:, ::-1])


def _truncated(full: Solution, outputs: Matrix, rank: int) -> Solution:
    main = outputs[:, :rank]
    return Solution((full.factors[0] @ main, main.T), full.source_mean, full.target_mean, full.penalty)


def _best_rank(source: Matrix, target: Matrix) -> int:
    small = min(source.shape[1], target.shape[1])
    ranks: list[int] = sorted({max(1, small // share) for share in (16, 8, 4, 2, 1)})
    cut = int(len(source) * (1 - HELD_OUT))
    full = _ridge(source[:cut], target[:cut])
    outputs = _main_outputs(full, source[:cut])
    errors = [
        float(np.mean((_truncated(full, outputs, rank).predict(source[cut:]) - target[cut:]) ** 2)) for rank in ranks
    ]
    return min(rank for rank, error in zip(ranks, errors, strict=True) if error <= min(errors) * 1.01 + 1e-15)
