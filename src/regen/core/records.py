"""What the verbs return that look back: a generation's life, a backfill under way."""

from __future__ import annotations

from dataclasses import dataclass

from regen.core.recipe import Recipe


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """One generation from its beginning to its end; times are seconds since the epoch, None where they have not come.

    ``documents``, ``chunks`` and ``pending`` are None for a generation that is gone. ``cost_usd`` is what it has cost.
    """

    number: int
    state: str
    recipe: Recipe
    store: str
    created_at: float
    completed_at: float | None
    retained_at: float | None
    paused: str | None
    cost_usd: float
    documents: int | None = None
    chunks: int | None = None
    pending: int | None = None
    failed: int | None = None


@dataclass(frozen=True, slots=True)
class Backfill:
    """A generation that is being filled. ``rate`` is in documents per second over the last minute, 0 when it stands.

    ``seconds_left`` is None when that cannot be told.
    """

    generation: int
    documents: int
    pending: int
    chunks: int
    cost_usd: float
    rate: float
    seconds_left: float | None
    paused: str | None
    started_at: float
