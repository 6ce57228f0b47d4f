"""http: the common forms of rerank APIs, against a server on this machine that misbehaves when told to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from regen import registry
from regen.errors import ConfigError, RerankerError
from regen.ports.reranking import Reranker
from regen.rerankers.http_api import HttpReranker
from regen.testing import rerank_server as wrong
from regen.testing.local_server import Fault, Hang, HangUp, Refuse, Spoil, Throttle
from regen.testing.rerank_server import RerankServer, score
from regen.testing.rerankers import QUERY, TEXTS, RerankerConformance

EXPECTED = np.array([score(QUERY, text) for text in TEXTS], dtype=np.float32)


@pytest.fixture
def server() -> Iterator[RerankServer]:
    """A server that behaves."""
    with RerankServer() as running:
        yield running


class TestHttp(RerankerConformance):
    @pytest.fixture(autouse=True)
    def _server(self, server: RerankServer) -> None:
        self.server = server

    def make_reranker(self) -> Reranker:
        """Make a reranker of the server, wrapped as an index has it."""
        return registry.make_reranker("http/test-model", {"url": self.server.url})


def ask(server: RerankServer, plan: Fault | None = None, **options: Any) -> Any:
    """Scores, or the error, of one call."""
    server.plan = lambda *_: plan
    reranker = HttpReranker.from_name("http/test-model", url=server.url, **options)
    try:
        return reranker.rerank(QUERY, TEXTS)
    finally:
        reranker.close()


def test_the_request_is_what_providers_take(server: RerankServer) -> None:
    """Model, query, all documents, and how many results: all of them."""
    np.testing.assert_array_equal(ask(server), EXPECTED)
    (request,) = server.requests
    assert request.body == {"model": "test-model", "query": QUERY, "documents": list(TEXTS), "top_n": len(TEXTS)}
    assert "authorization" not in request.headers


def test_the_form_of_text_embeddings_inference() -> None:
    """Texts instead of documents, a bare list as the answer, and no model."""
    with RerankServer(form="texts") as server:
        reranker = HttpReranker.from_name("http", url=server.url, form="texts")
        np.testing.assert_array_equal(reranker.rerank(QUERY, TEXTS), EXPECTED)
        reranker.close()
        assert server.requests[0].body["texts"] == list(TEXTS)
        assert "documents" not in server.requests[0].body


@pytest.mark.parametrize("name", ["results", "data"])
@pytest.mark.parametrize("ordered", [True, False])
def test_results_in_any_order_are_put_in_the_order_of_the_texts(name: str, ordered: bool) -> None:
    """What counts is each result's index, not its place."""
    with RerankServer(ordered=ordered, list_name=name) as server:
        np.testing.assert_array_equal(ask(server), EXPECTED)


def test_a_request_can_be_added_to(server: RerankServer) -> None:
    """What one provider wants besides is sent; null leaves a key out."""
    ask(server, extra={"return_documents": False, "top_n": None})
    assert server.requests[0].body["return_documents"] is False
    assert "top_n" not in server.requests[0].body


WRONG: list[tuple[str, Spoil, str]] = [
    ("truncated", wrong.truncated(2), "no score for 2 of 4 texts, the first of them"),
    ("empty", wrong.truncated(0), "no score for 4 of 4 texts, the first of them 0"),
    ("repeated", wrong.repeated(), "two scores for text 1"),
    ("misnumbered", wrong.misnumbered(), "a score for text 1001 of 4"),
    ("negative", wrong.misnumbered(-4), "a score for text -3 of 4"),
    ("without scores", wrong.without_scores(), "no index with a score"),
    ("words", wrong.scored("high"), "no index with a score"),
    ("NaN", wrong.scored(float("nan")), "no index with a score"),
    ("true", wrong.scored(True), "no index with a score"),
    ("half", wrong.broken_body(), "no JSON"),
    ("another answer", wrong.other_object(), "no list of results"),
    ("a number", Spoil(lambda _: b"42"), "no list of results"),
]


