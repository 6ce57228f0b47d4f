"""Seeded histories of a small corpus: what every document is after each step, and how to bring it about."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import orjson

from regen.core.chunking import make_chunker, pieces
from regen.core.documents import UNRESTRICTED, Document, Principal, Unrestricted, digest, may_see
from regen.core.filters import matches, parse_filter
from regen.core.recipe import Chunking, TextTemplate
from regen.embedders.hashing import HashingEmbedder
from regen.index import Index
from regen.ports import Store
from regen.ports.catalog import Catalog

CHUNKING = Chunking(kind="sentences", max_tokens=16)
TEMPLATES = ("{title}\n{text}", "{text}")
Kind = Literal["jsonl", "files"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One document at one step. Equal paragraphs in other documents are wanted: their vectors are copied."""

    title: str
    paragraphs: tuple[str, ...]
    number: int
    lang: str | None
    access: tuple[str, ...] | None

    @property
    def text(self) -> str:
        """The paragraphs, each of which fills a chunk."""
        return "\n\n".join(self.paragraphs)

    @property
    def metadata(self) -> dict[str, Any]:
        """``title`` is in one of the templates, the others are in none."""
        return {"title": self.title, "number": self.number, **({} if self.lang is None else {"lang": self.lang})}

    def document(self, doc_id: str) -> Document:
        """As it is pushed."""
        return Document(doc_id, self.text, self.metadata, self.access)


World = dict[str, Entry]
"""All documents: those whose id begins with p are pushed, those with s come from the source."""


def worlds(seed: int, count: int) -> list[World]:
    """A history: each world is one call (upsert, delete or sync) away from the one before."""
    return _History(random.Random(seed)).make(count)


class _History:
    """Edits, reverts (A to B to A), renames, duplicates, metadata, access, deletions and returns, at random."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.past: dict[str, list[Entry]] = {}
        self.serial = 0

    def make(self, count: int) -> list[World]:
        world = {doc_id: self.fresh() for doc_id in ("p0", "p1", "p2", "s0.md", "s1.md", "s2.md")}
        first = {doc_id: entry for doc_id, entry in world.items() if doc_id.startswith("s")}
        made = [first, dict(world)]
        while len(made) < count:
            made.append(self.next(made[-1]))
        return made[:count]

    def next(self, before: World) -> World:
        world = dict(before)
        group = self.chance.choice("pps")
        mine = [doc_id for doc_id in world if doc_id.startswith(group)]
        if group == "p" and len(mine) > 2 and self.chance.random() < 0.25:
            for doc_id in self.chance.sample(mine, self.chance.choice([1, 2])):
                del world[doc_id]
            return world
        for doc_id in self.chance.sample(mine, min(len(mine), self.chance.choice([1, 1, 2, 3]))):
            self.change(world, doc_id)
        if len(mine) < 4 or self.chance.random() < 0.2:
            entry = self.chance.choice(list(world.values())) if self.chance.random() < 0.3 and world else self.fresh()
            world[self.name(group)] = entry
        if group == "s" and len(mine) > 2:
            self.leave(world, mine)
        return world

    def leave(self, world: World, mine: list[str]) -> None:
        """A document of the source vanishes, or takes another name."""
        chosen, luck = self.chance.choice(mine), self.chance.random()
        if luck < 0.5:
            entry = world.pop(chosen)
            if luck < 0.25:
                world[self.name("s")] = entry

    def change(self, world: World, doc_id: str) -> None:
        entry, luck = world[doc_id], self.chance.random()
        past = self.past.setdefault(doc_id, [])
        past.append(entry)
        if luck < 0.3:
            world[doc_id] = past[-2] if len(past) > 1 else replace(entry, number=entry.number + 1)
        elif luck < 0.55:
            world[doc_id] = replace(entry, paragraphs=self.edited(entry.paragraphs))
        elif luck < 0.7:
            world[doc_id] = replace(entry, number=entry.number + 1, lang=self.chance.choice(["en", "de", None]))
        elif luck < 0.78:
            world[doc_id] = replace(entry, title=self.sentence(2))
        elif luck < 0.93:
            world[doc_id] = replace(entry, access=self.access())
        elif luck < 0.97:
            world[doc_id] = replace(entry, paragraphs=self.chance.choice(list(world.values())).paragraphs)
        else:
            world[doc_id] = replace(entry, paragraphs=())

    def edited(self, paragraphs: tuple[str, ...]) -> tuple[str, ...]:
        changed = list(paragraphs) or [self.paragraph()]
        at = self.chance.randrange(len(changed))
        match self.chance.choice(["replace", "replace", "insert", "remove", "move"]):
            case "insert":
                changed.insert(at, self.paragraph())
            case "remove" if len(changed) > 1:
                del changed[at]
            case "move":
                changed.append(changed.pop(at))
            case _:
                changed[at] = self.paragraph()
        return tuple(changed)

    def fresh(self) -> Entry:
        paragraphs = tuple(self.paragraph() for _ in range(self.chance.randint(2, 5)))
        return Entry(self.sentence(2), paragraphs, 1, self.chance.choice(["en", "de"]), self.access())

    def access(self) -> tuple[str, ...] | None:
        return self.chance.choice([None, None, ("ann",), ("ann", "bob"), ()])

    def paragraph(self) -> str:
        self.serial += 1
        return f"{self.sentence(11).capitalize()} paragraph {self.serial}."

    def sentence(self, words: int) -> str:
        return " ".join(self.chance.choice(_WORDS) for _ in range(words))

    def name(self, group: str) -> str:
        """A new id, or one that was there before."""
        return f"{group}{self.chance.randrange(7)}" + (".md" if group == "s" else "")


_WORDS = [
    "river",
    "stone",
    "cloud",
    "garden",
    "window",
    "market",
    "teacher",
    "engine",
    "letter",
    "harbour",
    "winter",
    "music",
    "forest",
    "bridge",
    "copper",
]


def make_index(
    root: Path, seed: int, kind: Kind, *, store: Store | str, catalog: Catalog | str, **settings: Any
) -> Index:
    """An index over the source in ``root``, with a small embedder and small chunks."""
    given: dict[str, Any] = {"embedder": HashingEmbedder(32), "source": {"kind": kind, "path": source_path(kind)}}
    text = TEMPLATES[seed % 2]
    return Index(root=root, store=store, catalog=catalog, text=text, chunking=CHUNKING, **given | settings)


def source_path(kind: Kind) -> str:
    """Where the source's documents lie, relative to the root."""
    return "source.jsonl" if kind == "jsonl" else "source"


