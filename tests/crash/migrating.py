"""One life of a process that migrates an index: find out how far the ones before came, look, and go on."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.acceptance.generations import Held, assert_same, contents
from tests.acceptance.one_database import Observer
from tests.crash.life import CATALOG, LANCE, Journal, left_over, tending_at_once

from regen import registry
from regen.core.documents import UNRESTRICTED, Document
from regen.core.recipe import Chunking, Recipe
from regen.embedders.hashing import HashingEmbedder
from regen.engine import settings
from regen.errors import NotFound
from regen.index import Index
from regen.ports import Embedder
from regen.testing.faults import Steps, kill_this_process

World = dict[str, str]
SMALL, LARGE = Chunking("sentences", 12), Chunking("sentences", 24)


@dataclass(frozen=True)
class Wanted:
    """A recipe that regen.yaml asks for, and the store."""

    seed: int
    chunking: Chunking
    store: str = LANCE

    def model(self) -> Embedder:
        """Its model."""
        return HashingEmbedder(32, self.seed)


A, B, C = Wanted(0, SMALL), Wanted(7, SMALL), Wanted(7, LARGE)
"""A to B embeds everything, B to C what is new in larger chunks."""
ELSEWHERE = Wanted(0, SMALL, "lancedb://elsewhere")
"""A in another store: its vectors are copied."""

SCRIPTS: Final[dict[str, tuple[tuple[str, Wanted], ...]]] = {"recipes": (
    ("edit", A), ("edit", A), ("build", B), ("edit", B), ("promote", B), ("edit", B), ("rollback", A), ("edit", A),
    ("forward", B), ("edit", B), ("build", C), ("promote", C), ("edit", C), ("retire", C), ("gc", C), ("edit", C),
), "stores": (
    ("edit", A), ("edit", A), ("build", ELSEWHERE), ("edit", ELSEWHERE), ("promote", ELSEWHERE), ("edit", ELSEWHERE),
    ("rollback", A), ("edit", A), ("forward", ELSEWHERE), ("edit", ELSEWHERE), ("retire", ELSEWHERE),
    ("gc", ELSEWHERE), ("edit", ELSEWHERE),
)}  # fmt: skip
"""Steps with the recipe that is asked for while they are done; after a switch it is the live one's."""


def worlds(seed: int, script: str) -> list[World]:
    """What the documents are after each step: only edits change them."""
    chance, serial = random.Random(seed), iter(range(10_000))
    world: World = {}
    history = []
    for word, _ in SCRIPTS[script]:
        if word == "edit":
            world = dict(world)
            for _ in range(3 if world else 7):
                world[f"d{chance.randrange(12)}"] = " ".join(
                    f"{chance.choice(_WORDS)} {chance.choice(_WORDS)} is sentence {next(serial)} of all."
                    for _ in range(chance.randint(1, 5))
                )
            if len(world) > 6:
                del world[chance.choice(sorted(world))]
        history.append(world)
    return history


_WORDS: Final = ("River", "stone", "cloud", "garden", "window", "market", "teacher", "engine", "letter", "harbour")


class Moments:
    """Knows in which step of the script a moment comes, and dies at one of the pending ones."""

    def __init__(self, chance: random.Random, pending: Mapping[str, float], kills: Path) -> None:
        self.chance, self.pending, self.kills = chance, pending, kills
        self.phase = "open"
        self.counts: Counter[str] = Counter()

    def __call__(self, moment: str, _occurrence: int) -> None:
        """A moment has come."""
        tagged = f"{self.phase}: {moment}"
        self.counts[tagged] += 1
        if self.phase != "look" and self.chance.random() < self.pending.get(tagged, 0.0):
            self.kills.write_text(tagged)
            kill_this_process()


