"""A semantic canary: whether a map does what it is said to do, on a few texts that both models embed afresh.

A map that was fitted the other way round, or on pairs that slipped by a row, still has the right shape and gives
vectors of the right length. Texts with a known meaning tell: a mapped vector must be nearest to the vector of its own
text, among the vectors of the other texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regen.errors import MapRefused
from regen.spaces.maps import Map
from regen.spaces.vectors import normalize

Vectors: TypeAlias = NDArray[np.float32]
FEWEST: Final = 8
PREFIX: Final = (
    "a prefix (document_prefix, query_prefix, or an instruction) on one side only, when the pairs or the canaries "
    "were embedded, is a likely cause"
)


@dataclass(frozen=True, slots=True)
class Canary:
    """What the canaries say. ``problem`` is None for a map that works, else what is wrong and why.

    ``found`` is the share of canaries whose mapped vector is nearest to its own text, and ``reverse`` the same with the
    map used the wrong way round (0 where the dimensions forbid it). ``offset`` is the share of the squared error that
    is one constant vector: 1 / texts by chance alone, near 1 for a prefix on one side.
    """

    found: float
    reverse: float
    offset: float
    cosine: float
    texts: int
    problem: str | None

    @property
    def passed(self) -> bool:
        """Whether the map does what it is said to do."""
        return self.problem is None


def canary(fitted: Map, source: Vectors, target: Vectors) -> Canary:
    """Check a map on vectors (n, d1) and (n, d2) of the same n texts, none of which it was fitted on; 8 to 64 will do.

    The texts should differ in meaning: among paraphrases no map can tell which is which. Raises MapRefused for fewer
    than eight or rows that do not pair, SpaceMismatch for another dimension.
    """
    if len(source) != len(target) or len(source) < FEWEST:
        raise MapRefused(
            f"{len(source)} and {len(target)} canary vectors", hint=f"at least {FEWEST}, row i of both the same text"
        )
    mapped = fitted.apply(source)
    found, reverse = own_found(mapped, target), 0.0
    if fitted.shape[0] == fitted.shape[1]:
        reverse = own_found(fitted.apply(target), source)
    error = np.asarray(target - mapped, dtype=np.float64)
    power = float(np.mean(np.sum(error**2, axis=1)))
    offset = float(np.sum(error.mean(axis=0) ** 2)) / power if power > 1e-12 else 0.0
    cosine = float(np.mean(np.sum(normalize(mapped) * normalize(target), axis=1)))
    return Canary(found, reverse, offset, cosine, len(source), _problem(found, reverse, offset, len(source)))


def own_found(mapped: Vectors, truth: Vectors) -> float:
    """The share of rows that are nearer (cosine) to their own row of the other matrix than to any other row of it."""
    scores = normalize(mapped) @ normalize(truth).T
    own = np.diag(scores).copy()
    np.fill_diagonal(scores, -np.inf)
    return float(np.mean(own > scores.max(axis=1)))


def _problem(found: float, reverse: float, offset: float, texts: int) -> str | None:
    if reverse > found + 2 / texts and reverse >= 0.25:
        return (
            f"fitted in the wrong direction: it finds {reverse:.0%} of texts the other way round, {found:.0%} this way"
        )
    if offset > max(0.5, 4 / texts):
        return f"{offset:.0%} of the error is one constant vector: {PREFIX}"
    # Chance finds one text on average, Poisson-distributed: more than four of them by chance is under 1 in 250.
    if found * texts <= 4 or found < 0.25:
        return (
            f"it finds {found:.0%} of {texts} texts (chance: {1 / texts:.0%}): fitted on pairs that are not of the "
            f"same texts, on texts unlike these, or by another revision of a model; {PREFIX}"
        )
    return None
