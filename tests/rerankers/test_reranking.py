"""Searches that are reranked: order, scores, the budget, and what happens when it is slow or wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.waiting import until

import regen
from regen.core.results import Hit
from regen.errors import CatalogError, ConfigError
from regen.ports.catalog import Catalog
from regen.serving.reranking import PROBE_EVERY, STRANDED, RerankSettings, place
from regen.testing.local_server import Fault, Hang, Refuse, Throttle
from regen.testing.rerank_server import RerankServer, misnumbered, truncated

LONG = 10_000.0
"""A budget that no machine is too slow for."""


class Mine:
    """Prefers what stands in ``score``; waits, fails or hangs when told to."""

    def __init__(self, score: Callable[[str], float] = len, name: str = "mine") -> None:
        self.score, self.name = score, name
        self.asked: list[list[str]] = []
        self.before: Callable[[Sequence[str]], object] = lambda _: None

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """One number a text."""
        self.asked.append(list(texts))
        self.before(texts)
        return [self.score(text) for text in texts]


def opened(rerank: dict[str, Any] | None, documents: int = 30, **settings: Any) -> regen.Index:
    """An index of texts that the store puts in the order d1, d2, …, and their length in the opposite one."""
    index = regen.Index(embedder="hashing/64", store="memory://", catalog=settings.pop("catalog", "sqlite://"),
                        rerank=rerank, **settings)  # fmt: skip
    index.upsert([
        regen.Document(f"d{n}", "password" + " word" * n, {"n": n, "lang": "en" if n % 2 else "de"},
                       access=None if n % 5 else ["team:docs"]) for n in range(1, documents + 1)
    ])  # fmt: skip
    return index


def ids(found: regen.SearchResult) -> list[str]:
    """The documents of a result, in order."""
    return [hit.doc_id for hit in found]


@pytest.fixture
def mine() -> Mine:
    """A reranker that prefers long texts."""
    return Mine()


@pytest.fixture
def index(mine: Mine) -> Iterator[regen.Index]:
    """An index that uses it, in as much time as it takes."""
    with opened({"model": mine, "budget_ms": LONG, "depth": 12, "top": 5}) as made:
        yield made


# ── order and scores ────────────────────────────────────────────────────────────────────────────────────────


def test_the_best_candidates_come_first(index: regen.Index, mine: Mine) -> None:
    """Of the candidates that the first call gets, the longest take the places; scores of both kinds are kept."""
    plain = index.search("password", 24, rerank=False)
    found = index.search("password", 24)
    assert len(mine.asked[0]) == 8
    head = ids(plain)[:8]
    assert ids(found)[:5] == sorted(head, key=lambda doc: -int(doc[1:]))[:5]
    assert ids(found)[5:] == [doc for doc in ids(plain) if doc not in ids(found)[:5]]
    before = {hit.doc_id: hit.score for hit in plain}
    assert [hit.store_score for hit in found.hits[:5]] == [before[hit.doc_id] for hit in found.hits[:5]]
    assert [hit.score for hit in found][:5] == [len(hit.text) for hit in found][:5]
    assert {hit.store_score for hit in found.hits[5:]} == {None}
    assert found.explanation.rerank is not None
    assert (found.explanation.rerank.texts, found.explanation.rerank.skipped) == (8, None)
    assert found.explanation.fallback is None


def test_k_hits_are_returned_of_more_candidates(index: regen.Index) -> None:
    """A caller gets as many as asked for, though more were looked at; the JSON says what happened."""
    found = index.search("password", 2)
    assert len(found) == 2
    assert found.explanation.candidates == 12
    explained = found.to_dict(explain=True)["explanation"]
    assert explained["rerank"]["model"] == "mine"
    assert found.to_dict()["hits"][0]["store_score"] is not None


def test_depth_grows_with_the_searches(index: regen.Index, mine: Mine) -> None:
    """A reranker with time to spare soon gets all candidates, and never more than the depth."""
    for _ in range(4):
        index.search("password", 3)
    assert [len(asked) for asked in mine.asked] == [8, 12, 12, 12]


def test_reranking_brings_nothing_back_that_the_fence_dropped(index: regen.Index, mine: Mine) -> None:
    """What is deleted, restricted or filtered out is neither shown to the reranker nor returned."""
    index.delete(["d3"])
    for principals, where in ((None, {"lang": "en"}), (["team:docs"], {"lang": "en"}), (["team:docs"], None)):
        mine.asked.clear()
        found = index.search("password", 40, where=where, principals=principals)
        allowed = set(ids(index.search("password", 40, where=where, principals=principals, rerank=False)))
        assert set(ids(found)) == allowed
        assert "d3" not in allowed
        shown = {int((len(text) - len("password")) / 5) for text in mine.asked[0]}
        assert {f"d{n}" for n in shown} <= allowed


def test_who_wants_the_stores_order_gets_it(index: regen.Index, mine: Mine) -> None:
    """``rerank=False``, and a search by a vector, which has no text to read."""
    assert index.search("password", 5, rerank=False).explanation.rerank is None
    vector = np.ones(64, dtype=np.float32)
    assert index.search(vector, 5, space=index.recipe.space).explanation.rerank is None
    assert mine.asked == []
    assert index.search("password", 5, generation=1).explanation.rerank is not None


def test_the_reranker_reads_what_is_embedded(mine: Mine) -> None:
    """The text template applies: a title is part of what is judged; without it, the chunk alone."""
    rerank = {"model": mine, "budget_ms": LONG}
    with regen.Index(embedder="hashing/16", store="memory://", catalog="sqlite://", text="{title}: {text}",
                     rerank=rerank) as index:  # fmt: skip
        index.upsert([regen.Document(f"d{n}", f"text {n}", {"title": f"Title {n}"}) for n in range(3)])
        index.search("text")
    assert sorted(mine.asked[0]) == ["Title 0: text 0", "Title 1: text 1", "Title 2: text 2"]


def test_equal_texts_are_sent_once_and_a_document_takes_one_place(mine: Mine) -> None:
    """Copies share a score; further chunks and copies come behind the first places, and none is lost."""
    with regen.Index(embedder="hashing/16", store="memory://", catalog="sqlite://",
                     rerank={"model": mine, "budget_ms": LONG, "top": 3}) as index:  # fmt: skip
        texts = {"a": "one password", "b": "one password", "c": "a much longer password text", "d": "pass"}
        index.upsert([regen.Document(name, text) for name, text in texts.items()])
        found = index.search("password", 10)
    assert sorted(mine.asked[0]) == ["a much longer password text", "one password", "pass"]
    assert ids(found)[0] == "c"
    assert ids(found)[1] in {"a", "b"}
    assert ids(found)[2] == "d"
    assert sorted(ids(found)) == ["a", "b", "c", "d"]


def hit(doc: str, text: str, score: float) -> Hit:
    """A hit with nothing else of interest."""
    return Hit(doc, f"{doc}-{text}", score, text, {}, 1, 1, "s")


def test_placing_is_a_permutation() -> None:
    """Whatever the scores, each hit is there once; equal scores keep the store's order; only first places change."""
    hits = [hit("a", "x", 0.9), hit("a", "y", 0.8), hit("b", "X ", 0.7), hit("c", "z", 0.6), hit("d", "w", 0.5)]
    scores = np.array([1, 5, 1, 3], dtype=np.float32)
    each = place(hits, [0, 1, 2, 3], scores, RerankSettings(top=2, distinct=False))
    assert [one.text for one in each] == ["y", "z", "x", "X ", "w"]
    apart = place(hits, [0, 1, 2, 3], scores, RerankSettings(top=3))
    assert [one.text for one in apart] == ["y", "z", "X ", "x", "w"], "a has its place, and b takes the third"
    tied = place(hits, [0, 0, 0, 0], scores[:1], RerankSettings(distinct=False))
    assert [one.text for one in tied] == [one.text for one in hits]
    assert tied[-1].store_score is None


