"""Promote, roll back, retire: what moves the alias, and what becomes of the generations it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

from regen.core.results import GcReport, PauseResult, SwitchResult
from regen.core.transition import without_credentials
from regen.engine.acting import actor
from regen.engine.joint import Joint
from regen.engine.stores import UNREACHABLE, Stores
from regen.errors import AliasMoved, NotFound, NotPromotable
from regen.ports import AliasStore
from regen.ports.catalog import CURRENT_STATES, Catalog, Generation, Route
from regen.ports.transactions import StoreWriter


@dataclass(frozen=True, slots=True)
class Approval:
    """What a promotion rests on: the id of an evaluation, and whether the gate was overruled."""

    evaluation: int | None = None
    forced: bool = False


Approve: TypeAlias = Callable[[Generation, Generation | None], Approval]
"""Asked before the alias is moved forward: from the live generation (None: there is none) to the candidate."""


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The switches of one alias. Each is one compare-and-swap in the catalog; the store's own alias follows it.

    ``hold`` takes a generation's lease: nobody writes into what is being given up.
    """

    alias: str
    catalog: Catalog
    stores: Stores
    retain_seconds: float
    hold: Callable[[Generation], AbstractContextManager[object]]

    def promote(
        self, number: int | None, *, reason: str, expected: int | None = None, approve: Approve | None = None
    ) -> SwitchResult:
        """Make a ready generation (default: the newest) live, retain the former.

        ``approve`` may refuse it. Raises NotPromotable, AliasMoved.
        """
        route = self._route(expected)
        target = self._ready() if number is None else self._known(number)
        if target.number == route.live:
            raise NotPromotable(f"generation {target.number} is live already")
        if target.state == "building":
            counts = self.catalog.counts(target.number)
            raise NotPromotable(
                f"generation {target.number} is unfinished: {counts.pending:,} documents are not in it yet",
                hint="`regen apply` goes on building it",
            )
        if target.state not in {"ready", "retained"}:
            raise NotPromotable(f"generation {target.number} is {target.state}", hint="`regen apply` builds another")
        live = None if route.live is None else self._known(route.live)
        return self._switch(route, target, reason, approve(target, live) if approve else Approval())

    def rollback(self, to: int | None, *, reason: str, expected: int | None = None) -> SwitchResult:
        """Point the alias back at the previous, or at another retained generation. Raises NotPromotable, AliasMoved."""
        route = self._route(expected)
        wanted = route.previous if to is None else to
        if wanted is None:
            raise NotPromotable(
                "there is no previous generation to go back to", hint="`regen history` lists the switches"
            )
        target = self._known(wanted)
        if target.state != "retained":
            raise NotPromotable(
                f"generation {wanted} is {target.state}, not retained", hint="`regen promote` makes a ready one live"
            )
        return self._switch(route, target, reason)

    def pause(self, number: int | None, *, reason: str) -> PauseResult:
        """Hold a backfill up, in whatever process it runs. Raises NotFound, NotPromotable."""
        return self._hold_up(self._building(number), f"{actor()}: {reason}" if reason else actor())

    def resume(self, number: int | None) -> PauseResult:
        """Let a backfill that was paused (default: the newest such) go on; does nothing if it is not paused."""
        paused = [item.number for item in self.catalog.generations() if item.state == "building" and item.paused]
        return self._hold_up(self._building(paused[-1] if number is None and paused else number), None)

    def _hold_up(self, target: Generation, why: str | None) -> PauseResult:
        self.catalog.pause(target.number, why)
        counts = self.catalog.counts(target.number)
        return PauseResult(target.number, why, counts.documents, counts.pending)

    def _building(self, number: int | None) -> Generation:
        """A generation that is being filled beside a live one (default: the newest). Raises NotFound, NotPromotable."""
        building = [item for item in self.catalog.generations() if item.state == "building"]
        if number is None and not building:
            raise NotFound("no generation is being built", hint="`regen plan` tells what `regen apply` would build")
        target = building[-1] if number is None else self._known(number)
        if target.state != "building":
            raise NotPromotable(
                f"generation {target.number} is {target.state}", hint="only a backfill, state building, can be paused"
            )
        if self.catalog.route(self.alias).live is None:
            raise NotPromotable(
                f"generation {target.number} is the first one, which `regen sync` fills",
                hint="stop the sync (Ctrl-C) instead: what is finished is kept, and the next one goes on",
            )
        return target

    def _route(self, expected: int | None) -> Route:
        """Where the alias points now, if that is still what the caller's decision was based on. Raises AliasMoved."""
        route = self.catalog.route(self.alias)
        if expected is not None and route.version != expected:
            raise AliasMoved(
                f"alias {self.alias!r} is at version {route.version}, not {expected}: it points at generation "
                f"{route.live}",
                hint="`regen history` tells who switched it, and why; look at it before switching again",
            )
        return route

    def _switch(self, route: Route, target: Generation, reason: str, rests_on: Approval | None = None) -> SwitchResult:
        rests_on = rests_on or Approval()
        new = self.move(
            target,
            lambda: self.catalog.switch(
                self.alias,
                target.number,
                expected=route.version,
                actor=actor(),
                reason=reason,
                at=time.time(),
                evaluation=rests_on.evaluation,
                forced=rests_on.forced,
            ),
        )
        note = self.follow()
        return SwitchResult(
            self.alias,
            target.number,
            new.previous,
            reason,
            target.recipe.space,
            rests_on.evaluation,
            rests_on.forced,
            [note] if note else [],
        )

    def move(self, target: Generation, switch: Callable[[], Route]) -> Route:
        """Move the catalog's alias by ``switch``, and the store's own in the same transaction where it can take part.

        A store that refuses keeps nobody from switching: the catalog decides, and :meth:`follow` tells what is amiss.
        """

        def both(store: StoreWriter) -> Route:
            route = switch()
            self._point(store, target)
            return route

        try:
            joint = Joint.of(self.catalog, self.stores.of(target))
            if joint is not None and isinstance(joint.store, AliasStore):
                return joint.run(both)
        except UNREACHABLE:
            pass  # all of it was taken back
        return switch()

    def _point(self, store: object, target: Generation) -> None:
        assert isinstance(store, AliasStore), "asked before; a store's writing half has the powers of the store"
        store.set_alias(self.alias, target.collection)

    def follow(self) -> str | None:
        """Let the store's own alias, where it has one, point where the catalog's does; what keeps it from that.

        The catalog decides: the next run sets what a crash or a store out of reach has left behind.
        """
        live = self._live()
        try:
            if live is not None and (store := self._astray(live)) is not None:
                self._lead(store, live)
        except UNREACHABLE as error:
            return f"{live.told if live else ''}: the store's own alias was not looked after: {error.message}"
        return None

    def _lead(self, store: AliasStore, live: Generation) -> None:
        """Set the store's alias; where the two write together only if that generation is live in that very moment."""
        joint = Joint.of(self.catalog, self.stores.of(live))
        if joint is None:
            store.set_alias(self.alias, live.collection)
            return

        def lead(writer: StoreWriter) -> None:
            if self.catalog.route(self.alias).live == live.number:
                self._point(writer, live)

        joint.run(lead, switching=True)

    def astray(self) -> str | None:
        """Where the store's own alias points instead of at the live collection, in words; None where all is well."""
        live = self._live()
        try:
            store = None if live is None else self._astray(live)
        except UNREACHABLE:
            return None  # who looks at the collections finds that, too
        if store is None or live is None:
            return None
        target = store.alias_target(self.alias)
        return f"the store's own alias {self.alias!r} points at {target or 'nothing'}, not at {live.collection}"

    def _astray(self, live: Generation) -> AliasStore | None:
        """The store whose alias is not where it should be."""
        store = self.stores.of(live)
        if not isinstance(store, AliasStore) or store.alias_target(self.alias) == live.collection:
            return None
        return store

    def _live(self) -> Generation | None:
        number = self.catalog.route(self.alias).live
        return None if number is None else self._known(number)

    def retire(self, number: int) -> None:
        """Give a generation up: its collection is dropped. Raises NotPromotable for the live one, NotFound."""
        target = self._known(number)
        if target.state == "live":
            raise NotPromotable(f"generation {number} is live", hint="promote another one, or roll back, before")
        with self.hold(target):
            # Bookkeeping first: a search that has begun finds that it is gone, and a crash leaves only a collection.
            if target.state in CURRENT_STATES:
                self.catalog.retire(number, state="aborted" if target.state in {"building", "ready"} else "retired")
            try:
                self.stores.of(target).drop(target.collection)
            except UNREACHABLE as error:
                error.message = f"{_left(target)}: {error.message}"
                raise

    def expire(self, report: GcReport, *, now: bool) -> None:
        """Retire what was retained long enough (with ``now`` everything retained), and drop what a crash left.

        A collection in a store out of reach is a note in the report, each time anew until it is dropped.
        """
        for item in self.catalog.generations():
            overdue = item.retained_at is not None and item.retained_at + self.retain_seconds < time.time()
            try:
                if item.state == "retained" and (now or overdue):
                    report.retired.append(item.number)
                    self.retire(item.number)
                elif item.state not in CURRENT_STATES:
                    self.stores.of(item).drop(item.collection)
            except UNREACHABLE as error:
                told = _left(item)
                report.notes.append(error.message if error.message.startswith(told) else f"{told}: {error.message}")

    def _known(self, number: int) -> Generation:
        found = {item.number: item for item in self.catalog.generations()}
        if number not in found:
            raise NotFound(f"there is no generation {number}", hint=f"there are: {sorted(found) or 'none'}")
        return found[number]

    def _ready(self) -> Generation:
        ready = [item for item in self.catalog.generations() if item.state == "ready"]
        if not ready:
            building = [item.number for item in self.catalog.generations() if item.state == "building"]
            raise NotPromotable(
                f"no generation is ready{f'; {building[-1]} is unfinished' if building else ''}",
                hint="`regen plan` tells what `regen apply` would build",
            )
        return ready[-1]


def _left(generation: Generation) -> str:
    number, collection = generation.number, generation.collection
    where = f" in {without_credentials(generation.store)}" if generation.store else ""
    return f"generation {number} is given up, but its collection {collection}{where} could not be dropped"
