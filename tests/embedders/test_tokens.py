"""Approximate tokens: offsets in characters, at word boundaries, for every script."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regen.embedders.tokens import BLOCK_CHARACTERS, approximate_starts, word_starts

ENGLISH = "Restart the service; then check its state (twice), and read log_file.txt at 10:30."


def test_words_and_punctuation_start_tokens() -> None:
    """A run of word characters is a token, any other visible character is one of its own."""
    expected = [found.start() for found in re.finditer(r"\w+|[^\w\s]", ENGLISH)]
    assert word_starts([ENGLISH])[0].tolist() == expected


def test_long_words_are_several_tokens() -> None:
    """A word of 50 characters counts three times by words, and every fourth character by approximation."""
    assert word_starts(["x" * 50])[0].tolist() == [0, 24, 48]
    assert approximate_starts(["a abcdefghi, b"])[0].tolist() == [0, 2, 6, 10, 11, 13]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("漢字とかな", [0, 1, 2, 3, 4]),
        ("한국", [0, 1]),
        ("naïve café", [0, 6]),
        ("e\u0301a n\u0303o", [0, 4]),
        ("👍 ok 👍🏽", [0, 2, 5]),
        ("русский текст", [0, 8]),
        ("a\u00a0b\u3000c\u2028d", [0, 2, 4, 6]),
        ("\ufefftext", [1]),
        ("x\ud800", [0]),
        ("", []),
        (" \n\t", []),
    ],
)
def test_scripts(text: str, expected: list[int]) -> None:
    """Ideographs and emoji count one each; combining marks belong to their word; odd spaces part words."""
    assert word_starts([text])[0].tolist() == expected


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(st.text(max_size=30), max_size=6))
def test_a_text_has_its_tokens_whatever_is_beside_it(texts: list[str]) -> None:
    """Batches mix ASCII and other texts freely: offsets are those of the text alone, within it, strictly ascending."""
    for count in (word_starts, approximate_starts):
        for text, starts in zip(texts, count(texts), strict=True):
            assert starts.tolist() == count([text])[0].tolist()
            assert (np.diff(starts) > 0).all()
            assert not starts.size or (starts[0] >= 0 and starts[-1] < len(text))


def test_batches_of_many_blocks() -> None:
    """More texts than one block holds all get their tokens, in order."""
    texts = [f"{ENGLISH} {number}" for number in range(3 * BLOCK_CHARACTERS // len(ENGLISH))]
    found = word_starts(texts)
    assert len(found) == len(texts)
    assert all(starts.size == found[0].size for starts in found)
    assert found[-1].tolist() == word_starts([texts[-1]])[0].tolist()