# ── the budget ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reranker_that_hangs_costs_no_more_than_the_budget() -> None:
    """The store's order is returned, the timeout is told and counted, and calls that hang do not pile up."""
    free, mine = threading.Event(), Mine()
    with opened({"model": mine, "budget_ms": LONG}) as index:
        index.search("password")
        index._reader.reranking.settings = RerankSettings(budget_ms=30.0)  # type: ignore[union-attr]
        mine.before = lambda _: free.wait(60)
        plain = ids(index.search("password", 10, rerank=False))
        for _ in range(STRANDED):
            found = index.search("password", 10)
            assert ids(found) == plain
            assert "not reranked:" in str(found.explanation.fallback)
            assert "took more than 30 ms" in str(found.explanation.fallback)
        calls = len(mine.asked)
        found = index.search("password", 10)
        assert "2 calls that missed their deadline are still under way" in str(found.explanation.fallback)
        assert (ids(found), len(mine.asked)) == (plain, calls)
        stats = index.rerank_stats()
        assert stats is not None
        assert (stats.searches, stats.reranked, stats.timeouts, stats.skipped) == (4, 1, 2, 1)
        assert "took more than 30 ms" in stats.last_error
        assert any("2 ran out of time" in note for note in index.status().notes)
        assert index.status().to_dict()["reranking"]["timeouts"] == 2
        free.set()


