"""openai/…: the real client against a local server that throttles, reorders, truncates, lies and fails."""

from __future__ import annotations

import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import Any

import numpy as np
import pytest

from regen import registry
from regen.embedders.hashing import HashingEmbedder
from regen.embedders.openai_api import OpenAIEmbedder
from regen.embedders.retrying import RetryingEmbedder
from regen.errors import ConfigError, EmbedderContract, EmbedderError, RateLimited, TextRejected
from regen.openai_service import Endpoint, retry_after
from regen.ports import Embedder
from regen.testing.embedders import EmbedderConformance
from regen.testing.openai_server import (
    MODEL,
    EmbeddingServer,
    Fault,
    Hang,
    HangUp,
    Received,
    Refuse,
    Spoil,
    Throttle,
    reordered,
    served_as,
    truncated,
)

TEXTS = ["Reset your password.", "Rainfall in spring.", "Install the package."]
SECRET = "sk-proj-Zq81-very-secret"


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    """A server without faults; a test may set its plan."""
    with EmbeddingServer() as made:
        yield made


_USED: list[OpenAIEmbedder] = []
"""What the running test has connected with; an embedder opens again when it is used again."""


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    """Leave no connection to whatever is collected in a later test."""
    yield
    while _USED:
        _USED.pop().close()


def _embedder(server: EmbeddingServer, **options: Any) -> OpenAIEmbedder:
    return _used(OpenAIEmbedder.from_name(f"openai/{MODEL}", base_url=server.base_url, **options))


def _used(embedder: OpenAIEmbedder) -> OpenAIEmbedder:
    _USED.append(embedder)
    return embedder


def _always(fault: Fault) -> Any:
    return lambda _number, _request: fault


def _first(count: int, fault: Fault) -> Any:
    return lambda number, _request: fault if number < count else None


class TestConformance(EmbedderConformance):
    encoding = "base64"

    @pytest.fixture(autouse=True)
    def _serve(self) -> Iterator[None]:
        with EmbeddingServer() as self.server:
            yield

    def make_embedder(self) -> Embedder:
        """Make a new embedder of the server's model."""
        return _embedder(self.server, encoding_format=self.encoding)

    def test_a_very_long_text_is_accepted(self) -> None:
        """Overridden: the API refuses a text above its limit; to cut it here would hide that a part is not found."""
        with pytest.raises(TextRejected, match="maximum context length is 8191"):
            self.embedder.embed_documents([self.long_text])
        assert self.embedder.embed_documents([self.long_text[:20_000]]).any()


class TestConformanceOfFloats(TestConformance):
    encoding = "float"


# ── names and options ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "dimensions", "price"),
    [
        ("openai/text-embedding-3-small", 1536, 0.02),
        ("openai/text-embedding-3-small@512", 512, 0.02),
        ("openai/text-embedding-3-large@256", 256, 0.13),
        ("openai/text-embedding-ada-002", 1536, 0.10),
    ],
)
def test_known_models_are_described_without_a_server(name: str, dimensions: int, price: float) -> None:
    """Name, dimensions, price and limits are known; the name parses back to an equal description."""
    info = OpenAIEmbedder.from_name(name).info
    assert (info.name, info.dimensions, info.price_per_million_tokens) == (name, dimensions, price)
    assert (info.max_tokens, info.max_batch_texts, info.concurrency) == (8191, 2048, 8)
    assert max(info.matryoshka, default=dimensions) == dimensions
    assert OpenAIEmbedder.from_name(info.name).info == info


def test_dimensions_are_part_of_the_name() -> None:
    """The option and the suffix say the same; the model's own number of dimensions needs no suffix."""
    assert OpenAIEmbedder("text-embedding-3-large", dimensions=256).info.name == "openai/text-embedding-3-large@256"
    assert OpenAIEmbedder("text-embedding-3-large@3072").info.name == "openai/text-embedding-3-large"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("openai/", {}, "names no model"),
        ("openai/text-embedding-3-small@4096", {}, "has 1536 dimensions, not 4096"),
        ("openai/text-embedding-ada-002@256", {}, "cannot be shortened to 256"),
        ("openai/text-embedding-3-small@256", {"dimensions": 512}, "asks for 256 dimensions, options.dim"),
        ("openai/x", {"dimensions": "many"}, "options.dimensions is 'many'"),
        ("openai/x", {"max_batch_texts": 0}, "options.max_batch_texts is 0"),
        ("openai/x", {"encoding_format": "hex"}, "options.encoding_format is 'hex'"),
        ("openai/x", {"base_url": "localhost:11434"}, "options.base_url is 'localhost:11434'"),
        ("openai/x", {"timeout": "long"}, "options.timeout is 'long'"),
        ("openai/x", {"api_key": "k"}, "unexpected keyword argument 'api_key'"),
    ],
)  # fmt: skip
def test_wrong_names_and_options(name: str, options: dict[str, Any], message: str) -> None:
    """What cannot be is said before any server is asked, with what is valid."""
    with pytest.raises(ConfigError, match=message):
        registry.make_embedder(name, options)


