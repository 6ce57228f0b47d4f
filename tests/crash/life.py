"""One life of a process that keeps an index: find out how far the ones before came, go on, and check what they left."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar
from unittest.mock import patch

from tests.acceptance.one_database import Observer
from tests.crash.worlds import (
    QUESTIONS,
    Kind,
    Oracle,
    Question,
    World,
    apply,
    clean_snapshot,
    make_index,
    snapshot,
    source_path,
    worlds,
)

from regen import registry
from regen.embedders.hashing import HashingEmbedder
from regen.engine.tending import Tending
from regen.errors import NotFound
from regen.index import Index
from regen.ports import Store
from regen.ports.catalog import Catalog
from regen.testing.faults import Crashed, Steps, kill_this_process

S = TypeVar("S")

CATALOG: Final = "sqlite:///catalog.db"
LANCE: Final = "lancedb://vectors"


class Journal:
    """What the outside world knows: which steps were begun, and which calls have returned. Appended in one write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, word: str, step: int) -> None:
        """Write it down at once."""
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{word} {step}\n".encode())
        os.close(file)

    def reached(self) -> tuple[int, int]:
        """The last step that was done, and the last one begun; -1 for none."""
        lines = [line.split() for line in self.path.read_text().splitlines()] if self.path.exists() else []
        return tuple(max([-1, *(int(at) for found, at in lines if found == word)]) for word in ("done", "begin"))  # type: ignore[return-value]


def tend(tending: Tending, upkeep: Callable[[], list[str]]) -> None:
    """Do upkeep now, in the thread of who asks."""
    tending._told += upkeep()


def tending_at_once(run: Callable[[S], None]) -> Callable[[S], None]:
    """Upkeep in the thread of who pushes: a life's moments come in one order, and who dies at one is that thread."""
    return patch.object(Tending, "ask", tend)(run)


class Roulette:
    """Dies at one of the ``pending`` moments, each of which maps to how probable that is when it comes.

    By SIGKILL after writing down at which, if ``kills`` is a path; else by raising Crashed from there on.
    """

    def __init__(self, chance: random.Random, pending: Mapping[str, float], kills: Path | None = None) -> None:
        self.chance, self.pending, self.kills = chance, pending, kills
        self.died_at: str | None = None

    def __call__(self, moment: str, _occurrence: int) -> None:
        """A moment has come."""
        if self.died_at is None and self.chance.random() < self.pending.get(moment, 0.0):
            self.died_at = moment
            if self.kills is not None:
                self.kills.write_text(moment)
                kill_this_process()
        if self.died_at is not None:
            raise Crashed(self.died_at)


def probabilities(counts: Mapping[str, int]) -> dict[str, float]:
    """How probably to die at a moment that comes so often: sometimes at its first, sometimes at a later coming."""
    return {moment: 1.0 if count <= 2 else 0.25 for moment, count in counts.items()}


