"""A small server on this machine that speaks OpenAI's embeddings API, and misbehaves when told to.

    with EmbeddingServer() as server:
        embedder = OpenAIEmbedder("test-model", Endpoint(server.base_url))

Vectors are deterministic. What can go wrong is in :mod:`regen.testing.local_server`; here is what embeddings add.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np

from regen.embedders.hashing import HashingEmbedder
from regen.embedders.tokens import approximate_starts
from regen.ports import Vectors
from regen.testing.local_server import (
    Fault,
    Hang,
    HangUp,
    LocalServer,
    Plan,
    Received,
    Refuse,
    Reply,
    Spoil,
    Throttle,
    error_reply,
)

__all__ = [
    "MODEL", "EmbeddingServer", "Fault", "Hang", "HangUp", "Plan", "Received", "Refuse", "Spoil", "Throttle",
    "reordered", "served_as", "truncated",
]  # fmt: skip

MODEL: Final = "test-model"


def reordered() -> Spoil:
    """The vectors in reverse order, their ``index`` still true."""
    return Spoil(lambda answer: answer | {"data": answer["data"][::-1]})


def truncated(drop: int = 1) -> Spoil:
    """Fewer vectors than texts."""
    return Spoil(lambda answer: answer | {"data": answer["data"][: len(answer["data"]) - drop]})


def served_as(model: str) -> Spoil:
    """Another model than the one that was asked."""
    return Spoil(lambda answer: answer | {"model": model})


@dataclass
class EmbeddingServer(LocalServer):
    """The server; started by ``with``. It refuses what OpenAI refuses: empty texts, too many or too long ones.

    With ``api_key`` other keys get 401. ``models`` are the names it knows. ``vectors`` makes vectors of shape
    (texts, n), by hashing into 64 dimensions if not given; ``dimensions`` in a request cuts and rescales them.
    """

    path: ClassVar[str] = "/v1/embeddings"

    vectors: Callable[[Sequence[str]], Vectors] = field(default_factory=lambda: HashingEmbedder(64).embed_documents)
    max_texts: int = 2048
    max_tokens: int = 8191
    max_request_tokens: int = 300_000

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tokens = 0

    @property
    def paid_texts(self) -> list[str]:
        """Every text that was answered with a vector, as often as it was."""
        return [text for request in self.requests if request.status == 200 for text in request.texts]

    def refusal(self, request: Received) -> Reply | None:
        """What OpenAI would refuse."""
        counts = [len(starts) for starts in approximate_starts(request.texts)]
        if not counts or len(counts) > self.max_texts or not all(request.texts):
            return error_reply(400, f"input must be 1 to {self.max_texts} texts, none of them empty", "input")
        if max(counts) > self.max_tokens:
            return error_reply(400, f"This model's maximum context length is {self.max_tokens} tokens", "input")
        if sum(counts) > self.max_request_tokens:
            return error_reply(400, f"Requested {sum(counts)} tokens, max {self.max_request_tokens} a request", "input")
        return None

    def answered(self, request: Received) -> dict[str, Any]:
        """The vectors of the texts."""
        vectors = self.vectors(request.texts)
        if asked := request.body.get("dimensions"):
            vectors = vectors[:, :asked]
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        tokens = sum(map(len, approximate_starts(request.texts)))
        with self._lock:
            self.tokens += tokens
        packed = request.body.get("encoding_format") == "base64"
        rows = vectors.astype("<f4")
        return {
            "object": "list",
            "model": request.body["model"],
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": base64.b64encode(row.tobytes()).decode() if packed else row.tolist(),
                }
                for index, row in enumerate(rows)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
