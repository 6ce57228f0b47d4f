"""Which arm answers a caller: sticky, weighted, by nothing but a hash of the caller's key.

Weighted rendezvous hashing (Thaler, Ravishankar 1998; Schindelhauer, Schomaker 2005): each arm draws a number u from
the key, and the lowest -ln(u) / weight wins. No table, no state, the same answer in every process. Raising one arm's
weight moves keys into that arm only, so who was in the canary stays in it while it grows; lowering it moves keys out of
that arm only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from types import MappingProxyType

from regen.errors import EvaluationError

LIVE = "live"
CANARY = "canary"


@dataclass(frozen=True, slots=True)
class Split:
    """Named arms with weights (only their ratios count). ``name`` keeps experiments independent of each other.

    Raises EvaluationError for no arm, a negative or infinite weight, or weights that are all zero.
    """

    weights: Mapping[str, float]
    name: str = ""
    _open: Mapping[str, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for arm, weight in self.weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise EvaluationError(
                    f"the weight of {arm!r} is {weight!r}", hint="a weight is 0 or more, such as 0.05"
                )
        kept = {arm: float(weight) for arm, weight in self.weights.items() if weight > 0}
        if not kept:
            raise EvaluationError(
                f"no arm has a weight above zero: {dict(self.weights)!r}", hint="give at least one arm a weight"
            )
        object.__setattr__(self, "weights", MappingProxyType(dict(self.weights)))
        object.__setattr__(self, "_open", MappingProxyType(kept))

    def arm(self, key: str) -> str:
        """The arm of this key (a user, a session, a tenant): always the same one while the weights stay."""
        if len(self._open) == 1:
            return next(iter(self._open))
        return min(self._open, key=lambda arm: (-math.log(_open_unit(self.name, arm, key)) / self._open[arm], arm))


def canary_split(weight: float, name: str = "") -> Split:
    """The live generation, and a canary with this share of the keys (0 to 1)."""
    if not 0 <= weight <= 1:
        raise EvaluationError(f"the canary's weight is {weight!r}", hint="a share from 0 to 1, such as 0.05")
    return Split({LIVE: 1 - weight, CANARY: weight}, name)


def unit(*parts: str) -> float:
    """A number in [0, 1) made of the parts alone, the same everywhere: 53 bits of their BLAKE2b hash."""
    return _bits(parts) / 2**53


def _open_unit(*parts: str) -> float:
    return (_bits(parts) + 0.5) / 2**53


def _bits(parts: tuple[str, ...]) -> int:
    digest = blake2b(digest_size=8)
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return int.from_bytes(digest.digest(), "big") >> 11
