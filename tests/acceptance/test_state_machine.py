"""Any sequence of changes, crashes and searches against a model that is a dictionary (I2 to I6 after every step)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.crash.life import tend

from regen.catalog.sqlite import open_catalog
from regen.core.chunking import make_chunker, pieces
from regen.core.documents import UNRESTRICTED, Document, may_see
from regen.core.filters import matches, parse_filter
from regen.core.recipe import Chunking, TextTemplate
from regen.core.results import SyncResult
from regen.embedders.hashing import HashingEmbedder
from regen.engine import lease
from regen.engine.tending import Tending
from regen.index import Index
from regen.ports import KnownStamps, ScanBatch, Store
from regen.stores.lancedb import LanceStore
from regen.stores.memory import MemoryStore
from regen.testing.faults import CrashAt, Crashed, Steps

CHUNKING = Chunking(kind="sentences", max_tokens=16)
MODEL = HashingEmbedder(32)
CHUNKER = make_chunker(CHUNKING, MODEL.token_starts)
WORDS = "river stone cloud garden window market teacher engine letter".split()  # noqa: SIM905 - a sentence reads well
PARAGRAPHS = [f"{' '.join(WORDS[i:] + WORDS[:i])} number {i} and so on." for i in range(7)]

PUSHED, DELIVERED = ["p0", "p1", "p2", "p3"], ["s0", "s1", "s2", "s3"]
MOMENTS = [
    f"{side} {step}"
    for step in (
        "catalog.log", "catalog.tombstone", "catalog.begin_write", "store.insert", "store.upsert",
        "store.update_payload",
        "store.add_fields", "catalog.set_fields", "catalog.demand_payloads", "catalog.commit_write", "catalog.garbage",
        "store.delete", "catalog.clear_garbage", "catalog.advance", "catalog.record_run", "catalog.release",
    )
    for side in ("before", "after")
]  # fmt: skip

texts = st.lists(st.sampled_from(PARAGRAPHS), max_size=4).map("\n\n".join)
metadata = st.fixed_dictionaries(
    {"title": st.sampled_from(["river letter", "stone"])},
    optional={"n": st.integers(1, 3) | st.just("one"), "lang": st.sampled_from(["en", "de"])},
)
access = st.sampled_from([None, None, ("ann",), ("ann", "bob"), ()])
where = st.sampled_from([None, {"lang": "en"}, {"n": {"gte": 2}}, {"n": "one"}, {"lang": {"exists": False}}])
principals = st.sampled_from([UNRESTRICTED, (), ("ann",), ("bob", "eve")])


@dataclass(frozen=True)
class Entry:
    """What the model knows of a document."""

    text: str
    metadata: dict[str, Any]
    access: tuple[str, ...] | None

    def document(self, doc_id: str) -> Document:
        """As it is handed over."""
        return Document(doc_id, self.text, self.metadata, self.access)


entries = st.builds(Entry, texts, metadata, access)


@dataclass
class Model:
    """The ten lines: what is alive, what the source last delivered, and what can be restored."""

    alive: dict[str, Entry] = field(default_factory=dict)
    delivered: dict[str, Entry] = field(default_factory=dict)
    past: dict[tuple[str, int], Entry | None] = field(default_factory=dict)

    def sync(self, source: dict[str, Entry]) -> None:
        """Only what the source changes counts: a restored document stays until then."""
        for doc_id in [key for key in self.delivered if key not in source]:
            del self.delivered[doc_id]
            self.alive.pop(doc_id, None)
        for doc_id, entry in source.items():
            if self.delivered.get(doc_id) != entry:
                self.alive[doc_id] = self.delivered[doc_id] = entry

    def delete(self, *ids: str) -> None:
        """Gone, until their source delivers them again."""
        for doc_id in ids:
            self.alive.pop(doc_id, None)
            self.delivered.pop(doc_id, None)


class DictSource:
    """A full source over a dictionary."""

    name, full = "dictionary", True

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def scan(self, known: KnownStamps) -> Iterator[ScanBatch]:
        """Everything, two documents a batch."""
        found = [entry.document(doc_id) for doc_id, entry in self.entries.items()]
        for start in range(0, len(found), 2):
            yield ScanBatch(found[start : start + 2])


Operation = Callable[[Index], SyncResult]


class KeptInStep(RuleBasedStateMachine):
    """The machine. Subclasses choose the store."""

    def open_store(self) -> Store:
        """The store, which outlives every index."""
        return MemoryStore()

    @initialize(template=st.sampled_from(["{title}\n{text}", "{text}"]), batch=st.sampled_from([2, 2000]))
    def begin(self, template: str, batch: int) -> None:
        """An empty index. Small batches make one call take several rounds."""
        from regen.engine.settings import Limits

        self.model, self.source = Model(), DictSource()
        self.template, self.limits = TextTemplate(template), Limits(batch_documents=batch)
        self.store, self.catalog = self.open_store(), open_catalog("sqlite://")
        self.last: Operation | None = None
        self.index = self.opened(Steps())
        self.run(lambda index: index.sync(allow_mass_delete=True), lambda: None)

    def opened(self, steps: Steps) -> Index:
        """What the next process does."""
        lease._ours.clear()  # the process that may have held the lease is dead
        return Index(
            embedder=MODEL,
            store=steps.wrap(self.store, "store"),
            catalog=steps.wrap(self.catalog, "catalog"),
            source=self.source,
            text=self.template.template,
            chunking=CHUNKING,
            limits=self.limits,
        )

    # ── what the model expects ──

    def pieces(self, entry: Entry) -> list[tuple[str, str]]:
        """Each chunk's own text and its embedded text."""
        values = self.template.values(entry.metadata) if self.template.keys else ()
        (spans,) = CHUNKER.split([entry.text])
        return [(text, embedded) for text, embedded, _ in pieces(entry.text, spans, self.template, values)]

    def embedded(self, alive: dict[str, Entry]) -> set[str]:
        """The distinct texts that a generation holding these documents holds."""
        return {text for entry in alive.values() for _, text in self.pieces(entry)}

    def moved(self, before: dict[str, Entry], after: dict[str, Entry]) -> int:
        """How many texts leave one document and come to another in one call.

        When the first document's batch is committed before the other's is prepared, nothing holds such a text between.
        """
        had = {doc_id: {text for _, text in self.pieces(entry)} for doc_id, entry in before.items()}
        stayed = {
            text for doc_id, entry in after.items() for _, text in self.pieces(entry) if text in had.get(doc_id, ())
        }
        return len((self.embedded(after) & self.embedded(before)) - stayed)

    def run(self, operation: Operation, change: Callable[[], None], *, exact: bool = True) -> SyncResult:
        """Do it to both, and compare what it cost (I4)."""
        before = dict(self.model.alive)
        change()
        result = operation(self.index)
        after = self.model.alive
        if exact:
            least = len(self.embedded(after) - self.embedded(before))
            moved = self.moved(before, after) if self.limits.batch_documents == 2 else 0
            assert least <= result.embedded_texts <= least + moved
            changed = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
            assert result.documents.changed == len(changed), (result, changed)
        self.remember()
        self.last = operation
        return result

    def remember(self) -> None:
        """Under which revisions the present states can be restored."""
        for doc_id in PUSHED + DELIVERED:
            if found := self.index.history(doc_id, 1):
                self.model.past[doc_id, found[0].revision] = self.model.alive.get(doc_id)

    # ── changes ──

    @rule(doc_id=st.sampled_from(PUSHED), entry=entries)
    def upsert(self, doc_id: str, entry: Entry) -> None:
        """New or edited; texts are few, so duplicates across documents and empty ones are common."""
        self.run(*self.pushing({doc_id: entry}))

    @rule(some=st.dictionaries(st.sampled_from(PUSHED), entries, min_size=2))
    def upsert_several(self, some: dict[str, Entry]) -> None:
        """Several in one call."""
        self.run(*self.pushing(some))

    def pushing(self, some: dict[str, Entry]) -> tuple[Operation, Callable[[], None]]:
        """An upsert, for the index and for the model."""
        documents = [entry.document(doc_id) for doc_id, entry in some.items()]
        return lambda index: index.upsert(documents), lambda: self.model.alive.update(some)

    @precondition(lambda self: self.model.alive)
    @rule(data=st.data(), changed=metadata)
    def edit_metadata(self, data: st.DataObject, changed: dict[str, Any]) -> None:
        """The title is in one of the templates; the other keys are in none."""
        self.edit(data, metadata=changed)

    @precondition(lambda self: self.model.alive)
    @rule(data=st.data(), changed=access)
    def edit_access(self, data: st.DataObject, changed: tuple[str, ...] | None) -> None:
        """Granted or revoked; no text is embedded, which :meth:`run` counts."""
        self.edit(data, access=changed)

    def edit(self, data: st.DataObject, **changes: Any) -> None:
        """Change one facet of a document, where it comes from."""
        doc_id = data.draw(st.sampled_from(sorted(self.model.alive)))
        entry = replace(self.model.alive[doc_id], **changes)
        if doc_id in PUSHED:
            self.run(*self.pushing({doc_id: entry}))
        else:
            self.source.entries[doc_id] = entry
            self.run(*self.syncing())

    @rule(ids=st.sets(st.sampled_from(PUSHED + DELIVERED), max_size=3))
    def delete(self, ids: set[str]) -> None:
        """Unknown ids are ignored; a document of the source comes back with the next sync."""
        self.run(*self.deleting(ids))

    def deleting(self, ids: set[str]) -> tuple[Operation, Callable[[], None]]:
        """A deletion, for the index and for the model."""
        return lambda index: index.delete(sorted(ids)), lambda: self.model.delete(*ids)

    @rule(some=st.dictionaries(st.sampled_from(DELIVERED), entries))
    def sync(self, some: dict[str, Entry]) -> None:
        """The source is full: what it no longer has is deleted."""
        self.source.entries = dict(some)
        self.run(*self.syncing())

    @precondition(lambda self: self.source.entries)
    @rule(data=st.data(), new=st.sampled_from(DELIVERED))
    def rename(self, data: st.DataObject, new: str) -> None:
        """A name changes and the text does not: :meth:`run` counts that nothing is embedded."""
        old = data.draw(st.sampled_from(sorted(self.source.entries)))
        self.source.entries[new] = self.source.entries.pop(old)
        self.run(*self.syncing())

    def syncing(self) -> tuple[Operation, Callable[[], None]]:
        """A sync, for the index and for the model."""
        return lambda index: index.sync(allow_mass_delete=True), lambda: self.model.sync(self.source.entries)

    @precondition(lambda self: self.model.past)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        """Back to any revision that is kept, deletions included."""
        doc_id, revision = data.draw(st.sampled_from(sorted(self.model.past)))
        entry = self.model.past[doc_id, revision]

        def change() -> None:
            if entry is None:
                self.model.delete(doc_id)
            else:
                self.model.alive[doc_id] = entry

        self.run(lambda index: index.restore(doc_id, revision), change)

    # ── crashes ──

    @rule(
        some=st.dictionaries(st.sampled_from(PUSHED + DELIVERED), entries | st.none(), min_size=1, max_size=3),
        moment=st.sampled_from(MOMENTS),
        occurrence=st.integers(1, 2),
        undo=st.booleans(),
    )
    def crash(self, some: dict[str, Entry | None], moment: str, occurrence: int, undo: bool) -> None:
        """Die in the middle of a change (None: a deletion); the next process repeats it, or takes it back."""
        before, model, source = dict(self.model.alive), deepcopy(self.model), dict(self.source.entries)
        crash = CrashAt(moment, occurrence)
        try:
            self.change_all(self.opened(Steps(crash)), some)
        except Crashed:
            assert crash.crashed
        self.index = self.opened(Steps())
        if undo and crash.crashed:
            self.model, self.source.entries = model, source
            wanted = {key: before.get(key) for key in some}
            self.model.delivered = {key: e for key, e in model.delivered.items() if key in source}
            self.change_all(self.index, wanted)
        else:
            self.change_all(self.index, some)
        self.remember()
        self.last = None

    def change_all(self, index: Index, some: dict[str, Entry | None]) -> None:
        """Bring some documents about, by as many calls as it needs."""
        pushed = {key: entry for key, entry in some.items() if key in PUSHED}
        if upserts := {key: entry for key, entry in pushed.items() if entry is not None}:
            self.model.alive.update(upserts)
            index.upsert([entry.document(key) for key, entry in upserts.items()])
        if deletes := [key for key, entry in pushed.items() if entry is None]:
            self.model.delete(*deletes)
            index.delete(deletes)
        if mine := {key: entry for key, entry in some.items() if key in DELIVERED}:
            kept = {key: entry for key, entry in self.source.entries.items() if key not in mine}
            self.source.entries = kept | {key: entry for key, entry in mine.items() if entry is not None}
            self.model.sync(self.source.entries)
            index.sync(allow_mass_delete=True)

    # ── what changes nothing ──

    @precondition(lambda self: self.last is not None)
    @rule()
    def repeat(self) -> None:
        """The same call again does nothing at all (I6)."""
        assert self.last is not None
        head = self.catalog.head()
        result = self.last(self.index)
        assert (result.documents.changed, result.embedded_texts) == (0, 0)
        assert (result.chunks.written, result.chunks.deleted) == (0, 0)
        assert self.catalog.head() == head

    @rule()
    def retry(self) -> None:
        """Dead letters stay dead while their documents have no text."""
        self.run(lambda index: index.retry(), lambda: self.model.sync(self.source.entries))
        self.last = None

    @rule()
    def replay(self) -> None:
        """Every point is written anew, from vectors that are there."""
        chunks = sum(len(self.pieces(entry)) for entry in self.model.alive.values())
        assert self.index.replay(0.0).chunks.written == chunks

    @rule(now=st.booleans())
    def gc(self, now: bool) -> None:
        """Nothing is left over but, with ``now``, the past is gone."""
        assert self.index.gc(now=now).points == 0
        if now:
            self.model.past.clear()
            self.remember()
            self.last = None  # it may have been a restoration

    # ── questions ──

    @rule(query=st.sampled_from(PARAGRAPHS), where=where, principals=principals, k=st.sampled_from([2, 500]))
    def search(self, query: str, where: dict[str, Any] | None, principals: Any, k: int) -> None:
        """The k best of exactly what the model lets this caller see, with exact scores."""
        vector = MODEL.embed_query(query)
        expected = []
        for doc_id, entry in self.model.alive.items():
            allowed = principals if principals is UNRESTRICTED else frozenset(principals)
            if may_see(entry.access, allowed) and matches(parse_filter(where), entry.metadata):
                found = self.pieces(entry)
                vectors = MODEL.embed_documents([embedded for _, embedded in found])
                scores = vectors @ vector / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vector)
                expected += [(round(float(s), 3), doc_id, text) for s, (text, _) in zip(scores, found, strict=True)]
        hits = list(self.index.search(query, k, where=where, principals=principals))
        scores = sorted((score for score, _, _ in expected), reverse=True)[:k]
        assert [hit.score for hit in hits] == pytest.approx(scores, abs=2e-3)
        if k > len(expected):
            assert sorted((hit.doc_id, hit.text) for hit in hits) == sorted((doc, text) for _, doc, text in expected)
        for hit in hits:
            assert hit.metadata == self.model.alive[hit.doc_id].metadata

    # ── after every step ──

    @invariant()
    def the_store_is_the_model(self) -> None:
        """Catalog and store agree, nothing is left over, and it is what the model has (I5)."""
        if not hasattr(self, "index"):
            return
        report = self.index.verify()
        assert report.consistent, report
        assert report.points == sum(len(self.pieces(entry)) for entry in self.model.alive.values())
        assert self.catalog.alive() == len(self.model.alive)

    @invariant()
    def what_has_no_text_is_a_dead_letter(self) -> None:
        """Nothing is silent (I10)."""
        if hasattr(self, "index"):
            empty = {doc_id for doc_id, entry in self.model.alive.items() if not self.pieces(entry)}
            assert {letter.doc_id for letter in self.catalog.dead_letters()} == empty

    def teardown(self) -> None:
        """Close everything."""
        if hasattr(self, "index"):
            self.store.close()
            self.catalog.close()


