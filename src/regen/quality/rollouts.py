"""Rollouts: begun, measured by what was logged, stepped up, paused, aborted, and promoted through the gate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from regen.engine.acting import actor
from regen.errors import AliasMoved, ConfigError, NotFound, NotPromotable
from regen.evaluation.interleave import Interleaved, outcome
from regen.evaluation.latencies import Latencies
from regen.evaluation.rollout import Action, Analysis, RolloutState, advance, resume, start
from regen.evaluation.sequential import Preference
from regen.evaluation.tallies import ArmTally, Measurement
from regen.evaluation.trail import extended, look
from regen.ports.catalog import Catalog, Generation
from regen.ports.rollouts import LoggedQuery, Rollout, RouteKind
from regen.spaces.merge import METHODS

COMPARING: Final[tuple[RouteKind, ...]] = ("canary", "ab", "shadow", "interleaved")
PATIENCE: Final = 60.0
"""Seconds that a user has to click before a search counts as settled."""
MOST_QUERIES: Final = 1_000_000
BASELINE, CANDIDATE = "baseline", "candidate"
DEFAULTS: Final[Mapping[RouteKind, Mapping[str, Any]]] = {
    "canary": {
        "success_condition": "queries >= 200 and error_rate_delta < 0.02 and latency_ratio < 2",
        "failure_condition": "error_rate_delta > 0.01 or latency_ratio > 2 or click_rate_delta < -0.05",
        "metric": "error_rate_delta",
        "inconclusive_limit": 1_440,
    },
    "ab": {
        "success_condition": "click_rate_delta > 0",
        "failure_condition": "click_rate_delta < 0 or error_rate_delta > 0.01",
        "metric": "click_rate_delta",
        "steps": (0.5,),
        "inconclusive_limit": 10_080,
    },
    "shadow": {
        "success_condition": "queries >= 500 and error_rate_delta < 0.02 and latency_ratio < 2",
        "failure_condition": "error_rate_delta > 0.01 or latency_ratio > 2",
        "metric": "error_rate_delta",
        "steps": (1.0,),
        "inconclusive_limit": 1_440,
    },
    "interleaved": {
        "success_condition": "preference > 0.45",
        "failure_condition": "preference < 0.5 or error_rate_delta > 0.01",
        "metric": "preference",
        "steps": (1.0,),
        "inconclusive_limit": 10_080,
    },
}
"""What a rollout is judged by where nobody says otherwise. A canary needs no clicks; the others learn from them."""


def analysis_of(kind: RouteKind, given: Mapping[str, Any], weight: float | None) -> Analysis:
    """The analysis of a rollout: its kind's defaults, what was configured, and the first weight.

    Raises EvaluationError for what cannot be followed, ConfigError for a kind that compares nothing.
    """
    if kind not in DEFAULTS:
        raise ConfigError(f"{kind} is no route that compares two generations", hint=f"valid: {', '.join(COMPARING)}")
    settings = {**DEFAULTS[kind], **given}
    if weight is not None and "steps" not in given and kind == "canary":
        settings["step_weight"] = weight
        settings["max_weight"] = max(weight, settings.get("max_weight", 0.5))
    try:
        return Analysis(**settings)
    except TypeError as error:
        raise ConfigError(
            f"the analysis of a rollout cannot be made of {dict(given)}: {error}",
            hint="docs/concepts/online-comparison.md lists its settings",
        ) from None


def dual_settings(weight: float | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """How two lists are merged: ``method`` and the candidate's ``weight``. Raises ConfigError."""
    settings = {"method": "calibrated", "weight": 0.5 if weight is None else weight, **given}
    share = settings["weight"]
    known = settings.keys() == {"method", "weight"} and settings["method"] in METHODS
    if not known or isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ConfigError(f"dual cannot merge by {settings}", hint=f"method: {', '.join(METHODS)}; weight: from 0 to 1")
    return {"method": settings["method"], "weight": float(share)}


