"""Any object with embed_documents and embed_query becomes an embedder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regen.core.documents import Document
from regen.embedders.adapted import AdaptedEmbedder, adapt
from regen.embedders.hashing import HashingEmbedder
from regen.errors import ConfigError, EmbedderContract, EmbedderError, RateLimited, RegenError, TextRejected
from regen.index import Index


class Lists:
    """A model as LangChain has them: lists of floats; it counts its calls."""

    def __init__(self, error: Exception | None = None) -> None:
        self.queries = 0
        self.error = error

    def embed_documents(self, texts: list[str]) -> Any:
        """Return a list of lists."""
        if self.error:
            raise self.error
        return [[float(len(text)), 1.0, 2.0] for text in texts]

    def embed_query(self, text: str) -> Any:
        """Return a list."""
        self.queries += 1
        return [float(len(text)), 1.0, 2.0]


def test_lists_become_arrays() -> None:
    """Lists of floats become float32 arrays, and the name is the one that was given."""
    embedder = adapt(Lists(), "python:mine:Lists")
    vectors = embedder.embed_documents(("ab", "abcd"))
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[2.0, 1.0, 2.0], [4.0, 1.0, 2.0]]
    assert embedder.info.name == "python:mine:Lists"


def test_dimensions_are_probed_once() -> None:
    """Nothing is embedded until info is needed, then one query, however many threads ask."""
    inner = Lists()
    embedder = AdaptedEmbedder(inner, "mine")
    assert inner.queries == 0
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: embedder.info.dimensions, range(50)))
    assert set(found) == {3}
    assert inner.queries == 1


def test_stated_facts_are_honoured() -> None:
    """Dimensions and revision that object or caller state need no probe; an unset one (None) counts as unstated."""
    inner: Any = Lists()
    inner.dimensions, inner.revision = 3, "2024-01"
    info = AdaptedEmbedder(inner, "mine").info
    assert (info.dimensions, info.revision) == (3, "2024-01")
    assert AdaptedEmbedder(inner, "mine", dimensions=5).info.dimensions == 5
    assert inner.queries == 0
    inner.dimensions = None
    assert AdaptedEmbedder(inner, "mine").info.dimensions == 3


def test_own_tokens_are_used() -> None:
    """An object that counts tokens itself is believed; otherwise four characters of a word are one."""
    inner: Any = Lists()
    assert adapt(inner, "mine").token_starts(["abcdefgh xy"])[0].tolist() == [0, 4, 9]
    inner.token_starts = lambda texts: [[0, 2] for _ in texts]
    (starts,) = adapt(inner, "mine").token_starts(["abcdefgh xy"])
    assert starts.tolist() == [0, 2]
    assert starts.dtype == np.int64


def test_an_embedder_is_returned_as_it_is() -> None:
    """What already implements regen's protocol is not wrapped."""
    embedder = HashingEmbedder(8)
    assert adapt(embedder, "other name") is embedder


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (object(), "a object without embed_documents and embed_query"),
        (SimpleNamespace(embed_documents=len), "a SimpleNamespace without embed_query"),
        (Lists, "the class Lists, not an object of it"),
    ],
)
def test_other_objects_are_refused(wrong: object, message: str) -> None:
    """What has not the two methods is refused with what an embedder needs."""
    with pytest.raises(ConfigError, match=f"'mine' is .*{message}") as raised:
        adapt(wrong, "mine")
    assert "embed_documents(list[str])" in str(raised.value)


@pytest.mark.parametrize("answer", [[[1.0, 2.0], [1.0]], [["x"]], [1.0, 2.0], None])
def test_answers_that_are_no_matrix(answer: Any) -> None:
    """Ragged lists, strings or a flat list break the contract instead of becoming something else."""
    inner: Any = SimpleNamespace(embed_documents=lambda texts: answer, embed_query=lambda text: [1.0, 2.0])
    with pytest.raises(EmbedderContract, match="mine: embed_documents returned"):
        adapt(inner, "mine").embed_documents(["a", "b"])


class VendorError(Exception):
    """An error as HTTP clients raise them."""

    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.response = SimpleNamespace(status_code=status, headers=headers or {})


class APIConnectionError(Exception):
    """A vendor's own connection error, which is no ConnectionError."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (VendorError(429), RateLimited),
        (VendorError(400), TextRejected),
        (VendorError(413), TextRejected),
        (ValueError("text is too long"), TextRejected),
        (VendorError(503), ConnectionError),
        (APIConnectionError("reset"), ConnectionError),
        (VendorError(401), EmbedderError),
        (KeyError("bug"), EmbedderError),
    ],
)
def test_vendors_errors_are_translated(error: Exception, expected: type[Exception]) -> None:
    """Each kind of failure becomes the error by which the engine decides; the cause and the model's name are kept."""
    with pytest.raises(expected, match="mine: ") as raised:
        adapt(Lists(error), "mine").embed_documents(["a"])
    assert type(raised.value) is expected
    assert raised.value.__cause__ is error


def test_the_providers_wait_is_read() -> None:
    """The retry-after header becomes retry_after, in seconds; a date is left to the usual back-off."""
    for header, seconds in (("7.5", 7.5), ("Wed, 21 Oct 2026 07:28:00 GMT", None)):
        with pytest.raises(RateLimited) as raised:
            adapt(Lists(VendorError(429, {"retry-after": header})), "mine").embed_documents(["a"])
        assert raised.value.retry_after == seconds


def test_regens_own_errors_pass() -> None:
    """An object that raises regen's errors is not translated."""
    error: RegenError = TextRejected("mine")
    with pytest.raises(TextRejected) as raised:
        adapt(Lists(error), "mine").embed_documents(["a"])
    assert raised.value is error


@pytest.mark.parametrize("attribute", ["model_name", "model", "model_id"])
def test_another_model_of_one_class_is_another_space(tmp_path: Path, attribute: str) -> None:
    """Of the same class and size: nothing is mixed, the index goes on with its own and a second generation is built."""
    first, second = Lists(), Lists()
    setattr(first, attribute, "small")
    setattr(second, attribute, "large")
    given: Any = {"store": "memory://", "catalog": "sqlite://"}
    spaces = {Index(embedder=one, **given).recipe.space for one in (first, second, first)}
    assert len(spaces) == 2
    assert Index(embedder=first, **given).recipe.embedding.model == "Lists/small"
    placed: Any = {"store": "lancedb://vectors", "catalog": "sqlite:///catalog.db", "root": tmp_path}
    with Index(embedder=first, **placed) as index:
        index.upsert([Document("a", "some text"), Document("b", "more")])
    with Index(embedder=second, models={"Lists/small": first}, **placed) as index:
        assert index.plan().totals.texts_to_embed == 2
        index.apply()
        assert [item.recipe.embedding.model for item in index._catalog.generations()] == ["Lists/small", "Lists/large"]
