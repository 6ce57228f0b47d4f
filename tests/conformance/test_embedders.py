"""Every embedder and every wrapper passes the one conformance suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from regen.embedders.adapted import adapt
from regen.embedders.cached import CachedEmbedder, EmbeddingCache
from regen.embedders.checked import CheckedEmbedder
from regen.embedders.hashing import HashingEmbedder
from regen.embedders.limits import RateLimitedEmbedder
from regen.embedders.metered import MeteredEmbedder
from regen.embedders.priced import PricedEmbedder
from regen.embedders.retrying import RetryingEmbedder
from regen.embedders.wordllama import WordLlamaEmbedder
from regen.ports import Embedder
from regen.testing.embedders import EmbedderConformance
from regen.testing.faulty import FaultyEmbedder


class TestWordLlama256(EmbedderConformance):
    def make_embedder(self) -> Embedder:
        """Make a new embedder."""
        return WordLlamaEmbedder(256)


class TestWordLlama64(EmbedderConformance):
    def make_embedder(self) -> Embedder:
        """Make a new embedder."""
        return WordLlamaEmbedder(64)


class TestHashing(EmbedderConformance):
    def make_embedder(self) -> Embedder:
        """Make a new embedder."""
        return HashingEmbedder(384, seed=7)


class TestHashingOfFewDimensions(EmbedderConformance):
    def make_embedder(self) -> Embedder:
        """Make a new embedder."""
        return HashingEmbedder(8)


class _Lists:
    """What a LangChain ``Embeddings`` looks like: lists of floats, and nothing else."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        assert type(texts) is list
        rows: list[list[float]] = HashingEmbedder(32).embed_documents(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class TestAdapted(EmbedderConformance):
    def make_embedder(self) -> Embedder:
        """Make a new embedder."""
        return adapt(_Lists(), "python:tests:Lists")


class TestRateLimited(EmbedderConformance):
    def make_embedder(self) -> Embedder:
        """Make a new embedder."""
        return RateLimitedEmbedder(HashingEmbedder(64), 100_000, 1_000_000_000)


class TestRetrying(EmbedderConformance):
    def make_embedder(self) -> Embedder:
        """Make a new embedder."""
        return RetryingEmbedder(FaultyEmbedder(HashingEmbedder(64), _every_third_call_fails), sleep=lambda _: None)


def _every_third_call_fails(number: int, _: Sequence[str]) -> Exception | None:
    return ConnectionError("reset by peer") if number % 3 == 0 else None


class TestChecked(EmbedderConformance):
    def make_embedder(self) -> Embedder:
        """Make a new embedder."""
        return CheckedEmbedder(HashingEmbedder(64))


class TestMetered(EmbedderConformance):
    def make_embedder(self) -> Embedder:
        """Make a new embedder."""
        return MeteredEmbedder(HashingEmbedder(64), count_tokens=True)


class TestPriced(EmbedderConformance):
    def make_embedder(self) -> Embedder:
        """Make a new embedder."""
        return PricedEmbedder(HashingEmbedder(64), 0.13)


class TestFaultyWithoutFaults(EmbedderConformance):
    def make_embedder(self) -> Embedder:
        """Make a new embedder."""
        return FaultyEmbedder(HashingEmbedder(64), lambda _number, _texts: None)


class TestCached(EmbedderConformance):
    @pytest.fixture(autouse=True)
    def _cache(self, tmp_path: Path) -> Iterator[None]:
        with EmbeddingCache(tmp_path / "cache.db") as self.cache:
            yield

    def make_embedder(self) -> Embedder:
        """Make a new embedder."""
        return CachedEmbedder(HashingEmbedder(64), self.cache, "space")


class TestAllTogether(TestCached):
    def make_embedder(self) -> Embedder:
        """Make a new embedder."""
        limited = RateLimitedEmbedder(HashingEmbedder(64), 100_000, 1_000_000_000)
        metered = MeteredEmbedder(RetryingEmbedder(CheckedEmbedder(limited)))
        return CachedEmbedder(metered, self.cache, "space")
