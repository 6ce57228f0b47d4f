"""The verbs of a rollout: begin, give feedback, judge, pause, abort."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from regen.core.results import SwitchResult
from regen.engine.writing import WriteSide
from regen.errors import AliasMoved, GateNotMet
from regen.ports.catalog import Catalog
from regen.ports.rollouts import Rollout, RouteKind
from regen.serving.reading import ReadSide

if TYPE_CHECKING:
    from regen.evaluation.rollout import Action
    from regen.quality.rollouts import RolloutSide


ROLLOUT_QUERIES: Final = 30 * 86_400.0
"""Seconds after which the queries of a rollout are forgotten by gc, where no other time is configured."""


class RolloutVerbs:
    """Two generations serve at once, and what users do decides between them."""

    alias: str
    _catalog: Catalog
    _writer: WriteSide
    _reader: ReadSide
    _rollout_settings: Mapping[str, Any]

    def promote(self, generation: int | None = None, *, reason: str = "") -> SwitchResult:
        """Make a generation live through the gate."""
        raise NotImplementedError

    def begin_rollout(
        self,
        generation: int | None = None,
        *,
        route: RouteKind = "canary",
        weight: float | None = None,
        reason: str = "",
        analysis: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Rollout:
        """Let a finished generation (default: the newest that is ready) serve beside the live one.

        ``weight`` is the share of callers that it begins with. ``analysis`` are settings of
        ``evaluation.rollout.Analysis``; ``settings`` say how ``dual`` merges (``method``, ``weight``). Raises NotFound,
        NotPromotable, ConfigError, EvaluationError.
        """
        return self._rollouts.begin(
            route, generation, weight=weight, reason=reason, given=analysis or {}, settings=settings
        )

    def _begin_canary(self, generation: int | None, weight: float, reason: str) -> SwitchResult:
        """A canary as promote's answer: nothing is switched yet."""
        begun = self.begin_rollout(generation, weight=weight, reason=reason)
        route = self._catalog.route(self.alias)
        live = next(item for item in self._writer.current() if item.number == route.live)
        told = [f"generation {begun.candidate} answers {begun.weight:.0%} of the callers"]
        return SwitchResult(
            self.alias, live.number, route.previous, begun.reason, live.recipe.space, notes=told, rollout=begun.id
        )

    def rollout(self) -> Rollout | None:
        """The rollout that is running or paused."""
        return self._catalog.rollout(self.alias)

    def rollouts(self, limit: int = 20) -> list[Rollout]:
        """All rollouts, newest first."""
        return self._catalog.rollouts(self.alias, limit)

    def advance_rollout(self, *, force: bool = False) -> Action | None:
        """Judge a rollout by what users did since the last time, if its interval has passed (or ``force``).

        It steps up, pauses, aborts, or succeeds, and is then promoted through the gate. None when nothing was due.
        """
        self._reader.log.flush()
        return self._rollouts.tick(force=force)

    def pause_rollout(self, reason: str) -> Rollout:
        """Leave a rollout's weight as it is; failures still abort it. Raises NotFound."""
        return self._rollouts.pause(reason)

    def resume_rollout(self) -> Rollout:
        """Go on with a paused rollout. Raises NotFound, EvaluationError."""
        return self._rollouts.resume()

    def abort_rollout(self, reason: str) -> Rollout:
        """End a rollout: from the next search on the live generation answers everybody. Raises NotFound."""
        return self._rollouts.abort(reason)

    def feedback(self, query_id: str, clicked: Iterable[str]) -> None:
        """Tell which documents of a search a user took; ``query_id`` is the search result's.

        Raises NotFound for a query that is not logged, ConfigError for a document that it did not return.
        """
        self._reader.log.flush()
        self._rollouts.feedback(query_id, clicked)

    def _rollout_told(self) -> list[str]:
        """What status says of a rollout that is under way."""
        found = self.rollout()
        if found is None:
            return []
        share = f" to {found.weight:.0%} of the callers" if found.kind in {"canary", "ab"} else ""
        return [f"{found.kind} of generation {found.candidate}{share} is {found.status}: `regen rollout` shows it"]

    def _rollout_notes(self) -> list[str]:
        """Judge the rollout after a sync; what was decided, or why a candidate that succeeded was not promoted."""
        if not self._catalog.rollouts(self.alias, 1):
            return []
        try:
            action = self.advance_rollout()
        except (GateNotMet, AliasMoved) as error:
            return [f"the rollout succeeded, but nothing was promoted: {error.message}"]
        if action is None or action.kind == "continue":
            return []
        return [f"rollout: {action.kind.replace('_', ' ')} at {action.weight:.0%}: {action.reason}"]

    def _analyse_logged(self) -> None:
        """Judge in a process that only searches: it may step a rollout or abort it, and leaves promoting to others."""
        self._rollouts.tick(promote=False)

    @property
    def _rollouts(self) -> RolloutSide:
        from regen.quality.rollouts import RolloutSide  # noqa: PLC0415 - statistics are heavy: only during a rollout

        def promote(generation: int, reason: str) -> object:
            return self.promote(generation, reason=reason)

        return RolloutSide(self.alias, self._catalog, self._writer.current, promote, self._rollout_settings)