def test_the_client_is_loaded_only_when_used() -> None:
    """Describing a model, and regen itself, import neither the client nor its HTTP library."""
    script = (
        "import sys, regen.registry as r; r.make_embedder('openai/text-embedding-3-small').info;"
        "print([m for m in ('openai', 'httpx', 'httpx2', 'tiktoken') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_prefixes_of_known_models_are_told_not_applied(server: EmbeddingServer) -> None:
    """Prefixes are the engine's work: the adapter sends a text as it is."""
    server.models = ["nomic-embed-text"]
    embedder = _used(OpenAIEmbedder("nomic-embed-text", Endpoint(server.base_url), native_dimensions=64))
    assert (embedder.info.document_prefix, embedder.info.query_prefix) == ("search_document: ", "search_query: ")
    embedder.embed_documents(["plain"])
    embedder.embed_query("plain too")
    assert [request.texts for request in server.requests] == [["plain"], ["plain too"]]


# ── what is sent and what comes back ────────────────────────────────────────────────────────────────────────


def test_dimensions_of_an_unknown_model_are_probed_once(server: EmbeddingServer) -> None:
    """One short text is embedded, by the first of many threads, and never when the dimensions are stated."""
    embedder = _embedder(server)
    with ThreadPoolExecutor(8) as pool:
        assert {info.dimensions for info in pool.map(lambda _: embedder.info, range(16))} == {64}
    assert len(server.requests) == 1
    assert _embedder(server, native_dimensions=64).info.dimensions == 64
    assert len(server.requests) == 1


def test_a_probe_waits_when_asked_to(server: EmbeddingServer) -> None:
    """A throttled server is asked again when it is ready, and a dead one gives an error with the way out."""
    server.plan = _first(1, Throttle(0.2))
    assert _embedder(server).info.dimensions == 64
    assert server.early == 0
    server.plan = _always(HangUp())
    with pytest.raises(EmbedderError, match="cannot be found out") as caught:
        _ = _embedder(server).info
    assert "native_dimensions" in (caught.value.hint or "")


def test_vectors_are_the_servers(server: EmbeddingServer) -> None:
    """Every bit of a vector is what the server made, and ``dimensions`` is sent when it is asked for."""
    embedder = _embedder(server, native_dimensions=64)
    assert (embedder.embed_documents(TEXTS) == HashingEmbedder(64).embed_documents(TEXTS)).all()
    assert "dimensions" not in server.requests[-1].body
    short = _embedder(server, dimensions=16)
    assert short.info.name == f"openai/{MODEL}@16"
    assert short.embed_documents(TEXTS).shape == (3, 16)
    assert server.requests[-1].body["dimensions"] == 16
    assert embedder.billed_tokens + short.billed_tokens == server.tokens > 0
    assert embedder.served_model == MODEL


def test_reordered_answers_are_put_in_order(server: EmbeddingServer) -> None:
    """Vectors belong to texts by ``index``, not by their place in the answer."""
    server.plan = _always(reordered())
    found = _embedder(server, native_dimensions=64).embed_documents(TEXTS)
    assert (found == HashingEmbedder(64).embed_documents(TEXTS)).all()


def test_empty_texts_are_not_sent(server: EmbeddingServer) -> None:
    """The API refuses empty texts: they get zero vectors, at their places, and cost nothing."""
    vectors = _embedder(server, native_dimensions=64).embed_documents(["", "a text", ""])
    assert vectors.any(axis=1).tolist() == [False, True, False]
    assert [request.texts for request in server.requests] == [["a text"]]


def test_requests_keep_to_the_limits(server: EmbeddingServer) -> None:
    """More texts or tokens than a request may have become several requests, and the rows stay in order."""
    embedder = _embedder(server, native_dimensions=64, max_batch_texts=4, max_batch_tokens=40)
    texts = [f"{'word ' * (3 * (number % 7) + 1)}{number}" for number in range(30)]
    assert np.allclose(embedder.embed_documents(texts), HashingEmbedder(64).embed_documents(texts))
    assert max(len(request.texts) for request in server.requests) <= 4
    sizes = [sum(map(len, embedder.token_starts(request.texts))) for request in server.requests]
    assert max(sizes) <= 40
    assert len(sizes) > 30 // 4 + 1, "the limit of tokens cut too"
    assert server.paid_texts == texts


# ── answers that cannot be trusted ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (truncated(), "2 vectors for 3 texts"),
        (Spoil(lambda answer: answer | {"data": [answer["data"][0]] * 3}), "numbered 0, 0, 0 instead of 0 to 2"),
        (Spoil(lambda answer: answer | {"data": [*answer["data"], answer["data"][0]]}), "4 vectors for 3 texts"),
        (Spoil(lambda _: b"<html>captive portal</html>"), "the answer is no JSON: b'<html>captive"),
        (Spoil(lambda _: b"[]"), "the answer is a list, not an object"),
        (Spoil(lambda _: {"object": "error"}), "holds no list of embeddings"),
        (Spoil(lambda answer: {"data": [item | {"embedding": [1.0] * 8} for item in answer["data"]]}),
         "vectors of 8 dimensions instead of 64"),
        (Spoil(lambda answer: {"data": [item | {"embedding": [1.0] * (item["index"] + 1)} for item in answer["data"]]}),
         r"one answer holds vectors of \[1, 2, 3\] dimensions"),
        (Spoil(lambda answer: {"data": [item | {"embedding": "@@"} for item in answer["data"]]}), "neither base64"),
        (Spoil(lambda answer: {"data": [item | {"embedding": ["x"]} for item in answer["data"]]}), "neither base64"),
        (Spoil(lambda answer: {"data": [item | {"embedding": []} for item in answer["data"]]}), r"shape \(0,\)"),
    ],
)  # fmt: skip
def test_wrong_answers_break_the_contract(server: EmbeddingServer, fault: Fault, message: str) -> None:
    """Missing, doubled, garbled or differently sized vectors stop everything and are not tried again."""
    server.plan = _always(fault)
    with pytest.raises(EmbedderContract, match=message):
        RetryingEmbedder(_embedder(server, native_dimensions=64)).embed_documents(TEXTS)
    assert len(server.requests) == 1