@dataclass(frozen=True, slots=True)
class RolloutSide:
    """Begins and judges rollouts. ``promote`` makes a generation live through the gate."""

    alias: str
    catalog: Catalog
    current: Callable[[], list[Generation]]
    promote: Callable[[int, str], object]
    configured: Mapping[str, Any] = field(default_factory=dict)

    def begin(
        self,
        kind: RouteKind,
        generation: int | None,
        *,
        weight: float | None,
        reason: str,
        given: Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
    ) -> Rollout:
        """Let a finished generation (default: the newest that is ready) serve beside the live one.

        ``settings`` are those of ``dual``: ``method`` and ``weight``. Raises NotFound, NotPromotable, ConfigError,
        EvaluationError.
        """
        candidate = self._finished(generation)
        if kind == "dual":
            return self._merge(candidate, reason, dual_settings(weight, settings or {}))
        if settings:
            raise ConfigError(f"{kind} has no settings: {dict(settings)}", hint="only dual has: method and weight")
        analysis = analysis_of(kind, {**self.configured, **given}, weight)
        state = start(analysis)
        return self.catalog.start_rollout(
            self.alias,
            kind,
            candidate.number,
            weight=state.weight,
            settings={"patience": PATIENCE},
            state={"rollout": state.to_dict(), "measured": time.time(), "step_began": time.time()},
            actor=actor(),
            reason=reason or f"{kind} of generation {candidate.number}",
            at=time.time(),
        )

    def _merge(self, candidate: Generation, reason: str, settings: Mapping[str, Any]) -> Rollout:
        """Let both answer together; nothing is compared, so nothing is learned."""
        return self.catalog.start_rollout(
            self.alias,
            "dual",
            candidate.number,
            weight=settings["weight"],
            settings=settings,
            state={},
            actor=actor(),
            reason=reason or f"dual of generation {candidate.number}",
            at=time.time(),
        )

    def tick(self, *, promote: bool = True, now: float | None = None, force: bool = False) -> Action | None:
        """Judge what was logged since the last time, if the interval has passed (or ``force``); what was decided.

        Of several processes that do it at once, one does. A candidate that has succeeded is promoted through the gate.
        """
        rollout, now = self.catalog.rollout(self.alias), time.time() if now is None else now
        if rollout is None or rollout.kind not in COMPARING:
            return self._promote_succeeded() if promote else None
        state = RolloutState.from_dict(rollout.state["rollout"])
        until = now - float(rollout.settings["patience"])
        if not force and until - rollout.state["measured"] < state.analysis.interval:
            return None
        measurement = self._measure(rollout, until)
        judged = replace(state, seen=state.seen.plus(measurement))
        state, action = advance(state, measurement)
        stepped = action.kind == "step_up"
        kept = {
            "trail": extended(rollout.state.get("trail", ()), look(now, judged, action)),
            "rollout": state.to_dict(),
            "measured": max(until, rollout.state["measured"]),
            "step_began": now if stepped else rollout.state["step_began"],
        }
        try:
            self.catalog.change_rollout(
                rollout, at=now, status=state.phase, weight=state.weight, state=kept, reason=action.reason
            )
        except AliasMoved:  # another process judged the same at the same time: its decision stands
            return None
        if action.kind == "succeed" and promote:
            self.promote(rollout.candidate, f"{rollout.kind} succeeded: {action.reason}")
        return action

    def abort(self, reason: str) -> Rollout:
        """End the rollout at once: from the next search on, everybody is answered by the live generation."""
        rollout = self._under_way()
        return self.catalog.change_rollout(rollout, at=time.time(), status="aborted", weight=0.0, reason=reason)

    def pause(self, reason: str) -> Rollout:
        """Leave the weight as it is and step up no further; failures still abort."""
        rollout = self._comparing()
        state = replace(RolloutState.from_dict(rollout.state["rollout"]), phase="paused", reason=reason)
        kept = {**rollout.state, "rollout": state.to_dict()}
        return self.catalog.change_rollout(rollout, at=time.time(), status="paused", state=kept, reason=reason)

    def resume(self) -> Rollout:
        """Go on after a pause."""
        rollout = self._comparing()
        state = resume(RolloutState.from_dict(rollout.state["rollout"]))
        kept = {**rollout.state, "rollout": state.to_dict()}
        return self.catalog.change_rollout(rollout, at=time.time(), status="running", state=kept, reason="resumed")

    def feedback(self, query_id: str, clicked: Iterable[str]) -> None:
        """Record which documents a user took from a logged search. Raises NotFound, ConfigError for one not shown."""
        taken = [clicked] if isinstance(clicked, str) else list(clicked)
        known = self.catalog.logged_query(query_id)
        if known is not None and (strange := [doc for doc in taken if doc not in known.returned]):
            raise ConfigError(
                f"document {strange[0]!r} was not among the {len(known.returned)} that query {query_id!r} returned",
                hint="send document ids of that search's hits",
            )
        self.catalog.note_clicks(query_id, taken)

    def _under_way(self) -> Rollout:
        rollout = self.catalog.rollout(self.alias)
        if rollout is None:
            raise NotFound(f"no rollout of {self.alias!r} is under way", hint="`regen promote G --canary 5` begins one")
        return rollout

    def _comparing(self) -> Rollout:
        """The rollout under way, if it is one that is judged. Raises NotFound, NotPromotable."""
        rollout = self._under_way()
        if rollout.kind not in COMPARING:
            raise NotPromotable(
                f"a rollout of kind {rollout.kind} takes no steps that could be paused",
                hint="`regen rollout --abort` ends it, `regen pause` holds up the backfill",
            )
        return rollout

    def _finished(self, number: int | None) -> Generation:
        current = {item.number: item for item in self.current()}
        ready = [item for item in current.values() if item.state == "ready"]
        if number is None:
            if not ready:
                raise NotPromotable("no generation is ready", hint="`regen apply` builds what regen.yaml asks for")
            return ready[-1]
        if number not in current:
            raise NotFound(f"there is no generation {number}", hint=f"there are: {sorted(current) or 'none'}")
        if current[number].state not in {"ready", "retained"}:
            raise NotPromotable(
                f"generation {number} is {current[number].state}: nobody can be answered by it",
                hint="a rollout needs a generation that is ready or retained; `regen apply` finishes a build",
            )
        return current[number]

    def _promote_succeeded(self) -> Action | None:
        """A rollout that succeeded in a process that could not promote is promoted by the next one that can."""
        newest = next(iter(self.catalog.rollouts(self.alias, 1)), None)
        if newest is None or newest.status != "succeeded" or newest.state.get("promoted"):
            return None
        if self.catalog.route(self.alias).live == newest.candidate:
            return None
        self.promote(newest.candidate, f"{newest.kind} succeeded: {newest.reason}")
        return Action("succeed", newest.weight, newest.reason)

    def _measure(self, rollout: Rollout, until: float) -> Measurement:
        """What became known since the last time. Of the arms only searches made at the present weight."""
        began = float(rollout.state["step_began"])
        step = self.catalog.logged_queries(self.alias, since=began, until=until, rollout=rollout.id, limit=MOST_QUERIES)
        measured = float(rollout.state["measured"])
        window = [query for query in step if query.asked_at >= measured]
        before = measured < began
        drafted = (
            self.catalog.logged_queries(self.alias, since=measured, until=until, rollout=rollout.id, limit=MOST_QUERIES)
            if before
            else window
        )
        first = _first_of_each_key(step)
        return Measurement(
            _tally([query for query in window if query.arm == BASELINE], first),
            _tally([query for query in window if query.arm == CANDIDATE], first),
            _preference(drafted),
        )


