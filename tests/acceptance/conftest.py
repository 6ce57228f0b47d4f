"""A small world to change on purpose: a source in memory, an embedder that counts, and an index over both."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import regen
from regen.core.documents import Document, Unreadable
from regen.core.plan import Step
from regen.core.results import SyncResult
from regen.embedders.hashing import HashingEmbedder
from regen.engine import probes
from regen.ports import Embedder, KnownStamps, ScanBatch
from regen.testing.faulty import FaultPlan, FaultyEmbedder

STORES = ("memory", "lancedb")


def never(_call: int, _texts: object) -> None:
    """Nothing goes wrong."""


@dataclass
class ListSource:
    """A full source whose documents are a dictionary. ``unreadable`` ids exist but cannot be delivered."""

    documents: dict[str, Document] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    name: str = "list"
    full: bool = True

    def scan(self, known: KnownStamps) -> Iterator[ScanBatch]:
        """All of it, three documents a batch."""
        all_documents = list(self.documents.values())
        for start in range(0, len(all_documents), 3):
            yield ScanBatch(all_documents[start : start + 3])
        yield ScanBatch(unreadable=[Unreadable(*item) for item in self.unreadable.items()])

    def put(self, *documents: Document) -> None:
        """Create or replace documents."""
        self.documents.update((document.id, document) for document in documents)


@dataclass
class World:
    """An index over a source and a model that can be changed at will. ``folder`` holds catalog and store."""

    folder: Path
    store: str
    embedder: FaultyEmbedder
    source: ListSource
    settings: dict[str, Any]
    index: regen.Index = field(init=False)

    def __post_init__(self) -> None:
        self.open()

    def open(self, **changed: Any) -> regen.Index:
        """Open the index, anew if it is open already, perhaps with other settings."""
        if hasattr(self, "index"):
            self.index.close()
        self.settings |= changed
        store = f"memory://{self.folder}" if self.store == "memory" else "lancedb://vectors"
        self.index = regen.Index(
            embedder=self.embedder, catalog="sqlite:///catalog.db", source=self.source, root=self.folder,
            **{"store": store} | self.settings,
        )  # fmt: skip
        return self.index

    def fail(self, plan: FaultPlan) -> None:
        """Let the model fail by a plan."""
        self.embedder.plan = plan

    def mend(self) -> None:
        """Let the model work."""
        self.embedder.plan = never

    def put(self, *documents: Document) -> None:
        """Create or replace documents at the source."""
        self.source.put(*documents)

    def step(self, *, allow_mass_delete: bool = False) -> SyncResult:
        """Plan, apply, and check that they say the same (I9) and that planning changed nothing."""
        before, asked = self.dump(), len(self.embedder.calls)
        plan = self.index.plan(allow_mass_delete=allow_mass_delete)
        assert self.dump() == before, "planning changed the catalog"
        assert len(self.embedder.calls) == asked, "planning asked the model"
        result = self.index.apply(plan)
        assert planned(plan.steps) == done(result)
        assert plan.totals.texts_to_embed == result.embedded_texts == len(self.texts_since(asked))
        deleting = sum(step.chunks for step in plan.steps if step.action == "delete_documents")
        assert sum(step.chunks for step in plan.steps if "place" in step.action) == result.chunks.written
        assert deleting <= result.chunks.deleted
        return result

    def texts_since(self, call: int) -> list[str]:
        """What the model was sent from a call on."""
        return [text for texts in self.embedder.calls[call:] for text in texts if text not in probes.TEXTS]

    def dump(self) -> list[str]:
        """All of the catalog's rows but leases, as text."""
        return dump(self.folder / "catalog.db")

    def found(self, query: str, **options: Any) -> list[str]:
        """The ids of the documents that a search returns, best first, each once."""
        return list(dict.fromkeys(hit.doc_id for hit in self.index.search(query, k=50, **options)))

    def assert_sound(self) -> None:
        """Catalog and store agree point by point, and nothing waits."""
        report = self.index.verify()
        assert report.consistent, report.details


def dump(path: Path) -> list[str]:
    """All rows of a catalog but its leases and their counter, as text."""
    with sqlite3.connect(path) as connection:
        lines = [line for line in connection.iterdump() if "lease" not in line]
    connection.close()
    return lines


def planned(steps: Iterable[Step]) -> dict[str, int]:
    """Documents by action, of a plan."""
    names = {
        "place_documents": "added", "replace_documents": "updated", "update_metadata": "metadata_updated",
        "update_access": "access_updated", "delete_documents": "deleted",
    }  # fmt: skip
    return {names[step.action]: step.documents for step in steps if step.action in names}


def done(result: SyncResult) -> dict[str, int]:
    """Documents by what was done to them, without zeros."""
    names = ("added", "updated", "metadata_updated", "access_updated", "deleted")
    return {name: getattr(result.documents, name) for name in names if getattr(result.documents, name)}


class Worlds:
    """Makes worlds below one folder, and closes them."""

    def __init__(self, folder: Path, store: str) -> None:
        self._folder, self._store = folder, store
        self._made: list[World] = []

    def __call__(self, *documents: Document, embedder: Embedder | None = None, **settings: Any) -> World:
        """A world whose source has these documents; nothing is indexed yet."""
        folder = self._folder / f"world{len(self._made)}"
        folder.mkdir()
        model = FaultyEmbedder(embedder or HashingEmbedder(64), never)
        world = World(folder, self._store, model, ListSource(), settings)
        world.put(*documents)
        self._made.append(world)
        return world

    def close(self) -> None:
        """Close all of them."""
        for world in self._made:
            world.index.close()


@pytest.fixture(params=STORES)
def worlds(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Worlds]:
    """A maker of worlds on each store."""
    made = Worlds(tmp_path, request.param)
    yield made
    made.close()


@pytest.fixture
def lance_worlds(tmp_path: Path) -> Iterator[Worlds]:
    """A maker of worlds on the default store only."""
    made = Worlds(tmp_path, "lancedb")
    yield made
    made.close()
