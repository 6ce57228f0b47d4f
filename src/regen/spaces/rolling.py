"""One result list while a generation is being filled: migrated documents by their new score, the others by their old.

It takes what two store queries give, the best candidates of the complete old index and the best of the unfinished new
one, and nothing else: one store query more than a plain search, and no vector is fetched. Old scores of documents that
are not migrated are brought to the new scale by matching order statistics over the migrated ones
(``regen.spaces.calibrate`` says why), so the result is the old ranking at 0 %, the new one at 100 %, and in between of
a quality about on the straight line, for any order of migration that does not depend on relevance.

When it does depend on relevance (the documents that readers ask for first, as a good backfill does, or last), a score
says less than *whether* a document is migrated. Judged queries tell: ``relevant`` is where their relevant documents
lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import copysign, log, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regen.errors import SpaceMismatch
from regen.spaces.calibrate import FEWEST, Calibration, Scores, line
from regen.spaces.merge import Scored
from regen.spaces.prior import CalibrationPrior

NEAR_TOP: Final = slice(5, 30)
"""The old candidates that show how many documents near a query are migrated, relevant ones (the top) left out."""
_NEAR_COUNT: Final = 25
_TAIL: Final = 50
_CAUTION: Final = 5.0
"""Judged documents' worth of belief that relevance has nothing to do with the order of migration."""
_NEVER: Final = 0.01


@dataclass(frozen=True, slots=True)
class Relevant:
    """Where the relevant documents of a judged collection lie: ``pending`` of ``total`` are not migrated yet."""

    pending: int
    total: int

    def __post_init__(self) -> None:
        if not 0 <= self.pending <= self.total:
            raise ValueError(f"{self.pending} of {self.total} relevant documents pending")


@dataclass(frozen=True, slots=True)
class RollingMerge:
    """The merged list, best first, on the scale of the new space.

    ``from_new`` (n,) tells which documents are answered by the new generation. ``lean`` is what was added to the score
    of all others because of ``relevant``, in units of the new score. ``prior`` has learned from this query.
    """

    ids: tuple[str, ...]
    scores: Scores
    from_new: NDArray[np.bool_]
    calibration: Calibration
    lean: float
    prior: CalibrationPrior


def rolling(
    old: Scored,
    new: Scored,
    migrated: Sequence[bool],
    *,
    prior: CalibrationPrior | None = None,
    relevant: Relevant | None = None,
) -> RollingMerge:
    """Merge the best candidates of the complete old index with the best of the unfinished new one.

    ``migrated[i]`` tells whether document ``old.ids[i]`` is in the new generation. Both lists must be without gaps
    (each the best of what matches the query's filters) and be collapsed to one score a document; 50 to 100 candidates
    of each are enough. A migrated document that the new list lacks is below all of it, and is left out: its old score
    is not shown in its place. Raises SpaceMismatch when ``migrated`` does not go with ``old``.
    """
    if len(migrated) != len(old.ids):
        raise SpaceMismatch(f"{len(migrated)} migration flags for {len(old.ids)} old candidates")
    prior = prior or CalibrationPrior()
    done = {i: bool(flag) for i, flag in zip(old.ids, migrated, strict=True)} | dict.fromkeys(new.ids, True)
    old, new = old.ranked(), new.ranked()
    flags = np.array([done[i] for i in old.ids], dtype=bool)
    calibration = _calibration(prior, old.scores, new.scores, flags)
    near = _pending_near(flags)
    lean = _lean(relevant, prior.pending_share(near), _NEAR_COUNT * (prior.seen + 1), new.scores) if relevant else 0.0
    waiting = np.flatnonzero(~flags)
    pure = not new.ids
    merged = Scored(
        (*new.ids, *(old.ids[at] for at in waiting)),
        np.concatenate([new.scores, old.scores[waiting] if pure else calibration(old.scores[waiting]) + lean]),
    ).ranked()
    fresh = set(new.ids)
    return RollingMerge(
        merged.ids,
        merged.scores,
        np.array([i in fresh for i in merged.ids], dtype=bool),
        calibration,
        lean,
        prior.learn(old.scores[flags], new.scores, near),
    )


def _calibration(prior: CalibrationPrior, old: Scores, new: Scores, flags: NDArray[np.bool_]) -> Calibration:
    found = prior.calibrate(old[flags], new)
    if found.basis != "identity" or not (len(old) and len(new)):
        return found
    # No candidate is migrated and nothing is known from before: all of the new list lies below the old list's last.
    slope = float(new.std() / old.std()) if min(len(old), len(new)) >= FEWEST and new.std() * old.std() > 0 else 1.0
    return line(slope, float(old[-1]), float(new[0]), "bound", 0)


def _pending_near(flags: NDArray[np.bool_]) -> float | None:
    near = flags[NEAR_TOP]
    return float(1 - near.mean()) if len(near) else None


def _lean(relevant: Relevant, share: float, seen: float, new_scores: Scores) -> float:
    """What a pending document's score is raised by (negative: lowered), for where relevant documents lie.

    ``share`` was seen on ``seen`` documents. If that share of the documents near a query is pending, but a share π of
    the relevant ones, being pending changes the odds of relevance by π/(1 − π) · (1 − share)/share. The scores of
    irrelevant documents fall off exponentially in the tail, at a rate of one over the mean excess (Balkema & de Haan
    1974), so the odds of relevance grow at that rate with the score: the logarithm over the rate is the score that the
    odds are worth.
    """
    tail = new_scores[:_TAIL]
    if len(tail) < 5 or relevant.total == 0:
        return 0.0
    expected = (relevant.pending + _CAUTION * share) / (relevant.total + _CAUTION)
    odds = log((expected + _NEVER) / (1 - expected + _NEVER) * (1 - share + _NEVER) / (share + _NEVER))
    # Less one standard error of both shares: what so few documents show by chance must not move a list.
    chance = 1 / ((relevant.total + _CAUTION) * max(expected * (1 - expected), _NEVER))
    chance += 1 / (seen * max(share * (1 - share), _NEVER))
    return copysign(max(abs(odds) - sqrt(chance), 0.0), odds) * float(np.mean(tail - tail[-1]))
