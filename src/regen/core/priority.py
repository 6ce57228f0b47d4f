"""In which order a backfill takes documents: what readers miss most comes first.

By default (1) the top 5 % most queried, (2) changed within six months, (3) returned by failing or flagged queries or
marked high value, (4) the rest. The order is configurable; a document belongs to the first tier that it fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from regen.errors import ConfigError

Tier: TypeAlias = Literal["queried", "recent", "flagged", "rest"]
TIERS: Final[tuple[Tier, ...]] = get_args(Tier)
MONTH: Final = 30.44 * 86_400
KEYS: Final = 2**31
HASHES: Final = 2**32
MULTIPLIER: Final = 2_654_435_769  # 2**32 divided by the golden ratio


@dataclass(frozen=True, slots=True)
class Priority:
    """The rule. ``queried_share`` is the share of documents that counts as most queried, ``recent_seconds`` an age."""

    order: tuple[Tier, ...] = TIERS
    queried_share: float = 0.05
    recent_seconds: float = 6 * MONTH

    def __post_init__(self) -> None:
        unknown = [tier for tier in self.order if tier not in TIERS]
        if unknown or len(set(self.order)) != len(self.order):
            raise ConfigError(
                f"migration.priority is {list(self.order)}", hint=f"an order of {', '.join(TIERS)}, each at most once"
            )

    @property
    def passes(self) -> tuple[Tier, ...]:
        """The tiers in order, the rest always last."""
        return (*(tier for tier in self.order if tier != "rest"), "rest")


@dataclass(frozen=True, slots=True)
class Cut:
    """One tier made concrete: who belongs to it, and to none of the ``before`` ones.

    ``min_queries`` is the count that the most queried documents reach; ``changed_since`` is in seconds since the epoch.
    Of all these only the ``share`` that :func:`in_slice` draws.
    """

    tier: Tier
    before: tuple[Tier, ...]
    min_queries: int
    changed_since: float
    share: float = 1.0

    @property
    def below(self) -> int:
        """Keys that are hashed below this are drawn."""
        return round(self.share * HASHES)


def pilot_cut(share: float) -> Cut:
    """A share of all documents, whatever tier they belong to."""
    return Cut("rest", (), 0, 0.0, share)


def in_slice(key: int, below: int) -> bool:
    """Whether a document, by its key in the catalog, is drawn: always the same ones, spread evenly over all keys.

    Multiplicative hashing (Knuth, The Art of Computer Programming 3, section 6.4). It needs no function that a database
    lacks, and its products stay within 64 bits.
    """
    return key % KEYS * MULTIPLIER % HASHES < below


def cuts(priority: Priority, *, min_queries: int, now: float) -> list[Cut]:
    """The passes of a backfill: disjoint, and together every document."""
    passes = priority.passes
    since = now - priority.recent_seconds
    return [Cut(tier, passes[:at], min_queries, since) for at, tier in enumerate(passes)]


def belongs(cut: Cut, *, queries: int, changed_at: float, flagged: bool, key: int = 0) -> bool:
    """Whether a document is taken in this pass. The catalog asks the same in SQL; a test holds the two together."""

    def fits(tiers: Sequence[Tier]) -> bool:
        facts: dict[Tier, bool] = {
            "queried": queries >= cut.min_queries,
            "recent": changed_at >= cut.changed_since,
            "flagged": flagged,
            "rest": True,
        }
        return any(facts[tier] for tier in tiers)

    return fits([cut.tier]) and not fits(cut.before) and (cut.share >= 1.0 or in_slice(key, cut.below))
