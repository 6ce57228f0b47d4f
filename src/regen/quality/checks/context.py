"""What the checks look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from regen.evaluation.judged import JudgedCollection
from regen.ports.catalog import CatalogReader
from regen.quality.subject import Subject


@dataclass(frozen=True, slots=True)
class Context:
    """The candidate, the live generation it would follow (if any), and all current ones, the candidate included.

    ``sample`` bounds how many documents or queries a check looks at; ``seed`` decides which.
    """

    candidate: Subject
    baseline: Subject | None
    others: Sequence[Subject]
    catalog: CatalogReader
    collections: Sequence[JudgedCollection] = ()
    sample: int = 100
    seed: int = 0