@dataclass(slots=True)
class Life:
    """A history to be brought into an index, by any number of lives. ``number`` is this life's."""

    root: Path
    seed: int
    kind: Kind
    count: int
    number: int = 0
    steps: Steps = field(default_factory=Steps)
    open_store: Callable[[], Store] | None = None
    open_catalog: Callable[[], Catalog] | None = None
    url: str = ""
    """A PostgreSQL database for catalog and vectors, instead of files in ``root``."""

    @tending_at_once
    def run(self) -> None:
        """Live until the history's end, or until killed."""
        history, journal = worlds(self.seed, self.count), Journal(self.root / "journal")
        if self.url:
            self.nothing_to_collect()
        done, begun = journal.reached()
        chance = random.Random(f"{self.seed} {self.number}")
        # Either do again what was interrupted, or never come back to it: both must end well.
        skip = begun > done and begun + 1 < self.count and chance.random() < 0.5
        first = begun + 1 if skip else done + 1
        with self._index() as index:
            for step in range(first, self.count):
                tried = max(begun + 1, step)  # what lives before this one began, they may have done
                since = history[done:tried] if done >= 0 else [{}, *history[:tried]]
                journal.note("begin", step)
                called = apply(index, self.root, self.kind, since, history[step])
                journal.note("done", step)
                if step == first and self.number:
                    if not called:
                        index.upsert([])  # whoever comes next finishes what a dead one has begun
                    self.check(index, history[step])
                done = step
                self._upkeep(index, chance)
            index.sync(allow_mass_delete=True)
            self.check(index, history[-1])
        Journal(self.root / "finished").note("done", self.number)

    def _index(self) -> Index:
        store = self.open_store() if self.open_store else registry.make_store(self.url or LANCE, self.root)
        catalog = self.open_catalog() if self.open_catalog else registry.make_catalog(self.url or CATALOG, self.root)
        source = registry.make_source({"kind": self.kind, "path": source_path(self.kind)}, self.root)
        wrap = self.steps.wrap
        return make_index(
            self.root,
            self.seed,
            self.kind,
            store=wrap(store, "store"),
            catalog=wrap(catalog, "catalog"),
            source=wrap(source, "source"),
            embedder=wrap(HashingEmbedder(32), "embedder"),
        )

    def _upkeep(self, index: Index, chance: random.Random) -> None:
        luck = chance.random()
        if luck < 0.1:
            index.gc()
        elif luck < 0.2:
            index.replay(0.0)
        elif luck < 0.3:
            index.retry()

    def check(self, index: Index, world: World) -> None:
        """I5: nothing lost, nothing twice, nothing left over, and all of it as a clean run makes it."""
        report = index.verify()
        assert report.consistent, report  # even before gc: what a crash leaves is known as garbage
        index.gc(now=self.number % 2 == 1)
        report = index.verify()
        assert report.consistent, report
        found = snapshot(index)
        clean = clean_snapshot(self.root / f"clean-{self.number}-{time.monotonic_ns()}", self.seed, self.kind, world)
        assert found["documents"].keys() == world.keys(), (found["documents"].keys(), world.keys())
        assert not found["orphans"], found["orphans"]
        for doc_id, wanted in clean["documents"].items():
            assert found["documents"][doc_id] == wanted, (doc_id, found["documents"][doc_id], wanted)
        assert found["dead_letters"] == clean["dead_letters"]
        assert found == clean
        if (path := self.root / "catalog.db").exists():
            assert left_over(path) == {"intents": 0, "garbage": 0, "leases": 0}
        elif self.url:
            self.nothing_to_collect()

    def nothing_to_collect(self) -> None:
        """In one database a crash leaves nothing behind, not even what is known as garbage."""
        observer = Observer(self.url)
        assert observer.torn() == []
        assert observer.left() == {"intents": 0, "garbage": 0}


def left_over(catalog: Path) -> dict[str, int]:
    """How many rows are in the tables that are empty when nothing is under way."""
    with sqlite3.connect(catalog, timeout=30) as connection:
        tables = ("intents", "garbage", "leases")
        found = {table: connection.execute(f"select count(*) from {table}").fetchone()[0] for table in tables}
    connection.close()
    return found


def search_until_told(root: Path, seed: int, kind: Kind, count: int, url: str = "") -> int:
    """Search all the time, and judge every answer by what the journal said before and after. Returns how many."""
    history, oracle, journal = worlds(seed, count), Oracle(seed), Journal(root / "journal")
    answers = 0
    with make_index(root, seed, kind, store=url or LANCE, catalog=url or CATALOG) as index:
        while not (root / "stop").exists():
            for question in QUESTIONS:
                before = journal.reached()[0]
                found = ask(index, question)
                after = journal.reached()[1]
                if found is None:
                    assert before < 0, "a search found no index although one was live"
                    continue
                possible: Sequence[World] = [{}] * (before < 0) + history[max(before, 0) : after + 1]
                wrong = oracle.judge(possible, found, question)
                assert not wrong, f"steps {before} to {after}, {question}: {wrong}"
                answers += len(found) > 0
                time.sleep(0.002)
    return answers


def ask(index: Index, question: Question) -> dict[str, set[str]] | None:
    """Every visible chunk's text, by document; None before the first generation is live. One revision each (I2)."""
    try:
        result = index.search("river stone", k=500, where=question.where, principals=question.principals)
    except NotFound:
        return None
    found: dict[str, set[str]] = {}
    revisions: dict[str, set[int]] = {}
    for hit in result:
        found.setdefault(hit.doc_id, set()).add(hit.text)
        revisions.setdefault(hit.doc_id, set()).add(hit.revision)
    assert all(len(numbers) == 1 for numbers in revisions.values()), revisions
    return found
