"""Made-up models: vectors of the same texts in two spaces, with a known relation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regen.spaces.vectors import normalize

Vectors = NDArray[np.float32]


def rotation(dimensions: int, seed: int) -> Vectors:
    """A random rotation, (dimensions, dimensions)."""
    drawn = np.random.default_rng(seed).standard_normal((dimensions, dimensions))
    return np.linalg.qr(drawn)[0].astype(np.float32)


def texts(count: int, dimensions: int, seed: int) -> Vectors:
    """Unit vectors (count, dimensions) around a common direction, unevenly spread, as real models' are."""
    rng = np.random.default_rng(seed)
    spread = np.linspace(2, 0.3, dimensions)
    return normalize((rng.standard_normal((count, dimensions)) * spread + 0.5).astype(np.float32))


def two_models(count: int, first: int, second: int, noise: float = 0.03, seed: int = 0) -> tuple[Vectors, Vectors]:
    """Unit vectors of the same texts under two models, linearly related up to noise."""
    rng = np.random.default_rng(seed)
    source = texts(count, first, seed)
    mixing = rng.standard_normal((first, second)).astype(np.float32) / np.sqrt(first)
    return source, normalize(source @ mixing + noise * rng.standard_normal((count, second)).astype(np.float32))
