"""What the processes of a schedule share, an index over it, and the worlds in which schedules begin."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, TypeAlias

from regen.catalog.catalog import SqlCatalog
from regen.embedders.hashing import HashingEmbedder
from regen.engine.settings import Limits
from regen.index import Index
from regen.testing.schedules.clean import MemoryDatabase
from regen.testing.schedules.clock import SimulatedClock, simulated
from regen.testing.schedules.documents import DIMENSIONS, PUSHED, RECIPES, SOURCED, document
from regen.testing.schedules.judge import Judge
from regen.testing.schedules.ports import LyingStore, SharedCache, SharedSource
from regen.testing.schedules.scripts import Setup

Wrapped: TypeAlias = Callable[[Any, str], Any]
"""(a shared port, its name) -> what one process is given for it."""
LIMITS: Final = Limits(lease_wait=8.0, batch_documents=2)


@dataclass(slots=True)
class World:
    """What outlives every process: the catalog, the store, the cache, the source, and the clock."""

    catalog: SqlCatalog
    store: LyingStore = field(default_factory=LyingStore)
    cache: SharedCache = field(default_factory=lambda: SharedCache({}))
    source: dict[str, int] = field(default_factory=dict)
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    judge: Judge = field(default_factory=Judge)


def make_index(
    world: World, recipe: str, owner: str, wrapped: Callable[[Any, str], Any], *, cached: bool = False
) -> Index:
    """One process's index: ``wrapped`` makes its ports of what all share and their names."""
    seed, chunking = RECIPES[recipe]
    index = Index(
        embedder=wrapped(HashingEmbedder(DIMENSIONS, seed), "embedder"),
        store=wrapped(world.store, "store"),
        catalog=wrapped(world.catalog, "catalog"),
        source=wrapped(SharedSource(world.source), "source"),
        cache=world.cache if cached else None,
        chunking=chunking,
        limits=LIMITS,
    )
    index._writer._owner = owner  # noqa: SLF001 - a process's own name, not one of this host's
    return index


@cache
def _database() -> MemoryDatabase:
    return MemoryDatabase()


@cache
def beginning(setup: Setup) -> tuple[sqlite3.Connection, bytes]:
    """The catalog, and all the rest, of a world in which nothing has gone wrong yet."""
    world = World(_database().restore(_database().empty))
    alone = _Alone()
    with simulated(world.clock, alone):
        first = make_index(world, "A", "setup", lambda port, _: port)
        world.source.update(dict.fromkeys(SOURCED, 0))
        begun = dict.fromkeys((*PUSHED[:3], *SOURCED), 0)
        first.upsert([document(one, 0) for one in PUSHED[:3]])
        first.sync()
        world.judge.recipes[1], world.judge.complete[1] = "A", 0
        world.judge.switched(0, 1)
        if setup != "live":
            second = make_index(world, "B", "setup", lambda port, _: port)
            second.apply()
            world.judge.recipes[2], world.judge.complete[2] = "B", 0
            if setup == "switched":
                second.promote(force=True, reason="setup")
                world.judge.switched(1, 2)
            second.upsert([document(PUSHED[0], 1)])
            begun[PUSHED[0]] = 1
        world.judge.end(world.judge.begin(begun), returned=True)
    world.clock.sleeper = world.clock._skip  # noqa: SLF001 - as it was made
    rest = (world.store.state(), world.cache.kept, world.source, world.clock.now, world.judge)
    return _database().state(), pickle.dumps(rest)


class _Alone:
    def is_dead(self, owner: str) -> bool:
        return owner != "setup"


def world_of(setup: Setup) -> World:
    """A world to begin in, a new one each time."""
    catalog, rest = beginning(setup)
    world = World(_database().restore(catalog))
    held, kept, source, now, judge = pickle.loads(rest)  # noqa: S301 - our own
    world.store.restore(held)
    world.cache, world.source, world.judge = SharedCache(kept), source, judge
    world.clock.now = now
    return world
