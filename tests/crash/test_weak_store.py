"""The engine on a store of the weakest powers, stale, partial and doubling: the invariants hold, and all heals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from tests.acceptance.conftest import never
from tests.acceptance.generations import Held, assert_same, contents, sentence

from regen import UNRESTRICTED, Chunking, Document
from regen.embedders.hashing import HashingEmbedder
from regen.errors import StoreError
from regen.index import Index
from regen.ports import AliasStore, CollectionSpec, FieldStore, InsertStore, PayloadStore, Store
from regen.stores.memory import MemoryStore
from regen.testing.faulty import FaultyEmbedder
from regen.testing.store_cases import make_points, numbered
from regen.testing.weak_store import WeakAliasStore, Weakness, WeakStore

SMALL, LARGE = Chunking("sentences", 16), Chunking("sentences", 32)
WEAKNESSES = {
    "weak": Weakness(),
    "stale": Weakness(stale=4),
    "partial": Weakness(partial=0.3),
    "doubled": Weakness(doubled=0.3),
    "all": Weakness(stale=4, partial=0.2, doubled=0.2, dangling=True, delay=3),
}


def opened(store: Store, folder: Path, embedder: FaultyEmbedder, chunking: Chunking = SMALL) -> Index:
    """An index on this store; its catalog lies in the folder."""
    folder.mkdir(exist_ok=True)
    return Index(embedder=embedder, store=store, catalog="sqlite:///catalog.db", chunking=chunking, root=folder)


def insistent(call: Callable[[], object]) -> None:
    """Call again while the store fails, as who runs a sync does."""
    for _ in range(200):
        try:
            call()
        except StoreError:
            continue
        return
    raise AssertionError("the store never let it through")


class Life:
    """Random changes of fifteen documents, of which it knows what must be true after each."""

    def __init__(self, seed: int) -> None:
        self.random, self.documents = Random(seed), dict[str, Document]()
        self.gone: set[str] = set()

    def change(self, index: Index) -> None:
        """Create, edit, retitle, hide, show or delete one document; the call has returned when this does."""
        name = f"d{self.random.randrange(15)}"
        if name in self.documents and self.random.random() < 0.25:
            del self.documents[name]
            self.gone.add(name)
            insistent(lambda: index.delete([name]))
            return
        before = self.documents.get(name)
        text = before.text if before and self.random.random() < 0.5 else self._text()
        access = self.random.choice([None, ["team"], ["boss"], []])
        new = Document(name, text, {"lang": self.random.choice(["en", "de"])}, access)
        self.documents[name] = new
        self.gone.discard(name)
        insistent(lambda: index.upsert([new]))

    def _text(self) -> str:
        return " ".join(sentence(self.random.randrange(500)) for _ in range(self.random.randrange(1, 4)))

    def check(self, index: Index) -> None:
        """No deleted document, no revoked one, none of two revisions, none of another language is ever returned."""
        for principals, may in (((), {None}), (("team",), {None, "team"}), (UNRESTRICTED, {None, "team", "boss", ""})):
            for where in ({}, {"lang": "en"}):
                for hit in index.search("river stone", 60, where=where, principals=principals):
                    document = self.documents[hit.doc_id]
                    seen = None if document.access is None else (document.access or [""])[0]
                    assert seen in may, (hit.doc_id, principals)
                    assert hit.text in document.text, "a chunk of another revision"
                    assert not where or document.metadata["lang"] == "en"


def without_metadata(held: Held) -> Held:
    """What a store holds that learns no filterable keys: the fence alone knows them."""
    return {key: (text, None, access, vector) for key, (text, _, access, vector) in held.items()}


@pytest.mark.parametrize(("weakness", "seed"), [*((name, 0) for name in WEAKNESSES), ("all", 1)])
def test_a_life_on_a_weak_store(tmp_path: Path, weakness: str, seed: int) -> None:
    """Through edits, a migration, a switch and a way back every search is right, and in the end all equals a clean run.

    Document-atomic (I2) and fenced (I3) at every step; after the store has settled and was repaired no loss, no
    duplicate, no orphan (I5); a second run changes nothing (I6); the way back is fresh (I8).
    """
    store = WeakAliasStore(WEAKNESSES[weakness], seed)
    embedder, life = FaultyEmbedder(HashingEmbedder(64), never), Life(seed)
    index = opened(store, tmp_path / "weak", embedder)
    for _ in range(25):
        life.change(index)
        life.check(index)
    index.close()
    index = opened(store, tmp_path / "weak", embedder, LARGE)
    insistent(index.apply)
    # The gate holds on what a stale read shows; whoever overrules it is served right all the same.
    insistent(lambda: index.promote(force=True, reason="longer chunks"))
    for _ in range(10):
        life.change(index)
        life.check(index)
    assert index.search("river stone", 1, principals=UNRESTRICTED).generation == 2
    insistent(lambda: index.rollback(reason="it was worse"))
    life.check(index)
    assert index.search("river stone", 1, principals=UNRESTRICTED).generation == 1
    assert weakness in {"weak", "all"} or store.faults[weakness] > 0
    store.settle()
    index.gc()
    index.verify(repair=True)
    report = index.verify()
    assert report.consistent, report.details
    assert store.alias_target(index.alias) == "regen_default_g1"
    asked = len(embedder.texts)
    index.upsert(list(life.documents.values()))
    assert len(embedder.texts) == asked
    for number, chunking in ((1, SMALL), (2, LARGE)):
        clean = opened(MemoryStore(), tmp_path / f"clean{number}", embedder, chunking)
        clean.upsert(list(life.documents.values()))
        assert_same(without_metadata(contents(index, number)), without_metadata(contents(clean, 1)))
        clean.close()
    index.close()


def test_it_has_the_required_powers_only() -> None:
    """The weak store is a store, and nothing more: what the engine does with it works with any."""
    store = WeakStore(Weakness())
    assert isinstance(store, Store)
    for power in (AliasStore, FieldStore, InsertStore, PayloadStore):
        assert not isinstance(store, power)


def test_a_payload_is_changed_without_the_power(tmp_path: Path) -> None:
    """Metadata and access of a document reach a store that cannot update payloads by new points with copied vectors."""
    store, embedder = WeakStore(Weakness()), FaultyEmbedder(HashingEmbedder(64), never)
    with opened(store, tmp_path, embedder) as index:
        index.upsert([Document("a", "A river. A stone.", {"lang": "en"}), Document("b", "A cloud.", {"lang": "en"})])
        asked = len(embedder.texts)
        result = index.upsert([Document("a", "A river. A stone.", {"lang": "de"}, ["team"])])
        assert (result.documents.metadata_updated, result.embedded_texts) == (1, 0)
        assert [text for text in embedder.texts[asked:] if "river" in text] == []
        (page,) = store.scan("regen_default_g1")
        assert dict(zip(page.payload.doc_id, page.payload.access, strict=True)) == {"a": ["team"], "b": None}
        assert [hit.doc_id for hit in index.search("river", 9, where={"lang": "de"}, principals=["team"])] == ["a"]
        assert store.count("regen_default_g1") == len(page.ids)
        assert index.verify().consistent


def test_points_that_stay_doubled_are_healed(tmp_path: Path) -> None:
    """A point that the store keeps twice is shown once, told by verify, and replaced by repair."""
    store, embedder = WeakStore(Weakness(doubled=0.5, lasting=True), seed=3), FaultyEmbedder(HashingEmbedder(64), never)
    with opened(store, tmp_path, embedder) as index:
        index.upsert([Document(f"d{at}", f"A river of number {at}. A stone of number {at}.") for at in range(20)])
        store.settle()
        doubled = store.faults["doubled"]
        assert 0 < doubled < 20
        found = index.search("river", 30)
        assert len(found) == len({hit.chunk_id for hit in found}) == 20
        assert found.explanation.dropped["doubled"] > 0
        report = index.verify()
        assert (report.consistent, report.orphans, report.missing) == (False, doubled, 0)
        assert any("doubled: a point of d" in detail for detail in report.details)
        assert index.verify(repair=True).consistent
        again = index.verify()
        assert again.consistent, again.details
        assert again.points == store.count("regen_default_g1") == 20
        assert {hit.doc_id for hit in index.search("river", 30)} == {f"d{at}" for at in range(20)}


@pytest.mark.parametrize("fault", ["stale", "partial", "doubled"])
def test_the_faults_are_real(fault: str) -> None:
    """What the model claims to do wrong it does: else the tests above would show nothing."""
    store = WeakStore(Weakness(**{fault: 3 if fault == "stale" else 0.5}), seed=1)  # type: ignore[arg-type]
    store.create("g", CollectionSpec(8))
    failed, counts = 0, set()
    for at in range(20):
        try:
            store.upsert("g", make_points(numbered(200)[at * 10 : at * 10 + 10]))
        except StoreError:
            failed += 1
        counts.add((store.count("g"), at))
    assert store.faults[fault] > 0
    assert (failed > 0) == (fault == "partial")
    if fault == "stale":
        assert any(count < (at + 1) * 10 for count, at in counts)
    if fault == "doubled":
        assert max(counts)[0] > 200
        assert len([name for page in store.scan("g") for name in page.ids]) > 200


def test_an_alias_may_dangle_and_lag() -> None:
    """An alias outlives its collection, and is seen where it was for a while."""
    store = WeakAliasStore(Weakness(dangling=True, delay=1))
    for name in ("first", "second"):
        store.create(name, CollectionSpec(8))
        store.set_alias("handbook", name)
    assert [store.alias_target("handbook") for _ in range(2)] == ["first", "second"]
    store.drop("second")
    assert store.alias_target("handbook") == "second"