class KeptInStepOnLance(KeptInStep):
    """The same on LanceDB."""

    def open_store(self) -> Store:
        """A folder of its own."""
        self.folder = tempfile.TemporaryDirectory()
        return LanceStore(Path(self.folder.name))

    def teardown(self) -> None:
        """Close everything, and remove the folder."""
        super().teardown()
        if hasattr(self, "folder"):
            self.folder.cleanup()


def profile(examples: int, steps: int, *, seeded: bool = True) -> settings:
    """How much to try. Seeded runs try the same every time."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=seeded,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(autouse=True)
def _tending_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who dies at a named step is who called, not a thread that tends meanwhile."""
    monkeypatch.setattr(Tending, "ask", tend)


def test_in_memory() -> None:
    """Whatever happens, the index is what a dictionary would be."""
    run_state_machine_as_test(KeptInStep, settings=profile(25, 20))


@pytest.mark.usefixtures("much_upkeep")
def test_on_lancedb() -> None:
    """The same on LanceDB."""
    run_state_machine_as_test(KeptInStepOnLance, settings=profile(6, 15))


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_in_memory_at_length() -> None:
    """The same with many more, and longer, histories; other ones each time."""
    run_state_machine_as_test(KeptInStep, settings=profile(600, 50, seeded=False))


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.usefixtures("much_upkeep")
def test_on_lancedb_at_length() -> None:
    """The same on LanceDB."""
    run_state_machine_as_test(KeptInStepOnLance, settings=profile(40, 30, seeded=False))
