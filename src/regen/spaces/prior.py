"""What earlier queries teach about a calibration, for a query that shares few documents with the new generation.

``CalibrationPrior`` is a value: ``learn`` returns another one. It holds sums only, so it is small, merges, and is kept
as JSON. Old queries fade (``MEMORY``), because a migration goes on while it learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from regen.spaces.calibrate import FEWEST, IDENTITY, Calibration, Scores, line

MEMORY: Final = 1_000
"""Queries after which one weighs 1/e."""
STRENGTH: Final = 50.0
"""How many scores of this query the pooled slope weighs: slopes differ little between queries, but ten scores leave
a third of uncertainty on one."""
DEPTH: Final = 100
"""Order statistics used at most. Deeper ones describe documents that no result list shows."""


@dataclass(frozen=True, slots=True)
class CalibrationPrior:
    """Sums over earlier queries, of order statistics that both spaces gave.

    ``old_power`` and ``new_power`` are sums of squared deviations from each query's own mean, ``degrees`` of their
    degrees of freedom, ``old_mean`` and ``new_mean`` of the queries' means, ``queries`` their (faded) number.
    ``pending_near`` sums the share of not yet migrated documents among the candidates just below the top.
    """

    old_power: float = 0.0
    new_power: float = 0.0
    degrees: float = 0.0
    old_mean: float = 0.0
    new_mean: float = 0.0
    queries: float = 0.0
    pending_near: float = 0.0
    seen: float = 0.0

    def calibrate(self, old: Scores, new: Scores) -> Calibration:
        """Match the best old scores with the best new ones, rank by rank, leaning on earlier queries when few.

        ``old`` and ``new`` are the scores, best first, of migrated documents only: their best by the old score and
        their best by the new one, each without gaps. The longer list is cut. The slope is the ratio of standard
        deviations, pooled with that of earlier queries; the level is this query's own, as far as it has scores.
        """
        old, new = _matched(old, new)
        count = len(old)
        slope = self._slope(old, new)
        if count == 0 and self.queries == 0:
            return IDENTITY
        own = float(new.mean() - slope * old.mean()) if count else 0.0
        pooled = (self.new_mean - slope * self.old_mean) / self.queries if self.queries else own
        # One score of the query itself knows its level about as well as all other queries together.
        share = count / (count + 1) if self.queries else 1.0
        at = float(old.mean()) if count else self.old_mean / self.queries
        level = share * own + (1 - share) * pooled
        return line(slope, at, level + slope * at, "order" if count else "prior", count)

    def _slope(self, old: Scores, new: Scores) -> float:
        own_old, own_new = _power(old), _power(new)
        if self.old_power > 0 and self.new_power > 0:
            own_old += STRENGTH * self.old_power / self.degrees
            own_new += STRENGTH * self.new_power / self.degrees
        elif len(old) < FEWEST:
            return 1.0
        return float(np.sqrt(own_new / own_old)) if own_old > 0 and own_new > 0 else 1.0

    def learn(self, old: Scores, new: Scores, pending: float | None = None) -> CalibrationPrior:
        """The prior after one more query, with the scores that ``calibrate`` took.

        ``pending`` is the share of documents not migrated among the query's old candidates just below the top, None
        when it had too few.
        """
        old, new = _matched(old, new)
        fade = np.exp(-1 / MEMORY)
        faded = CalibrationPrior(**{name: float(value * fade) for name, value in asdict(self).items()})
        if pending is not None:
            faded = replace(faded, pending_near=faded.pending_near + pending, seen=faded.seen + 1)
        if len(old) < 2:
            return faded
        return replace(
            faded,
            old_power=faded.old_power + _power(old),
            new_power=faded.new_power + _power(new),
            degrees=faded.degrees + len(old) - 1,
            old_mean=faded.old_mean + float(old.mean()),
            new_mean=faded.new_mean + float(new.mean()),
            queries=faded.queries + 1,
        )

    def pending_share(self, now: float | None) -> float:
        """The expected share of pending documents just below the top, from earlier queries and this one; inside (0, 1).

        ``now`` is this query's, None when it is not known.
        """
        known = 0.0 if now is None else 1.0
        return (self.pending_near + (now or 0.0) + 0.5) / (self.seen + known + 1)

    def to_dict(self) -> dict[str, float]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CalibrationPrior:
        """Read back what :meth:`to_dict` wrote."""
        return cls(**data)


def _matched(old: Scores, new: Scores) -> tuple[Scores, Scores]:
    count = min(len(old), len(new), DEPTH)
    return np.asarray(old[:count], dtype=np.float64), np.asarray(new[:count], dtype=np.float64)


def _power(scores: Scores) -> float:
    return float(np.sum((scores - scores.mean()) ** 2)) if len(scores) > 1 else 0.0
