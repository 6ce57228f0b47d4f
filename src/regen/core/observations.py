"""What monitoring is told of an index: how fresh, complete, good and expensive it is, generation by generation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Behind:
    """What a generation holds that the change log has moved on from: chunks of older revisions, and placements.

    ``mismatched`` placements hold another revision than the document's, deleted documents included.
    """

    stale_chunks: int = 0
    mismatched: int = 0


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What a model was paid for a generation (0: for none), and for how many texts and tokens."""

    generation: int
    model: str
    texts: int
    tokens: int
    usd: float


@dataclass(frozen=True, slots=True)
class CostShare:
    """What of the cost falls to a source's documents of one tenant: by the chunks that they have in the generation."""

    source: str
    tenant: str
    model: str
    usd: float


@dataclass(frozen=True, slots=True)
class Quality:
    """A measure of a generation on a judged collection, by its newest evaluation."""

    generation: int
    collection: str
    measure: str
    value: float


@dataclass(frozen=True, slots=True)
class GenerationObserved:
    """One generation. Everything that was logged before ``frontier`` (seconds since the epoch) is searchable in it."""

    number: int
    state: str
    model: str
    space: str
    documents: int
    chunks: int
    pending: int
    stale_documents: int
    stale_chunks: int
    mismatched_revisions: int
    deleted_still_present: int
    failed: int
    frontier: float
    watermark: int


@dataclass(frozen=True, slots=True)
class RolloutObserved:
    """A rollout that is under way."""

    kind: str
    candidate: int
    status: str
    weight: float


@dataclass(frozen=True, slots=True)
class Observation:
    """An index at one moment. ``alerts`` are alarms that are on, by kind; ``untold`` could not be told."""

    at: float
    live: int | None
    documents: int
    head: int
    dead_letters: dict[str, int]
    generations: list[GenerationObserved]
    qualities: list[Quality] = field(default_factory=list)
    evaluated_at: dict[int, float] = field(default_factory=dict)
    costs: list[ModelCost] = field(default_factory=list)
    shares: list[CostShare] = field(default_factory=list)
    rollout: RolloutObserved | None = None
    alarms: int = 0
    alerts: dict[str, int] = field(default_factory=dict)
    untold: int = 0


class Cursor(NamedTuple):
    """Up to which revision of which generation it was looked already."""

    generation: int
    revision: int


class BecameSearchable(NamedTuple):
    """How many seconds changes took, from their source to search, and where to look on."""

    seconds: list[float]
    cursor: Cursor
