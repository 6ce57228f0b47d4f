"""A small index whose next generation is being filled: two models, documents of several chunks, filters and access."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regen import UNRESTRICTED, Chunking, Document, Index
from regen.core.results import Hit, SearchResult
from regen.embedders.hashing import HashingEmbedder
from regen.engine.on_read import Placer
from regen.ports import StoreHit
from regen.ports.catalog import Generation
from regen.ports.rollouts import Rollout, RouteKind
from regen.stores.memory import MemoryStore
from regen.testing.faulty import FaultyEmbedder

CHUNKING = Chunking(kind="sentences", max_tokens=16)
WORDS = ("river", "stone", "cloud", "garden", "window", "market", "teacher", "engine", "letter", "harbour", "winter",
         "music", "forest", "bridge", "copper", "island", "summer", "paper", "mountain", "kitchen")  # fmt: skip
QUERIES = ("river stone", "teacher in the garden", "winter music", "the copper bridge", "paper on a mountain kitchen")


class CountingStore(MemoryStore):
    """Counts what it is asked, by collection; may be told to fail, or to do something just before or after."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.failing: str | None = None
        self.before: dict[str, Callable[[], object]] = {}
        self.after: dict[str, Callable[[], object]] = {}

    def search(self, collection: str, *args: Any, **more: Any) -> list[StoreHit]:
        """As a memory store does."""
        self.asked.append(collection)
        if collection == self.failing:
            raise OSError("out of order")
        self.before.pop(collection, lambda: None)()
        found = super().search(collection, *args, **more)
        self.after.pop(collection, lambda: None)()
        return found


def text(seed: int) -> str:
    """A few sentences, each about a chunk."""
    chance = random.Random(seed)
    return " ".join(
        " ".join(chance.choices(WORDS, k=9)).capitalize() + f" number {seed}." for _ in range(chance.randint(1, 4))
    )


def documents(count: int) -> list[Document]:
    """So many documents: every third for the team only, every second in German."""
    return [
        Document(f"d{n:03}", text(n), {"lang": "de" if n % 2 else "en"}, ["team"] if n % 3 == 0 else None)
        for n in range(count)
    ]


@dataclass
class Filling:
    """The index, asked for its second generation; ``old`` and ``new`` are the models, with what they were sent."""

    root: Path
    store: CountingStore = field(default_factory=CountingStore)
    old: FaultyEmbedder = field(default_factory=lambda: FaultyEmbedder(HashingEmbedder(64), lambda _call, _texts: None))
    new: FaultyEmbedder = field(
        default_factory=lambda: FaultyEmbedder(HashingEmbedder(256), lambda _call, _texts: None)
    )
    index: Index = field(init=False)

    def open(self, *, new: bool, **settings: Any) -> Index:
        """The index, with one of the models configured and the other at hand."""
        models = {model.info.name: model for model in (self.old, self.new)}
        given: dict[str, Any] = {
            "embedder": self.new if new else self.old, "models": models, "store": self.store, "root": self.root,
            "catalog": "sqlite:///catalog.db", "chunking": CHUNKING, **settings,
        }  # fmt: skip
        return Index(**given)

    def begin(self, count: int) -> None:
        """Load the documents by the old model, and turn to the new one."""
        with self.open(new=False) as index:
            index.upsert(documents(count))

    def generation(self, number: int) -> Generation:
        """One generation as the catalog knows it."""
        return next(item for item in self.index._catalog.generations() if item.number == number)

    def create(self) -> Generation:
        """The next generation, empty."""
        made = self.index._writer.create(self.index.recipe)
        self.index._writer.prepare_collection(made)
        return made

    def place(self, ids: Sequence[str], number: int = 2) -> int:
        """Place documents in the generation that is being filled."""
        return Placer(self.index._writer).place(number, ids).documents

    def start(self, kind: RouteKind, candidate: int = 2, **more: Any) -> Rollout:
        """Answer by a route from now on."""
        given: dict[str, Any] = {"weight": 1.0, "settings": {}, "state": {}, **more}
        return self.index._catalog.start_rollout(
            self.index.alias, kind, candidate, actor="ann", reason="test", at=1.0, **given
        )

    def pure(self, generation: int, query: str, k: int = 10, **more: Any) -> list[tuple[Any, ...]]:
        """What one generation alone answers."""
        return plain(self.index.search(query, k, generation=generation, **{"principals": UNRESTRICTED, **more}))

    def search(self, query: str, k: int = 10, **more: Any) -> SearchResult:
        """What a reader gets who names no generation."""
        return self.index.search(query, k, **{"principals": UNRESTRICTED, **more})


def plain(hits: SearchResult | Sequence[Hit]) -> list[tuple[Any, ...]]:
    """All that a reader sees of each hit."""
    return [(h.doc_id, h.chunk_id, h.score, h.text, h.revision, h.generation, h.space) for h in hits]


@contextmanager
def filling(root: Path, count: int = 60, **settings: Any) -> Iterator[Filling]:
    """An index of so many documents with an empty second generation."""
    world = Filling(root)
    world.begin(count)
    world.index = world.open(new=True, **settings)
    try:
        yield world
    finally:
        world.index.close()
