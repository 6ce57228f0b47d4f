"""A store's own alias follows the catalog's, for applications that query the store directly, also after a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.acceptance.conftest import Worlds
from tests.acceptance.generations import Move, document

from regen import Chunking
from regen.embedders.hashing import HashingEmbedder
from regen.errors import StoreError
from regen.index import Index
from regen.ports import AliasStore, Store
from regen.stores.memory import MemoryStore
from regen.testing.faults import CrashAt, Crashed, FailAt, Steps

DOCUMENTS = tuple(document(number) for number in range(4))


@pytest.fixture
def memory_worlds(tmp_path: Path) -> Iterator[Worlds]:
    """A maker of worlds on a store that has aliases."""
    made = Worlds(tmp_path, "memory")
    yield made
    made.close()


def two(worlds: Worlds, **settings: object) -> Move:
    """A live generation and one that is ready."""
    move = Move(worlds(*DOCUMENTS, chunking=Chunking("sentences", 16)))
    move.index.sync()
    move.to(HashingEmbedder(32, 7), **settings)
    move.step()
    return move


def target(move: Move, number: int | None = None) -> str | None:
    """Where the alias points, in the configured store or in a generation's."""
    store: Store = move.index._store if number is None else move.index._stores.of(move.generation(number))
    assert isinstance(store, AliasStore)
    return store.alias_target(move.index.alias)


def watch(index: Index, on_step: Callable[[str, int], None] | None) -> Steps:
    """Let every call of the store be a step."""
    steps = Steps(on_step)
    index._stores.configured = steps.wrap(index._stores.configured, "store")
    return steps


def test_it_follows_every_switch(memory_worlds: Worlds) -> None:
    """From the first generation on, after each promotion and each rollback."""
    move = two(memory_worlds)
    assert target(move) == move.generation(1).collection
    move.index.promote()
    assert target(move) == move.generation(2).collection
    move.index.rollback()
    assert target(move) == move.generation(1).collection


def test_it_follows_into_another_store(memory_worlds: Worlds) -> None:
    """After a move the new store has the alias; the old one's stays on the generation that is kept in step there."""
    move = two(memory_worlds, store=f"memory://{memory_worlds._folder}/b")
    assert target(move) is None
    move.index.promote()
    assert (target(move, 1), target(move, 2)) == (move.generation(1).collection, move.generation(2).collection)


def astray(worlds: Worlds) -> Move:
    """A process died between the catalog's switch and the store's."""
    move = two(worlds)
    alive = move.index._stores.configured
    watch(move.index, CrashAt("before store.set_alias"))
    with pytest.raises(Crashed):
        move.index.promote()
    move.index._stores.configured = alive  # what is dead does nothing, not even close
    move.world.open()
    assert move.states() == {1: "retained", 2: "live"}
    assert target(move) == move.generation(1).collection
    return move


WRITERS: dict[str, Callable[[Index], object]] = {
    "sync": lambda index: index.sync(),
    "delete": lambda index: index.delete(["nobody"]),
    "apply": lambda index: index.apply(),
    "gc": lambda index: index.gc(),
    "verify --repair": lambda index: index.verify(repair=True),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_the_next_writer_sets_what_a_crash_left(memory_worlds: Worlds, writer: str) -> None:
    """Any run that writes looks, and sets the alias."""
    move = astray(memory_worlds)
    WRITERS[writer](move.index)
    assert target(move) == move.generation(2).collection
    assert move.index.verify().consistent


def test_those_that_only_look_report_it(memory_worlds: Worlds) -> None:
    """Verify and doctor say where it points and where it should, and change nothing; repair counts it."""
    move = astray(memory_worlds)
    words = f"points at {move.generation(1).collection}, not at {move.generation(2).collection}"
    report = move.index.verify()
    assert not report.consistent
    assert [words in detail for detail in report.details] == [True]
    (unwell,) = [finding for finding in move.index.doctor().findings if not finding.passed]
    assert words in unwell.detail
    assert target(move) == move.generation(1).collection
    repaired = move.index.verify(repair=True)
    assert (repaired.consistent, repaired.repaired, repaired.details) == (True, 1, [])


def test_a_switch_stands_when_the_store_refuses_its_alias(memory_worlds: Worlds) -> None:
    """The catalog decides: the switch is done and says what was not; the next sync does it."""
    move = two(memory_worlds)
    watch(move.index, FailAt("before store.set_alias", StoreError("no more aliases")))
    result = move.index.promote()
    assert result.live == 2
    assert [note.endswith("own alias was not looked after: no more aliases") for note in result.notes] == [True]
    assert move.index.search("river").generation == 2
    assert target(move) == move.generation(1).collection
    move.index.sync()
    assert target(move) == move.generation(2).collection


def test_a_sync_tells_what_keeps_it_from_setting_the_alias(memory_worlds: Worlds) -> None:
    """A sync that cannot set it does its work, and says so."""
    move = astray(memory_worlds)
    watch(move.index, FailAt("before store.set_alias", StoreError("no more aliases")))
    move.world.put(document(9))
    result = move.index.sync()
    assert result.documents.added == 1
    assert any("no more aliases" in note for note in result.notes)
    assert any("no more aliases" in note for note in move.index.gc().notes) is False
    assert target(move) == move.generation(2).collection


def test_looking_is_cheap(memory_worlds: Worlds) -> None:
    """A run asks once where the alias points, and sets nothing that is right."""
    move = two(memory_worlds)
    steps = watch(move.index, None)
    move.world.put(document(9))
    move.index.sync()
    counts = steps.counts()
    assert counts["before store.alias_target"] == 1
    assert "before store.set_alias" not in counts


def test_a_store_without_aliases_is_left_alone(memory_worlds: Worlds) -> None:
    """Where a store has none, nothing is asked, set or found wrong."""
    plain = type("Plain", (MemoryStore,), {"set_alias": None, "alias_target": None})()
    assert isinstance(plain, Store)
    with Index(embedder=HashingEmbedder(16), store=plain, catalog="sqlite://") as index:
        index.upsert([document(1)])
        assert index.verify().consistent
        assert index._writer.lifecycle.astray() is None