@pytest.mark.parametrize(("spoil", "message"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_nonsense_is_an_error(server: RerankServer, spoil: Spoil, message: str) -> None:
    """An answer that does not score every text once with a number orders nothing."""
    with pytest.raises(RerankerError, match=message):
        ask(server, spoil)


@pytest.mark.parametrize(
    ("fault", "message", "hint"),
    [
        (Refuse(401, "Incorrect key sk-123"), "status 401: access refused", "options.api_key_env"),
        (Refuse(404, "no such route"), "status 404: .*no such route", "the whole address"),
        (Refuse(500, "oh dear"), "status 500: .*oh dear", ""),
        (Throttle(), "status 429", "the account's limit"),
        (HangUp(), "cannot be reached: RemoteDisconnected", ""),
    ],
)
def test_refusals_say_what_and_where(server: RerankServer, fault: Fault, message: str, hint: str) -> None:
    """Status, place and a hint; what is said of a key is not repeated."""
    with pytest.raises(RerankerError, match=f"127.0.0.1:[0-9]+/v1/rerank.*{message}") as caught:
        ask(server, fault)
    assert hint in (caught.value.hint or "")
    assert "sk-123" not in str(caught.value)


def test_a_slow_server_is_given_up(server: RerankServer) -> None:
    """After the timeout there is an error, not a wait."""
    with pytest.raises(RerankerError, match=r"no answer in 0\.1 s"):
        ask(server, Hang(20.0), timeout=0.1)


def test_a_server_that_is_not_there() -> None:
    """The address is in the message, user and password are not."""
    with RerankServer() as server:
        url = server.url
    with pytest.raises(RerankerError, match="cannot be reached") as caught:
        HttpReranker.from_name("http", url=url.replace("http://", "http://ann:secret@")).rerank(QUERY, TEXTS)
    assert "secret" not in str(caught.value)


def test_the_connection_is_kept_and_replaced(server: RerankServer) -> None:
    """Calls share a connection; when the server has dropped it, the next call makes another without an error."""
    reranker = HttpReranker.from_name("http/test-model", url=server.url)
    for _ in range(3):
        reranker.rerank(QUERY, TEXTS)
    (idle,) = reranker._connections._idle
    assert idle.sock is not None
    idle.sock.shutdown(2)
    np.testing.assert_array_equal(reranker.rerank(QUERY, TEXTS), EXPECTED)
    reranker.close()
    assert reranker._connections._idle == []


def test_a_timeout_on_a_kept_connection_is_not_tried_again(server: RerankServer) -> None:
    """Only a connection that had died calls for a second one: a slow call is not made twice."""
    reranker = HttpReranker.from_name("http/test-model", url=server.url, timeout=0.2)
    reranker.rerank(QUERY, TEXTS)
    server.plan = lambda *_: Hang(20.0)
    with pytest.raises(RerankerError, match=r"no answer in 0\.2 s"):
        reranker.rerank(QUERY, TEXTS)
    reranker.close()
    assert len(server.requests) == 2


def test_the_key_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that is named holds it; without it no request is sent."""
    with RerankServer(api_key="sk-right") as server:
        with pytest.raises(ConfigError, match="REGEN_TEST_KEY, which should hold the key"):
            ask(server, api_key_env="REGEN_TEST_KEY")
        assert server.requests == []
        monkeypatch.setenv("REGEN_TEST_KEY", "sk-right")
        np.testing.assert_array_equal(ask(server, api_key_env="REGEN_TEST_KEY"), EXPECTED)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("http", {}, "url"),
        ("http", {"url": "localhost/rerank"}, "options.url is 'localhost/rerank'"),
        ("http", {"url": "http:///rerank"}, "options.url is"),
        ("http", {"url": "http://x/", "timeout": 0}, "options.timeout is 0"),
        ("http", {"url": "http://x/", "form": "passages"}, "options.form is 'passages'"),
        ("http/a", {"url": "http://x/", "model": "b"}, "say the model once"),
        ("http", {"url": "http://x/", "ulr": "y"}, "its options: url, model, api_key_env, timeout, form, extra"),
    ],
)
def test_wrong_settings(name: str, options: dict[str, Any], message: str) -> None:
    """What cannot be is said when the index is opened, not by a search."""
    with pytest.raises(ConfigError, match=message):
        registry.make_reranker(name, options)


def test_names_parse_back() -> None:
    """The model is part of the name, wherever it was said."""
    url = "http://localhost/rerank"
    assert registry.make_reranker("http/a/b", {"url": url}).name == "http/a/b"
    assert registry.make_reranker("http", {"url": url, "model": "a/b"}).name == "http/a/b"
    assert registry.make_reranker("http", {"url": url}).name == "http"
    assert json.dumps(repr(HttpReranker.from_name("http/m", url="http://u:pw@localhost/rerank"))).count("pw") == 0
