"""The catalog's port, as far as monitoring asks it. All questions; no method changes anything."""

from __future__ import annotations

from typing import Protocol

from regen.core.observations import Behind, ModelCost


class ObservingReader(Protocol):
    """Questions of monitoring, each one statement over a set."""

    def behind_of(self, generation: int) -> Behind:
        """What a generation holds that the change log has moved on from."""
        ...

    def became_searchable(self, generation: int, *, after: int, upto: int, limit: int = 50_000) -> list[float]:
        """Seconds from the source's change to its placement, for documents whose revision lies in (after, upto]."""
        ...

    def costs_by_model(self) -> list[ModelCost]:
        """What was paid, by generation and model."""
        ...

    def chunks_by_owner(self, generation: int, tenant: str | None) -> dict[tuple[str, str], int]:
        """How many chunks a generation holds of each source and (the value of that metadata key) tenant."""
        ...

    def letters_by_generation(self) -> dict[int, int]:
        """How many dead letters each generation has; 0 is the source stage."""
        ...
