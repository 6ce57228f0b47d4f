"""Runs a schedule: processes that share one catalog and one store, by decisions or by a seed; and judges it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from regen.embedders.hashing import HashingEmbedder
from regen.errors import (
    AliasMoved,
    CatalogBusy,
    CatalogError,
    CollectionMissing,
    EmbedderError,
    LeaseLost,
    NotFound,
    NotPromotable,
    RegenError,
    SourceError,
    StoreError,
)
from regen.index import Index
from regen.ports import Vector
from regen.testing.faults import Crashed
from regen.testing.schedules.baton import Baton
from regen.testing.schedules.clock import START, STEP_SECONDS, HeldLease, simulated
from regen.testing.schedules.documents import DIMENSIONS, RECIPES, SOURCED, document
from regen.testing.schedules.judge import PRINCIPALS
from regen.testing.schedules.ports import stand_in
from regen.testing.schedules.scripts import Call, Decision, Schedule, Script, Weather, make_schedule
from regen.testing.schedules.settling import settle
from regen.testing.schedules.world import make_index, world_of

MOST_STEPS: Final = 6_000
INJECTED: Final = "injected"
_ERRORS: Final = {"catalog": CatalogError, "store": StoreError, "embedder": EmbedderError, "source": SourceError}
_EXPECTED: Final = (CatalogBusy, LeaseLost, AliasMoved, NotPromotable, NotFound, CollectionMissing)
"""What a call may raise because of what others do at the same time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run showed: the schedule with the decisions that were made, what is wrong, and every step in order."""

    schedule: Schedule
    problems: tuple[str, ...]
    trace: tuple[str, ...]

    def told(self) -> str:
        """The run for a reader: each call, whatever happened to it, and what is wrong; not the steps that went well."""
        schedule = self.schedule
        head = f"seed {schedule.seed}, {schedule.setup}, {'one host' if schedule.same_host else 'several hosts'}"
        kept = [line for line in self.trace if "|" in line]
        return "\n".join([head, *kept, *(f"wrong: {problem}" for problem in self.problems)])


def run(schedule: Schedule | int) -> Outcome:
    """Run a schedule, or the one of a seed, and judge it. The same one gives the same trace, byte for byte."""
    if isinstance(schedule, int):
        schedule = make_schedule(schedule)
    return _Run(schedule).run()


class _Run:
    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.world = world_of(schedule.setup)
        self.baton = Baton(self.world.clock)
        self.trace: list[str] = []
        self.made: dict[tuple[str, int], Decision] = {}
        self.dead: set[str] = set()
        self.steps = 0
        self.lease_class: type[HeldLease] = HeldLease
        chance = random.Random(schedule.seed)  # noqa: S311 - no secret
        self.weather = Weather(chance) if schedule.decisions is None else None

    def run(self) -> Outcome:
        clock = self.world.clock
        with simulated(clock, self, depth=self.schedule.depth) as self.lease_class:
            clock.sleeper = self.baton.sleep
            for script in self.schedule.scripts:
                self.spawn(script, 1)
            self.baton.run()
            clock.sleeper = clock._skip  # noqa: SLF001 - alone again
            problems = self.world.judge.problems
            problems += [f"unexpected: {name} ended by {error!r}" for name, error in self.baton.failures]
            try:
                problems += settle(self.world, self.fresh_index, pure=self.is_pure)
            except (RegenError, ArithmeticError, LookupError, TypeError, ValueError, AssertionError) as error:
                problems.append(f"I5: cannot be brought in step: {error!r}")
        return Outcome(replace(self.schedule, decisions=self.made), tuple(dict.fromkeys(problems)), tuple(self.trace))

    @property
    def is_pure(self) -> bool:
        """Whether no process can have acted after its lease was lost, and no store has lied."""
        return not any(one.happening in {"jump", "lie"} for one in self.made.values())

    def is_dead(self, owner: str) -> bool:
        """What a process of the same host knows of another one."""
        return self.schedule.same_host and owner in self.dead

    def spawn(self, script: Script, life: int) -> None:
        name = script.actor if life == 1 else f"{script.actor}.{life}"
        self.baton.spawn(name, lambda: _Process(self, name, script, life).live())

    def fresh_index(self, recipe: str) -> Index:
        """An index whose calls nothing happens to."""
        return make_index(self.world, recipe, "settle", lambda port, _: port, cached=self.schedule.cached)

    def note(self, line: str) -> None:
        self.trace.append(line)


class _Process:
    """One life of one process: its ports, its steps, its death."""

    def __init__(self, run: _Run, name: str, script: Script, life: int) -> None:
        self.of, self.name, self.script, self.life = run, name, script, life
        self.judge, self.world = run.world.judge, run.world
        self.count, self.dead = 0, False

    # ── steps ───────────────────────────────────────────────────────────────────────────────────────────────

    def call(self, step: str, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Do it, or let go wrong what shall go wrong at this step."""
        self._alive()
        self.count += 1
        of, number = self.of, self.count
        of.steps += 1
        of.world.clock.now += STEP_SECONDS
        if of.steps > MOST_STEPS:
            self.judge.problems.append(f"stuck: more than {MOST_STEPS} steps")
            self.die()
        self._renew()
        happens = self._decided(step, number)
        port = step.partition(".")[0]
        if happens is not None and happens.happening == "fail":
            raise _ERRORS[port](f"{INJECTED}: {step} failed")
        if happens is not None and happens.happening == "lie":
            self.world.store.lie(happens.value)
        of.note(f"{of.world.clock.now - START:.2f} {self.name} #{number} {step}")
        result = function(*arguments, **keywords)
        self._observe(step, arguments, keywords, result)
        if happens is not None and happens.happening == "crash after":
            self.die()
        if happens is not None and happens.happening == "fail after":
            raise _ERRORS[port](f"{INJECTED}: {step} failed, after it was done")
        return result

    def die(self) -> None:
        """From now on nothing that this process does has an effect."""
        self.dead = True
        self.of.dead.add(self.name)
        raise Crashed(self.name)

    def _alive(self) -> None:
        if self.dead or self.of.steps > MOST_STEPS:
            raise Crashed(self.name)

    def _decided(self, step: str, number: int) -> Decision | None:
        """What happens before this step; others may have run when it returns."""
        of, key = self.of, (self.name, number)
        if of.weather is None:
            found = (of.schedule.decisions or {}).get(key)
        else:
            found = of.weather.draw(step, of.baton.others())
        if found is None or (found.happening in {"go", "jump"} and found.to not in of.baton.others()):
            return None
        of.made[key] = found
        of.note(f"{of.world.clock.now - START:.2f} {self.name} #{number} {step} | {found}")
        if found.happening in {"go", "jump"}:
            of.world.clock.now += found.value if found.happening == "jump" else 0
            of.baton.hand_to(found.to)
            self._alive()
        elif found.happening == "crash":
            self.die()
        return found

    def _renew(self) -> None:
        for held in self.of.lease_class.held.get(id(self.ports.get("catalog")), ()):
            held.keep(self.world.catalog)

    def _observe(self, step: str, arguments: Any, keywords: Any, result: Any) -> None:
        """What the judge must know at the moment when it is so."""
        judge = self.judge
        if step == "catalog.switch":
            judge.switched(keywords["expected"], arguments[1])
        elif step == "catalog.mark_ready" and result:
            judge.complete.setdefault(arguments[0], judge.now)
        elif step == "catalog.create_generation":
            judge.recipes[result.number] = self.script.recipe
        elif step == "store.search":
            self._same_space(arguments[0], arguments[1])

    def _same_space(self, collection: str, vector: Vector) -> None:
        """I1: the query's vector is what the model of the collection's own generation makes of it."""
        number = int(collection.rpartition("_g")[2])
        seed, _ = RECIPES[self.judge.recipes[number]]
        wanted = HashingEmbedder(DIMENSIONS, seed).embed_query(QUERY)
        if float(wanted @ vector) < 0.999 * float((wanted @ wanted) ** 0.5 * (vector @ vector) ** 0.5):
            self.judge.problems.append(f"I1: generation {number} was asked in another space")

    # ── a life ──────────────────────────────────────────────────────────────────────────────────────────────

    ports: dict[str, Any]

    def live(self) -> None:
        """Make the calls of the script, until the end or death; then a successor makes the others."""
        self.ports = {}
        at, calls = 0, self.script.calls
        try:
            index = make_index(self.world, self.script.recipe, self.name, self._wrapped, cached=self.of.schedule.cached)
            for at, call in enumerate(calls):  # noqa: B007 - the successor begins there
                self._make(index, call)
            at = len(calls)
            index.close()
        except Crashed:
            last = self.of.made.get((self.name, self.count))
            left = calls[at if last is not None and last.value else at + 1 :]
            if left and self.of.steps <= MOST_STEPS:
                self.of.spawn(replace(self.script, calls=left), self.life + 1)

    def _wrapped(self, port: Any, name: str) -> Any:
        self.ports[name] = stand_in(port, name, self)
        return self.ports[name]

    def _make(self, index: Index, call: Call) -> None:
        self._note(str(call))
        if call.verb == "edit":
            self._edit(*call.about)
            return
        writes = self.judge.begin(self._wanted(call), sourced=call.verb in {"sync", "sync_ids", "apply"})
        returned = False
        try:
            self._do(index, call)
            returned = True
            self._note(f"returned from {call.verb}")
        except Crashed:
            self._note(f"died in {call.verb}")
            raise
        except RegenError as error:
            self._note(f"{call.verb} raised {type(error).__name__}: {_short(error)}")
            self._judge_error(call, error)
        finally:
            self.judge.end(writes, returned=returned)

    def _note(self, what: str) -> None:
        self.of.note(f"{self.world.clock.now - START:.2f} {self.name} | {what}")

    def _judge_error(self, call: Call, error: RegenError) -> None:
        expected = isinstance(error, _EXPECTED)
        if call.verb == "search":  # a search never fails because of what others do
            expected = isinstance(error, NotFound) and call.about[1] is not None
        if not expected and INJECTED not in str(error):
            self.judge.problems.append(f"unexpected: {call.verb} raised {type(error).__name__}: {_short(error)}")

    def _edit(self, doc_id: str, version: int | None) -> None:
        if version is None:
            self.world.source.pop(doc_id, None)
        else:
            self.world.source[doc_id] = version
        self.judge.edited(doc_id, version)

    def _wanted(self, call: Call) -> dict[str, int | None]:
        """What a call is to make of which documents."""
        match call.verb:
            case "upsert":
                return dict(call.about)
            case "delete":
                return dict.fromkeys(call.about)
            case "sync" | "apply":
                return {one: self.world.source.get(one) for one in SOURCED}
            case "sync_ids":
                return {one: self.world.source.get(one) for one in call.about}
        return {}

    def _do(self, index: Index, call: Call) -> None:
        about = call.about
        match call.verb:
            case "upsert":
                index.upsert([document(*one) for one in about])
            case "delete" | "sync_ids":
                getattr(index, call.verb)(list(about))
            case "promote":
                index.promote(*about, force=True, reason="simulated")
            case "retire":
                index.retire(about[0])
            case "gc":
                index.gc(now=about[0])
            case "verify":
                index.verify(repair=about[0])
            case "search":
                self._search(index, *about)
            case _:
                getattr(index, call.verb)()

    def _search(self, index: Index, who: str, number: int | None) -> None:
        blind, told, since = self.world.store.lying, self.world.store.told, self.judge.now
        result = index.search(QUERY, 100, principals=PRINCIPALS[who], generation=number)
        self.judge.search(
            who, number, result, since, blind=blind or self.world.store.lying or told != self.world.store.told
        )


QUERY: Final = "river stone"


def _short(error: RegenError) -> str:
    return error.message.partition("\n")[0][:90]
