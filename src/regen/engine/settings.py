"""What the engine may use and spend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from regen.core.priority import Priority
from regen.errors import ConfigError

Strategy: TypeAlias = Literal["auto", "rebuild", "bulk", "rolling", "on_read", "bridge"]
SERVING: Final[tuple[Strategy, ...]] = ("rolling", "on_read", "bridge")
"""Strategies under which the new generation, or its model, helps to answer before it is complete."""
MERGING: Final[tuple[Strategy, ...]] = ("rolling", "on_read")
"""Those of them under which it answers for the documents that it holds."""

DAY = 86_400.0
USUAL_RESCORED: Final = 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a run. None means no limit.

    ``budget_usd`` is hard: the call that would pass it is not made. It is for a run, all its generations, and for a
    generation's build however often that is stopped and begun again. ``max_delete_share`` is the share of a
    full source's documents that may vanish at once. ``keep_changes`` is how long the change log is kept, ``retain`` a
    former live generation, in seconds.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    budget_usd: float | None = None
    max_document_bytes: int = 20_000_000
    max_delete_share: float = 0.3
    retry_attempts: int = 6
    lease_wait: float = 15.0
    priority: Priority = field(default_factory=Priority)
    keep_changes: float = 30 * DAY
    retain: float = 7 * DAY
    batch_documents: int = 1_000
    batch_bytes: int = 8_000_000
    max_batch_texts: int | None = None


@dataclass(frozen=True, slots=True)
class Rescore:
    """How many pending candidates a merged search lets the new model score on the spot, and for how long at most.

    None of ``texts``: as many as ``USUAL_RESCORED``, for a model that costs nothing and runs in this process.
    """

    texts: int | None = None
    budget_ms: float = 50.0

    def __post_init__(self) -> None:
        if self.texts is not None and self.texts < 0:
            raise ConfigError(f"migration.rescore.texts is {self.texts}", hint="0 for none; 20 is usual")
        if not self.budget_ms > 0:
            raise ConfigError(
                f"migration.rescore.budget_ms is {self.budget_ms}", hint="milliseconds above 0; 50 is usual"
            )


@dataclass(frozen=True, slots=True)
class Migration:
    """How a generation is built beside the live one.

    ``auto`` is ``rebuild``. ``bulk`` is for a maintenance window: larger batches in the order of the log, no throttle,
    all of the store's upkeep, and the promotion through the gate at once. ``pilot`` is the share of the documents that
    is built and judged first. ``throttle`` is how many times as long as before the live generation's searches may take.
    ``drain`` is how many documents a second ``on_read`` places beside those that were read; None: none. ``rescore`` is
    for ``rolling`` and ``on_read``.
    """

    strategy: Strategy = "auto"
    pilot: float | None = None
    throttle: float | None = None
    drain: float | None = None
    rescore: Rescore = Rescore()

    def __post_init__(self) -> None:
        if self.pilot is not None and not 0 < self.pilot < 1:
            raise ConfigError(f"migration.pilot is {self.pilot}", hint="a share between 0 and 1, such as 5%")
        if self.throttle is not None and not self.throttle > 1:
            raise ConfigError(f"migration.throttle is {self.throttle}", hint="a factor above 1, such as 2.0")
        if self.drain is not None and (self.strategy != "on_read" or not self.drain > 0):
            raise ConfigError(
                f"migration.drain is {self.drain} with strategy {self.strategy}",
                hint="a rate such as 100/min, with `strategy: on_read`",
            )

    @property
    def rescores(self) -> bool:
        """Whether searches may embed documents before the build does."""
        return self.strategy in MERGING and self.rescore.texts != 0

    @property
    def bulk(self) -> bool:
        """Whether nobody need be considered while a generation is built."""
        return self.strategy == "bulk"