def write_source(root: Path, kind: Kind, world: World) -> None:
    """Make the source deliver the world's documents of it. Killed half-way, the next call makes it right."""
    mine = {doc_id: entry for doc_id, entry in world.items() if doc_id.startswith("s")}
    path = root / source_path(kind)
    if kind == "jsonl":
        lines = [orjson.dumps({"id": key, "text": e.text, "access": e.access, **e.metadata}) for key, e in mine.items()]
        _replace(path, b"\n".join(lines) + b"\n")
        return
    path.mkdir(exist_ok=True)
    for doc_id, entry in mine.items():
        front = json.dumps({**entry.metadata, "access": entry.access})  # JSON is YAML
        _replace(path / doc_id, f"---\n{front}\n---\n{entry.text}".encode())
    for left in path.glob("*.md"):
        if left.name not in mine:
            left.unlink()


def _replace(path: Path, data: bytes) -> None:
    if not path.exists() or path.read_bytes() != data:
        new = path.with_name(path.name + ".new")
        new.write_bytes(data)
        new.replace(path)


def apply(index: Index, root: Path, kind: Kind, since: Sequence[World], world: World) -> bool:
    """Bring the index to ``world`` from any of the worlds ``since``: one call, or more after a crash; whether any."""
    touched = {key for old in since for key in old.keys() | world.keys() if old.get(key) != world.get(key)}
    pushed = sorted(key for key in touched if key.startswith("p"))
    if upserts := [world[key].document(key) for key in pushed if key in world]:
        index.upsert(upserts)
    if deletes := [key for key in pushed if key not in world]:
        index.delete(deletes)
    if any(key.startswith("s") for key in touched):
        write_source(root, kind, world)
        index.sync(allow_mass_delete=True)
    return bool(touched)


def clean_snapshot(root: Path, seed: int, kind: Kind, world: World, store: Store | str = "memory://") -> Snapshot:
    """What an index that never crashed makes of a world, from nothing."""
    root.mkdir(parents=True, exist_ok=True)
    write_source(root, kind, world)
    with make_index(root, seed, kind, store=store, catalog="sqlite:///clean.db") as index:
        index.upsert([entry.document(key) for key, entry in world.items() if key.startswith("p")])
        index.sync(allow_mass_delete=True)
        return snapshot(index)


Snapshot = dict[str, Any]


