"""A small server on this machine that speaks the common forms of rerank APIs, and misbehaves when told to.

    with RerankServer() as server:
        reranker = HttpReranker.from_name("http/test-model", url=server.url)

It scores a text by the share of the query's words that it has; best first, as providers answer. What can go wrong with
any server is in :mod:`regen.testing.local_server`; here is what only a reranker can get wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from regen.testing.local_server import LocalServer, Received, Reply, Spoil, error_reply


def score(query: str, text: str) -> float:
    """The share of the query's words that a text has, 0 to 1; of equal ones the shorter text is better."""
    wanted, had = set(query.casefold().split()), set(text.casefold().split())
    return len(wanted & had) / max(1, len(wanted)) - len(text) * 1e-7


def truncated(keep: int) -> Spoil:
    """Only the best results, although all were asked for."""
    return _entries(lambda entries: entries[:keep])


def repeated() -> Spoil:
    """The first result twice, in the place of the last."""
    return _entries(lambda entries: [entries[0], *entries[:-1]])


def misnumbered(by: int = 1000) -> Spoil:
    """Indices that no text has."""
    return _entries(lambda entries: [entry | {"index": entry["index"] + by} for entry in entries])


def without_scores() -> Spoil:
    """Results that name texts and say nothing of them."""
    return _entries(lambda entries: [{"index": entry["index"]} for entry in entries])


def scored(value: Any) -> Spoil:
    """Results whose scores are all this: words, null, NaN."""
    return _entries(lambda entries: [{"index": entry["index"], "relevance_score": value} for entry in entries])


def broken_body() -> Spoil:
    """Half an answer, which is no JSON."""
    return Spoil(lambda answer: json.dumps(answer).encode()[:25])


def other_object() -> Spoil:
    """A well-formed answer to another question."""
    return Spoil(lambda _: {"choices": [{"text": "As a language model, …"}]})


def _entries(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Spoil:
    def spoil(answer: dict[str, Any]) -> dict[str, Any] | bytes:
        name = next(iter(answer))
        return answer | {name: change(answer[name])}

    return Spoil(spoil)


@dataclass
class RerankServer(LocalServer):
    """The server; started by ``with``. ``form`` is the API that it speaks: of Cohere and Jina, or of TEI.

    ``ordered`` answers best first, as providers do; without it, last text first.
    """

    path: ClassVar[str] = "/v1/rerank"

    form: Literal["documents", "texts"] = "documents"
    ordered: bool = True
    list_name: str = "results"

    @property
    def url(self) -> str:
        """What ``options.url`` takes."""
        return f"{self.base_url}/rerank"

    def refusal(self, request: Received) -> Reply | None:
        """What such a server refuses."""
        texts = request.body.get(self.form)
        if not isinstance(request.body.get("query"), str) or not isinstance(texts, list) or not texts:
            return error_reply(422, f"query and {self.form} are required")
        return None

    def answered(self, request: Received) -> dict[str, Any]:
        """One entry for each text."""
        texts, query = request.body[self.form], request.body["query"]
        name = "relevance_score" if self.form == "documents" else "score"
        entries = [{"index": at, name: score(query, text)} for at, text in enumerate(texts)]
        entries = sorted(entries, key=lambda entry: -entry[name]) if self.ordered else entries[::-1]
        return {self.list_name: entries}

    def answer(self, request: Received) -> Reply | None:
        """TEI answers the bare list, and knows no models."""
        if self.form == "texts":
            request.body.setdefault("model", self.models[0])
        reply = super().answer(request)
        if reply is None or self.form == "documents" or reply.status != 200:
            return reply
        try:
            found = json.loads(reply.body)
        except ValueError:
            return reply
        return Reply(200, json.dumps(found.get(self.list_name, found)).encode())
