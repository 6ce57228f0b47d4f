"""What a plan says is what apply does (I9), whatever changed at random and however often."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from regen import Chunking, Document

Worlds: TypeAlias = Callable[..., Any]
SENTENCES = [f"Sentence {i} speaks of thing{i} and of matter{i}." for i in range(12)]
PRINCIPALS: tuple[list[str] | None, ...] = (None, [], ["a"], ["a", "b"])


def some_document(doc_id: str, chance: random.Random) -> Document:
    """A document made of few sentences, titles and principals, so that texts meet again and again."""
    text = "\n\n".join(chance.choices(SENTENCES, k=chance.randint(0, 5)))
    metadata: dict[str, Any] = {"title": chance.choice(["One", "Two"]), "n": chance.randint(0, 2)}
    if chance.random() < 0.2:
        metadata[f"key{chance.randint(0, 3)}"] = chance.choice(["x", 1, True, ["x"], [1], None])
    if chance.random() < 0.05:
        del metadata["title"]
    return Document(doc_id, text, metadata, chance.choice(PRINCIPALS))


def change(world: Any, chance: random.Random) -> None:
    """A handful of random creations, edits, deletions and renames."""
    documents = world.source.documents
    for _ in range(chance.randint(1, 6)):
        doc_id = f"d{chance.randint(0, 15)}"
        action = chance.random()
        if action < 0.2:
            documents.pop(doc_id, None)
        elif action < 0.35 and doc_id in documents:
            old = documents.pop(doc_id)
            new_id = f"d{chance.randint(0, 15)}"
            world.put(Document(new_id, old.text, old.metadata, old.access))
        else:
            world.put(some_document(doc_id, chance))


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("seed", [0, 5, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 40))])
def test_random_changes(worlds: Worlds, seed: int, *, cached: bool) -> None:
    """Each of a dozen plans is applied exactly, and catalog, store and a clean build agree in the end."""
    chance = random.Random(seed)
    settings = {"text": "{title}\n{text}", "chunking": Chunking("markdown", max_tokens=24)}
    world = worlds(**settings, **({"cache": "cache.db"} if cached else {}))
    ever: set[str] = set()
    sent = 0
    for _ in range(12):
        change(world, chance)
        before = len(world.embedder.calls)
        world.step(allow_mass_delete=True)
        new = world.texts_since(before)
        assert len(set(new)) == len(new)
        ever.update(new)
        sent += len(new)
    assert sent == len(ever) or not cached
    world.assert_sound()
    clean = worlds(*world.source.documents.values(), **settings)
    clean.step()
    failed = letters(world)
    assert failed == letters(clean)
    assert chunks(world, without=failed) == chunks(clean, without=failed) != set()


def letters(world: Any) -> set[str]:
    """Documents that could not be processed: what was placed of them before stays."""
    return {letter.doc_id for letter in world.index.status().dead_letters}


def chunks(world: Any, *, without: set[str]) -> set[tuple[str, str, str]]:
    """(document, chunk, text) of every point of the other documents."""
    store, collection = world.index._store, world.index._writer.live_or_newest().collection
    return {
        held
        for page in store.scan(collection)
        for held in zip(page.payload.doc_id, page.payload.chunk_id, page.payload.text, strict=True)
        if held[0] not in without
    }
