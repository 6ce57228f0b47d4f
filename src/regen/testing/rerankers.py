"""The conformance suite of rerankers.

    class TestMine(RerankerConformance):
        def make_reranker(self) -> Reranker:
            return MyReranker()

It makes about twenty calls with a few short texts and one of 100,000 characters. A reranker that cannot tell meaning,
such as one with random weights, sets ``understands = False``.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pytest

from regen.ports.reranking import ClosingReranker, Reranker

QUERY = "reset your password"
RIGHT = "Reset your password on the account page."
TEXTS = (
    "Rainfall in spring was above average in most regions.",
    RIGHT,
    "Install the package and restart the service.",
    "The quick brown fox jumps over the lazy dog.",
)
UNUSUAL = (
    "",
    " ",
    "\0",
    "naïve café 漢字 👩‍👩‍👧‍👦 🇩🇪",
    "line\nbreaks\r\n\tand tabs",
    "x" * 5000,
    '{"json": [1]} <s>[SEP]</s>',
)


class RerankerConformance:
    """Subclass it, give it :meth:`make_reranker`, and every reranker that a search can rely on passes."""

    understands: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-4
    long_text: ClassVar[str] = "The service keeps an index in step with its documents. " * 1800

    def make_reranker(self) -> Reranker:
        """Return a new reranker."""
        raise NotImplementedError("a conformance suite needs make_reranker()")

    @pytest.fixture
    def reranker(self) -> Iterator[Reranker]:
        """The reranker of this test, closed after it."""
        made = self.make_reranker()
        yield made
        if isinstance(made, ClosingReranker):
            made.close()
            made.close()

    def test_is_a_reranker(self, reranker: Reranker) -> None:
        """The object has all that the protocol asks for, and its name is constant and not empty."""
        assert isinstance(reranker, Reranker)
        before = reranker.name
        reranker.rerank(QUERY, TEXTS)
        assert before
        assert reranker.name == before

    def test_one_finite_score_a_text(self, reranker: Reranker) -> None:
        """The result is a float32 array of shape (texts,) without NaN or infinity, for one text as for several."""
        for texts in (TEXTS, TEXTS[:1], [*TEXTS, *TEXTS]):
            found = reranker.rerank(QUERY, texts)
            assert isinstance(found, np.ndarray)
            assert found.dtype == np.float32
            assert found.shape == (len(texts),)
            assert np.isfinite(found).all()

    def test_scores_follow_the_texts(self, reranker: Reranker) -> None:
        """Put in another order, each text keeps its score; equal texts have equal ones."""
        found = reranker.rerank(QUERY, TEXTS)
        np.testing.assert_allclose(reranker.rerank(QUERY, TEXTS[::-1]), found[::-1], atol=self.tolerance)
        doubled = reranker.rerank(QUERY, [text for text in TEXTS for _ in range(2)])
        np.testing.assert_allclose(doubled[::2], doubled[1::2], atol=self.tolerance)

    def test_a_text_is_judged_for_itself(self, reranker: Reranker) -> None:
        """The others of a call do not change a text's score: a smaller depth gives the same order."""
        found = reranker.rerank(QUERY, TEXTS)
        alone = np.concatenate([reranker.rerank(QUERY, [text]) for text in TEXTS])
        np.testing.assert_allclose(alone, found, atol=self.tolerance)

    def test_the_answer_comes_first(self, reranker: Reranker) -> None:
        """Of four texts the one that has the query's words is best, wherever it stands."""
        if not self.understands:
            pytest.skip("this one's scores mean nothing")
        for turn in range(len(TEXTS)):
            texts = [*TEXTS[turn:], *TEXTS[:turn]]
            assert texts[int(np.argmax(reranker.rerank(QUERY, texts)))] == RIGHT

    def test_unusual_texts_are_scored(self, reranker: Reranker) -> None:
        """Empty, very long, in any script, with control characters: each gets a number, and harms no other."""
        found = reranker.rerank(QUERY, [*UNUSUAL, self.long_text, *TEXTS])
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found[-len(TEXTS) :], reranker.rerank(QUERY, TEXTS), atol=self.tolerance)

    def test_threads_do_not_disturb_each_other(self, reranker: Reranker) -> None:
        """Calls at the same time give what they give one after the other."""
        expected = reranker.rerank(QUERY, TEXTS)
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(lambda _: reranker.rerank(QUERY, TEXTS), range(8)):
                np.testing.assert_allclose(found, expected, atol=self.tolerance)
