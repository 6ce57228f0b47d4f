"""The verbs of who looks after an index: its generations over time, its freshness, quality and cost. All only read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from regen.core.recipe import Recipe
from regen.core.records import Backfill, GenerationRecord
from regen.core.results import DeadLetter
from regen.core.transition import without_credentials
from regen.engine.models import Models
from regen.engine.settings import Limits, Migration
from regen.engine.stores import Stores
from regen.errors import NotFound
from regen.ports.catalog import CURRENT_STATES, Catalog, Generation, PastState
from regen.ports.insight import Filled, Searchable, Spent
from regen.ports.rollouts import KeptEvaluation

if TYPE_CHECKING:
    from regen.quality.gating import QualitySide
    from regen.quality.settings import EvaluationSettings

RATE_WINDOW: Final = 60.0
"""The seconds that a backfill's present rate is measured over."""


class InsightVerbs:
    """What a person wants to see before acting."""

    alias: str
    _catalog: Catalog
    _stores: Stores
    _limits: Limits
    _migration: Migration
    _evaluation: EvaluationSettings | None
    _models: Models

    @property
    def recipe(self) -> Recipe:
        """The recipe that the configuration asks for."""
        raise NotImplementedError

    @property
    def _quality(self) -> QualitySide:
        raise NotImplementedError

    @property
    def model_is_local(self) -> bool:
        """Whether the configured model works in this process: it takes its cores, where another one only waits."""
        return self._models.embedder.info.local

    def generations(self) -> list[GenerationRecord]:
        """All generations there ever were, by number."""
        return [self._record(item) for item in self._catalog.generations()]

    def backfill(self) -> Backfill | None:
        """The newest generation that is being filled, in whatever process; None where there is none."""
        building = [item for item in self._catalog.generations() if item.state == "building"]
        if not building:
            return None
        target, now = building[-1], time.time()
        counts = self._catalog.counts(target.number)
        rate = _rate(self._catalog.filled(target.number, since=now - RATE_WINDOW), now)
        return Backfill(
            generation=target.number,
            documents=counts.documents,
            pending=counts.pending,
            chunks=counts.chunks,
            cost_usd=self._catalog.spent_on(target.number),
            rate=rate,
            seconds_left=counts.pending / rate if rate else None,
            paused=target.paused,
            started_at=target.created_at,
        )

    def searchable_since(self, since: float) -> list[Searchable]:
        """The changes that became searchable in the live generation since a time, oldest first."""
        live = self._catalog.route(self.alias).live
        return [] if live is None else self._catalog.searchable(live, since=since)

    def spent_since(self, since: float) -> list[Spent]:
        """What models were paid since a time, oldest first."""
        return self._catalog.spent(since=since)

    def evaluations(self, generation: int | None = None, limit: int = 20) -> list[KeptEvaluation]:
        """What evaluations found, of one generation or of all, newest first."""
        return self._catalog.evaluations(self.alias, generation, limit)

    def evaluation(self, number: int) -> KeptEvaluation:
        """One evaluation by its id. Raises NotFound."""
        found = self._catalog.evaluation(self.alias, number)
        if found is None:
            raise NotFound(f"there is no evaluation {number} of {self.alias!r}", hint="`regen evaluate` makes one")
        return found

    def standing_evaluation(self, generation: int) -> KeptEvaluation | None:
        """The evaluation that promoting a generation would rest on now; None where one must be made first.

        Raises NotFound, EvaluationError.
        """
        return self._quality.standing(generation)

    def dead_letters(self, limit: int = 1_000, doc_id: str | None = None) -> list[DeadLetter]:
        """The documents that could not be processed, the newest first; or one document's."""
        return self._catalog.dead_letters(limit) if doc_id is None else self._catalog.letters_of(doc_id)

    def past(self, doc_id: str, revision: int) -> PastState:
        """A document as it was at a revision. Raises NotFound when that is not kept."""
        return self._catalog.past_state(doc_id, revision)

    def alias_version(self) -> int:
        """The number that every switch of the alias raises: what a decision to switch is based on."""
        return self._catalog.route(self.alias).version

    def pulse(self) -> tuple[object, ...]:
        """A value that changes whenever something does that a page shows; cheap enough to ask every second."""
        route, items = self._catalog.route(self.alias), self._catalog.generations()
        building = [item.number for item in items if item.state == "building"]
        filled = [self._catalog.filled(number, since=time.time() - RATE_WINDOW) for number in building]
        return (
            self._catalog.head(),
            route.live,
            route.version,
            route.rollout_version,
            *((alert.key, alert.resolved_at) for alert in self._catalog.alerts(self.alias)),
            *((item.number, item.state, item.watermark, item.paused) for item in items),
            *filled,
        )

    def configuration(self) -> Mapping[str, Any]:
        """What the index is set up with, by block of regen.yaml, without credentials."""
        settings = self._evaluation
        return {
            "recipe": self.recipe.to_dict() | {"space": self.recipe.space, "fingerprint": self.recipe.fingerprint},
            "store": without_credentials(self._stores.name),
            "migration": asdict(self._migration) | {"retain_seconds": self._limits.retain},
            "limits": asdict(self._limits),
            "gate": [str(item) for item in settings.gate] if settings else [],
            "collections": [item.name for item in settings.collections] if settings else [],
            "measures": list(settings.all_measures()) if settings else [],
        }

    def _record(self, item: Generation) -> GenerationRecord:
        counts = self._catalog.counts(item.number) if item.state in CURRENT_STATES else None
        return GenerationRecord(
            number=item.number,
            state=item.state,
            recipe=item.recipe,
            store=without_credentials(item.store),
            created_at=item.created_at,
            completed_at=item.completed_at,
            retained_at=item.retained_at,
            paused=item.paused,
            cost_usd=self._catalog.spent_on(item.number),
            documents=counts.documents if counts else None,
            chunks=counts.chunks if counts else None,
            pending=counts.pending if counts else None,
            failed=counts.failed if counts else None,
        )


def _rate(filled: Filled, now: float) -> float:
    """Documents per second since the first of them was placed; 0 where none was."""
    if filled.first_at is None or not filled.documents:
        return 0.0
    return filled.documents / max(now - filled.first_at, 1.0)
