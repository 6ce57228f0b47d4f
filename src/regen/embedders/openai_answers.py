"""Reads the answer of an embeddings call strictly: one vector a text, in the texts' order, of one length."""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from regen.errors import EmbedderContract
from regen.ports import Vectors


@dataclass(frozen=True, slots=True)
class Answer:
    """Vectors of shape (texts, dimensions), the model that the server says it used, and the tokens that it counted."""

    vectors: Vectors
    model: str
    tokens: int


def read_answer(body: bytes, texts: int, what: str) -> Answer:
    """The vectors of so many texts, put in order by their ``index``. Raises EmbedderContract."""
    answer = _parsed(body, what)
    items = answer.get("data")
    if not isinstance(items, list) or not all(isinstance(item, dict) and "embedding" in item for item in items):
        raise EmbedderContract(f"{what}: the answer holds no list of embeddings", hint=_NOT_IT)
    rows = [_vector(item["embedding"], what) for item in _ordered(items, texts, what)]
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise EmbedderContract(f"{what}: one answer holds vectors of {sorted(lengths)} dimensions")
    usage = answer.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    model = answer.get("model")
    return Answer(
        np.stack(rows).astype(np.float32, copy=False),
        model if isinstance(model, str) else "",
        tokens if isinstance(tokens, int) else 0,
    )


_NOT_IT = "does options.base_url point at an OpenAI-style API? It usually ends in /v1"


def _parsed(body: bytes, what: str) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise EmbedderContract(f"{what}: the answer is no JSON: {body[:80]!r}", hint=_NOT_IT) from None
    if not isinstance(answer, dict):
        raise EmbedderContract(f"{what}: the answer is a {type(answer).__name__}, not an object", hint=_NOT_IT)
    return answer


def _ordered(items: list[dict[str, Any]], texts: int, what: str) -> list[dict[str, Any]]:
    if len(items) != texts:
        raise EmbedderContract(
            f"{what}: {len(items)} vectors for {texts} texts",
            hint="a server that takes fewer texts a call: set embedding.options.max_batch_texts",
        )
    if all("index" not in item for item in items):
        return items  # a server that numbers nothing answers in order
    places = [item.get("index") for item in items]
    if set(places) != set(range(texts)):
        raise EmbedderContract(f"{what}: {texts} vectors numbered {_some(places)} instead of 0 to {texts - 1}")
    return sorted(items, key=lambda item: int(item["index"]))


def _some(places: list[Any]) -> str:
    return ", ".join(map(str, places[:8])) + (", …" if len(places) > 8 else "")


def _vector(embedding: object, what: str) -> NDArray[np.float32]:
    """One vector, from base64 of little-endian float32 or from a list of numbers."""
    try:
        if isinstance(embedding, str):
            vector = np.frombuffer(b64decode(embedding, validate=True), dtype="<f4")
        else:
            vector = np.asarray(embedding, dtype=np.float32)
    except (binascii.Error, TypeError, ValueError) as error:
        raise EmbedderContract(f"{what}: an embedding is neither base64 nor a list of numbers: {error}") from None
    if vector.ndim != 1 or not vector.size:
        raise EmbedderContract(f"{what}: an embedding is an array of shape {vector.shape}, not one vector")
    return vector.astype(np.float32, copy=False)
