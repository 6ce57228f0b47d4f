"""bi-encoder/…, python:…, and what holds any reranker to its contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regen import registry
from regen.core.recipe import Embedding, Metric, Precision, Recipe
from regen.embedders.cached import EmbeddingCache
from regen.embedders.hashing import HashingEmbedder
from regen.errors import ConfigError, RegenError, RerankerError
from regen.ports import Vectors
from regen.ports.reranking import Encoder, Reranker
from regen.spaces.vectors import normalize
from regen.testing.rerankers import QUERY, TEXTS, RerankerConformance


class Counting(HashingEmbedder):
    """A hashing embedder that remembers what it was asked to embed, and gives one text no usable vector."""

    def __init__(self, dimensions: int = 64) -> None:
        super().__init__(dimensions)
        self.asked: list[str] = []

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """As the hashing embedder."""
        self.asked += [text for text in texts if not text.startswith("query ")]
        found = super().embed_documents(texts).copy()
        found[[at for at, text in enumerate(texts) if "broken" in text]] = np.nan
        return found


def encoder(embedder: Any = None, cache: Any = None, *, pay: Any = None, **recipe: Any) -> Encoder:
    """A model with prefixes."""
    embedder = embedder or Counting()
    part = {key: recipe.pop(key) for key in list(recipe) if key != "metric"}
    made = Embedding(embedder.info.name, 64, document_prefix="passage ", query_prefix="query ", **part)
    return Encoder(embedder, Recipe(made, **recipe), cache, pay)


def bi_encoder(given: Encoder) -> Reranker:
    """The reranker of an encoder, by its name."""
    return registry.make_reranker("bi-encoder/hashing/64", encoder=lambda *_: given)


class TestBiEncoder(RerankerConformance):
    def make_reranker(self) -> Reranker:
        """Make one without a cache."""
        return bi_encoder(encoder())


@pytest.fixture
def cache(tmp_path: Path) -> Any:
    """An empty embedding cache."""
    with EmbeddingCache(tmp_path / "vectors.db") as made:
        yield made


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_scores_are_those_of_the_new_space(metric: Metric, precision: Precision) -> None:
    """Prefixes, unit length and metric are the recipe's: the order is the one that its generation would give."""
    plain = HashingEmbedder(64)
    vectors = normalize(plain.embed_documents(["passage " + text for text in TEXTS]))
    query = normalize(plain.embed_query("query " + QUERY)[np.newaxis])[0]
    expected = -np.square(vectors - query).sum(axis=1) if metric == "l2" else vectors @ query
    found = bi_encoder(encoder(metric=metric, precision=precision)).rerank(QUERY, TEXTS)
    np.testing.assert_allclose(found, expected, atol=2e-3 if precision == "float16" else 1e-6)
    assert len(set(found.tolist())) > 1


def test_each_text_is_embedded_once(cache: EmbeddingCache) -> None:
    """A text that the cache holds is not sent again, nor one twice in a call; what the cache gets is without prefix."""
    model = Counting()
    reranker = bi_encoder(encoder(model, cache))
    first = reranker.rerank(QUERY, [*TEXTS, TEXTS[0]])
    assert model.asked == ["passage " + text for text in TEXTS]
    again = bi_encoder(encoder(model, cache)).rerank(QUERY, TEXTS)
    assert len(model.asked) == len(TEXTS)
    np.testing.assert_allclose(again, first[:-1], atol=1e-6)
    space = encoder(model).recipe.space
    assert len(cache.get_many(space, TEXTS)) == len(TEXTS) == len(cache)


def test_a_text_without_a_vector_is_last_and_not_kept(cache: EmbeddingCache) -> None:
    """One text that the model cannot embed costs nobody else the place."""
    found = bi_encoder(encoder(Counting(), cache)).rerank(QUERY, ["broken", *TEXTS])
    assert np.argmin(found) == 0
    assert np.isfinite(found).all()
    assert len(cache) == len(TEXTS)
    assert bi_encoder(encoder()).rerank(QUERY, ["broken"]).tolist() == [0.0]


def test_what_costs_money_is_told_before_the_call(cache: EmbeddingCache) -> None:
    """Texts and tokens of what is really sent; nothing for what the cache holds."""
    paid: list[tuple[int, int]] = []
    reranker = bi_encoder(encoder(Counting(), cache, pay=lambda texts, tokens: paid.append((texts, tokens))))
    reranker.rerank(QUERY, TEXTS[:3])
    reranker.rerank(QUERY, TEXTS[:3])
    assert [texts for texts, _ in paid] == [3]
    assert paid[0][1] > 10


