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
    """What happens at a step, and who goes on then.

    ``value`` is the seconds of a jump, the calls that a lie lasts, or 1 if a dead process's successor repeats the call
    that was interrupted.
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
    lie: float = 0.0
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
    (
        "log", "tombstone", "begin_write", "commit_write", "abandon_writes", "garbage", "clear_garbage", "advance",
        "switch", "retire", "mark_ready", "create_generation", "go_live", "acquire", "release", "purge", "set_fields",
        "demand_payloads", "fence", "upsert", "delete", "update_payload", "drop", "create", "search", "set_alias",
    )
)  # fmt: skip
"""Steps at which something is likely to happen: what changes anything, and the two looks of a search."""


@dataclass(frozen=True, slots=True)
class _Plot:
    """What the scripts of one schedule have in common. ``pushed`` and ``sourced`` are few, so that calls collide."""

    chance: random.Random
    setup: Setup
    pushed: tuple[str, ...]
    sourced: tuple[str, ...]

    @property
    def recipe(self) -> str:
        """The live generation's, as the configuration of most processes has it."""
        return "B" if self.setup == "switched" else "A"

    def version(self) -> int:
        """Some version."""
        return self.chance.randrange(VERSIONS)


def make_schedule(seed: int) -> Schedule:
    """The schedule of a seed."""
    chance = random.Random(f"script {seed}")  # noqa: S311 - no secret
    setup: Setup = chance.choice(("live", "ready", "switched"))
    pushed, sourced = chance.sample(PUSHED, chance.choice((1, 2, 4))), chance.sample(SOURCED, chance.choice((1, 3)))
    plot = _Plot(chance, setup, tuple(pushed), tuple(sourced))
    theme = chance.choice(_THEMES)
    names = chance.sample(theme, min(len(theme), chance.choice((2, 3, 3, 4))))
    if "search" not in names:
        names.append("search")
    if not _FEEDS.intersection(names):
        names.append(chance.choice(sorted(_FEEDS)))
    chance.shuffle(names)
    scripts = tuple(_script(plot, name) for name in names)
    same_host, cached, depth = chance.random() < 0.5, chance.random() < 0.4, chance.randrange(3)
    return Schedule(seed, setup, scripts, None, same_host, cached, depth)


def _script(plot: _Plot, name: str) -> Script:
    recipe = "B" if name.startswith("switch") else plot.recipe
    if name == "build":
        recipe = "B" if plot.setup == "live" else "C"
    return Script(name, recipe, tuple(_ROLES[name](plot)))


def _push(plot: _Plot) -> list[Call]:
    """Pushes, redeliveries and deliveries in another order."""
    calls: list[Call] = []
    chance = plot.chance
    for _ in range(chance.randint(1, 3)):
        chosen = chance.sample(plot.pushed, min(len(plot.pushed), chance.choice((1, 1, 2))))
        if chance.random() < 0.3:
            calls.append(Call("delete", tuple(chosen)))
        else:
            calls.append(Call("upsert", tuple((one, plot.version()) for one in chosen)))
        if chance.random() < 0.2:
            calls.append(chance.choice(calls))  # delivered again, perhaps late
    if chance.random() < 0.2:
        chance.shuffle(calls)
    return calls


def _sync(plot: _Plot) -> list[Call]:
    """Edits of the source, each followed by a sync of all of it or of the documents that an event names."""
    calls: list[Call] = []
    chance = plot.chance
    for _ in range(chance.randint(1, 2)):
        one = chance.choice(plot.sourced)
        calls.append(Call("edit", (one, None if chance.random() < 0.3 else plot.version())))
        events = (one, *chance.choices(SOURCED, k=2), one)
        calls.append(Call("sync") if chance.random() < 0.5 else Call("sync_ids", events))
    return calls


def _build(_: _Plot) -> list[Call]:
    return [Call("apply")]


def _switch(plot: _Plot) -> list[Call]:
    """Switches there and back: only so can somebody overlook one that was taken back since."""
    pick = plot.chance.choice
    ways = [Call("rollback"), Call("rollback"), Call("promote", (1,)), Call("promote", (2,))]
    if plot.setup == "live":
        return [Call("apply"), Call("promote", (None,)), pick(ways)]
    return [pick(ways) for _ in range(plot.chance.randint(2, 4))]


def _retire(plot: _Plot) -> list[Call]:
    if plot.setup != "live" and plot.chance.random() < 0.5:
        return [Call("retire", (plot.chance.choice((1, 2)),))]
    return [Call("gc", (True,))]


def _gc(plot: _Plot) -> list[Call]:
    return [Call("gc", (False,))] * plot.chance.randint(1, 2)


def _repair(_: _Plot) -> list[Call]:
    return [Call("verify", (True,))]


def _search(plot: _Plot) -> list[Call]:
    """Searches by several principals, of whatever is live or of a generation by its number."""
    chance = plot.chance
    calls = []
    for _ in range(chance.randint(2, 5)):
        number = chance.choice((1, 2)) if plot.setup != "live" and chance.random() < 0.4 else None
        calls.append(Call("search", (chance.choice(("all", "all", "ann", "bob", "nobody")), number)))
    return calls


_ROLES: Final[dict[str, Callable[[_Plot], list[Call]]]] = {
    "push1": _push, "push2": _push, "sync1": _sync, "sync2": _sync, "build": _build, "switch1": _switch,
    "switch2": _switch, "retire": _retire, "gc": _gc, "repair": _repair, "search": _search,
}  # fmt: skip
_THEMES: Final[tuple[tuple[str, ...], ...]] = (
    tuple(sorted(_ROLES)),
    ("push1", "push2", "sync1", "gc"),
    ("sync1", "sync2", "push1", "repair"),
    ("switch1", "switch2"),
    ("switch1", "retire", "gc", "sync1"),
    ("build", "push1", "push2", "retire", "switch1"),
    ("gc", "repair", "push1", "push2"),
)
"""Who is likely to get into whose way; of a theme some come, and always a searcher and a writer."""
_FEEDS: Final = frozenset({"push1", "push2", "sync1", "sync2"})
