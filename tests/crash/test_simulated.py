"""Hundreds of simulated deaths in one process: every later call of a port fails, and new objects take over."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.crash.life import CATALOG, LANCE, Life, Roulette, probabilities
from tests.crash.worlds import Kind

from regen.catalog.sqlite import open_catalog
from regen.engine import lease
from regen.ports import Store
from regen.ports.catalog import Catalog
from regen.stores.lancedb import LanceStore
from regen.stores.memory import MemoryStore
from regen.testing.faults import Crashed, Steps

KINDS: tuple[Kind, ...] = ("jsonl", "files", "files", "jsonl")


class Mortal:
    """Lives one life after the other over the same files, or over the same store and catalog in memory."""

    def __init__(self, root: Path, seed: int, count: int, *, disk: bool) -> None:
        root.mkdir()
        self.life = Life(root, seed, KINDS[seed % 4], count)
        if disk:
            self.life.open_store = lambda: LanceStore.from_url(LANCE, root=root)
            self.life.open_catalog = lambda: open_catalog(CATALOG, root)
        else:
            store, catalog = MemoryStore(), open_catalog("sqlite://")
            self.life.open_store, self.life.open_catalog = _always(store), _unclosed(catalog)

    def live(self, on_step: Callable[[str, int], None] | None) -> Counter[str]:
        """One life; raises Crashed when it ends early. Returns how often each moment came."""
        self.life.steps = Steps(on_step)
        try:
            self.life.run()
        finally:
            self.life.number += 1
            lease._ours.clear()  # owners of this process are dead now, as they would be with their own process
        return Counter(self.life.steps.counts())


def _always(store: Store) -> Callable[[], Store]:
    return lambda: store


def _unclosed(catalog: Catalog) -> Callable[[], Catalog]:
    catalog.close = lambda: None  # type: ignore[method-assign]  # a database in memory lives as long as its connection
    return lambda: catalog


def die_everywhere(root: Path, seed: int, count: int, *, disk: bool, each: int) -> Counter[str]:
    """Die ``each`` times at every moment, in history after history. Returns where, and how often."""
    counts = Mortal(root / "clean", seed, count, disk=disk).live(None)
    left = dict.fromkeys(counts, each)
    deaths: Counter[str] = Counter()
    for number in _histories(seed):
        mortal = Mortal(root / f"history-{number}", number, count, disk=disk)
        chance = random.Random(f"{number} deaths")
        while True:
            pending = {moment: probabilities(counts)[moment] for moment in left if left[moment]}
            roulette = Roulette(chance, pending)
            try:
                mortal.live(roulette)
            except Crashed:
                assert roulette.died_at is not None
                deaths[roulette.died_at] += 1
                left[roulette.died_at] -= 1
            else:
                break
        if not any(left.values()):
            return deaths
    raise AssertionError(f"never reached: {[moment for moment in left if left[moment]]}")


def _histories(seed: int) -> Iterator[int]:
    yield from range(seed, seed + 400, 4)


@pytest.mark.parametrize("seed", range(4))
def test_dying_at_every_moment_in_memory(tmp_path: Path, seed: int) -> None:
    """Whatever the step at which a process dies, the next ends with what a clean run makes, and with nothing else."""
    deaths = die_everywhere(tmp_path, seed, 12, disk=False, each=2)
    assert deaths.total() > 100
    assert deaths["before catalog.commit_write"] == deaths["after store.update_payload"] == 2


def test_dying_at_every_moment_on_disk(tmp_path: Path) -> None:
    """The same on SQLite and LanceDB."""
    assert die_everywhere(tmp_path, 0, 8, disk=True, each=1).total() > 60


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 108))
def test_dying_very_often_in_memory(tmp_path: Path, seed: int) -> None:
    """The same, in many longer histories."""
    assert die_everywhere(tmp_path, seed, 30, disk=False, each=25).total() > 1000


def test_equal_work_reaches_equal_moments(tmp_path: Path) -> None:
    """A seed stands for one run: the same history reaches the same moments, each as often as before."""
    first, second = (Mortal(tmp_path / name, 3, 12, disk=False).live(None) for name in ("first", "second"))
    assert first == second
    assert first["before store.upsert"] + first["before store.insert"] > 5