def test_a_first_call_that_loads_a_model_says_nothing_of_the_next() -> None:
    """While it loads, searches are answered without it; when it has loaded, reranking begins at full speed."""
    loaded, mine = threading.Event(), Mine()
    mine.before = lambda _: loaded.wait(60)
    with opened({"model": mine, "budget_ms": 30.0, "depth": 20}) as index:
        assert "took more than" in str(index.search("password").explanation.fallback)
        assert "first call has not ended yet" in str(index.search("password").explanation.fallback)
        reranking = index._reader.reranking
        assert reranking is not None
        reranking.settings = RerankSettings(budget_ms=LONG, depth=20)
        loaded.set()
        until(lambda: not reranking._warming)
        for _ in range(3):
            assert index.search("password").explanation.fallback is None
        assert [len(asked) for asked in mine.asked] == [8, 8, 16, 20]


def test_warming_loads_before_the_first_search() -> None:
    """A process of one search need not miss its time; a reranker that fails says so."""
    mine = Mine()
    with opened({"model": mine, "budget_ms": LONG, "depth": 20}) as index:
        index.warm_reranker()
        assert [len(asked) for asked in mine.asked] == [1, 8]
        index.search("password")
        assert len(mine.asked[-1]) == 16
        mine.before = lambda _: 1 / 0
        with pytest.raises(regen.RegenError, match="ZeroDivisionError"):
            index.warm_reranker()


def test_when_nothing_fits_none_is_sent_but_in_the_background() -> None:
    """Fewer than two texts fit: searches do not wait at all; now and then two are tried, and that brings it back."""
    mine = Mine()
    with opened({"model": mine, "budget_ms": 40.0, "depth": 20}) as index:
        index.warm_reranker()
        reranking = index._reader.reranking
        assert reranking is not None
        for texts in (8, 4, 2):
            reranking._pace.missed(texts, 40.0)
        mine.asked.clear()
        for _ in range(PROBE_EVERY):
            found = index.search("password", 5)
            assert found.explanation.rerank is not None
            assert found.explanation.rerank.skipped == "40 ms allow fewer than two texts"
            assert found.explanation.rerank.skipped in str(found.explanation.fallback)
        until(lambda: reranking._stranded == 0)
        assert [len(asked) for asked in mine.asked] == [2]


# ── failures ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("before", "score", "told"),
    [
        (lambda _: 1 / 0, len, "mine: ZeroDivisionError"),
        (None, lambda _: float("nan"), "NaN or infinity"),
        (None, lambda _: [1.0, 2.0], "returned scores of shape"),
    ],
    ids=["raises", "NaN", "shape"],
)
def test_a_reranker_that_fails_fails_no_search(before: Any, score: Any, told: str) -> None:
    """The store's order is returned, and the failure is told and counted."""
    mine = Mine(score)
    mine.before = before or mine.before
    with opened({"model": mine, "budget_ms": LONG}) as index:
        found = index.search("password", 7)
        assert ids(found) == ids(index.search("password", 7, rerank=False))
        assert told in str(found.explanation.fallback)
        stats = index.rerank_stats()
        assert stats is not None
        assert (stats.failures, stats.searches) == (1, 1)
        assert told in stats.last_error