def test_answers_without_numbers_are_taken_in_order(server: EmbeddingServer) -> None:
    """Some servers give no ``index``, ``usage`` or ``model``: their answers are in order."""
    server.plan = _always(Spoil(lambda answer: {"data": [{"embedding": item["embedding"]} for item in answer["data"]]}))
    embedder = _embedder(server, native_dimensions=64)
    assert (embedder.embed_documents(TEXTS) == HashingEmbedder(64).embed_documents(TEXTS)).all()
    assert (embedder.billed_tokens, embedder.served_model) == (0, None)


def test_a_model_that_changes_during_a_run_is_noticed(server: EmbeddingServer) -> None:
    """The served model's name may be another than the asked one, but not another than before."""
    server.plan = lambda number, _request: served_as("test-model-v2" if number < 2 else "test-model-v3")
    embedder = _embedder(server, native_dimensions=64)
    embedder.embed_documents(TEXTS)
    embedder.embed_documents(TEXTS)
    assert embedder.served_model == "test-model-v2"
    for _ in range(2):
        with pytest.raises(EmbedderContract, match="used 'test-model-v3', and 'test-model-v2' before"):
            embedder.embed_documents(TEXTS)


def test_a_known_model_served_for_another_is_noticed(server: EmbeddingServer) -> None:
    """A proxy that falls back from one of OpenAI's models to another gives itself away at once."""
    server.models = ["text-embedding-3-small"]
    server.plan = _always(served_as("text-embedding-ada-002"))
    with pytest.raises(EmbedderContract, match="says that it used 'text-embedding-ada-002'"):
        _used(OpenAIEmbedder("text-embedding-3-small", Endpoint(server.base_url))).embed_documents(TEXTS)


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        (Throttle(code="insufficient_quota"), EmbedderError, "no credit left"),
        (Refuse(400, "This model's maximum context length is 8192", "input"), TextRejected, "maximum context length"),
        (Refuse(413, "too large"), TextRejected, "too large"),
        (Refuse(422, "unprocessable"), TextRejected, "unprocessable"),
        (Refuse(400, "does not support dimensions", "dimensions"), EmbedderError, "refuses 'dimensions'"),
        (Refuse(401, f"Incorrect API key: {SECRET}", None, "invalid_api_key"), EmbedderError, "key in TEST_KEY"),
        (Refuse(403, f"{SECRET} may not"), EmbedderError, "may not use this model"),
        (Refuse(404, "The model does not exist"), EmbedderError, "usually in /v1"),
        (Refuse(408), ConnectionError, "status 408"),
        (Refuse(500, f"oh no, {SECRET} is confused"), ConnectionError, r"oh no, \*\*\* is confused"),
        (Refuse(503), ConnectionError, "status 503"),
        (HangUp(), ConnectionError, "RemoteProtocolError|ReadError"),
        (Hang(30), TimeoutError, "no answer in time"),
    ],
)  # fmt: skip
def test_errors_are_translated(
    server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch, fault: Fault, kind: type, message: str
) -> None:
    """Each of the provider's errors becomes the one that makes the engine do the right thing, and shows no key."""
    monkeypatch.setenv("TEST_KEY", SECRET)
    server.plan = _always(fault)
    embedder = _embedder(server, native_dimensions=64, api_key_env="TEST_KEY", timeout=0.5)
    with pytest.raises(kind, match=message) as caught:
        embedder.embed_documents(TEXTS)
    assert type(caught.value) is kind
    shown = "".join(traceback.format_exception(caught.value))
    assert "test-model at 127.0.0.1" in shown
    assert SECRET not in shown + repr(caught.value) + repr(embedder)
    assert len(server.requests) == 1, "the client does not retry by itself"
    assert server.requests[0].headers["authorization"] == f"Bearer {SECRET}"


