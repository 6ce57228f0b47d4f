"""When all processes are gone: a last one brings everything in step, and it must be what a clean system makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import text

from regen.catalog.catalog import SqlCatalog
from regen.index import Index
from regen.ports.catalog import CURRENT_STATES
from regen.testing.schedules.clean import clean, held_by, replayed
from regen.testing.schedules.clock import SimulatedClock
from regen.testing.schedules.judge import Judge
from regen.testing.schedules.ports import LyingStore

LONG: float = 3_600.0
"""Seconds after which every lease has run out."""


class Settled(Protocol):
    """What outlives every process."""

    catalog: SqlCatalog
    store: LyingStore
    source: dict[str, int]
    clock: SimulatedClock
    judge: Judge


def settle(world: Settled, fresh_index: Callable[[str], Index], *, pure: bool) -> list[str]:
    """Sync, collect garbage, and compare; what is wrong.

    ``pure``: nothing can have been written behind a lease's back, so that what crashes left is known as garbage even
    before it is looked for.
    """
    world.clock.now += LONG
    world.store.settle()
    problems = _alias(world)
    recipe = world.judge.recipes[world.judge.live]
    index = fresh_index(recipe)
    writes = world.judge.begin({one: world.source.get(one) for one in ("s0", "s1", "s2")}, sourced=True)
    index.sync()
    world.judge.end(writes, returned=True)
    if pure and not (report := index.verify()).consistent:
        problems += [f"I5: before gc: {detail}" for detail in report.details]
    for item in world.catalog.generations():
        if item.state == "building":
            fresh_index(world.judge.recipes[item.number]).apply()
    index.gc()
    return problems + _documents(world) + _left_over(world)


def _alias(world: Settled) -> list[str]:
    """Exactly one generation is live, and the alias points at it."""
    live = [item.number for item in world.catalog.generations() if item.state == "live"]
    route = world.catalog.route("default")
    wanted = world.judge.live
    wrong = live != [wanted] or route.live != wanted or route.version != world.judge.version
    return [f"I7: the alias is at {route}, live are {live}; it was switched to {wanted}"] if wrong else []


def _documents(world: Settled) -> list[str]:
    """Every complete generation holds each living document as a clean system makes it, and nothing else."""
    catalog, judge = world.catalog, world.judge
    living, problems = replayed(catalog)
    for doc_id in judge.documents():
        legal = judge.legal(doc_id, judge.now, judge.now + 1)
        if living.get(doc_id) not in legal:
            problems.append(f"I5: {doc_id} is version {living.get(doc_id)} in the end; legal are {legal}")
    for item in catalog.generations():
        if item.state not in CURRENT_STATES:
            continue
        held, wrong = held_by(item, catalog, world.store)
        problems += wrong
        for doc_id in sorted(held.keys() | living.keys()):
            wanted = _wanted(world, item.number, doc_id, living.get(doc_id))
            if held.get(doc_id) != wanted:
                problems.append(f"I5: generation {item.number} ({item.state}) has {_differs(held.get(doc_id), wanted)} "
                                f"of {doc_id}")  # fmt: skip
    return problems


def _wanted(world: Settled, number: int, doc_id: str, version: int | None) -> Any:
    return None if version is None else clean(world.judge.recipes[number], version)[doc_id]


def _differs(held: Any, wanted: Any) -> str:
    """In a few words what differs."""
    if held is None or wanted is None:
        return "nothing" if held is None else "something"
    found = [key for key in wanted if held[key] != wanted[key]]
    if found == ["chunks"] and len(held["chunks"]) == len(wanted["chunks"]):
        found = sorted({key for one, two in zip(held["chunks"], wanted["chunks"], strict=True)
                        for key in two if one[key] != two[key]})  # fmt: skip
    return f"another {', '.join(found)}"


def _left_over(world: Settled) -> list[str]:
    """What must be empty is empty, and every collection has its generation."""
    with world.catalog.reading() as connection:
        counts = {name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()  # noqa: S608 - ours
                  for name in ("intents", "garbage", "leases")}  # fmt: skip
    problems = [f"I5: {count} rows are left in {name}" for name, count in counts.items() if count]
    current = {item.collection for item in world.catalog.generations() if item.state in CURRENT_STATES}
    if set(world.store.collections()) != current:
        problems.append(f"I5: collections {world.store.collections()}, generations' are {sorted(current)}")
    return problems
