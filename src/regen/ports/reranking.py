"""The port of what orders the candidates of a search anew, and what the catalog remembers of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from regen.core.recipe import Recipe
from regen.ports import Embedder, VectorCache

__all__ = [
    "ClosingReranker",
    "Encoder",
    "KeptReranker",
    "RerankCounts",
    "RerankReader",
    "RerankWriter",
    "Reranker",
    "Scores",
    "SpaceReranker",
]

Scores: TypeAlias = NDArray[np.float32]
"""One score a text, shape (texts,), higher for better. Only their order within one call means anything."""


@runtime_checkable
class Reranker(Protocol):
    """Judges how well texts answer a query. Safe to use from several threads."""

    @property
    def name(self) -> str:
        """What it is and of which model; it parses back: ``rerank.model`` of regen.yaml names it so."""
        ...

    def rerank(self, query: str, texts: Sequence[str]) -> Scores:
        """Scores in the order of ``texts``, shape (len(texts),), finite. Raises RerankerError, ConfigError."""
        ...


@runtime_checkable
class SpaceReranker(Reranker, Protocol):
    """A reranker that compares vectors of one space: hits of that space are in its order already."""

    @property
    def space(self) -> str | None:
        """The space's fingerprint; None for a wrapper around one that compares no vectors."""
        ...


@runtime_checkable
class ClosingReranker(Reranker, Protocol):
    """A reranker that holds connections or files."""

    def close(self) -> None:
        """Release them. Idempotent; a call that is under way may fail."""
        ...


@dataclass(frozen=True, slots=True)
class Encoder:
    """A model for ordering by vectors: it embeds as a generation built by ``recipe`` would.

    ``cache`` keeps what was embedded under that recipe's space, so that such a generation's build finds it there.
    ``pay`` is told of each call to a model that costs money, before it is made: texts, tokens.
    """

    embedder: Embedder
    recipe: Recipe
    cache: VectorCache | None = None
    pay: Callable[[int, int], None] | None = None


# ── what the catalog remembers ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class RerankCounts:
    """How searches fared since the last time they were counted. ``last_error`` is of the newest that went wrong."""

    reranked: int = 0
    skipped: int = 0
    timeouts: int = 0
    failures: int = 0
    last_error: str = ""
    failed_at: float | None = None


@dataclass(frozen=True, slots=True)
class KeptReranker:
    """A reranker as the catalog keeps it: what all processes counted, and what judging it found.

    ``helps`` is None where it was never judged; ``fingerprint`` is of the settings that it was judged with, ``result``
    the judgement's JSON.
    """

    counts: RerankCounts
    helps: bool | None = None
    fingerprint: str = ""
    judged_at: float | None = None
    result: Mapping[str, Any] = field(default_factory=dict)


class RerankReader(Protocol):
    """All questions; no method changes anything."""

    def reranker(self, alias: str, model: str) -> KeptReranker | None:
        """What is known of a reranker, None where nothing is."""
        ...


class RerankWriter(Protocol):
    """The writes. Each is one transaction."""

    def count_reranking(self, alias: str, model: str, counts: RerankCounts) -> None:
        """Add to a reranker's counts; ``last_error`` and ``failed_at`` are replaced where there is a new one."""
        ...

    def judge_reranker(
        self, alias: str, model: str, *, helps: bool, fingerprint: str, at: float, result: Mapping[str, Any]
    ) -> None:
        """Keep what judging a reranker found, in the place of what was found before."""
        ...
