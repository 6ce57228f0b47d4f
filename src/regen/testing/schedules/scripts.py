"""What a schedule is: who calls what, and what happens at which step of whom. Data, so that it can be cut down."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from regen.testing.schedules.documents import PUSHED, SOURCED, VERSIONS

Setup: TypeAlias = Literal["live", "ready", "switched"]
"""Generation 1 is live; generation 2, of another model, is ready beside it; 2 is live and 1 retained."""
Happening: TypeAlias = Literal["go", "jump", "crash", "crash after", "fail", "fail after", "lie"]
"""Hand over to another process. Let the clock jump, then hand over. Die, without or with the step done. Raise an error,
without or with the step done. Let the store withhold for a while what it is told to write or delete."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of ``Index`` by its name, or ``edit``: the source changes."""

    verb: str
    about: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.verb}({', '.join(map(str, self.about))})"


@dataclass(frozen=True, slots=True)
class Script:
    """One process: its name, the recipe of its configuration, and its calls."""

    actor: str
    recipe: str
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens at a step. ``to`` is who goes on; ``value`` the seconds of a jump, the calls that a lie lasts, or 1
    if a dead process's successor repeats the call that was interrupted.
    """

    happening: Happening
    to: str = ""
    value: int = 0

    def __str__(self) -> str:
        words = {
            "go": f"{self.to} goes on",
            "jump": f"the clock jumps by {self.value} s, {self.to} goes on",
            "crash": "dies before it",
            "crash after": "dies after it",
            "fail": "it fails",
            "fail after": "it is done, and fails",
            "lie": f"the store withholds it for {self.value} calls",
        }
        again = {"crash": ", to be called again", "crash after": ", to be called again"} if self.value else {}
        return words[self.happening] + again.get(self.happening, "")


Decisions: TypeAlias = Mapping[tuple[str, int], Decision]
"""By process and the number of its step, from 1."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Processes, and what happens to them. ``decisions`` of None: drawn from the seed while it runs.

    ``same_host`` tells whether processes know which others are dead, ``depth`` how far a pipeline prepares ahead.
    """

    seed: int
    setup: Setup
    scripts: tuple[Script, ...]
    decisions: Decisions | None = None
    same_host: bool = True
    cached: bool = False
    depth: int = 0

    @property
    def size(self) -> int:
        """Calls and decisions."""
        return sum(len(script.calls) for script in self.scripts) + len(self.decisions or {})


@dataclass(slots=True)
class Weather:
    """How often what happens, for one seed: whole kinds of faults are left out, so that others come together."""

    chance: random.Random
    switch: float = 0.0
    rates: dict[Happening, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        pick = self.chance.choice
        self.switch = pick((0.08, 0.2, 0.45))
        self.rates = {
            "jump": pick((0.0, 0.0, 0.03)),
            "crash": pick((0.0, 0.02)),
            "crash after": pick((0.0, 0.02)),
            "fail": pick((0.0, 0.0, 0.02)),
            "fail after": pick((0.0, 0.0, 0.03)),
        }
        self.lie = pick((0.0, 0.0, 0.4))

    lie: float = 0.0

    def draw(self, step: str, others: list[str]) -> Decision | None:
        """What happens at a step, if anything does."""
        port, _, name = step.partition(".")
        heavy = name in WRITES
        chance = self.chance
        luck = chance.random() * (1.0 if heavy else 4.0)
        for happening, rate in self.rates.items():
            luck -= rate
            if luck < 0:
                return self._drawn(happening, others)
        if port == "store" and name in {"upsert", "delete"} and chance.random() < self.lie:
            return Decision("lie", value=chance.choice((2, 6, 15)))
        if others and chance.random() < (self.switch * 2 if heavy else self.switch / 2):
            return Decision("go", chance.choice(others))
        return None

    def _drawn(self, happening: Happening, others: list[str]) -> Decision | None:
        if happening == "jump":
            if not others:
                return None
            return Decision("jump", self.chance.choice(others), self.chance.choice((31, 45, 100)))
        value = self.chance.randrange(2) if happening.startswith("crash") else 0
        return Decision(happening, value=value)


WRITES: Final = frozenset(
    "log tombstone begin_write commit_write abandon_writes clear_garbage garbage advance switch retire mark_ready "
    "create_generation go_live upsert delete update_payload drop create acquire release demand_payloads purge fence "
    "set_fields search set_alias".split()
)
"""Steps at which something is likely to happen: what changes anything, and the two looks of a search."""


def make_schedule(seed: int) -> Schedule:
    """The schedule of a seed."""
    chance = random.Random(f"script {seed}")  # noqa: S311 - no secret
    setup: Setup = chance.choice(("live", "ready", "switched"))
    names = chance.sample(sorted(_ROLES), chance.choice((2, 3, 3, 4)))
    if "search" not in names:
        names.append("search")
    if not _FEEDS.intersection(names):
        names.append(chance.choice(sorted(_FEEDS)))
    scripts = [_ROLES[name](chance, name, setup) for name in names]
    chance.shuffle(scripts)
    same_host, cached, depth = chance.random() < 0.5, chance.random() < 0.4, chance.randrange(3)
    return Schedule(seed, setup, tuple(scripts), None, same_host, cached, depth)


def _push(chance: random.Random, name: str, setup: Setup) -> Script:
    """Pushes, redeliveries and deliveries in another order."""
    calls: list[Call] = []
    for _ in range(chance.randint(1, 3)):
        chosen = chance.sample(PUSHED, chance.choice((1, 1, 2)))
        if chance.random() < 0.3:
            calls.append(Call("delete", tuple(chosen)))
        else:
            calls.append(Call("upsert", tuple((one, chance.randrange(VERSIONS)) for one in chosen)))
        if chance.random() < 0.2:
            calls.append(chance.choice(calls))  # delivered again, perhaps late
    if chance.random() < 0.2:
        chance.shuffle(calls)
    return Script(name, _recipe(setup), tuple(calls))


def _sync(chance: random.Random, name: str, setup: Setup) -> Script:
    """Edits of the source, each followed by a sync of all of it or of the documents that an event names."""
    calls: list[Call] = []
    for _ in range(chance.randint(1, 2)):
        one = chance.choice(SOURCED)
        calls.append(Call("edit", (one, None if chance.random() < 0.3 else chance.randrange(VERSIONS))))
        if chance.random() < 0.5:
            calls.append(Call("sync"))
        else:
            calls.append(Call("sync_ids", (one, *chance.choices(SOURCED, k=2), one)))
    return Script(name, _recipe(setup), tuple(calls))


def _build(_chance: random.Random, name: str, setup: Setup) -> Script:
    return Script(name, "C" if setup != "live" else "B", (Call("apply"),))


def _switch(chance: random.Random, name: str, setup: Setup) -> Script:
    calls = [Call(chance.choice(("promote", "rollback")))] if setup != "live" else [Call("apply"), Call("promote")]
    calls += [Call(chance.choice(("promote", "rollback"))) for _ in range(chance.randrange(2))]
    return Script(name, "B", tuple(calls))


def _retire(chance: random.Random, name: str, setup: Setup) -> Script:
    if setup != "live" and chance.random() < 0.5:
        return Script(name, _recipe(setup), (Call("retire", (chance.choice((1, 2)),)),))
    return Script(name, _recipe(setup), (Call("gc", (True,)),))


def _gc(chance: random.Random, name: str, setup: Setup) -> Script:
    return Script(name, _recipe(setup), tuple(Call("gc", (False,)) for _ in range(chance.randint(1, 2))))


def _repair(_chance: random.Random, name: str, setup: Setup) -> Script:
    return Script(name, _recipe(setup), (Call("verify", (True,)),))


def _search(chance: random.Random, name: str, setup: Setup) -> Script:
    """Searches by several principals, of whatever is live or of a generation by its number."""
    calls = []
    for _ in range(chance.randint(2, 5)):
        number = chance.choice((1, 2)) if setup != "live" and chance.random() < 0.4 else None
        calls.append(Call("search", (chance.choice(("all", "all", "ann", "bob", "nobody")), number)))
    return Script(name, _recipe(setup), tuple(calls))


def _recipe(setup: Setup) -> str:
    return "B" if setup == "switched" else "A"


_ROLES: Final[dict[str, Callable[[random.Random, str, Setup], Script]]] = {
    "push1": _push, "push2": _push, "sync1": _sync, "sync2": _sync, "build": _build, "switch1": _switch,
    "switch2": _switch, "retire": _retire, "gc": _gc, "repair": _repair, "search": _search,
}  # fmt: skip
_FEEDS: Final = frozenset({"push1", "push2", "sync1", "sync2"})
