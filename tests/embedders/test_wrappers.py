"""Wrappers: what each adds to the embedder inside."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from regen.embedders.checked import CheckedEmbedder
from regen.embedders.hashing import HashingEmbedder
from regen.embedders.limits import RateLimitedEmbedder
from regen.embedders.metered import MeteredEmbedder
from regen.embedders.retrying import RetryingEmbedder
from regen.embedders.wrapping import EmbedderWrapper
from regen.errors import (
    ConfigError,
    EmbedderContract,
    EmbedderError,
    RateLimited,
    RegenError,
    TextRejected,
)
from regen.testing.faulty import Fault, FaultyEmbedder

TEXTS = ["one text", "another text", "a third"]


class _Returns(EmbedderWrapper):
    """Answers with whatever it was given."""

    def __init__(self, answer: Any) -> None:
        super().__init__(HashingEmbedder(4))
        self.answer = answer

    def embed_documents(self, texts: Sequence[str]) -> Any:
        """Answer."""
        return self.answer

    def embed_query(self, text: str) -> Any:
        """Answer."""
        return self.answer


# ── checked ──


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (np.zeros((2, 4), np.float32), r"float32 array of shape \(2, 4\).*one vector for each text"),
        (np.zeros((3, 5), np.float32), r"shape \(3, 5\).*info.dimensions says 4"),
        (np.zeros((3, 4), np.float64), r"float64 array.*astype"),
        (np.zeros(12, np.float32), r"shape \(12,\).*one row a text"),
        ([[0.0] * 4] * 3, r"a list of 3.*adapt"),
        (None, r"a NoneType.*adapt"),
    ],
)
def test_a_broken_contract_is_named(answer: Any, found: str) -> None:
    """A wrong count, width, type or form says what came, what was expected and what to do."""
    with pytest.raises(EmbedderContract, match=f"(?s){found}") as raised:
        CheckedEmbedder(_Returns(answer)).embed_documents(TEXTS)
    assert "expected a float32 array of shape (3, 4)" in str(raised.value)
    assert not raised.value.retryable


def test_a_query_must_be_one_vector() -> None:
    """A query's vector with a row around it breaks the contract; a plain one passes."""
    with pytest.raises(EmbedderContract, match=r"embed_query returned a float32 array of shape \(1, 4\)"):
        CheckedEmbedder(_Returns(np.zeros((1, 4), np.float32))).embed_query("x")
    assert CheckedEmbedder(_Returns(np.ones(4, np.float32))).embed_query("x").tolist() == [1.0] * 4


@pytest.mark.parametrize("fault", ["nan", "infinity", "zero"])
def test_unusable_rows_pass_the_check(fault: Fault) -> None:
    """NaN, infinity and zero rows condemn one text and are the engine's to find: the check lets them through."""
    vectors = CheckedEmbedder(FaultyEmbedder(HashingEmbedder(4), lambda *_: fault)).embed_documents(TEXTS)
    assert vectors.shape == (3, 4)
    assert not (np.isfinite(vectors[0]).all() and vectors[0].any())


@pytest.mark.parametrize("fault", ["wrong_count", "wrong_dimensions"])
def test_faults_of_form_are_caught(fault: Fault) -> None:
    """The injected faults that break the contract are exactly what the check catches."""
    with pytest.raises(EmbedderContract):
        CheckedEmbedder(FaultyEmbedder(HashingEmbedder(4), lambda *_: fault)).embed_documents(TEXTS)


# ── retrying ──


def _failing(times: int, error: Exception) -> FaultyEmbedder:
    return FaultyEmbedder(HashingEmbedder(4), lambda number, _: error if number < times else None)


@pytest.mark.parametrize("error", [RateLimited("slow down"), ConnectionResetError("reset"), TimeoutError("late")])
def test_passing_errors_are_retried(error: Exception) -> None:
    """Errors marked retryable and lost connections are tried again until the call succeeds, with growing pauses."""
    pauses: list[float] = []
    inner = _failing(3, error)
    vectors = RetryingEmbedder(inner, attempts=5, sleep=pauses.append).embed_documents(TEXTS)
    np.testing.assert_array_equal(vectors, HashingEmbedder(4).embed_documents(TEXTS))
    assert len(inner.calls) == 4
    assert len(pauses) == 3
    assert 0.1 < pauses[0] < pauses[2] < 2.0


@pytest.mark.parametrize("error", [TextRejected("no"), EmbedderError("broken"), ValueError("what"), KeyError("x")])
def test_final_errors_are_not_retried(error: Exception) -> None:
    """An error that will come again is raised at once and unchanged."""
    inner = _failing(9, error)
    with pytest.raises(type(error)) as raised:
        RetryingEmbedder(inner, sleep=_never).embed_documents(TEXTS)
    assert raised.value is error
    assert len(inner.calls) == 1


def _never(seconds: float) -> None:
    raise AssertionError(f"slept for {seconds} s")


def test_the_providers_wait_is_obeyed() -> None:
    """retry_after is waited for; one that is longer than the time allowed ends the attempts at once."""
    pauses: list[float] = []
    RetryingEmbedder(_failing(1, RateLimited("wait", retry_after=17.5)), sleep=pauses.append).embed_query("x")
    assert pauses == [17.5]
    patient = RetryingEmbedder(_failing(1, RateLimited("wait", retry_after=3600)), timeout=60, sleep=_never)
    with pytest.raises(RateLimited, match="gave up after 1 attempt ") as raised:
        patient.embed_query("x")
    assert raised.value.retry_after == 3600


