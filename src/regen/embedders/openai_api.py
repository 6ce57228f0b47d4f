"""``openai/<model>[@dimensions]``: OpenAI, and any server that speaks its embeddings API.

``openai/text-embedding-3-large@256`` asks for vectors of 256 dimensions; what is asked is part of the name, because it
is part of what a vector is. Where the server is (``options.base_url``) is not: set ``embedding.revision`` when two
servers give different models one name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from regen.embedders.gate import Gate, gate_of
from regen.embedders.known_models import KnownModel, find_known
from regen.embedders.openai_answers import Answer, read_answer
from regen.embedders.openai_faults import translated
from regen.embedders.openai_tokens import estimated_starts, exact_starts, require_tiktoken
from regen.errors import ConfigError, EmbedderContract, EmbedderError, RateLimited, TextRejected
from regen.openai_service import KEY, Endpoint
from regen.ports import ModelInfo, Vector, Vectors

if TYPE_CHECKING:
    from openai import OpenAI

PREFIX: Final = "openai/"
PROBE: Final = "regen probes how many dimensions this model has"
PROBES: Final = 4
CONCURRENCY: Final = 8

Encoding = Literal["base64", "float"]
Count = Literal["estimate", "tiktoken"]

_SIZED: Final = re.compile(r"(.+)@([1-9][0-9]*)")


class OpenAIEmbedder:
    """Vectors from an embeddings API. Thread-safe; loaded and connected when first used.

    One call is one request: nothing is retried here. When the provider asks to wait, every thread and every embedder on
    the same account waits (see :class:`regen.embedders.gate.Gate`). An empty text gets the zero vector and is not sent.
    """

    def __init__(
        self,
        model: str,
        endpoint: Endpoint | None = None,
        *,
        dimensions: int | None = None,
        native_dimensions: int | None = None,
        encoding_format: Encoding = "base64",
        count_tokens: Count = "estimate",
        max_tokens: int | None = None,
        max_batch_texts: int | None = None,
        max_batch_tokens: int | None = None,
    ) -> None:
        """See docs/reference/embedders.md for the options. Raises ConfigError; asks no server and needs no key yet."""
        _require_choice("encoding_format", encoding_format, get_args(Encoding))
        _require_choice("count_tokens", count_tokens, get_args(Count))
        if count_tokens == "tiktoken":
            require_tiktoken()
        _require_counts(
            dimensions=dimensions,
            native_dimensions=native_dimensions,
            max_tokens=max_tokens,
            max_batch_texts=max_batch_texts,
            max_batch_tokens=max_batch_tokens,
        )
        self._endpoint = endpoint or Endpoint()
        self._model, asked = _split(model, dimensions)
        self._known = find_known(self._model)
        self._native = native_dimensions or (self._known.dimensions if self._known else None)
        self._asked = _possible(asked, self._native, self._known, self._model)
        self._encoding, self._count = encoding_format, count_tokens
        self._max_tokens = max_tokens or (self._known.max_tokens if self._known else None)
        self._max_texts = max_batch_texts or (2048 if self._endpoint.official else 256)
        self._max_batch_tokens = max_batch_tokens or (250_000 if self._endpoint.official else 65_536)
        self._lock = Lock()
        self._probing = Lock()
        self._info: ModelInfo | None = None
        self._open: tuple[OpenAI, Gate] | None = None
        self._served: str | None = None
        self._billed = 0

    def __repr__(self) -> str:
        return f"OpenAIEmbedder({self._name!r}, {self._endpoint.place})"

    @classmethod
    def from_name(  # noqa: PLR0913 - spelled out, so that a wrong option is told with the valid ones
        cls,
        name: str,
        *,
        base_url: str | None = None,
        api_key_env: str | None = None,
        dimensions: int | None = None,
        native_dimensions: int | None = None,
        organization: str | None = None,
        project: str | None = None,
        timeout: float = 60.0,
        encoding_format: Encoding = "base64",
        count_tokens: Count = "estimate",
        max_tokens: int | None = None,
        max_batch_texts: int | None = None,
        max_batch_tokens: int | None = None,
    ) -> OpenAIEmbedder:
        """Read ``openai/text-embedding-3-small`` or ``openai/text-embedding-3-small@512`` back. Raises ConfigError."""
        model = name.removeprefix(PREFIX)
        if model == name or not model:
            raise ConfigError(f"{name!r} names no model of an OpenAI-style API", hint=f"{PREFIX}text-embedding-3-small")
        return cls(
            model,
            Endpoint(base_url, api_key_env, organization, project, timeout),
            dimensions=dimensions,
            native_dimensions=native_dimensions,
            encoding_format=encoding_format,
            count_tokens=count_tokens,
            max_tokens=max_tokens,
            max_batch_texts=max_batch_texts,
            max_batch_tokens=max_batch_tokens,
        )

    @property
    def info(self) -> ModelInfo:
        """Constant. The first access embeds one short text when nobody knows how many dimensions the model has."""
        if self._info is None:
            with self._probing:
                if self._info is None:
                    self._info = self._described(self._asked or self._native or self._probed())
        return self._info

    @property
    def served_model(self) -> str | None:
        """The model that the server said it used, None before the first answer."""
        return self._served

    @property
    def billed_tokens(self) -> int:
        """The tokens that the server counted so far, in all answers."""
        return self._billed

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dimensions), float32.

        One request, or as many as it takes to keep to ``info.max_batch_texts`` and ``info.max_batch_tokens``.
        """
        vectors = np.zeros((len(texts), self.info.dimensions), dtype=np.float32)
        for rows in self._parts(texts):
            vectors[rows] = self._checked(self._request([texts[row] for row in rows])).vectors
        return vectors

    def embed_query(self, text: str) -> Vector:
        """Return what :meth:`embed_documents` gives for the text: the API knows no difference."""
        vector: Vector = self.embed_documents([text])[0]
        return vector

    def token_starts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Estimated tokens, see :mod:`regen.embedders.openai_tokens`, or tiktoken's if ``count_tokens`` says so."""
        return exact_starts(texts) if self._count == "tiktoken" else estimated_starts(texts)

    def close(self) -> None:
        """Close the connections. The embedder opens new ones when it is used again."""
        with self._lock:
            opened, self._open = self._open, None
        if opened is not None:
            opened[0].close()

    @property
    def _name(self) -> str:
        return PREFIX + self._model + (f"@{self._asked}" if self._asked else "")

    @property
    def _what(self) -> str:
        return f"{self._model} at {self._endpoint.place}"

    def _described(self, dimensions: int) -> ModelInfo:
        known = self._known or KnownModel(dimensions, 0)
        return ModelInfo(
            name=self._name,
            dimensions=dimensions,
            max_tokens=self._max_tokens,
            max_batch_texts=self._max_texts,
            max_batch_tokens=self._max_batch_tokens,
            document_prefix=known.document_prefix,
            query_prefix=known.query_prefix,
            matryoshka=tuple(size for size in known.matryoshka if size <= dimensions),
            price_per_million_tokens=known.price,
            concurrency=CONCURRENCY,
        )

    def _probed(self) -> int:
        """How many dimensions the server's vectors have; waits when the server asks to."""
        for attempt in range(1, PROBES + 1):
            try:
                return int(self._request([PROBE]).vectors.shape[1])
            except RateLimited:
                if attempt == PROBES:
                    raise
            except OSError as error:
                raise EmbedderError(
                    f"how many dimensions {self._model} has cannot be found out: {error}",
                    hint="state embedding.options.native_dimensions, and the server is not asked",
                ) from None
        raise AssertionError("the last attempt returns or raises")

    def _parts(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Rows of texts that go into one request; empty texts go into none."""
        for text in texts:
            _require_unicode(text)
        rows = [row for row, text in enumerate(texts) if text]
        counts = self._counts([texts[row] for row in rows])
        part: list[int] = []
        total = 0
        for row, count in zip(rows, counts, strict=True):
            if part and (len(part) >= self._max_texts or total + count > self._max_batch_tokens):
                yield part
                part, total = [], 0
            part.append(row)
            total += count
        if part:
            yield part

    def _counts(self, texts: list[str]) -> list[int]:
        sizes = [len(text.encode()) for text in texts]
        if sum(sizes) <= self._max_batch_tokens:
            return sizes  # no token is shorter than a byte: it fits, without counting
        return [len(starts) for starts in self.token_starts(texts)]

    def _request(self, texts: list[str]) -> Answer:
        client, gate = self._opened()
        from openai import APIError  # noqa: PLC0415 - loaded by now

        size: Any = {"dimensions": self._asked} if self._asked else {}
        with gate.passage():
            try:
                response = client.embeddings.with_raw_response.create(
                    model=self._model, input=texts, encoding_format=self._encoding, **size
                )
            except APIError as error:
                key = self._endpoint.api_key_env or KEY
                raise translated(error, what=self._what, key=key, secret=client.api_key) from None
        answer = read_answer(response.http_response.content, len(texts), self._what)
        self._note(answer)
        return answer

    def _opened(self) -> tuple[OpenAI, Gate]:
        with self._lock:
            if self._open is None:
                self._open = self._endpoint.client(), gate_of(self._endpoint.account())
            return self._open

    def _note(self, answer: Answer) -> None:
        """Notice a model that is another than before, or a known one that is not the asked one (I10)."""
        with self._lock:
            self._billed += answer.tokens
            self._served = before = self._served or answer.model or None
        if not answer.model:
            return
        other = find_known(answer.model)
        if answer.model != before or (self._known and other and other != self._known):
            raise EmbedderContract(
                f"{self._what}: the server says that it used {answer.model!r}"
                + (f", and {before!r} before" if answer.model != before else ""),
                hint="vectors of two models cannot be compared: fix the server's routing, or name the model it uses",
            )

    def _checked(self, answer: Answer) -> Answer:
        found, expected = answer.vectors.shape[1], self.info.dimensions
        if found != expected:
            raise EmbedderContract(
                f"{self._what}: vectors of {found} dimensions instead of {expected}",
                hint="was the model changed behind its name, or does the server ignore `dimensions`?"
                if self._asked
                else f"state embedding.options.native_dimensions: {found}, if that is what this model has",
            )
        return answer


def _split(model: str, dimensions: int | None) -> tuple[str, int | None]:
    """The model's own name, and the dimensions that its name or the option asks for."""
    sized = _SIZED.fullmatch(model)
    name, asked = (sized[1], int(sized[2])) if sized else (model, None)
    if asked and dimensions and asked != dimensions:
        raise ConfigError(f"{PREFIX}{model} asks for {asked} dimensions, options.dimensions for {dimensions}")
    return name, asked or dimensions


def _possible(asked: int | None, native: int | None, known: KnownModel | None, model: str) -> int | None:
    """The dimensions to ask the server for, None for the model's own. Raises ConfigError for those it cannot have."""
    if asked is None or asked == native:
        return None
    if native is not None and asked > native:
        raise ConfigError(f"{PREFIX}{model} has {native} dimensions, not {asked}", hint=f"from 1 to {native}")
    if known is not None and not known.matryoshka:
        raise ConfigError(
            f"{PREFIX}{model} cannot be shortened to {asked} dimensions: it has {known.dimensions}",
            hint="leave dimensions out, or take a model that was trained to be shortened",
        )
    return asked


def _require_choice(option: str, value: object, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise ConfigError(f"options.{option} is {value!r}", hint=f"one of {', '.join(valid)}")


def _require_counts(**options: object) -> None:
    for option, value in options.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ConfigError(f"options.{option} is {value!r}", hint="a whole number from 1")


def _require_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TextRejected(
            f"a text is not valid Unicode: {error.reason} at character {error.start}",
            hint="it holds half of a surrogate pair; remove or replace it",
        ) from None
