"""``http``: a rerank endpoint, in the forms that are in common use.

Cohere, Jina, vLLM and many others take ``{"model", "query", "documents", "top_n"}`` and answer
``{"results": [{"index", "relevance_score"}]}``; Text Embeddings Inference takes ``{"query", "texts"}`` and answers
``[{"index", "score"}]``. The answer's form is recognised; the request's is told by ``options.form``, and
``options.extra`` adds to it or, by a value of null, takes away.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, Final, Literal, get_args

import numpy as np

from regen.errors import ConfigError, RerankerError
from regen.ports.reranking import Scores
from regen.rerankers.endpoint import TIMEOUT, Connections, Endpoint

PREFIX: Final = "http"
Form = Literal["documents", "texts"]
LISTS: Final = ("results", "data", "scores")
SCORES: Final = ("relevance_score", "score")
SHOWN: Final = 200
_HINTS: Final = {
    401: "is the key right, and for this server? options.api_key_env names the variable that holds it",
    403: "may the key use this model?",
    404: "options.url is the whole address, usually ending in /rerank; is the model's name right?",
    413: "lower rerank.depth: the request is too large for the server",
    422: "a server of the form {query, texts} needs options.form: texts",
    429: "the account's limit is reached: search is answered in the store's order until it is not",
}


class HttpReranker:
    """Any HTTP rerank endpoint. Every text must be scored: an answer that leaves one out is an error."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        model: str | None = None,
        form: Form = "documents",
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if form not in get_args(Form):
            raise ConfigError(f"options.form is {form!r}", hint=f"one of {', '.join(get_args(Form))}")
        self._endpoint, self._model, self._form = endpoint, model, form
        self._extra = dict(extra or {})
        self._connections = Connections(endpoint)

    def __repr__(self) -> str:
        return f"HttpReranker({self.name!r}, {self._endpoint.place!r})"

    @classmethod
    def from_name(
        cls,
        name: str,
        *,
        url: str,
        model: str | None = None,
        api_key_env: str | None = None,
        timeout: float = TIMEOUT,
        form: Form = "documents",
        extra: Mapping[str, Any] | None = None,
    ) -> HttpReranker:
        """``http``, or ``http/<model>``: the model may be part of the name or an option. Raises ConfigError."""
        kind, _, named = name.partition("/")
        if kind != PREFIX or (named and model and named != model):
            raise ConfigError(f"{name!r} with options.model {model!r}", hint="say the model once: http/<model>")
        return cls(Endpoint(url, api_key_env, timeout), model=model or named or None, form=form, extra=extra)

    @property
    def name(self) -> str:
        """``http`` and the model, where one is named."""
        return f"{PREFIX}/{self._model}" if self._model else PREFIX

    def rerank(self, query: str, texts: Sequence[str]) -> Scores:
        """The endpoint's scores, in the order of ``texts``: shape (len(texts),). Raises RerankerError, ConfigError."""
        status, body = self._connections.post(json.dumps(self._request(query, texts)).encode())
        if status != 200:
            raise RerankerError(
                f"{self._endpoint.place}: status {status}: {_said(status, body)}", hint=_HINTS.get(status)
            )
        return self._scores(self._entries(body), len(texts))

    def close(self) -> None:
        """Close idle connections."""
        self._connections.close()

    def _request(self, query: str, texts: Sequence[str]) -> dict[str, Any]:
        if self._form == "texts":
            more: dict[str, Any] = {"texts": list(texts), "truncate": True}
        else:
            more = {"documents": list(texts), "top_n": len(texts)}
        asked = {"model": self._model, "query": query, **more, **self._extra}
        return {key: value for key, value in asked.items() if value is not None}

    def _entries(self, body: bytes) -> list[Any]:
        try:
            found = json.loads(body)
        except ValueError:
            raise self._nonsense(f"no JSON: {body[:SHOWN]!r}") from None
        if isinstance(found, Mapping):
            found = next((found[name] for name in LISTS if name in found), None)
        if not isinstance(found, list):
            raise self._nonsense("no list of results")
        return found

    def _scores(self, entries: list[Any], count: int) -> Scores:
        scores = np.full(count, np.nan, dtype=np.float32)
        for index, score in self._pairs(entries):
            if not 0 <= index < count:
                raise self._nonsense(f"a score for text {index} of {count}")
            if not np.isnan(scores[index]):
                raise self._nonsense(f"two scores for text {index}")
            scores[index] = score
        if missing := np.flatnonzero(np.isnan(scores)).tolist():
            raise self._nonsense(f"no score for {len(missing)} of {count} texts, the first of them {missing[0]}")
        return scores

    def _pairs(self, entries: list[Any]) -> Iterator[tuple[int, float]]:
        for entry in entries:
            index = entry.get("index") if isinstance(entry, Mapping) else None
            score = next((entry[name] for name in SCORES if name in entry), None) if index is not None else None
            if isinstance(index, bool) or not isinstance(index, int) or score is None or not _is_number(score):
                raise self._nonsense(f"no index with a score: {str(entry)[:SHOWN]}")
            yield index, score

    def _nonsense(self, what: str) -> RerankerError:
        return RerankerError(
            f"{self._endpoint.place} answered {what}",
            hint='expected {"results": [{"index": 0, "relevance_score": 0.9}, …]} with one entry for each text',
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _said(status: int, body: bytes) -> str:
    """What the server says; where access is refused it may quote the key, so that is not repeated."""
    return "access refused" if status in (401, 403) else body[:SHOWN].decode(errors="replace")
