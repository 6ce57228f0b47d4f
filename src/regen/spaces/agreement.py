"""Are these vectors that model's? Looked at on a sample, with what they look like instead when they are not."""

from __future__ import annotations

from collections.abc import Mapping
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
FEW: Final = 0.05
"""A share of a sample below which a group is chance, not a group."""
NEAR: Final = 0.4
"""Median cosine from which vectors are near enough for the same model on slightly other texts, as with a prefix."""
UNIT: Final = 0.01
"""How far from 1 the length of a normalised vector may be."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a sample of held vectors agrees with the model's own: median cosine, and a verdict when it does not.

    ``hint`` says what would make them fit, None where nothing of the recipe would. ``near`` tells that the same model
    may have made them of other texts: with another prefix, say.
    """

    median: float
    problem: str | None
    hint: str | None = None
    near: bool = False

    @property
    def same(self) -> bool:
        """Whether the vectors are the model's."""
        return self.problem is None


def agreement(held: Vectors, own: Vectors, *, lengths: bool = False) -> Agreement:
    """Compare held vectors (n, d) with what the model gives for the same texts (n, e), n at least 1.

    With ``lengths`` the vectors' lengths must agree too: for recipes that do not normalise.
    """
    if held.shape[1] != own.shape[1]:
        return _other_size(held, own)
    ours, theirs = normalize(own), normalize(held)
    cosines = (theirs * ours).sum(axis=1)
    median, same = float(np.median(cosines)), cosines >= SAME
    if same.mean() >= ENOUGH:
        problem, hint = _other_lengths(held[same], own[same]) if lengths else (None, None)
        return Agreement(median, problem, hint)
    if _signs_agree(held, own):
        return Agreement(
            median, "the signs only: each number is one of two values", "set `embedding: {precision: binary}`"
        )
    if (shuffled := _elsewhere(theirs, ours)) >= ENOUGH:
        return Agreement(median, f"the model's, but of other rows: {shuffled:.0%} of the sample are another text's")
    return _partly(cosines, median)


def _partly(cosines: NDArray[np.float32], median: float) -> Agreement:
    """What cosines look like that are not nearly all the same: two groups, near throughout, or far throughout."""
    same = cosines >= SAME
    if same.mean() > FEW:
        rest = float(np.median(cosines[~same]))
        return Agreement(
            median,
            f"mixed: {same.mean():.0%} of the sample are the model's vectors (cosine at least {SAME}), the others are "
            f"not (median cosine {rest:.3f})",
            "keep one model's rows in a collection of their own, or let regen embed the texts anew",
        )
    if (split := _two_groups(cosines)) is not None:
        low, high = split
        return Agreement(
            median,
            f"mixed, of two makings: one group has cosine {high:.3f} with the model's own, the other {low:.3f}",
            "keep one model's rows in a collection of their own, or let regen embed the texts anew",
        )
    if median >= NEAR:
        return Agreement(
            median,
            f"near the model's own but not the same (median cosine {median:.3f}): made with another prefix, another "
            "revision or pooling, or of texts that were changed since",
            near=True,
        )
    return Agreement(
        median, f"of another model, or of other texts: the median cosine with the model's own is {median:.3f}"
    )


def _two_groups(cosines: NDArray[np.float32]) -> tuple[float, float] | None:
    """The medians of two groups that a wide gap divides, None for one group. A gap is wider than both groups."""
    ranked = np.sort(cosines)
    least = max(2, int(np.ceil(FEW * len(ranked))))
    if len(ranked) < 2 * least:
        return None
    cut = least + int(np.argmax(np.diff(ranked)[least - 1 : len(ranked) - least]))
    low, high = ranked[:cut], ranked[cut:]
    gap = float(high[0] - low[-1])
    apart = gap > 0.1 and gap > max(float(low[-1] - low[0]), float(high[-1] - high[0]))
    return (float(np.median(low)), float(np.median(high))) if apart else None


def closest(held: Vectors, makings: Mapping[str, Vectors]) -> str | None:
    """Which of several ways of embedding the same texts gives the held vectors, None when none does."""
    for name, own in makings.items():
        if agreement(held, own).same:
            return name
    return None


def are_normalized(vectors: Vectors) -> bool:
    """Whether the rows have unit length (within 1 %)."""
    return bool(np.all(np.abs(np.linalg.norm(vectors, axis=1) - 1) < UNIT))


def _other_size(held: Vectors, own: Vectors) -> Agreement:
    size, wanted = held.shape[1], own.shape[1]
    shared = min(size, wanted)
    cosines = (normalize(held[:, :shared]) * normalize(own[:, :shared])).sum(axis=1)
    leading = float(np.mean(cosines >= SAME)) >= ENOUGH
    nothing = float("nan")
    if leading and size < wanted:
        return Agreement(
            nothing,
            f"truncated: they are the leading {size} of the model's {wanted} dimensions",
            f"set `embedding: {{dimensions: {size}}}`, or name the model's variant of {size} dimensions",
        )
    if leading and not held[:, wanted:].any():
        return Agreement(nothing, f"padded: {wanted} dimensions of the model, and {size - wanted} zeros after them")
    if leading:
        return Agreement(
            nothing,
            f"of a larger model of the same family: their leading {wanted} of {size} dimensions are this model's",
            f"name the model's variant of {size} dimensions; going down to {wanted} later costs no text",
        )
    return Agreement(nothing, f"of another model: they have {size} dimensions, the model has {wanted}")


def _other_lengths(held: Vectors, own: Vectors) -> tuple[str | None, str | None]:
    """What is wrong with vectors whose directions are right, and what to do; None twice when nothing is."""
    ratios = np.linalg.norm(held, axis=1) / np.linalg.norm(own, axis=1)
    if np.all(np.abs(ratios - 1) < 2 * UNIT):
        return None, None
    low, high = (float(value) for value in np.quantile(np.linalg.norm(own, axis=1), [0.05, 0.95]))
    told = f"the model's own have lengths from {low:.3g} to {high:.3g}"
    if are_normalized(held):
        return f"normalised to length 1; {told}", "set `embedding: {normalize: true}`"
    found = [float(value) for value in np.quantile(np.linalg.norm(held, axis=1), [0.05, 0.95])]
    return (
        f"of other lengths, from {found[0]:.3g} to {found[1]:.3g}; {told}",
        "set `embedding: {normalize: true}`: the directions are the model's",
    )


def _signs_agree(held: Vectors, own: Vectors) -> bool:
    """Whether each held number is one of two values, by the sign of the model's own."""
    values = np.unique(held)
    return len(values) == 2 and float(np.mean((held == values[1]) == (own > 0))) >= ENOUGH


def _elsewhere(held: Vectors, own: Vectors) -> float:
    """The share of held unit vectors that are the model's own of some row, whichever."""
    return float(np.mean((held @ own.T).max(axis=1) >= SAME))