def test_the_last_error_counts_the_attempts() -> None:
    """When all attempts fail the error keeps its kind and says how often it was tried."""
    inner = _failing(99, RateLimited("slow down", hint="buy more"))
    with pytest.raises(RateLimited, match=r"slow down \(gave up after 4 attempts in 0.0 s\)\nHint: buy more"):
        RetryingEmbedder(inner, attempts=4, sleep=lambda _: None).embed_query("x")
    assert len(inner.calls) == 4


def test_a_lost_connection_becomes_an_embedder_error() -> None:
    """The engine sees only regen's own errors: a connection that stays lost is an EmbedderError with its cause."""
    with pytest.raises(EmbedderError, match=r"ConnectionRefusedError: no route.*2 attempts") as raised:
        RetryingEmbedder(_failing(9, ConnectionRefusedError("no route")), attempts=2, sleep=lambda _: None).embed_query(
            "x"
        )
    assert isinstance(raised.value.__cause__, ConnectionRefusedError)
    assert isinstance(raised.value, RegenError)


def test_retrying_works_in_threads() -> None:
    """Attempts of one thread's call are not counted against another's."""
    failed: set[str] = set()
    lock = threading.Lock()

    def plan(_: int, texts: Sequence[str]) -> Exception | None:
        with lock:
            fresh = texts[0] not in failed
            failed.add(texts[0])
        return ConnectionError("once each") if fresh else None

    embedder = RetryingEmbedder(FaultyEmbedder(HashingEmbedder(4), plan), attempts=2, sleep=lambda _: None)
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(embedder.embed_query, [f"text {number}" for number in range(40)]))
    assert len(rows) == len(failed) == 40


# ── limits ──


def _window(stamps: list[float], seconds: float, weights: list[int]) -> int:
    """Return the most that fell into any window of so many seconds."""
    return max(
        sum(weight for stamp, weight in zip(stamps, weights, strict=True) if start <= stamp < start + seconds)
        for start in stamps
    )


class _Stamped(EmbedderWrapper):
    """Notes when each call came and how many tokens it had."""

    def __init__(self) -> None:
        super().__init__(HashingEmbedder(4))
        self.stamps: list[float] = []
        self.tokens: list[int] = []
        self._lock = threading.Lock()

    def embed_documents(self, texts: Sequence[str]) -> Any:
        """Note and embed."""
        with self._lock:
            self.stamps.append(time.monotonic())
            self.tokens.append(sum(map(len, self.token_starts(texts))))
        return self.inner.embed_documents(texts)


def test_requests_are_limited_over_threads() -> None:
    """Eight threads together never make more calls in a window than allowed, and all calls are made."""
    inner = _Stamped()
    limited = RateLimitedEmbedder(inner, requests_per_minute=5, seconds=0.3)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(limited.embed_documents, [[f"text {number}"] for number in range(14)]))
    assert len(inner.stamps) == 14
    assert _window(sorted(inner.stamps), 0.25, [1] * 14) <= 5


def test_tokens_are_limited() -> None:
    """Calls wait until their tokens fit into the window."""
    inner = _Stamped()
    limited = RateLimitedEmbedder(inner, tokens_per_minute=10, seconds=0.3)
    for number in range(6):
        limited.embed_documents([f"four words {number} here"])
    assert inner.tokens == [4] * 6
    assert _window(inner.stamps, 0.25, inner.tokens) <= 10


def test_a_call_above_the_limit_goes_alone() -> None:
    """A single call of more tokens than the limit is let through rather than waiting for ever, and fills the window."""
    inner = _Stamped()
    limited = RateLimitedEmbedder(inner, tokens_per_minute=5, seconds=0.3)
    limited.embed_documents(["one two"])
    limited.embed_documents(["word " * 50])
    limited.embed_documents(["one"])
    assert inner.tokens == [2, 50, 1]
    assert inner.stamps[1] - inner.stamps[0] > 0.25
    assert inner.stamps[2] - inner.stamps[1] > 0.25


def test_no_limit_counts_no_tokens() -> None:
    """Without a limit of tokens the texts are not tokenised, and an empty call takes nothing."""

    class Untokenised(EmbedderWrapper):
        def token_starts(self, texts: Sequence[str]) -> Any:
            raise AssertionError("tokenised for nothing")

    limited = RateLimitedEmbedder(Untokenised(HashingEmbedder(4)), requests_per_minute=2)
    assert limited.embed_documents(TEXTS).shape == (3, 4)
    for _ in range(20):
        assert limited.embed_documents([]).shape == (0, 4)
    with pytest.raises(ConfigError, match="tokens_per_minute is 0"):
        RateLimitedEmbedder(HashingEmbedder(4), tokens_per_minute=0)


# ── metered ──


def test_calls_texts_and_tokens_are_counted() -> None:
    """Calls of all threads are counted; a failed call counts as a call, not its texts."""
    inner = FaultyEmbedder(HashingEmbedder(4), lambda number, _: TextRejected("no") if number == 0 else None)
    metered = MeteredEmbedder(inner, count_tokens=True)
    with pytest.raises(TextRejected):
        metered.embed_documents(TEXTS)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(metered.embed_documents, [TEXTS] * 50))
    metered.embed_query("a query of five words")
    assert (metered.calls, metered.texts, metered.tokens) == (52, 151, 50 * 6 + 5)
    assert metered.seconds > 0
    assert metered.cost_usd == 0.0


def test_free_models_are_not_tokenised_for_counting() -> None:
    """Tokens are counted only for models with a price, or on demand."""
    metered = MeteredEmbedder(HashingEmbedder(4))
    metered.embed_documents(TEXTS)
    assert (metered.texts, metered.tokens) == (3, 0)
