"""Every check fails on the fault that it is there for, and says what and where."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from tests.quality.conftest import Makers, check, context, document, failing, points_of, sentence, subject

from regen import Document, Index
from regen.core.documents import Unrestricted
from regen.core.filters import Filter
from regen.embedders.hashing import HashingEmbedder
from regen.engine.lease import writer_lease
from regen.engine.settings import Limits
from regen.engine.write import Writer
from regen.errors import CatalogBusy, EmbedderError, StoreError
from regen.evaluation.conditions import LatencyCondition
from regen.evaluation.judged import JudgedCollection, JudgedQuery
from regen.evaluation.known import KnownQuery
from regen.ports import ModelInfo, Payload, Points, Store, StoreHit, Vector, Vectors
from regen.ports.placements import FenceEntry
from regen.quality.checks import run_checks
from regen.quality.settings import EvaluationSettings
from regen.serving.fence import Fenced
from regen.testing.faulty import FaultyEmbedder

DOCUMENTS = tuple(document(number) for number in range(12))


# ── faults to plant ─────────────────────────────────────────────────────────────────────────────────────────────────


def read_points(index: Index, ids: Sequence[str]) -> Points:
    """The points of documents, whole."""
    target = subject(index)
    collection, wanted = target.generation.collection, points_of(index, ids)
    found, vectors = target.store.fetch(collection, wanted)
    rows = {point: row for row, point in enumerate(found)}
    pages = list(target.store.scan(collection))
    payload = Payload([], [], [], [], [], [], [], [], {})
    order: list[int] = []
    for page in pages:
        for at, point in enumerate(page.ids):
            if point in rows:
                order.append(rows[point])
                for name in ("chunk_id", "token", "doc_id", "text", "position", "revision", "metadata", "access"):
                    getattr(payload, name).append(getattr(page.payload, name)[at])
    return Points([found[row] for row in order], vectors[order], payload)


def write_points(index: Index, points: Points) -> None:
    """Put points straight into the store."""
    target = subject(index)
    target.store.upsert(target.generation.collection, points)


def repay(index: Index, ids: Sequence[str], access: list[str] | None) -> None:
    """Let the store take documents for somebody else's."""
    points = read_points(index, ids)
    points.payload.access = [access for _ in points.ids]
    write_points(index, points)


def resurrect(index: Index, doc_id: str) -> None:
    """Delete a document and put its points back into the store."""
    points = read_points(index, [doc_id])
    assert points.ids
    index.delete([doc_id])
    write_points(index, points)


def open_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every hit through."""

    def through(hits: Sequence[StoreHit], facts: dict[str, FenceEntry], *_: object) -> Fenced:
        let = Fenced()
        let.passed = [
            (hit, facts.get(hit.doc_id, FenceEntry(hit.doc_id, False, None, b"{}", 1, b"")), {}) for hit in hits
        ]
        return let

    monkeypatch.setattr("regen.serving.search.fence", through)


@dataclass
class Wrapped:
    """A store whose searches are tampered with."""

    inner: Store
    tamper: Callable[[list[StoreHit]], list[StoreHit]]

    def search(
        self, collection: str, vector: Vector, k: int, *, where: Filter = (),
        principals: frozenset[str] | Unrestricted | None = None,
    ) -> list[StoreHit]:  # fmt: skip
        """What the store finds, tampered with."""
        return self.tamper(self.inner.search(collection, vector, k, where=where, principals=principals))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Impostor:
    """A model that goes by the name of another one."""

    def __init__(self, name: HashingEmbedder, inner: HashingEmbedder) -> None:
        self.info: ModelInfo = name.info
        self._inner = inner

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """The other model's vectors."""
        return self._inner.embed_documents(texts)

    def embed_query(self, text: str) -> Vector:
        """The other model's vector."""
        return self._inner.embed_query(text)

    def token_starts(self, texts: Sequence[str]) -> list[Any]:
        """The other model's tokens."""
        return self._inner.token_starts(texts)


def half_built(make: Makers) -> Index:
    """Generation 1 is live, generation 2 has got some of the documents before its model failed."""
    make(*DOCUMENTS).close()
    asked: list[int] = []

    def fail_later(_call: int, texts: Sequence[str]) -> Exception | None:
        asked.extend(1 for text in texts if "number" in text)
        return EmbedderError("gone") if len(asked) > 6 else None

    model = FaultyEmbedder(HashingEmbedder(96), fail_later)
    index = make(embedder=model, models={"hashing/64": HashingEmbedder(64)}, limits=Limits(batch_documents=2))
    with pytest.raises(EmbedderError):
        index.apply()
    model.plan = lambda _call, _texts: None
    states = {item.number: item.state for item in index._writer.current()}
    assert states == {1: "live", 2: "building"}
    return index


