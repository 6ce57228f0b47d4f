"""Two-stage search during a migration: the new model orders what the old one finds, and its cache is the backfill."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regen
from regen.assembly import CACHE_PATH
from regen.embedders.cached import EmbeddingCache
from regen.embedders.hashing import HashingEmbedder
from regen.ports import Vectors
from regen.spaces.vectors import normalize

DOCUMENTS = 24
LONG = 10_000.0
QUERY = "query: how do I reset it"


class New(HashingEmbedder):
    """The new model: prefixes, a price, and a list of the documents' texts that it was sent."""

    def __init__(self) -> None:
        super().__init__(32)
        self.sent: list[str] = []

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """As the hashing embedder; queries and the probe texts come by here as well."""
        self.sent += [text for text in texts if re.match(r"(passage: )?T\d", text)]
        return super().embed_documents(texts)


def documents() -> list[regen.Document]:
    """Two texts a document, so that chunks are cut; the title is part of what is embedded."""
    return [
        regen.Document(
            f"d{n}", f"# Part {n}\n\nreset it {n} times\n\n# More {n}\n\nother words {n}", {"title": f"T{n}"}
        )
        for n in range(DOCUMENTS)
    ]


def opened(root: Path, embedder: object, rerank: dict[str, Any] | None, **settings: Any) -> regen.Index:
    """An index in a folder; the chunker cuts at headings."""
    return regen.Index(
        embedder=embedder, store="lancedb://vectors", catalog="sqlite:///catalog.db", root=root, rerank=rerank,
        text="{title}\n{text}", chunking=regen.Chunking("markdown", max_tokens=8), **settings,
    )  # fmt: skip


def test_the_cache_is_the_backfill(tmp_path: Path) -> None:
    """Every text that searches put to the new model is embedded once: the build embeds exactly the others."""
    with opened(tmp_path, "hashing/16", None) as old:
        old.upsert(documents())
        chunks = old.status().generations[0].chunks
        assert chunks >= 2 * DOCUMENTS
    new = New()
    rerank = {"model": "bi-encoder/hashing/32", "budget_ms": LONG, "depth": 10}
    embedding = {"document_prefix": "passage: ", "query_prefix": "query: "}
    with opened(tmp_path, new, rerank, cache="auto", embedding=embedding) as index:
        for _ in range(3):
            found = index.search("how do I reset it", 3)
            assert found.explanation.fallback is None
        assert len(new.sent) == len(set(new.sent)) == 10
        assert all(text.startswith("passage: T") for text in new.sent)
        assert found.generation == 1
        plain = HashingEmbedder(32)
        expected = normalize(plain.embed_query(QUERY)[np.newaxis])[0]
        assert found[0].score >= found[1].score
        text = f"passage: {found[0].metadata['title']}\n{found[0].text}"
        vector = normalize(plain.embed_documents([text]))[0]
        assert found[0].score == pytest.approx(float(vector @ expected), abs=1e-5)
        new.sent.clear()
        built = index.apply()
        assert built.embedded_texts == len(new.sent) == chunks - 10
        index.promote(force=True, reason="test")
        found = index.search("how do I reset it", 3)
        assert found.generation == 2
        assert found.explanation.rerank is not None
        assert found.explanation.rerank.skipped == "the hits are in the order of this space already"
        assert found.explanation.fallback is None
    with EmbeddingCache(tmp_path / CACHE_PATH) as cache:
        assert len(cache) == chunks


def test_searching_everything_leaves_nothing_to_embed(tmp_path: Path) -> None:
    """When users have been shown all of it, the migration embeds no text."""
    with opened(tmp_path, "hashing/16", None) as old:
        old.upsert(documents())
    new = New()
    rerank = {"model": "bi-encoder/hashing/32", "budget_ms": LONG, "depth": 1000}
    with opened(tmp_path, new, rerank, cache="auto") as index:
        for _ in range(6):
            index.search("reset", 3)
        sent = len(new.sent)
        assert index.apply().embedded_texts == 0
        assert len(new.sent) == sent
        assert index.verify().consistent


@pytest.mark.parametrize("model", ["bi-encoder/hashing/32", "bi-encoder/hashing/48"])
def test_what_ordering_costs_is_on_the_account(tmp_path: Path, model: str) -> None:
    """Texts that the cache did not hold are paid for, once; a model of its own takes its own price."""
    with opened(tmp_path, "hashing/16", None) as old:
        old.upsert(documents())
        assert old.status().cost_usd == 0
    rerank = {"model": model, "budget_ms": LONG}
    embedding = {"price_per_million_tokens": 1000.0}
    with opened(tmp_path, New(), rerank, cache="auto", embedding=embedding) as index:
        index.search("reset", 3)
        spent = index.status().cost_usd
        index.search("reset", 3)
        if model.endswith("48"):
            assert spent == 0
        else:
            assert spent > 0
            assert index.status().cost_usd >= spent


def test_without_a_cache_it_orders_all_the_same(tmp_path: Path) -> None:
    """Nothing is kept, and every search embeds its candidates."""
    with opened(tmp_path, "hashing/16", None) as old:
        old.upsert(documents())
    new = New()
    with opened(tmp_path, new, {"model": "bi-encoder/hashing/32", "budget_ms": LONG, "depth": 8}) as index:
        index.search("reset", 3)
        index.search("reset", 3)
        assert len(new.sent) == 16
    assert not (tmp_path / CACHE_PATH).exists()


@pytest.mark.parametrize("route", ["interleaved", "canary", "shadow"])
def test_a_rollout_is_reranked_as_what_users_see(tmp_path: Path, route: Any) -> None:
    """The list of any route is reranked before it is logged: feedback on what was shown is accepted."""

    class Longest:
        name = "longest"

        def rerank(self, query: str, texts: Sequence[str]) -> list[int]:
            return [int(text.splitlines()[0].removeprefix("T")) for text in texts]

    with opened(tmp_path, "hashing/16", {"model": Longest(), "budget_ms": LONG, "top": 4}) as index:
        index.upsert(documents())
    with opened(tmp_path, "hashing/32", {"model": Longest(), "budget_ms": LONG, "top": 4}) as index:
        index.apply()
        index.begin_rollout(route=route, weight=0.5)
        for _ in range(3):
            found = index.search("reset it", 5)
            numbers = [int(hit.doc_id[1:]) for hit in found][:4]
            assert numbers == sorted(numbers, reverse=True)
            assert len(set(numbers)) == 4
            assert len(found) == 5
            assert found.query_id is not None
            index.feedback(found.query_id, [found[0].doc_id])
