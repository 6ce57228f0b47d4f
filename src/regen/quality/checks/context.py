"""What the checks look at."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from regen.core.rights import is_writers
from regen.engine.lease import is_dead
from regen.evaluation.judged import JudgedCollection
from regen.evaluation.known import KnownQuery
from regen.ports.catalog import CatalogReader
from regen.quality.subject import Subject


@dataclass(frozen=True, slots=True)
class Context:
    """The candidate, the live generation it would follow (if any), and all current ones, the candidate included.

    ``sample`` bounds how many documents a check looks at, ``texts`` how many texts it has embedded for each model;
    ``seed`` decides which. ``k`` is the depth of a search.

    ``recall`` is the share of nearest neighbours that an approximate index must find; a collection of more than
    ``exact_points`` points is compared with a sample of so many. ``lag`` is how many seconds a change may wait while a
    writer is at work. ``outdated`` is by how many seconds a document must be older than another to count as older.
    """

    candidate: Subject
    baseline: Subject | None
    others: Sequence[Subject]
    catalog: CatalogReader
    collections: Sequence[JudgedCollection] = ()
    known: Sequence[KnownQuery] = ()
    sample: int = 100
    texts: int = 20
    seed: int = 0
    k: int = 10
    recall: float = 0.95
    exact_points: int = 50_000
    lag: float = 60.0
    outdated: float = 3_600.0

    def misses_allowed(self, searches: int) -> int:
        """How many of so many searches for a nearest neighbour an approximate index may fail: none of a few."""
        return int(searches * (1 - self.recall))

    def is_followed(self) -> bool:
        """Whether a living writer holds a lease: what is not done yet is then being done."""
        now = time.time()
        held = (item for item in self.catalog.leases() if is_writers(item.name))
        return any(item.expires_at > now and not is_dead(item.owner) for item in held)

    def state(self) -> tuple[object, ...]:
        """What differs when documents were logged, placed or removed meanwhile."""
        catalog = self.catalog
        return (
            catalog.head(),
            catalog.drops(),
            tuple((item.number, item.state, item.watermark) for item in catalog.generations()),
        )