def test_its_space_is_told_through_the_wrapper() -> None:
    """Whoever holds a reranker can see whether it would only repeat the store's order."""
    given = encoder()
    assert getattr(bi_encoder(given), "space", None) == given.recipe.space
    assert getattr(registry.make_reranker("http", {"url": "http://x/"}), "space", "") is None


# ── objects and names ───────────────────────────────────────────────────────────────────────────────────────


class Shortest:
    """Prefers short texts."""

    name = "shortest"

    def __init__(self, factor: float = 1.0, answer: Any = None) -> None:
        self.factor, self.answer, self.calls = factor, answer, 0

    def rerank(self, query: str, texts: Sequence[str]) -> Any:
        """Minus the length, or what was given."""
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return [-self.factor * len(text) for text in texts] if self.answer is None else self.answer


def test_any_object_with_a_name_and_rerank() -> None:
    """A list of numbers is taken as float32; no texts, no call."""
    own = Shortest()
    made = registry.make_reranker(own)
    found = made.rerank(QUERY, ["abc", "a"])
    assert found.dtype == np.float32
    assert found.tolist() == [-3, -1]
    assert made.rerank(QUERY, []).shape == (0,)
    assert (made.name, own.calls) == ("shortest", 1)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([1.0], r"scores of shape \(1,\) for 2 texts"),
        ([[1.0, 2.0]], r"scores of shape \(1, 2\)"),
        (0.5, r"scores of shape \(\)"),
        ([1.0, float("nan")], "NaN or infinity"),
        ([1.0, float("inf")], "NaN or infinity"),
        (["a", "b"], "returned list, no scores"),
        ([1.0, [2.0]], "returned list, no scores"),
        (KeyError("x"), "shortest: KeyError: 'x'"),
        (ConfigError("no key"), "no key"),
    ],
)
def test_a_broken_contract_is_an_error(answer: Any, message: str) -> None:
    """Wrong counts, shapes and numbers, and whatever foreign code raises."""
    with pytest.raises(RegenError, match=message):
        registry.make_reranker(Shortest(answer=answer)).rerank(QUERY, ["abc", "a"])


def test_a_reranker_by_its_import_path(tmp_path: Path) -> None:
    """A class gets the options; a module that has no such class, and a class that is no reranker, are told."""
    (tmp_path / "my_rerank_module.py").write_text(
        "class Mine:\n"
        "    name = 'mine'\n"
        "    def __init__(self, sign=1): self.sign = sign\n"
        "    def rerank(self, query, texts): return [self.sign * len(t) for t in texts]\n"
        "class Other: pass\n"
    )
    found = registry.make_reranker("python:my_rerank_module:Mine", {"sign": -1}, root=tmp_path)
    assert found.rerank("q", ["ab", "c"]).tolist() == [-2, -1]
    with pytest.raises(ConfigError, match="is no reranker: it lacks name, rerank"):
        registry.make_reranker("python:my_rerank_module:Other", root=tmp_path)
    with pytest.raises(ConfigError, match="cannot be made with these options"):
        registry.make_reranker("python:my_rerank_module:Mine", {"sing": 1}, root=tmp_path)


@pytest.mark.parametrize("name", ["cross-encoders/x", "bm25", ""])
def test_an_unknown_reranker(name: str) -> None:
    """The valid names are listed."""
    with pytest.raises(ConfigError, match=r"rerank\.model: unknown reranker") as caught:
        registry.make_reranker(name)
    assert "bi-encoder/…, cross-encoder/…, http/…, python:module:Name" in (caught.value.hint or "")


def test_an_object_that_is_no_reranker() -> None:
    """It says what is lacking."""
    with pytest.raises(ConfigError, match="it lacks name, rerank"):
        registry.make_reranker(object())


def test_a_bi_encoder_names_a_model() -> None:
    """Without a model there is nothing to order by."""
    with pytest.raises(ConfigError, match="names no bi-encoder"):
        registry.make_reranker("bi-encoder/", encoder=lambda *_: encoder())


def test_options_of_a_bi_encoder_go_to_its_model() -> None:
    """What the embedder takes is handed on as it is."""
    seen: list[tuple[str, Mapping[str, Any]]] = []

    def make(name: str, options: Mapping[str, Any]) -> Encoder:
        seen.append((name, options))
        return encoder()

    registry.make_reranker("bi-encoder/openai/text-embedding-3-small", {"base_url": "http://x"}, encoder=make)
    assert seen == [("openai/text-embedding-3-small", {"base_url": "http://x"})]


def test_errors_of_a_reranker_are_its_own_kind() -> None:
    """Whoever searches tells them from others."""
    assert issubclass(RerankerError, RegenError)
    assert not RerankerError.retryable
