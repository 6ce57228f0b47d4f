"""Makes an embedder of any object with ``embed_documents`` and ``embed_query``, such as LangChain's ``Embeddings``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from regen.embedders.tokens import approximate_starts
from regen.errors import ConfigError, EmbedderContract, EmbedderError, RateLimited, RegenError, TextRejected
from regen.ports import Embedder, ModelInfo, Vector, Vectors

PROBE: Final = "regen probes how many dimensions this model has"
METHODS: Final = ("embed_documents", "embed_query")

TOO_MANY_REQUESTS: Final = 429
REFUSED: Final = (400, 413, 422)


def adapt(obj: object, name: str, *, dimensions: int | None = None) -> Embedder:
    """Return ``obj`` itself if it is an embedder by regen's protocol, else wrapped in :class:`AdaptedEmbedder`.

    Raises ConfigError for an object that is no embedder of either kind.
    """
    if isinstance(obj, Embedder) and isinstance(obj.info, ModelInfo):
        return obj
    return AdaptedEmbedder(obj, name, dimensions=dimensions)


class AdaptedEmbedder:
    """Any object with ``embed_documents(list[str])`` and ``embed_query(str)`` as an embedder.

    What the object has of ``info``, ``dimensions``, ``revision`` and ``token_starts`` is honoured; dimensions that
    nobody states are found by embedding one short query, when ``info`` is first needed. Without ``token_starts`` tokens
    are approximated as four characters of a word.

    Errors are translated: status 429 becomes RateLimited; 400, 413, 422 and ValueError become TextRejected; lost
    connections, time-outs and the server's own errors (5xx) ConnectionError, which is retried; others EmbedderError.
    """

    def __init__(self, obj: object, name: str, *, dimensions: int | None = None) -> None:
        _require_methods(obj, name)
        self._object: Any = obj
        self._name = name
        self._dimensions = dimensions
        self._info: ModelInfo | None = None
        self._probing = Lock()

    def __repr__(self) -> str:
        return f"AdaptedEmbedder({self._object!r}, {self._name!r})"

    @property
    def info(self) -> ModelInfo:
        """Constant. The first access embeds a probe query when neither object nor caller states the dimensions."""
        if self._info is None:
            with self._probing:
                self._info = self._known() or self._discover()
        return self._info

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors as a float32 array of shape (len(texts), dimensions)."""
        if not texts:
            return np.empty((0, self.info.dimensions), dtype=np.float32)
        with self._translated():
            answer = self._object.embed_documents(list(texts))
        return self._array(answer, 2, "embed_documents")

    def embed_query(self, text: str) -> Vector:
        """Return the query's vector as a float32 array of shape (dimensions,)."""
        with self._translated():
            answer = self._object.embed_query(text)
        return self._array(answer, 1, "embed_query")

    def token_starts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Tokens by the object's own count if it has one, else approximate ones."""
        own: Callable[[list[str]], Sequence[Sequence[int]]] | None = getattr(self._object, "token_starts", None)
        if own is None:
            return approximate_starts(texts)
        return [np.asarray(starts, dtype=np.int64) for starts in own(list(texts))]

    def _known(self) -> ModelInfo | None:
        return self._info

    def _discover(self) -> ModelInfo:
        stated = getattr(self._object, "info", None)
        if isinstance(stated, ModelInfo):
            return stated
        return ModelInfo(
            name=self._name,
            dimensions=self._dimensions or self._stated_dimensions() or len(self.embed_query(PROBE)),
            revision=str(getattr(self._object, "revision", None) or ""),
        )

    def _stated_dimensions(self) -> int | None:
        stated = getattr(self._object, "dimensions", None)  # None, for example, where OpenAI's default is meant
        return stated if isinstance(stated, int) and stated > 0 else None

    def _array(self, answer: object, axes: int, call: str) -> NDArray[np.float32]:
        try:
            array = np.asarray(answer, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise EmbedderContract(
                f"{self._name}: {call} returned a {type(answer).__name__} that is no array of numbers: {error}",
                hint="every vector must be a list of as many floats",
            ) from None
        if array.ndim != axes:
            raise EmbedderContract(
                f"{self._name}: {call} returned an array of shape {array.shape}; expected {axes} axes",
                hint="embed_documents returns one vector a text, embed_query one vector",
            )
        return array

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (RegenError, ConnectionError, TimeoutError, MemoryError):
            raise
        except Exception as error:
            raise _translation(self._name, error) from error


def _require_methods(obj: object, name: str) -> None:
    hint = "an embedder has embed_documents(list[str]) -> one vector a text, and embed_query(str) -> one vector"
    if isinstance(obj, type):
        raise ConfigError(f"{name!r} is the class {obj.__name__}, not an object of it", hint=hint)
    missing = [method for method in METHODS if not callable(getattr(obj, method, None))]
    if missing:
        raise ConfigError(f"{name!r} is no embedder: a {type(obj).__name__} without {' and '.join(missing)}", hint=hint)


def _translation(name: str, error: Exception) -> Exception:
    """Tell by what vendors' errors have in common what an error means; no vendor is imported for it."""
    status = _status(error)
    message = f"{name}: {type(error).__name__}: {error}"
    kind = type(error).__name__
    if status == TOO_MANY_REQUESTS or "RateLimit" in kind:
        return RateLimited(message, retry_after=_retry_after(error))
    if (status is not None and status >= 500) or "Timeout" in kind or "Connect" in kind:
        return ConnectionError(message)
    if status in REFUSED or isinstance(error, ValueError):
        return TextRejected(message)
    return EmbedderError(message)


def _status(error: Exception) -> int | None:
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _retry_after(error: Exception) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        return max(0.0, float(headers["retry-after"]))
    except (KeyError, TypeError, ValueError):
        return None  # absent, or a date: the usual back-off applies
