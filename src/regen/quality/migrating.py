"""Serving while a generation is filled: the rollout of a strategy is begun, kept informed, and never begun twice.

All state is the rollout's, in the catalog: a process that is killed is followed by one that goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from regen.core.results import Progress, SyncResult
from regen.engine import probes
from regen.engine.acting import actor
from regen.engine.writing import OnProgress, WriteSide
from regen.errors import AliasMoved, EvaluationError, NotPromotable
from regen.evaluation.judged import JudgedCollection
from regen.ports.catalog import CatalogReader, Generation
from regen.ports.rollouts import Rollout, RouteKind
from regen.quality.bridging import BridgeBuilder
from regen.serving.reading import ReadSide

REFRESH: Final = 30.0
"""Seconds between two looks at where judged relevant documents lie."""
PAGE: Final = 5_000


@dataclass(frozen=True, slots=True)
class MigrationSide:
    """Begins the rollout of a strategy for a generation that is about to be filled, and keeps it informed."""

    alias: str
    writer: WriteSide
    reader: ReadSide
    kind: RouteKind
    judged: Callable[[], Sequence[JudgedCollection]]
    _seen: dict[str, float] = field(default_factory=dict)

    def begin(self, target: Generation) -> SyncResult:
        """Let searches be answered by this strategy's route from now on, unless that has been decided before.

        Notes tell what was begun, or why not: another rollout is under way, or somebody has aborted this one.
        """
        catalog = self.writer.catalog
        live = next((item for item in self.writer.current() if item.number == catalog.route(self.alias).live), None)
        result = SyncResult(generation=target.number)
        if live is None or live.number == target.number:
            return result
        if (why := self._decided_before(target)) is not None:
            result.notes += [why] if why else []
            return result
        with self.writer.lease(target):
            now = self.writer.fresh(target)
            self.writer.check_model(now.recipe)
            self.writer.prepare_collection(now)
            probes.keep(catalog, now, self.writer.models.embedder_for(now))
        return self._bridge(live, target) if self.kind == "bridge" else self._merge(live, target, result)

    def watching(self, target: Generation, progress: OnProgress | None) -> OnProgress:
        """What a build reports to: it keeps the rollout informed between batches, and passes everything on."""

        def report(now: Progress) -> None:
            if time.monotonic() - self._seen.get("at", 0.0) >= REFRESH:
                self.refresh(target)
            if progress is not None:
                progress(now)

        return report

    def refresh(self, target: Generation) -> None:
        """Note in the rollout where judged relevant documents lie now."""
        self._seen["at"] = time.monotonic()
        catalog = self.writer.catalog
        rollout, live = catalog.rollout(self.alias), catalog.route(self.alias).live
        if rollout is None or live is None or rollout.candidate != target.number or rollout.kind == "bridge":
            return
        found = self._relevant(live, target.number)[0]
        if found is not None and found != rollout.state.get("relevant"):
            _change(self.writer, rollout, {**rollout.state, "relevant": found})

    # ── beginning ───────────────────────────────────────────────────────────────────────────────────────────

    def _decided_before(self, target: Generation) -> str | None:
        """Why nothing is begun: "" if it has been, else what to tell; None when it is to be begun."""
        under_way = self.writer.catalog.rollout(self.alias)
        if under_way is not None:
            mine = (under_way.kind, under_way.candidate) == (self.kind, target.number)
            other = f"{under_way.kind} of generation {under_way.candidate} is {under_way.status}"
            return "" if mine else f"{self.kind}: not begun, since another rollout, {other}; this build is not served"
        earlier = rollouts_of(self.writer.catalog, self.alias, self.kind, target.number)
        if earlier and earlier[0].status == "aborted":
            return f"{self.kind}: the rollout was aborted ({earlier[0].reason}) and is not begun again by itself"
        return "" if earlier and self.kind == "bridge" else None

    def _merge(self, live: Generation, target: Generation, result: SyncResult) -> SyncResult:
        found, problem = self._relevant(live.number, target.number)
        began = self._start(target, 1.0, {} if found is None else {"relevant": found}, _MERGING[self.kind])
        result.notes += [began, *([problem] if problem else [])]
        return result

    def _bridge(self, live: Generation, target: Generation) -> SyncResult:
        collections, problem = self._collections()
        built = BridgeBuilder(self.writer, self.reader, live, target).build(collections)
        result, reason = built.result, str(built.state["reason"])
        if built.weight:
            told = self._start(target, built.weight, built.state, reason)
        else:
            told = self._start(target, 0.0, built.state, f"off: {reason}", ended=True)
        result.notes += [told, *([problem] if problem else [])]
        result.generation = target.number
        return result

    def _start(
        self, target: Generation, weight: float, state: Mapping[str, Any], reason: str, *, ended: bool = False
    ) -> str:
        """Begin (and for what is only to be remembered end at once); a sentence about it."""
        catalog, now = self.writer.catalog, time.time()
        try:
            begun = catalog.start_rollout(
                self.alias, self.kind, target.number, weight=weight, settings={}, state=state, actor=actor(),
                reason=reason, at=now,
            )  # fmt: skip
            if ended:
                catalog.change_rollout(begun, at=now, status="ended")
        except NotPromotable as error:
            return f"{self.kind}: not begun: {error.message}"
        return f"{self.kind}: {reason}"

    # ── where relevance lies ────────────────────────────────────────────────────────────────────────────────

    def _collections(self) -> tuple[Sequence[JudgedCollection], str | None]:
        """The judged collections, or none and why they cannot be read."""
        try:
            return self.judged(), None
        except EvaluationError as error:
            return (), f"{self.kind}: nothing judged is taken into account: {error.message}"

    def _relevant(self, live: int, target: int) -> tuple[dict[str, int] | None, str | None]:
        collections, problem = self._collections()
        if not collections:
            return None, problem
        return relevant_now(self.writer.catalog, live, target, collections), problem


_MERGING: Final[Mapping[RouteKind, str]] = {
    "rolling": "documents that the new generation holds are answered by it, the others by the live one",
    "on_read": "documents are embedded when a search has returned them; those that the new generation holds are "
    "answered by it, the others by the live one",
}


def relevant_now(
    catalog: CatalogReader, live: int, target: int, collections: Sequence[JudgedCollection]
) -> dict[str, int]:
    """How many (query, relevant document) judgments there are of indexed documents, and how many of them wait."""
    judged = [doc for item in collections for query in item.judged for doc in item.relevant(query.id)]
    held, there = _current(catalog, target, judged), _current(catalog, live, judged, only_current=False)
    known = [doc for doc in judged if doc in there]
    return {"pending": sum(doc not in held for doc in known), "total": len(known)}


def _current(catalog: CatalogReader, number: int, ids: Sequence[str], *, only_current: bool = True) -> set[str]:
    found: set[str] = set()
    distinct = sorted(set(ids))
    for at in range(0, len(distinct), PAGE):
        facts = catalog.fence(number, distinct[at : at + PAGE])
        found |= {doc for doc, entry in facts.items() if (entry.current or not only_current) and not entry.deleted}
    return found


def rollouts_of(catalog: CatalogReader, alias: str, kind: RouteKind, candidate: int) -> list[Rollout]:
    """The rollouts of a kind that a generation has had, newest first."""
    return [item for item in catalog.rollouts(alias, 100) if (item.kind, item.candidate) == (kind, candidate)]


def _change(writer: WriteSide, rollout: Rollout, state: Mapping[str, Any]) -> None:
    try:
        writer.catalog.change_rollout(rollout, at=time.time(), state=state)
    except AliasMoved:  # ended or changed meanwhile: the next look sees it
        return
