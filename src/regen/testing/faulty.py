"""An embedder that fails on plan: faults are injected, not waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regen.ports import Embedder, ModelInfo, Vector, Vectors

Fault: TypeAlias = Literal["wrong_count", "wrong_dimensions", "nan", "infinity", "zero"]
FaultPlan: TypeAlias = Callable[[int, Sequence[str]], "Exception | Fault | None"]
"""(number of the call from 0, its texts) -> what goes wrong: an exception, a way to spoil the answer, or None."""


class FaultyEmbedder:
    """Asks ``plan`` before each call what goes wrong in it. Queries are calls of one text. Thread-safe.

    ``wrong_count`` drops the last row, ``wrong_dimensions`` the last column; ``nan``, ``infinity`` and ``zero`` spoil
    the first row. ``calls`` holds the texts of every call, failed ones too, in the order in which they began.
    """

    def __init__(self, inner: Embedder, plan: FaultPlan) -> None:
        self.inner = inner
        self.plan = plan
        self.calls: list[tuple[str, ...]] = []
        self._lock = Lock()

    @property
    def info(self) -> ModelInfo:
        """What the embedder inside says of itself."""
        return self.inner.info

    @property
    def texts(self) -> list[str]:
        """All texts that were ever sent, in order, as often as they were sent."""
        with self._lock:
            return [text for call in self.calls for text in call]

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed, fail or answer wrongly, as planned."""
        fault = self._next(texts)
        vectors = self.inner.embed_documents(texts)
        return vectors if fault is None else _spoiled(vectors, fault)

    def embed_query(self, text: str) -> Vector:
        """Embed, fail or answer wrongly, as planned; a query has no count to be wrong."""
        fault = self._next([text])
        vector = self.inner.embed_query(text)
        if fault is None or fault == "wrong_count":
            return vector
        spoiled: Vector = _spoiled(vector[None, :], fault)[0]
        return spoiled

    def token_starts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Count tokens; that never fails."""
        return self.inner.token_starts(texts)

    def _next(self, texts: Sequence[str]) -> Fault | None:
        with self._lock:
            number = len(self.calls)
            self.calls.append(tuple(texts))
        fault = self.plan(number, texts)
        if isinstance(fault, Exception):
            raise fault
        return fault


def _spoiled(vectors: Vectors, fault: Fault) -> Vectors:
    match fault:
        case "wrong_count":
            return vectors[:-1]
        case "wrong_dimensions":
            return vectors[:, :-1]
        case "nan" | "infinity" | "zero":
            spoiled = vectors.copy()
            spoiled[:1] = {"nan": np.nan, "infinity": np.inf, "zero": 0.0}[fault]
            return spoiled
