"""Are these vectors that model's? Looked at on a sample, with what they look like instead when they are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regen.spaces.vectors import normalize

Vectors: TypeAlias = NDArray[np.float32]
SAME: Final = 0.995
"""Cosine above which two vectors are the same but for rounding (float16 and int8 storage stay above it)."""
ENOUGH: Final = 0.98
"""The share of a sample that must be the same: a few texts may have been edited behind their vectors."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a sample of held vectors agrees with the model's own: median cosine, and a verdict when it does not."""

    median: float
    problem: str | None

    @property
    def same(self) -> bool:
        """Whether the vectors are the model's."""
        return self.problem is None


def agreement(held: Vectors, own: Vectors) -> Agreement:
    """Compare held vectors (n, d) with what the model gives for the same texts (n, e)."""
    if held.shape[1] != own.shape[1]:
        return Agreement(float("nan"), _other_size(held, own))
    cosines = (normalize(held) * normalize(own)).sum(axis=1)
    median, share = float(np.median(cosines)), float(np.mean(cosines >= SAME))
    if share >= ENOUGH:
        return Agreement(median, None)
    if share > 0.05:
        return Agreement(median, f"mixed: {share:.0%} of the sample are the model's vectors, the others are not")
    return Agreement(
        median, f"of another model, or of other texts: the median cosine with the model's own is {median:.3f}"
    )


def _other_size(held: Vectors, own: Vectors) -> str:
    size, wanted = held.shape[1], own.shape[1]
    shared = min(size, wanted)
    cosine = float(np.median((normalize(held[:, :shared]) * normalize(own[:, :shared])).sum(axis=1)))
    if cosine >= SAME and size < wanted:
        return f"truncated: they are the leading {size} of the model's {wanted} dimensions"
    if cosine >= SAME:
        return f"of a larger model of the same family: their leading {wanted} of {size} dimensions are this model's"
    return f"of another model: they have {size} dimensions, the model has {wanted}"


def are_normalized(vectors: Vectors) -> bool:
    """Whether the rows have unit length (within 1 %)."""
    return bool(np.all(np.abs(np.linalg.norm(vectors, axis=1) - 1) < 0.01))
