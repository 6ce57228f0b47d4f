"""Moving a small world from recipe to recipe: what every model was sent, and what a generation holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tests.acceptance.conftest import World, Worlds, never

from regen import Document
from regen.core.chunks import unpack
from regen.core.plan import Plan
from regen.core.results import SyncResult
from regen.engine import probes
from regen.index import Index
from regen.ports import Embedder
from regen.ports.catalog import Generation
from regen.testing.faulty import FaultyEmbedder

Held = dict[tuple[str, str], tuple[Any, ...]]
"""Points by document and chunk: text, metadata, access, vector."""

WORDS = ("river", "stone", "cloud", "garden", "window", "market", "teacher", "engine", "letter", "harbour", "winter",
         "music", "forest", "bridge", "copper")  # fmt: skip


def sentence(number: int) -> str:
    """A sentence like no other."""
    return " ".join([*(WORDS[(number * step) % len(WORDS)] for step in (1, 2, 4, 7)), f"number {number}."]).capitalize()


def document(number: int, sentences: int = 5, **metadata: Any) -> Document:
    """A document whose sentences are its own, but for the last, which all share."""
    own = [sentence(100 * number + at) for at in range(sentences)]
    return Document(f"d{number}", " ".join([*own, "All of them say this."]), {"title": f"Title {number}", **metadata})


@dataclass
class Move:
    """A world that changes its model: all models are at hand, and each tells what it was sent."""

    world: World
    models: dict[str, FaultyEmbedder] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.models[self.world.embedder.info.name] = self.world.embedder

    @property
    def index(self) -> Index:
        """The open index."""
        return self.world.index

    def to(self, embedder: Embedder | None = None, **settings: Any) -> Index:
        """Ask for another recipe."""
        if embedder is not None:
            name = embedder.info.name
            self.world.embedder = self.models.setdefault(name, FaultyEmbedder(embedder, never))
        return self.world.open(models=self.models, **settings)

    def sent(self) -> list[str]:
        """Every text that any model was ever sent to be embedded as a document, in no order."""
        return [text for model in self.models.values() for call in model.calls for text in call
                if not text.endswith(probes.TEXTS)]  # fmt: skip

    def step(self, **options: Any) -> tuple[Plan, SyncResult]:
        """Plan and apply; they agree on what the models are sent (I9), and planning changes nothing."""
        before, asked = self.world.dump(), len(self.sent())
        plan = self.index.plan(**options)
        assert self.world.dump() == before, "planning changed the catalog"
        assert len(self.sent()) == asked, "planning asked a model"
        result = self.index.apply(plan)
        assert plan.totals.texts_to_embed == result.embedded_texts
        if all(step.action != "promote" for step in plan.steps):  # else the checks before it ask the models as well
            assert result.embedded_texts == len(self.sent()) - asked
        return plan, result

    def generation(self, number: int) -> Generation:
        """One generation as the catalog knows it."""
        return next(item for item in self.index._catalog.generations() if item.number == number)

    def states(self) -> dict[int, str]:
        """All generations' states."""
        return {item.number: item.state for item in self.index._catalog.generations()}

    def contents(self, number: int) -> Held:
        """What a generation's placements name, in the store: every one of them is there, and nothing else."""
        return contents(self.index, number)


def contents(index: Index, number: int) -> Held:
    """The points of a generation; asserts that catalog and store agree on which there are."""
    catalog = index._catalog
    generation = next(item for item in catalog.generations() if item.number == number)
    store, collection = index._stores.of(generation), generation.collection
    found: Held = {}
    for page in store.scan(collection):
        payload = page.payload
        ids, vectors = store.fetch(collection, page.ids)
        by_id = dict(zip(ids, vectors, strict=True))
        for row, point in enumerate(page.ids):
            key = (payload.doc_id[row], payload.chunk_id[row])
            assert key not in found, f"two points hold {key}"
            access = payload.access[row]
            found[key] = (
                payload.text[row], payload.metadata[row], None if access is None else sorted(access), by_id[point],
            )  # fmt: skip
    placed = {
        (facts.doc_id, chunk.hex())
        for page_of in catalog.placements(number)
        for facts, placement in page_of
        for chunk, _ in unpack(placement.chunks)
    }
    assert found.keys() == placed
    return found


def assert_same(mine: Held, wanted: Held, tolerance: float = 1e-5) -> None:
    """The same chunks with the same texts, metadata, access and, within the tolerance, vectors."""
    assert mine.keys() == wanted.keys()
    assert wanted
    for key in wanted:
        assert mine[key][:3] == wanted[key][:3], key
    ours, theirs = (np.stack([held[key][3] for key in wanted]) for held in (mine, wanted))
    np.testing.assert_allclose(ours, theirs, atol=tolerance)


def clean(worlds: Worlds, embedder: Embedder, *documents: Document, **settings: Any) -> Held:
    """What the same documents become in a first generation of such a recipe."""
    world = worlds(*documents, embedder=embedder, **settings)
    world.index.sync()
    return contents(world.index, 1)


def texts(held: Held) -> set[str]:
    """The distinct chunk texts."""
    return {point[0] for point in held.values()}


def without_runs(dump: list[str]) -> list[str]:
    """A catalog's dump less what every run leaves, whatever came of it: its record, and when its source was read."""
    return [line for line in dump if "runs" not in line and not line.startswith('INSERT INTO "jobs"')]