def _first_of_each_key(queries: Sequence[LoggedQuery]) -> set[str]:
    """The ids of each caller's first search: one caller's searches are no independent evidence of clicks."""
    first: dict[str, LoggedQuery] = {}
    for query in queries:
        name = query.key or query.id
        if name not in first or (query.asked_at, query.id) < (first[name].asked_at, first[name].id):
            first[name] = query
    return {query.id for query in first.values()}


def _tally(queries: Sequence[LoggedQuery], first: set[str]) -> ArmTally:
    settled = [query for query in queries if query.id in first and not query.failed]
    return ArmTally(
        queries=len(queries),
        errors=sum(query.failed for query in queries),
        zero_results=sum(not query.returned for query in queries if not query.failed),
        settled=len(settled),
        clicked=sum(bool(query.clicked) for query in settled),
        latencies=Latencies.of([query.milliseconds for query in queries if not query.failed]),
    )


def _preference(queries: Sequence[LoggedQuery]) -> Preference:
    """Whose documents were clicked, query by query."""
    found = []
    for query in queries:
        if query.teams and len(query.teams) == len(query.returned):
            shown = Interleaved(query.returned, query.teams)
            found.append(outcome(shown, [doc for doc in query.clicked if doc in query.returned]))
    return Preference().update_many(found)