def snapshot(index: Index) -> Snapshot:
    """Everything that I5 compares: every document with its chunks in order, their texts, payloads and vectors."""
    from regen.core.chunks import point_id, unpack

    catalog, store = index._catalog, index._store
    (generation,) = catalog.generations()
    points: dict[str, dict[str, Any]] = {}
    for page in store.scan(generation.collection):
        for row, point in enumerate(page.ids):
            assert point not in points, "a point twice"
            payload = page.payload
            points[point] = {
                "chunk": payload.chunk_id[row],
                "doc": payload.doc_id[row],
                "text": payload.text[row],
                "metadata": payload.metadata[row],
                "access": None if payload.access[row] is None else sorted(payload.access[row] or []),
                "space": payload.audit["space"][row],
                "content_hash": payload.audit["content_hash"][row],
            }
    for point, vector in zip(*store.fetch(generation.collection, list(points)), strict=True):
        points[point]["vector"] = digest(vector.tobytes()).hex()  # bit for bit
    documents: Snapshot = {}
    for facts_page in catalog.placements(generation.number):
        for facts, placement in facts_page:
            named = [points.pop(point_id(*entry)) for entry in unpack(placement.chunks)]
            documents[facts.doc_id] = {
                "metadata": orjson.loads(facts.metadata),
                "access": None if facts.access is None else orjson.loads(facts.access),
                "deleted": facts.deleted,
                "input_hash": placement.input_hash.hex(),
                "payload_hash": placement.payload_hash.hex(),
                "chunks": named,
            }
            for chunk in named:
                # Which revision first brought a chunk is its history, which a clean run does not have.
                chunk.pop("content_hash")
    letters = sorted((letter.doc_id, letter.reason) for letter in catalog.dead_letters())
    return {
        "documents": documents,
        "orphans": sorted(points),
        "dead_letters": letters,
        "space": generation.recipe.space,
    }


class Oracle:
    """What a searcher may see. Knows which texts each version of a document is cut into."""

    def __init__(self, seed: int) -> None:
        self._template = TextTemplate(TEMPLATES[seed % 2])
        self._chunker = make_chunker(CHUNKING, HashingEmbedder(32).token_starts)
        self._texts = cache(self._cut)

    def texts(self, entry: Entry) -> frozenset[str]:
        """The texts of an entry's chunks."""
        return self._texts(entry)

    def _cut(self, entry: Entry) -> frozenset[str]:
        values = self._template.values(entry.metadata) if self._template.keys else ()
        (spans,) = self._chunker.split([entry.text])
        return frozenset(text for text, _, _ in pieces(entry.text, spans, self._template, values))

    def judge(self, possible: Sequence[World], hits: dict[str, set[str]], question: Question) -> list[str]:
        """What is wrong with a complete result (by document: the texts found), when any of these worlds may be.

        A document's texts must be one version's, and that version visible to who asked (I2, I3). A document that only
        its text tells apart in these worlds must be there as a whole: readers see the old until they see the new one.
        """
        wrong = []
        for doc_id in sorted(hits.keys() | {key for world in possible for key in world}):
            entries = [world.get(doc_id) for world in possible]
            seen = [entry for entry in entries if entry is not None and question.admits(entry)]
            found = hits.get(doc_id, set())
            whole = [self.texts(entry) for entry in seen]
            if found and not any(found <= texts for texts in whole):
                wrong.append(f"{doc_id}: {sorted(found)} is no visible version's; visible: {list(map(sorted, whole))}")
            facets = {(entry.number, entry.lang, entry.access, entry.title) if entry else None for entry in entries}
            if len(seen) == len(entries) and len(facets) == 1 and frozenset(found) not in whole:
                wrong.append(f"{doc_id}: incomplete, {sorted(found)} of {list(map(sorted, whole))}")
        return wrong


@dataclass(frozen=True, slots=True)
class Question:
    """Who asks, and by which filter."""

    principals: tuple[Principal, ...] | Unrestricted
    where: dict[str, Any] | None = None

    def admits(self, entry: Entry) -> bool:
        """Whether an entry is visible to this question."""
        allowed = self.principals if isinstance(self.principals, Unrestricted) else frozenset(self.principals)
        return may_see(entry.access, allowed) and matches(parse_filter(self.where), entry.metadata)


QUESTIONS = (
    Question(UNRESTRICTED),
    Question(("ann",)),
    Question(("bob",)),
    Question(()),
    Question(UNRESTRICTED, {"lang": "en"}),
    Question(("ann",), {"number": {"gte": 2}}),
    Question((), {"lang": {"in": ["en", "de"]}}),
)


def questions() -> Iterator[Question]:
    """All of them, over and over."""
    while True:
        yield from QUESTIONS