def test_a_server_that_is_not_there() -> None:
    """A refused connection is an error that is tried again."""
    with EmbeddingServer() as server:
        address = server.base_url
    with pytest.raises(ConnectionError, match=f"{MODEL} at 127.0.0.1"):
        _used(OpenAIEmbedder(MODEL, Endpoint(address), native_dimensions=64)).embed_query("x")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "7", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": formatdate(1_000_030, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(5_000_030, usegmt=True), "date": formatdate(5_000_000, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(999_000, usegmt=True)}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds, and dates by the server's own clock; what says nothing is None."""
    assert retry_after(headers, 1_000_000.0) == seconds


@pytest.mark.parametrize("header", ["retry-after", "retry-after-ms", "date", None])
def test_a_throttled_call_says_how_long(server: EmbeddingServer, header: Any) -> None:
    """What the server says on the wire arrives as RateLimited.retry_after."""
    server.plan = _always(Throttle(3.0, header))
    with pytest.raises(RateLimited) as caught:
        _embedder(server, native_dimensions=64).embed_query("x")
    if header is None:
        assert caught.value.retry_after is None
    else:
        assert caught.value.retry_after is not None
        assert 3.0 <= caught.value.retry_after <= 5.0


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_key_is_told_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the model can be described; the first call names the variable that is not set."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    embedder = OpenAIEmbedder("text-embedding-3-small")
    assert embedder.info.dimensions == 1536
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY, which should hold the key for api\.openai\.com/v1"):
        embedder.embed_query("x")