@dataclass(slots=True)
class Migration:
    """The script, to be brought to its end by any number of lives. ``number`` is this life's."""

    root: Path
    seed: int
    number: int
    moments: Moments
    name: str = "recipes"
    url: str = ""
    """A PostgreSQL database for catalog and vectors, instead of files in ``root``."""
    _clean: dict[tuple[Wanted, int], Held] = field(default_factory=dict)

    @tending_at_once
    def run(self) -> None:
        """Live until the script's end, or until killed."""
        history, journal = worlds(self.seed, self.name), Journal(self.root / "journal")
        script = SCRIPTS[self.name]
        done, begun = journal.reached()
        if self.number and done >= 0:
            self.look(done, history[done : begun + 1] or [history[done]])
        for step in range(done + 1, len(script)):
            word, wanted = script[step]
            journal.note("begin", step)
            with self._index(wanted) as index:
                self.moments.phase = word
                getattr(self, f"_{word}")(index, history, step)
                self.moments.phase = "look"
                journal.note("done", step)
                if step == done + 1 or word in {"build", "gc"}:
                    self.check(index, history[step], step)
        Journal(self.root / "finished").note("done", self.number)

    def _edit(self, index: Index, history: list[World], step: int) -> None:
        before, world = history[step - 1] if step else {}, history[step]
        index.upsert([Document(key, text) for key, text in world.items() if before.get(key) != text])
        index.delete([key for key in before if key not in world])

    def _build(self, index: Index, _history: list[World], _step: int) -> None:
        if any(item.state == "building" for item in index._catalog.generations()):
            # An earlier life died in this build, perhaps while it was paused: it stays so until somebody resumes.
            index.pause(reason="a crash")
            index.apply()
            index.resume()
        result = index.apply()
        assert index._stores.name in {LANCE, self.url} or result.embedded_texts == 0, "a move copies"

    def _promote(self, index: Index, _history: list[World], _step: int) -> None:
        if not is_live(index):
            index.promote()

    def _rollback(self, index: Index, _history: list[World], _step: int) -> None:
        if not is_live(index):
            index.rollback()

    _forward = _rollback

    def _retire(self, index: Index, _history: list[World], _step: int) -> None:
        index.retire(1)

    def _gc(self, index: Index, _history: list[World], _step: int) -> None:
        index.gc(now=True)

    def look(self, step: int, possible: list[World]) -> None:
        """What a crash left serves as it is: the alias points at one complete generation, which has every document."""
        self.moments.phase = "look"
        with self._index(SCRIPTS[self.name][step][1]) as index:
            states = Counter(item.state for item in index._catalog.generations())
            route = index._catalog.route(index.alias)
            assert states["live"] == 1, states
            live = next(item for item in index._catalog.generations() if item.state == "live")
            assert route.live == live.number
            assert live.completed_at is not None
            assert states["building"] + states["ready"] <= 1, states
            if self.url:
                assert Observer(self.url).torn() == []
                assert Observer(self.url).left() == {"intents": 0, "garbage": 0}
            found: dict[str, str] = {}
            result = index.search("river stone", 500, principals=UNRESTRICTED)
            assert result.generation == live.number
            for hit in result:
                found[hit.doc_id] = hit.text
            assert all(any(text in world.get(doc_id, "") for world in possible) for doc_id, text in found.items())
            assert set.intersection(*(set(world) for world in possible)) <= found.keys()
            for number in [item.number for item in index._catalog.generations() if item.state == "retired"]:
                try:
                    index.search("river", generation=number)
                except NotFound:
                    continue
                raise AssertionError(f"generation {number} is retired, yet it answers")

    def check(self, index: Index, world: World, step: int) -> None:
        """I5 and I8: every complete generation is as a clean build of the present documents, and nothing is left."""
        index.gc()
        assert index.verify().consistent, index.verify()
        current = index._writer.current()
        complete = [item for item in current if item.state != "building"]
        assert sum(item.state == "live" for item in complete) == 1
        for item in complete:
            assert_same(contents(index, item.number), self.clean(item.recipe, world, step))
        if self.url:
            assert Observer(self.url).torn() == []
            assert Observer(self.url).left() == {"intents": 0, "garbage": 0}
        else:
            assert left_over(self.root / "catalog.db") == {"intents": 0, "garbage": 0, "leases": 0}
        for store in {item.store for item in index._catalog.generations()}:
            here = [item for item in current if item.store == store]
            held = set(registry.make_store(store, self.root).collections())
            kept = {item.collection for item in here if item.state != "building"}
            assert kept <= held <= {item.collection for item in here}

    def clean(self, recipe: Recipe, world: World, step: int) -> Held:
        """The points of an index that never crashed, over the same documents."""
        wanted = next(one for one in (A, B, C) if recipe.chunking == one.chunking
                      and recipe.embedding.model == one.model().info.name)  # fmt: skip
        if (wanted, step) not in self._clean:
            with Index(
                embedder=wanted.model(), chunking=wanted.chunking, store="memory://", catalog="sqlite://",
            ) as index:  # fmt: skip
                index.upsert([Document(key, text) for key, text in world.items()])
                self._clean[wanted, step] = contents(index, 1)
        return self._clean[wanted, step]

    def _index(self, wanted: Wanted) -> Index:
        steps = Steps(self.moments)
        self.moments.phase = "open" if self.moments.phase != "look" else "look"
        wrap: Callable[..., Any] = steps.wrap
        index = Index(
            embedder=wrap(wanted.model(), "embedder"),
            store=self.url or wanted.store,
            catalog=wrap(registry.make_catalog(self.url or CATALOG, self.root), "catalog"),
            chunking=wanted.chunking,
            migration=settings.Migration(pilot=0.4),
            root=self.root,
        )
        stores = index._stores
        stores.configured = wrap(stores.configured, "store")
        stores.open_store = lambda url: wrap(registry.make_store(url, self.root), "other")
        return index


def is_live(index: Index) -> bool:
    """Whether the alias points at what the configuration asks for."""
    number = index._catalog.route(index.alias).live
    live = next(item for item in index._catalog.generations() if item.number == number)
    return live.recipe == index.recipe and index._stores.holds(live)
