"""The catalog's port, as far as people look back: how quickly changes became searchable, what was spent, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from regen.core.results import DeadLetter
from regen.ports.rollouts import KeptEvaluation


@dataclass(frozen=True, slots=True)
class Searchable:
    """One change that became searchable: when it did, and how many seconds after its source made it."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Spent:
    """One entry of the account: what a run sent to a model for a generation. ``at`` is of its last call."""

    at: float
    generation: int
    model: str
    texts: int
    tokens: int
    usd: float


@dataclass(frozen=True, slots=True)
class Filled:
    """What was placed in a generation since a time: how much, and the times of the first and the last of it."""

    documents: int
    chunks: int
    first_at: float | None
    last_at: float | None


class InsightReader(Protocol):
    """All questions; no method changes anything. Times are seconds since the epoch."""

    def searchable(self, generation: int, *, since: float, limit: int = 20_000) -> list[Searchable]:
        """The changes that became searchable in a generation since a time, oldest first; the newest ``limit`` of them.

        Of each document the newest change counts, if it was logged after the generation was complete.
        """
        ...

    def spent(self, *, since: float, limit: int = 20_000) -> list[Spent]:
        """The entries of the account since a time, oldest first; the newest ``limit`` of them."""
        ...

    def filled(self, generation: int, *, since: float) -> Filled:
        """What was placed in a generation since a time."""
        ...

    def letters_of(self, doc_id: str) -> list[DeadLetter]:
        """The dead letters of one document."""
        ...

    def evaluation(self, alias: str, number: int) -> KeptEvaluation | None:
        """One evaluation by its id."""
        ...
