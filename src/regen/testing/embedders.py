"""The conformance suite of embedders and their wrappers.

    class TestMine(EmbedderConformance):
        def make_embedder(self) -> Embedder:
            return MyEmbedder()

It embeds a few dozen short texts and one of 100,000 characters. Call ``pytest.register_assert_rewrite`` with this
module's name in a conftest.py if failing assertions should explain themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from regen.ports import Embedder, ModelInfo

PLAIN = (
    "The quick brown fox jumps over the lazy dog.",
    "Reset your password on the account page.",
    "Install the package and restart the service.",
    "Rainfall in spring was above average in most regions.",
    "a",
)
UNUSUAL = (
    "naïve café, Straße, Ελληνικά, русский, עברית, العربية",
    "漢字とかな 한국어 文字",
    "👩‍👩‍👧‍👦 family 🇩🇪 flag 👍🏽 thumbs",
    "e\u0301a\u0300n\u0303 combining, zero\u200bwidth, no\u00a0break",
    "line\nbreaks\r\nand\ttabs\n\n\n  indented\n",
    "    spaces around and   between    ",
    "C:\\path\\file.txt --flag=<s>value</s> {json: [1, 2]} $HOME || true",
    "null\0byte and \x1b[31mescape",
    "!?",
    "x" * 5000,
)


class EmbedderConformance:
    """Subclass it, give it :meth:`make_embedder`, and every embedder the engine can rely on passes.

    ``tolerance`` is the largest difference of a component between two embeddings of the same text, relative to the
    vector's length. ``words_per_token`` are the bounds for words divided by tokens in English prose.
    """

    tolerance: ClassVar[float] = 1e-5
    words_per_token: ClassVar[tuple[float, float]] = (0.3, 1.5)
    long_text: ClassVar[str] = "The service keeps an index in step with its documents. " * 1800

    def make_embedder(self) -> Embedder:
        """Return a new embedder."""
        raise NotImplementedError("a conformance suite needs make_embedder()")

    @cached_property
    def embedder(self) -> Embedder:
        """The embedder of this test."""
        return self.make_embedder()

    def test_is_an_embedder(self) -> None:
        """The object has all that the protocol asks for."""
        assert isinstance(self.embedder, Embedder)

    def test_info_is_constant(self) -> None:
        """What the model says of itself does not change by using it, and is the same for two objects."""
        before = self.embedder.info
        self.embedder.embed_documents(PLAIN)
        assert isinstance(before, ModelInfo)
        assert before.name
        assert before.dimensions > 0
        assert before.max_batch_texts > 0
        assert self.embedder.info == before == self.make_embedder().info

    def test_truncated_dimensions_are_smaller(self) -> None:
        """The dimensions to which vectors may be truncated are positive, and none exceeds the model's own."""
        info = self.embedder.info
        assert all(0 < size <= info.dimensions for size in info.matryoshka)

    def test_documents_have_shape_and_type(self) -> None:
        """Documents become a float32 matrix with one row a text and usable numbers."""
        vectors = self.embedder.embed_documents(PLAIN)
        assert isinstance(vectors, np.ndarray)
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(PLAIN), self.embedder.info.dimensions)
        assert np.isfinite(vectors).all()
        assert vectors.any(axis=1).all()

    def test_query_has_shape_and_type(self) -> None:
        """A query becomes one float32 vector of the documents' dimensions."""
        vector = self.embedder.embed_query("how do I reset my password?")
        assert isinstance(vector, np.ndarray)
        assert vector.dtype == np.float32
        assert vector.shape == (self.embedder.info.dimensions,)
        assert np.isfinite(vector).all()
        assert vector.any()

    def test_no_texts_give_no_rows(self) -> None:
        """An empty list becomes an empty matrix that still has its columns."""
        vectors = self.embedder.embed_documents([])
        assert vectors.shape == (0, self.embedder.info.dimensions)
        assert vectors.dtype == np.float32
        assert self.embedder.token_starts([]) == []

    def test_order_is_kept(self) -> None:
        """Row i belongs to text i: reversing the texts reverses the rows."""
        forward = self.embedder.embed_documents(PLAIN)
        backward = self.embedder.embed_documents(PLAIN[::-1])
        self.assert_equal(forward, backward[::-1])
        assert not np.allclose(forward, backward, atol=self.tolerance)

    def test_equal_texts_get_equal_vectors(self) -> None:
        """A text that occurs twice in a call gets the same vector twice, and different texts differ."""
        vectors = self.embedder.embed_documents([PLAIN[0], PLAIN[1], PLAIN[0]])
        self.assert_equal(vectors[0], vectors[2])
        assert not np.allclose(vectors[0], vectors[1], atol=self.tolerance)

    def test_a_text_alone_equals_the_text_in_a_batch(self) -> None:
        """What else is in the call has no influence on a text's vector."""
        texts = [*PLAIN, *UNUSUAL]
        together = self.embedder.embed_documents(texts)
        alone = np.concatenate([self.embedder.embed_documents([text]) for text in texts])
        self.assert_equal(together, alone)

    def test_two_objects_agree(self) -> None:
        """A new object gives the same vectors: nothing depends on what an object was used for before."""
        self.embedder.embed_documents(UNUSUAL)
        self.assert_equal(self.embedder.embed_documents(PLAIN), self.make_embedder().embed_documents(PLAIN))

    def test_any_text_is_accepted(self) -> None:
        """Scripts, emoji, control characters and line breaks are texts like others."""
        vectors = self.embedder.embed_documents(UNUSUAL)
        assert vectors.shape == (len(UNUSUAL), self.embedder.info.dimensions)
        assert np.isfinite(vectors).all()
        assert vectors.any(axis=1).all()

    def test_a_very_long_text_is_accepted(self) -> None:
        """A text of 100,000 characters gets a vector (of its beginning, where the model is limited)."""
        vectors = self.embedder.embed_documents([PLAIN[0], self.long_text])
        assert np.isfinite(vectors).all()
        assert vectors.any(axis=1).all()
        self.assert_equal(vectors[0], self.embedder.embed_documents([PLAIN[0]])[0])

    def test_an_empty_text_is_no_error(self) -> None:
        """An empty text gets some row, be it of zeros, and disturbs no other text."""
        vectors = self.embedder.embed_documents(["", PLAIN[0]])
        self.assert_equal(vectors[1], self.embedder.embed_documents([PLAIN[0]])[0])

    def test_arguments_stay_as_they_are(self) -> None:
        """The list of texts is not changed, and a tuple serves as well."""
        texts = [*PLAIN, *UNUSUAL]
        self.embedder.embed_documents(texts)
        self.embedder.token_starts(texts)
        assert texts == [*PLAIN, *UNUSUAL]
        self.assert_equal(self.embedder.embed_documents(tuple(texts)), self.embedder.embed_documents(texts))

    def test_answers_are_not_shared(self) -> None:
        """A caller may write into an answer without changing the next one."""
        first = self.embedder.embed_documents(PLAIN)
        kept = first.copy()
        first[:] = 7.0
        self.assert_equal(self.embedder.embed_documents(PLAIN), kept)

    def test_threads_do_not_disturb_each_other(self) -> None:
        """Eight threads that embed different texts at once get what one thread gets."""
        slices = [[f"{text} Number {number}." for text in (*PLAIN, *UNUSUAL)] for number in range(8)]
        expected = [self.make_embedder().embed_documents(texts) for texts in slices]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(self.embedder.embed_documents, slices))
            starts = list(pool.map(self.embedder.token_starts, slices))
        for one, other in zip(found, expected, strict=True):
            self.assert_equal(one, other)
        for mine, texts in zip(starts, slices, strict=True):
            _assert_same_starts(mine, self.embedder.token_starts(texts))

    def test_token_starts_lie_in_their_text(self) -> None:
        """Starts are ascending offsets in characters (not bytes), one array a text."""
        texts = [*PLAIN, *UNUSUAL, ""]
        found = self.embedder.token_starts(texts)
        assert len(found) == len(texts)
        for text, starts in zip(texts, found, strict=True):
            assert starts.dtype == np.int64
            assert starts.ndim == 1
            assert (np.diff(starts) >= 0).all(), text
            assert starts.size > 0 or not text, text
            assert starts.size == 0 or (starts[0] >= 0 and starts[-1] < len(text)), text

    def test_token_starts_count_characters(self) -> None:
        """Emoji before a word move the word's token by one each: offsets are of characters, not of bytes or UTF-16."""
        text = "👍👍👍👍 password"
        (starts,) = self.embedder.token_starts([text])
        assert starts[-1] < len(text)
        assert (starts >= 4).any()
        assert any(4 <= start <= 5 for start in starts.tolist()), starts

    def test_tokens_of_a_text_do_not_depend_on_its_neighbours(self) -> None:
        """A text has the same tokens alone and in a batch."""
        texts = [*PLAIN, *UNUSUAL]
        alone = [self.embedder.token_starts([text])[0] for text in texts]
        _assert_same_starts(self.embedder.token_starts(texts), alone)

    def test_tokens_are_about_as_many_as_words(self) -> None:
        """English prose has a token or a few for each word."""
        (starts,) = self.embedder.token_starts([self.long_text])
        low, high = self.words_per_token
        assert low <= len(self.long_text.split()) / len(starts) <= high

    def assert_equal(self, found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
        """Assert that vectors are equal within the tolerance, relative to their length."""
        assert found.shape == expected.shape
        scale = np.maximum(np.linalg.norm(expected, axis=-1, keepdims=True), 1e-30)
        assert float(np.max(np.abs(found - expected) / scale, initial=0.0)) <= self.tolerance


def _assert_same_starts(found: Sequence[NDArray[np.int64]], expected: Sequence[NDArray[np.int64]]) -> None:
    assert [starts.tolist() for starts in found] == [starts.tolist() for starts in expected]
