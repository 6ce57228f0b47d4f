"""The processes of a storm: they write, sync, build, switch and search, and note what they were told and when.

Every document is one actor's. Before a call that changes it the actor notes what it is about to make of it, and after
the call has returned that it has: what a search may show at any moment follows from that alone.
"""

from __future__ import annotations

import json
import os
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from regen.core.documents import UNRESTRICTED, Document
from regen.core.recipe import Chunking
from regen.embedders.hashing import HashingEmbedder
from regen.engine.settings import Limits
from regen.errors import (
    AliasMoved,
    CatalogBusy,
    CatalogError,
    CatalogUnreachable,
    CollectionMissing,
    LeaseLost,
    NotFound,
    NotPromotable,
    StalePlan,
    StoreError,
    StoreUnreachable,
)
from regen.index import Index
from regen.ports.catalog import Generation

ACTORS: Final = (
    "writer-a", "writer-b", "syncer", "builder", "worker-a", "worker-b", "searcher-all", "searcher-public",
)  # fmt: skip
RECIPES: Final = {16: (0, Chunking("sentences", 16)), 40: (7, Chunking("sentences", 40))}
"""Seed of the model and chunking, by the largest chunk: two spaces."""
EXPECTED: Final = (
    CatalogUnreachable, StoreUnreachable, CatalogBusy, LeaseLost, AliasMoved, NotPromotable, NotFound, StalePlan,
    CollectionMissing,
)  # fmt: skip
"""What a call may raise in a storm; and of a full disk the error that says so."""


def text_of(doc_id: str, version: int) -> str:
    """A text whose every sentence says what it is a part of."""
    count = 2 + version % 3
    return " ".join(f"Now {doc_id} version {version} part {part} of {count} is here." for part in range(count))


def open_index(url: str, root: Path, most: int = 16, **settings: Any) -> Index:
    """An index as this storm's processes have it."""
    seed, chunking = RECIPES[most]
    return Index(
        embedder=HashingEmbedder(32, seed), chunking=chunking, store=url, catalog=url, root=root,
        limits=Limits(lease_wait=3.0, batch_documents=4), **settings,
    )  # fmt: skip


class Notes:
    """A file of JSON lines, each appended in one write."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def add(self, **told: Any) -> None:
        """Write it down."""
        os.write(self._file, (json.dumps(told) + "\n").encode())


def read_notes(path: Path) -> list[dict[str, Any]]:
    """All whole lines."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