@pytest.mark.parametrize(
    "fault",
    [Refuse(500), Throttle(), truncated(3), misnumbered(), Hang(30.0)],
    ids=["500", "429", "truncated", "misnumbered", "hang"],
)
def test_an_endpoint_that_misbehaves_fails_no_search(fault: Fault) -> None:
    """Over HTTP: refused, cut off, numbered wrongly, silent; and right again as soon as the server is."""
    with RerankServer() as server:
        options = {"url": server.url, "timeout": 0.2}
        with opened({"model": "http/test-model", "budget_ms": LONG, "options": options}) as index:
            plain = ids(index.search("password", 5, rerank=False))
            server.plan = lambda *_: fault
            found = index.search("password", 5)
            assert ids(found) == plain
            assert "the reranker failed" in str(found.explanation.fallback)
            server.plan = lambda *_: None
            found = index.search("password word word", 5)
            assert found.explanation.fallback is None
            assert found.hits[0].score == pytest.approx(1.0, abs=1e-3)


def test_counts_of_all_processes_are_in_the_catalog(tmp_path: Path, mine: Mine) -> None:
    """A process leaves its counts behind when it closes; ``status`` of another one shows them."""
    mine.before = lambda _: 1 / 0
    given: dict[str, Any] = {"model": mine, "budget_ms": LONG}
    with opened(given, catalog="sqlite:///catalog.db", root=tmp_path) as index:
        for _ in range(3):
            index.search("password")
    with regen.Index(embedder="hashing/64", store="memory://", catalog="sqlite:///catalog.db", root=tmp_path,
                     rerank=given) as index:  # fmt: skip
        stats = index.rerank_stats()
        assert stats is not None
        assert (stats.failures, stats.reranked) == (3, 0)
        assert any("3 failed" in note for note in index.status().notes)
    with regen.Index(embedder="hashing/64", store="memory://", catalog="sqlite:///catalog.db", root=tmp_path) as index:
        assert index.rerank_stats() is None
        assert index.status().reranking is None


def test_a_busy_catalog_loses_no_count(index: regen.Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """A count that cannot be written is kept for the next time, and no search fails because of it."""
    index.search("password")
    catalog: Catalog = index._catalog

    def busy(*_: Any) -> None:
        raise CatalogError("busy")

    with monkeypatch.context() as patched:
        patched.setattr(catalog, "count_reranking", busy)
        patched.setattr(catalog, "reranker", busy)
        assert index.search("password").explanation.rerank is not None
        assert index.rerank_stats() is not None
    stats = index.rerank_stats()
    assert stats is not None
    assert stats.reranked == 2


# ── settings ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"depth": 5}, "rerank needs a model"),
        ({"model": Mine(), "budget": 5}, "rerank has no budget"),
        ({"model": Mine(), "depth": 1}, "rerank.depth is 1"),
        ({"model": Mine(), "top": 0}, "rerank.top is 0"),
        ({"model": Mine(), "budget_ms": 0}, "rerank.budget_ms is 0"),
        ({"model": "bm25"}, "unknown reranker 'bm25'"),
    ],
)
def test_wrong_settings_are_told_when_the_index_is_opened(given: dict[str, Any], message: str) -> None:
    """What cannot be is an error of the configuration, not of a search."""
    with pytest.raises(ConfigError, match=message):
        regen.Index(embedder="hashing/8", store="memory://", catalog="sqlite://", rerank=given)


def test_what_reranking_needs_more_of_than_there_is() -> None:
    """An index of one document, or of none that match, has nothing to order."""
    with opened({"model": Mine(), "budget_ms": LONG}, documents=1) as index:
        found = index.search("password")
        assert found.explanation.rerank is not None
        assert found.explanation.rerank.skipped == "there are fewer than two hits"
        assert found.explanation.fallback is None
        assert len(index.search("password", where={"lang": "fr"})) == 0
