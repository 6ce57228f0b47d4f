"""Linear maps between spaces, fitted on texts that both models have embedded.

``fit`` refuses too few pairs, scores the map on pairs that it has not seen and beside a control fitted on shuffled
pairs; ``canary`` (``regen.spaces.canary``) checks a finished map on a few fresh texts. A map knows the fingerprints of
both spaces and refuses vectors of another (I1).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regen.errors import MapRefused, SpaceMismatch
from regen.spaces.agreement import are_normalized
from regen.spaces.fitting import HELD_OUT, KINDS, MapKind, Matrix, Solution, pairs_needed, solve
from regen.spaces.vectors import normalize, unusable_rows

Vectors: TypeAlias = NDArray[np.float32]
NEIGHBOURS: Final = 10
_MOST_HELD_OUT: Final = 2_000
"""Scoring compares every held-out pair with every other: more than this adds cost, not precision."""
_MAGIC: Final = b"regen-map-1\n"


@dataclass(frozen=True, slots=True)
class MapScore:
    """How a map does on ``pairs`` pairs that it was not fitted on.

    ``cosine`` is the mean cosine of mapped and true vectors. ``recall`` is the mean share of the true vector's ten
    nearest held-out neighbours that the mapped vector finds too. The ``shuffled`` ones are those of a control, fitted
    on the same vectors paired at random: what the map must beat. ``margin`` is the lower end of a 99 % interval of the
    recall gained over the control.
    """

    cosine: float
    recall: float
    shuffled_cosine: float
    shuffled_recall: float
    margin: float
    pairs: int

    @property
    def problem(self) -> str | None:
        """Why the map is no better than chance; None when it beats the shuffled control clearly."""
        if self.margin > 0.02 and self.cosine > self.shuffled_cosine:
            return None
        return (
            f"the map finds {self.recall:.0%} of the true neighbours of held-out texts, one fitted on shuffled pairs "
            f"{self.shuffled_recall:.0%} (cosine {self.cosine:.3f} against {self.shuffled_cosine:.3f}): the pairs may "
            "not be of the same texts, or embedded with another prefix or revision than the space has"
        )


@dataclass(frozen=True)
class Map:
    """A fitted map: ``apply`` takes vectors of ``source_space`` to ``target_space``.

    ``offset`` (d2,) and ``factors`` (one of (d1, d2), or (d1, r) and (r, d2)) are float32. ``unit`` says that the
    target space's vectors have unit length, so mapped ones are brought to it.
    """

    kind: MapKind
    factors: tuple[Vectors, ...]
    offset: Vectors
    unit: bool
    score: MapScore
    source_space: str = ""
    target_space: str = ""
    pairs: int = 0
    penalty: float = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        """Dimensions of the source and of the target space."""
        return self.factors[0].shape[0], self.factors[-1].shape[1]

    def apply(self, vectors: Vectors, *, space: str | None = None) -> Vectors:
        """Mapped vectors, float32 of shape (n, d2), or (d2,) for one vector of shape (d1,).

        ``space`` is the fingerprint of the vectors' space. Raises SpaceMismatch when it, or the dimension, is not that
        of the source space: a vector of the target space would give a plausible, wrong result.
        """
        rows = np.asarray(vectors, dtype=np.float32)
        if rows.shape[-1] != self.shape[0] or (space is not None and space != self.source_space):
            raise self._mismatch(rows, space)
        mapped = rows
        for factor in self.factors:
            mapped = mapped @ factor
        mapped = mapped + self.offset
        if not self.unit:
            return mapped
        return normalize(mapped) if mapped.ndim == 2 else normalize(mapped[None])[0]

    def _mismatch(self, rows: Vectors, space: str | None) -> SpaceMismatch:
        found = f"{rows.shape[-1]} dimensions" + (f" of space {space}" if space else "")
        return SpaceMismatch(
            f"vectors of {found} were given to a map from {self.shape[0]} dimensions of space "
            f"{self.source_space or '(unnamed)'} to {self.shape[1]} of {self.target_space or '(unnamed)'}",
            hint="a map works in one direction: fit another one for the way back",
        )

    @cached_property
    def _header(self) -> bytes:
        score = {name: getattr(self.score, name) for name in MapScore.__slots__}
        return json.dumps(
            {
                "kind": self.kind, "unit": self.unit, "score": score, "source_space": self.source_space,
                "target_space": self.target_space, "pairs": self.pairs, "penalty": self.penalty,
                "shapes": [factor.shape for factor in self.factors],
            },
            sort_keys=True,
        ).encode()  # fmt: skip

    def to_bytes(self) -> bytes:
        """The map as bytes: a JSON header with both fingerprints, then little-endian float32."""
        arrays = b"".join(np.ascontiguousarray(array, dtype="<f4").tobytes() for array in (*self.factors, self.offset))
        return _MAGIC + struct.pack("<I", len(self._header)) + self._header + arrays

    @classmethod
    def from_bytes(cls, data: bytes) -> Map:
        """Read back what :meth:`to_bytes` wrote. Raises MapRefused when that is not what the bytes are."""
        start = len(_MAGIC) + 4
        if not data.startswith(_MAGIC) or len(data) < start:
            raise _unreadable("they do not begin as a map does")
        (length,) = struct.unpack_from("<I", data, len(_MAGIC))
        try:
            header = json.loads(data[start : start + length])
            shapes = [tuple(shape) for shape in header.pop("shapes")]
            numbers = np.frombuffer(data[start + length :], dtype="<f4").astype(np.float32)
            sizes = [int(np.prod(shape)) for shape in shapes] + [shapes[-1][1]]
            if sum(sizes) != len(numbers):
                raise _unreadable(f"{len(numbers)} numbers where {sum(sizes)} were announced")
            parts = np.split(numbers, np.cumsum(sizes)[:-1])
            factors = tuple(part.reshape(shape) for part, shape in zip(parts[:-1], shapes, strict=True))
            return cls(factors=factors, offset=parts[-1], **(header | {"score": MapScore(**header["score"])}))
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise _unreadable(str(error)) from None


def _unreadable(reason: str) -> MapRefused:
    return MapRefused(f"these bytes are no map between spaces: {reason}", hint="fit the map again")


def fit(
    kind: MapKind,
    source: Vectors,
    target: Vectors,
    *,
    seed: int,
    source_space: str = "",
    target_space: str = "",
    rank: int | None = None,
) -> Map:
    """Fit a map from source vectors (n, d1) to target vectors (n, d2), row i of both being the same text.

    The score is of a map fitted on four fifths; the map itself is then fitted on all pairs. A bad score does not raise:
    ``map.score.problem`` says it, and ``canary`` why. ``rank`` is for low_rank (default: chosen on held-out pairs).
    Raises MapRefused for too few pairs, rows that do not pair, unusable vectors, or a rotation between unequal
    dimensions.
    """
    _check(kind, source, target, rank)
    x, y = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    order = np.random.default_rng(seed).permutation(len(x))
    held, seen = np.split(order, [min(int(len(x) * HELD_OUT), _MOST_HELD_OUT)])
    score = _score(kind, x, y, held, seen, rank=rank, seed=seed)
    final = solve(kind, x[order], y[order], rank=rank)
    factors = tuple(np.ascontiguousarray(factor, dtype=np.float32) for factor in final.factors)
    unit = are_normalized(np.asarray(target, dtype=np.float32))
    return Map(kind, factors, _offset(final), unit, score, source_space, target_space, len(x), final.penalty)


def _offset(solution: Solution) -> Vectors:
    offset: Vectors = solution.predict(np.zeros((1, len(solution.source_mean))))[0].astype(np.float32)
    return offset


def _check(kind: MapKind, source: Vectors, target: Vectors, rank: int | None) -> None:
    if kind not in KINDS:
        raise MapRefused(f"{kind!r} is no kind of map", hint=f"valid are {', '.join(KINDS)}")
    if source.ndim != 2 or target.ndim != 2 or len(source) != len(target):
        raise MapRefused(
            f"source vectors of shape {source.shape} and target vectors of shape {target.shape} do not pair",
            hint="row i of both must be the same text",
        )
    if kind == "procrustes" and source.shape[1] != target.shape[1]:
        raise MapRefused(
            f"a rotation cannot take {source.shape[1]} dimensions to {target.shape[1]}",
            hint="use semi_orthogonal or ridge",
        )
    if rank is not None and not 1 <= rank <= min(source.shape[1], target.shape[1]):
        raise MapRefused(f"rank is {rank}", hint=f"from 1 to {min(source.shape[1], target.shape[1])}")
    needed = pairs_needed(kind, source.shape[1], target.shape[1], rank)
    if len(source) < needed:
        raise MapRefused(
            f"{len(source)} pairs are too few for a {kind} map from {source.shape[1]} to {target.shape[1]} dimensions",
            hint=f"embed at least {needed} texts with both models, or use a kind that needs fewer",
        )
    bad = {**unusable_rows(source), **unusable_rows(target)}
    if bad:
        row, reason = next(iter(bad.items()))
        raise MapRefused(f"{len(bad)} pairs are unusable, the first at row {row}: {reason}", hint="leave them out")


def _score(
    kind: MapKind,
    x: Matrix,
    y: Matrix,
    held: NDArray[np.int64],
    seen: NDArray[np.int64],
    *,
    rank: int | None,
    seed: int,
) -> MapScore:
    truth = normalize(y[held].astype(np.float32))
    mapped = solve(kind, x[seen], y[seen], rank=rank).predict(x[held])
    shuffled = np.random.default_rng(seed + 1).permutation(seen)
    control = solve(kind, x[seen], y[shuffled], rank=rank).predict(x[held])
    recalls, chance = neighbour_recall(mapped, truth), neighbour_recall(control, truth)
    gain = recalls - chance
    margin = float(gain.mean() - 2.576 * gain.std(ddof=1) / np.sqrt(len(gain)))
    return MapScore(
        _cosine(mapped, truth), float(recalls.mean()), _cosine(control, truth), float(chance.mean()), margin, len(held)
    )


def _cosine(mapped: Matrix, truth: Vectors) -> float:
    return float(np.mean(np.sum(normalize(mapped.astype(np.float32)) * truth, axis=1)))


def neighbour_recall(mapped: Matrix, truth: Vectors, k: int = NEIGHBOURS) -> Matrix:
    """For each of n pairs, the share of the true vector's k nearest (cosine) that its mapped vector finds; shape (n,).

    The pair itself is left out on both sides, so a map cannot score by finding the very vector it was made from.
    """
    unit = normalize(mapped.astype(np.float32))
    k = max(1, min(k, len(truth) - 1))
    found, wanted = _nearest(unit @ truth.T, k), _nearest(truth @ truth.T, k)
    return np.array([np.intersect1d(a, b).size / k for a, b in zip(found, wanted, strict=True)])


def _nearest(scores: Vectors, k: int) -> NDArray[np.int64]:
    np.fill_diagonal(scores, -np.inf)
    return np.argpartition(-scores, k - 1, axis=1)[:, :k].astype(np.int64)