class Actor:
    """One life of one process."""

    def __init__(self, name: str, url: str, root: Path, life: int) -> None:
        self.name, self.url, self.root = name, url, root
        self.notes = Notes(root / f"notes-{name}")
        self.chance = random.Random(f"{name} {life}")
        self.errors: Counter[str] = Counter()

    def live(self) -> None:
        """Go on until killed."""
        work = {"writer": self.write, "syncer": self.sync, "builder": self.build, "worker": self.help,
                "searcher": self.search}  # fmt: skip
        step = work[self.name.split("-")[0]]()
        while True:
            try:
                for _ in step:
                    pass
            except EXPECTED as error:
                self.failed(error)
            except (StoreError, CatalogError) as error:
                if "disk" not in error.message and "space" not in error.message:
                    raise
                self.failed(error)
            step = work[self.name.split("-")[0]]()

    def failed(self, error: Exception) -> None:
        """A call failed as calls may."""
        self.notes.add(error=type(error).__name__, told=str(error)[:300])
        time.sleep(0.05)

    def ours(self, count: int, suffix: str = "") -> dict[str, int]:
        """Our documents, with the version that each was last about to have."""
        versions = {f"{self.name}{at}{suffix}": 0 for at in range(count)}
        for line in read_notes(self.root / f"notes-{self.name}"):
            if "doc" in line:
                versions[line["doc"]] = max(versions[line["doc"]], line["version"])
        return versions

    def change(self, doc: str, version: int, state: str, do: Callable[[], object]) -> None:
        """Change a document, noting when it was begun and when it was done."""
        self.notes.add(doc=doc, version=version, state=state, begin=time.time())
        do()
        self.notes.add(doc=doc, version=version, done=time.time())

    def write(self) -> Iterator[None]:
        """Push, restrict and delete documents."""
        versions = self.ours(5)
        with open_index(self.url, self.root) as index:
            while True:
                doc = self.chance.choice(list(versions))
                versions[doc] += 1
                version, state = versions[doc], self.chance.choice(["public", "public", "team", "gone"])
                document = Document(doc, text_of(doc, version), {"n": version}, ["team"] if state == "team" else None)
                act = (lambda d=doc: index.delete([d])) if state == "gone" else (lambda d=document: index.upsert([d]))
                self.change(doc, version, state, act)
                yield

    def sync(self) -> Iterator[None]:
        """Edit files, and sync."""
        versions = self.ours(4, ".txt")
        folder = self.root / "files"
        with open_index(self.url, self.root, source={"kind": "files", "path": "files", "glob": "*.txt"}) as index:
            while True:
                doc = self.chance.choice(list(versions))
                versions[doc] += 1
                version, state = versions[doc], self.chance.choice(["public", "public", "public", "gone"])

                def act(doc: str = doc, version: int = version, state: str = state) -> None:
                    if state == "gone":
                        (folder / doc).unlink(missing_ok=True)
                    else:
                        (folder / f".{doc}").write_text(text_of(doc, version))
                        (folder / f".{doc}").rename(folder / doc)
                    index.sync(allow_mass_delete=True)

                self.change(doc, version, state, act)
                yield

    def help(self) -> Iterator[None]:
        """Take a share of whatever is behind."""
        with open_index(self.url, self.root) as index:
            while True:
                done = index.work(until_idle=True, lease=3.0)
                if done.documents:
                    self.notes.add(worked=done.documents, ranges=done.ranges)
                time.sleep(0.1)
                yield

    def build(self) -> Iterator[None]:
        """Build the generation of the other recipe, promote it, go back, retire, tidy up: whatever is next."""
        indexes = {most: open_index(self.url, self.root, most) for most in RECIPES}
        try:
            while True:
                index = indexes[16]
                states = {item.state: item for item in index._catalog.generations()}
                if "live" in states:
                    self.notes.add(did=self.next(indexes, states))
                time.sleep(self.chance.uniform(0.05, 0.4))
                yield
        finally:
            for index in indexes.values():
                index.close()

    def next(self, indexes: dict[int, Index], states: Mapping[Any, Generation]) -> str:
        """One step from where the generations are."""
        index, luck = indexes[16], self.chance.random()
        live = states["live"].recipe.chunking.max_tokens
        if luck < 0.1:
            index.gc()
            return "gc"
        if "building" in states:
            indexes[states["building"].recipe.chunking.max_tokens].apply()
            return "went on building"
        if "ready" in states:
            index.promote(states["ready"].number, force=True, reason="storm")
            return "promoted"
        if "retained" in states and luck < 0.6:
            index.rollback(states["retained"].number, reason="storm")
            return "rolled back"
        if "retained" in states:
            index.retire(states["retained"].number)
            return "retired"
        indexes[next(most for most in RECIPES if most != live)].apply()
        return "built"

    def search(self) -> Iterator[None]:
        """Ask for everything that may be seen, again and again."""
        principals: Any = UNRESTRICTED if self.name.endswith("all") else ()
        with open_index(self.url, self.root) as index:
            while True:
                begin = time.time()
                result = index.search("version part is here", 200, principals=principals)
                end = time.time()
                self.notes.add(
                    begin=begin, end=end, generation=result.generation, space=result.space,
                    hits=[(hit.doc_id, hit.text, hit.generation, hit.revision) for hit in result],
                )  # fmt: skip
                time.sleep(0.03)
                yield


def run_actor(name: str, url: str, root: Path, life: int) -> None:
    """Be this process until killed; what is no part of a storm is written down."""
    try:
        Actor(name, url, root, life).live()
    except BaseException:
        (root / f"failure-{name}-{life}").write_text(traceback.format_exc())
        raise