# ── coverage ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_half_built_generation(make: Makers) -> None:
    """What is not placed yet is counted, and no writer at work excuses it."""
    index = half_built(make)
    held = index._catalog.counts(2)
    assert held.pending > 0
    with writer_lease(index._catalog, "generation 2 of default", "host:1:x", wait=0.0):
        found = check(index, "coverage", 2, baseline=1)
    assert not found.passed
    assert f"{held.pending} documents are not placed" in found.detail
    assert "recent_documents" in failing(index, 2, baseline=1)
    assert failing(index, 1) == {}


def test_a_change_that_nobody_carries_out(make: Makers) -> None:
    """A logged change that waits fails, unless a writer is at it and it has not waited for long."""
    index = make(*DOCUMENTS)
    index._log_pushed([document(99)])
    for beside in ("upkeep of generation 1 of default", "schedule of default"):
        with writer_lease(index._catalog, beside, "host:1:x", wait=5.0):
            assert "1 documents are not placed" in check(index, "coverage").detail
            assert not check(index, "recent_documents").passed
    with writer_lease(index._catalog, "generation 1 of default", index._writer._owner, wait=0.0):
        found = check(index, "coverage")
        assert found.passed, found.detail
        assert "being placed" in found.detail
        assert check(index, "recent_documents").passed
        assert not check(index, "coverage", lag=-1.0).passed
    index.upsert([])
    assert failing(index) == {}


def test_points_that_the_store_has_lost(make: Makers) -> None:
    """The balance tells how many; when something else has taken their place, the sample names the documents."""
    index = make(*DOCUMENTS)
    lost = points_of(index, ["d3"])
    subject(index).store.delete(subject(index).generation.collection, lost)
    assert f"lacks {len(lost)} of the chunks" in check(index, "coverage").detail
    points = read_points(index, ["d4"])
    count = len(lost)
    foreign = Points([f"{at:032x}" for at in range(count)], points.vectors[[0] * count], points.payload)
    for name in ("chunk_id", "token", "doc_id", "text", "position", "revision", "metadata", "access"):
        setattr(foreign.payload, name, [getattr(points.payload, name)[0]] * count)
    write_points(index, foreign)
    found = check(index, "coverage")
    assert not found.passed
    assert found.documents == ("d3",)
    assert check(index, "recent_documents").documents[0] == "d3"


def test_points_that_nothing_names(make: Makers) -> None:
    """More points than placements name, with nothing in the queue, is a finding."""
    index = make(*DOCUMENTS)
    resurrect(index, "d5")
    found = check(index, "coverage")
    assert not found.passed
    assert "points that nothing names" in found.detail
    index.gc()
    assert failing(index) == {}


def test_documents_that_the_new_model_refuses(make: Makers) -> None:
    """A dead letter in both generations is listed; one that the live generation has text of holds the candidate."""
    make(*DOCUMENTS, Document("blank", "  ")).close()

    def refuse(_call: int, texts: Sequence[str]) -> Exception | None:
        return ValueError("no stones") if any("number 71." in text for text in texts) else None

    index = make(embedder=FaultyEmbedder(HashingEmbedder(96), refuse), models={"hashing/64": HashingEmbedder(64)})
    index.apply()
    alone = check(index, "coverage", 2)
    assert alone.passed, alone.detail
    assert "dead letters: 2 ('blank', 'd7')" in alone.detail
    found = check(index, "coverage", 2, baseline=1)
    assert (found.passed, found.documents) == (False, ("d7",))


# ── recent documents ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stale_chunk(make: Makers) -> None:
    """A chunk whose text the document no longer has is found out, on a marked query too."""
    index = make(*DOCUMENTS)
    points = read_points(index, ["d2"])
    points.payload.text = ["What it said last year." for _ in points.ids]
    write_points(index, points)
    found = check(index, "recent_documents")
    assert not found.passed
    assert "not the newest: 1 ('d2')" in found.detail
    marked = JudgedCollection("c", (JudgedQuery("q", sentence(20), fresh=True),), {"q": {"d2": 1}})
    again = check(index, "current_preferred", collections=[marked])
    assert (again.passed, again.documents) == (False, ("d2",))


