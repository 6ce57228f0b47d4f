"""What the engine may use and spend."""

from __future__ import annotations

from dataclasses import dataclass, field

from regen.core.priority import Priority

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a run. None means no limit.

    ``budget_usd`` is per run and hard: the call that would pass it is not made. ``max_delete_share`` is the share of a
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
    batch_documents: int = 2_000
    batch_bytes: int = 8_000_000
    max_batch_texts: int | None = None