def test_openais_key_goes_to_no_other_server(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base_url of the settings gets OpenAI's key only when api_key_env names it."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    _embedder(server, native_dimensions=64).embed_query("x")
    _embedder(server, native_dimensions=64, api_key_env="OPENAI_API_KEY").embed_query("x")
    sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer none", f"Bearer {SECRET}"]


def test_a_wrong_key_is_refused_without_showing_it(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's answer quotes the key; regen's error does not."""
    server.api_key = "another"
    monkeypatch.setenv("TEST_KEY", SECRET)
    with pytest.raises(EmbedderError, match="status 401, invalid_api_key") as caught:
        _embedder(server, native_dimensions=64, api_key_env="TEST_KEY").embed_query("x")
    assert SECRET not in str(caught.value)


def test_organisation_and_project_are_sent(server: EmbeddingServer) -> None:
    """They decide who pays."""
    _embedder(server, native_dimensions=64, organization="org-1", project="proj-2").embed_query("x")
    headers = server.requests[0].headers
    assert (headers["openai-organization"], headers["openai-project"]) == ("org-1", "proj-2")


def test_user_and_password_of_an_address_are_not_shown() -> None:
    """An address with credentials is shown without them."""
    assert "hunter2" not in repr(OpenAIEmbedder("x", Endpoint("http://me:hunter2@example.invalid:8080/v1?key=hunter2")))


# ── one limit for all threads ───────────────────────────────────────────────────────────────────────────────


def test_when_one_thread_is_told_to_wait_all_do(server: EmbeddingServer) -> None:
    """Eight threads of two embedders: after the throttled wave no request is early, and the first comes alone."""
    wave = threading.Barrier(8)
    answered: list[int] = []

    def plan(number: int, request: Received) -> Fault | None:
        if number < 8:
            wave.wait(20)  # all eight are under way before the first is told to wait
            return Throttle(1.0)
        answered.append(sum(other.status == 0 for other in server.requests))
        return None

    server.plan = plan
    models = [RetryingEmbedder(_embedder(server, native_dimensions=64, timeout=30.0)) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: models[n % 2].embed_query(f"text {n}"), range(24)))
    assert server.early == 0
    assert [request.status for request in server.requests] == [429] * 8 + [200] * 24
    assert sorted(server.paid_texts) == sorted(f"text {number}" for number in range(24))
    assert answered[0] == 1, "the first request after the pause tries alone"
    assert (np.stack(found) == HashingEmbedder(64).embed_documents([f"text {n}" for n in range(24)])).all()


def test_an_account_that_stays_throttled_is_not_hammered(server: EmbeddingServer) -> None:
    """While every request is refused, each pause ends in one request, not in one of each thread."""
    server.plan = lambda number, _request: Throttle(0.3) if number < 5 else None
    embedder = _embedder(server, native_dimensions=64)
    with pytest.raises(RateLimited):
        embedder.embed_query("the first closes the gate")
    calm = RetryingEmbedder(embedder, attempts=20)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: calm.embed_query(f"text {n}"), range(8)))
    assert server.early == 0
    assert [request.status for request in server.requests] == [429] * 5 + [200] * 8


def test_a_wait_that_is_too_long_is_an_error_without_a_request(server: EmbeddingServer) -> None:
    """Ten minutes are not waited out in silence: the next call says at once how long the account is closed."""
    server.plan = _always(Throttle(600))
    embedder = _embedder(server, native_dimensions=64)
    for _ in range(3):
        with pytest.raises(RateLimited) as caught:
            embedder.embed_query("x")
        assert caught.value.retry_after == pytest.approx(600, abs=30)
    assert len(server.requests) == 1


def test_another_account_is_not_held_up(server: EmbeddingServer) -> None:
    """The gate belongs to an account: another organisation on the same server goes on."""
    server.plan = lambda _, request: Throttle(600) if request.headers.get("openai-organization") == "slow" else None
    slow = _embedder(server, native_dimensions=64, organization="slow")
    with pytest.raises(RateLimited):
        slow.embed_query("x")
    assert _embedder(server, native_dimensions=64, organization="quick").embed_query("x").any()


# ── tokens ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_estimated_tokens_of_known_counts() -> None:
    """Against cl100k_base's own counts of ten repetitions: not one in a hundred too few, and not half too many."""
    counted = {
        "The service keeps an index in step with its documents. ": 111,
        "Die Wiederherstellung der Konsistenz erfordert möglichst geringe Aufwände. ": 221,
        "Система поддерживает векторный индекс в соответствии с документами. ": 261,
        "המערכת שומרת על אינדקס הווקטורים מסונכרן עם המסמכים. ": 571,
        "यह प्रणाली वेक्टर सूचकांक को दस्तावेज़ों के साथ समन्वयित रखती है। ": 661,
        "系统使向量索引与文档保持同步，并且只显示经过验证的结果。": 250,
        "👩‍👩‍👧‍👦🇩🇪👍🏽🎉 ": 322,
    }
    embedder = OpenAIEmbedder("text-embedding-3-small")
    for text, count in counted.items():
        (starts,) = embedder.token_starts([text * 10])
        assert 0.99 <= len(starts) / count <= 1.5, text


def test_tiktoken_counts_exactly_when_asked_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Its vocabulary is never downloaded behind the user's back: without the file the choice is an error."""
    tiktoken = pytest.importorskip("tiktoken")
    from regen.embedders import openai_tokens

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match="vocabulary cl100k_base is not on this machine"):
        OpenAIEmbedder("text-embedding-3-small", count_tokens="tiktoken")
    ranks = {bytes([byte]): byte for byte in range(256)} | {b" a": 256}
    tiny = tiktoken.Encoding("tiny", pat_str=r" ?\w+|.", mergeable_ranks=ranks, special_tokens={})
    monkeypatch.setattr(openai_tokens, "require_tiktoken", lambda: tiny)
    starts = openai_tokens.exact_starts(["x a é", ""])
    assert [found.tolist() for found in starts] == [[0, 1, 3, 4, 4], []]


def test_half_a_surrogate_pair_is_refused_here(server: EmbeddingServer) -> None:
    """A text that is no Unicode is refused before anything is sent."""
    with pytest.raises(TextRejected, match="not valid Unicode"):
        _embedder(server, native_dimensions=64).embed_documents(["fine", "x\ud800"])
    assert server.requests == []