def test_a_vector_of_another_text(make: Makers) -> None:
    """A vector that the model does not give for its text is found out."""
    index = make(*DOCUMENTS)
    points, other = read_points(index, ["d2"]), read_points(index, ["d9"])
    points.vectors = -other.vectors
    write_points(index, points)
    found = check(index, "recent_documents")
    assert (found.passed, found.documents) == (False, ("d2",))
    assert "not those of their texts" in found.detail


def test_documents_that_no_search_finds(make: Makers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that leaves documents out of its answers is found out by their own vectors."""
    index = make(*DOCUMENTS)
    target = subject(index)
    whole = type(target.store).search

    def without(self: Store, *arguments: Any, **options: Any) -> list[StoreHit]:
        return [hit for hit in whole(self, *arguments, **options) if hit.doc_id not in {"d1", "d8"}]

    monkeypatch.setattr(type(target.store), "search", without)
    for texts in (20, 0):  # by their texts and vectors, by their vectors only
        found = check(index, "recent_documents", texts=texts)
        assert not found.passed
        assert set(found.documents) == {"d1", "d8"}


# ── deleted documents ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_resurrected_document(make: Makers, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found in the store behind the fence, and in the answers when the fence is bypassed."""
    index = make(*DOCUMENTS)
    resurrect(index, "d5")
    behind = check(index, "deleted_documents")
    assert (behind.passed, behind.documents) == (False, ("d5",))
    assert "held back by the fence" in behind.detail
    assert "searches return" not in behind.detail
    open_fence(monkeypatch)
    assert "searches return 1 ('d5'), first in generation 1" in check(index, "deleted_documents").detail


def test_a_deletion_that_nobody_carries_out(make: Makers) -> None:
    """A tombstone whose document is still placed is told, unless a writer is at it."""
    index = make(*DOCUMENTS)
    index._catalog.tombstone(["d4"], at=time.time())
    assert "still placed: 1 ('d4')" in check(index, "deleted_documents").detail
    with writer_lease(index._catalog, "generation 1 of default", index._writer._owner, wait=0.0):
        assert check(index, "deleted_documents").passed


def test_every_generation_is_looked_at(make: Makers) -> None:
    """A document that is gone from the candidate but placed in a retained generation is not gone."""
    make(*DOCUMENTS).close()
    index = make(
        embedder=HashingEmbedder(96), models={"hashing/64": HashingEmbedder(64)}, limits=Limits(lease_wait=0.0)
    )
    index.apply()
    index.promote()
    assert failing(index, 2, baseline=1) == {}
    elsewhere = writer_lease(index._catalog, "generation 1 of default", "elsewhere:1:x", wait=0.0)
    with elsewhere, pytest.raises(CatalogBusy):
        index.delete(["d4"])
    assert "still placed: 1 ('d4'), first in generation 1" in check(index, "deleted_documents", 2).detail


def test_what_waits_in_the_queue_is_no_fault(make: Makers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points that are queued to be deleted may still lie in the store; the check says so."""
    index = make(*DOCUMENTS)
    with monkeypatch.context() as patched:
        patched.setattr(Writer, "collect_garbage", lambda _writer: None)
        index.delete(["d4"])
    assert index._catalog.unnamed(1).garbage > 0
    assert failing(index) == {}
    assert "points of 1 wait to be deleted" in check(index, "deleted_documents").detail


# ── permissions ─────────────────────────────────────────────────────────────────────────────────────────────────────

GUARDED = (
    *(document(number) for number in range(3)),
    *(document(number, access=["team:a"]) for number in range(3, 6)),
    *(document(number, access=["team:b", "ann"]) for number in range(6, 9)),
    document(9, access=[]),
)


def test_a_leaked_permission(make: Makers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store takes a private document for a public one: told while the fence holds, and when it does not."""
    index = make(*GUARDED)
    assert check(index, "permissions").passed
    repay(index, ["d3", "d4", "d5"], None)
    found = check(index, "permissions")
    assert not found.passed
    assert "held back by the fence" in found.detail
    assert "may not see" not in found.detail
    open_fence(monkeypatch)
    leaked = check(index, "permissions")
    assert "searches show documents that the caller may not see" in leaked.detail
    assert set(leaked.documents) & {"d3", "d4", "d5"}


def test_what_is_for_nobody_stays_so(make: Makers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document with an empty access list that everybody finds is a leak."""
    index = make(*GUARDED)
    repay(index, ["d9"], None)
    open_fence(monkeypatch)
    found = check(index, "permissions")
    assert (found.passed, "d9" in found.documents) == (False, True)


def test_what_is_somebody_s_is_not_for_strangers(make: Makers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one principal owns all there is, only somebody without any shows the leak."""
    index = make(*(document(number, access=["ann"]) for number in range(3)))
    assert check(index, "permissions").passed
    repay(index, ["d0", "d1", "d2"], None)
    open_fence(monkeypatch)
    assert "as nobody" in check(index, "permissions").detail


def test_documents_hidden_from_their_own(make: Makers) -> None:
    """A store that takes documents for others' than they are hides them: over-filtering is a fault as well."""
    index = make(*GUARDED)
    repay(index, ["d6", "d7", "d8"], ["team:c"])
    found = check(index, "permissions")
    assert not found.passed
    assert "do not find their own documents" in found.detail
    assert set(found.documents) <= {"d6", "d7", "d8"}


# ── freshness ───────────────────────────────────────────────────────────────────────────────────────────────────────

OLD = Document("old", "The fee for a parking permit is ten euros a month.", updated_at=1_000_000.0)
NEW = Document(
    "new", "A parking permit costs twelve euros every month, says the new price list.", updated_at=9_000_000.0
)


def fees(fresh: bool = True, **grades: int) -> JudgedCollection:
    """A query whose wording is that of the old document."""
    query = JudgedQuery("q", "the fee for a parking permit is ten euros", fresh=fresh)
    return JudgedCollection("fees", (query,), {"q": grades or {"old": 1, "new": 1}})


def test_an_old_document_in_front_of_the_current_one(make: Makers) -> None:
    """Of two relevant documents the one changed last must lead, if the query is marked and both are of one grade."""
    index = make(*DOCUMENTS, OLD, NEW)
    found = check(index, "current_preferred", collections=[fees()])
    assert (found.passed, found.documents) == (False, ("new",))
    assert "has 'old' before 'new'" in found.detail
    assert check(index, "current_preferred", collections=[fees(fresh=False)]).passed
    assert check(index, "current_preferred", collections=[fees(old=2, new=1)]).passed
    assert check(index, "current_preferred", collections=[fees()], outdated=1e9).passed


def test_no_worse_than_the_live_generation(make: Makers) -> None:
    """An old document in front is only reported where the live generation has it there too."""
    make(*DOCUMENTS, OLD, NEW).close()
    index = make(embedder=HashingEmbedder(96), models={"hashing/64": HashingEmbedder(64)})
    index.apply()
    assert not check(index, "current_preferred", 2, collections=[fees()]).passed
    found = check(index, "current_preferred", 2, baseline=1, collections=[fees()])
    assert found.passed
    assert "as the live generation does" in found.detail


# ── known queries, recall, searches, model ──────────────────────────────────────────────────────────────────────────


def test_a_known_query_that_lost_its_document(make: Makers) -> None:
    """It says which document, and where it is now; gone documents are told apart from bad ranks."""
    index = make(*DOCUMENTS)
    known = [KnownQuery(sentence(30), ("d3",), 1), KnownQuery(sentence(70), ("d7",), 1)]
    assert check(index, "known_queries", known=known).passed
    wrong = [*known, KnownQuery(sentence(30), ("d11",), 2)]
    found = check(index, "known_queries", known=wrong)
    assert (found.passed, found.documents) == (False, ("d11",))
    assert "wanted within 2" in found.detail
    index.delete(["d7"])
    found = check(index, "known_queries", known=known)
    assert (found.passed, found.documents) == (False, ("d7",))
    assert "not in the index" in found.detail


def test_a_known_query_is_asked_on_behalf_of_somebody(make: Makers) -> None:
    """A document that the named principals may not see is lost to them."""
    index = make(*GUARDED)
    mine = KnownQuery(sentence(30), ("d3",), 3, ("team:a",))
    assert check(index, "known_queries", known=[mine]).passed
    assert not check(index, "known_queries", known=[replace(mine, principals=("team:b",))]).passed
    assert not check(index, "known_queries", known=[replace(mine, principals=())]).passed
    assert check(index, "known_queries", known=[replace(mine, principals=None)]).passed


@pytest.mark.parametrize("exact_points", [50_000, 60], ids=["all points", "a part of the points"])
def test_an_index_with_bad_recall(make: Makers, exact_points: int) -> None:
    """A store that misses neighbours is found out, on all points and on a random part of them."""
    index = make(*(document(number, 1) for number in range(200)))
    asked = context(index, exact_points=exact_points)
    good = run_checks(asked, ["index_recall"])[0]
    assert good.passed, good.detail
    assert "is 1.000" in good.detail
    hits: list[int] = []

    def third(found: list[StoreHit]) -> list[StoreHit]:
        hits.append(len(found))
        return [hit for at, hit in enumerate(found) if at % 3]

    spoilt = replace(asked.candidate, store=Wrapped(asked.candidate.store, third))
    found = run_checks(replace(asked, candidate=spoilt), ["index_recall"])[0]
    assert not found.passed
    assert hits
    recall = float(found.detail.partition(" is ")[2].partition(" ")[0])
    assert recall == pytest.approx(0.6, abs=0.001 if exact_points > 200 else 0.1)  # 6 of 10 are left


def test_recall_is_what_counting_says(make_in_memory: Makers) -> None:
    """Hits that are not the nearest count as missed, however many are returned."""
    index = make_in_memory(*(document(number, 1) for number in range(100)))
    asked = context(index)

    def shifted(_: list[StoreHit]) -> list[StoreHit]:
        return whole[5:15]

    inner = asked.candidate.store
    target = asked.candidate.generation.collection
    whole: list[StoreHit] = []

    class Deep(Wrapped):
        def search(self, collection: str, vector: Vector, k: int, **options: Any) -> list[StoreHit]:
            whole[:] = inner.search(target, vector, 15, **options)
            return self.tamper(whole)

    spoilt = replace(asked.candidate, store=Deep(inner, shifted))
    found = run_checks(replace(asked, candidate=spoilt), ["index_recall"])[0]
    assert "is 0.500" in found.detail


@pytest.mark.parametrize("error", [StoreError("the disk is full"), RuntimeError("a bug")], ids=["store", "bug"])
def test_a_store_that_fails(make: Makers, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Whatever searches raise is counted; no other check falls over it."""
    index = make(*DOCUMENTS)

    def broken(*_: Any, **__: Any) -> list[StoreHit]:
        raise error

    monkeypatch.setattr(type(subject(index).store), "search", broken)
    found = failing(index)
    assert str(error) in found["searches"]
    assert "10 of 10 searches failed" in found["searches"]
    assert {"recent_documents", "index_recall"} <= found.keys()


def test_a_known_query_that_fails(make: Makers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is told, and its documents are lost."""
    index = make(*DOCUMENTS)

    def broken(*_: Any, **__: Any) -> list[StoreHit]:
        raise StoreError("the disk is full")

    monkeypatch.setattr(type(subject(index).store), "search", broken)
    found = check(index, "known_queries", known=[KnownQuery("stone", ("d1",), 12)])
    assert (found.passed, found.documents) == (False, ("d1",))
    assert "failed: the disk is full" in found.detail


def test_a_slow_store(make_in_memory: Makers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency is a condition of the gate: a store that takes its time holds the promotion."""
    condition = LatencyCondition("p50", max_ms=20.0)
    index = make_in_memory(*DOCUMENTS, evaluation=EvaluationSettings([marked()], gate=(condition,), searches=5))
    assert index.evaluate().verdict == "promote"
    whole = type(subject(index).store).search

    def slow(self: Store, *arguments: Any, **options: Any) -> list[StoreHit]:
        time.sleep(0.05)
        return whole(self, *arguments, **options)

    monkeypatch.setattr(type(subject(index).store), "search", slow)
    found = index.evaluate()
    assert found.verdict == "hold"
    assert [item.name for item in found.checks if not item.passed] == ["latency p50"]


def marked() -> JudgedCollection:
    """A judged query."""
    return JudgedCollection("c", (JudgedQuery("q", sentence(20)),), {"q": {"d2": 1}})


def test_a_changed_model(make: Makers) -> None:
    """Another model behind the same name is found out by the probe vectors and by the texts of stored vectors."""
    make(*DOCUMENTS).close()
    index = make(embedder=Impostor(HashingEmbedder(64), HashingEmbedder(64, 7)))
    found = failing(index)
    assert "gives other vectors" in found["model_unchanged"]
    assert "not those of their texts" in found["recent_documents"]


def test_vectors_shrink_to_nothing(make_in_memory: Makers) -> None:
    """Vectors without a direction cannot be found by anything: the documents are told as not found."""
    index = make_in_memory(*DOCUMENTS)
    points = read_points(index, ["d1"])
    points.vectors = np.zeros_like(points.vectors)
    write_points(index, points)
    found = check(index, "recent_documents")
    assert (found.passed, found.documents) == (False, ("d1",))
