"""What holds for any text, any kind and any size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from regen.core.chunking import make_chunker
from regen.core.chunks import Span
from regen.core.recipe import Chunking

_TOKEN = re.compile(r"\w{1,6}|[^\w\s]")
_KINDS = ("tokens", "sentences", "markdown", "code", "semantic")


def token_starts(texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """Words in parts of up to six characters, as sub-word tokenizers make them."""
    return [np.array([m.start() for m in _TOKEN.finditer(text)], dtype=np.int64) for text in texts]


def lengths(texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors without meaning that differ."""
    return np.array([[len(text) % 7, len(text) % 3, 1.0] for text in texts], dtype=np.float32)


_SNIPPETS = re.split(
    r"\|",
    """# H
|## H2

|Title
===
|word |longerword |Stop. Go |。文|- item
|  - sub
|1. one
|```py
|```
|~~~
|    code
|> q
|>
|<div>
|<!--|-->|***
|---
|so:
|}
|def f():
""",
)
_SIGNS = ["\n", "\n\n", "| a | b |\n", "|--|--|\n", "\t", "\r\n", "e\u0301", "👩‍👧", "\u00a0", "\u2028", "x" * 40]
TEXTS = st.one_of(st.lists(st.sampled_from([*_SNIPPETS, *_SIGNS]), max_size=120).map("".join), st.text(max_size=300))
SETTINGS = st.builds(
    lambda kind, most, share: Chunking(kind, most, most // share if share else 0),
    st.sampled_from(_KINDS),
    st.integers(8, 48),
    st.sampled_from([0, 0, 2, 4]),
)


def cut(text: str, chosen: Chunking) -> list[Span]:
    """The spans of one text."""
    return make_chunker(chosen, token_starts, lengths).split([text])[0]


def tokens(text: str, start: int, end: int) -> int:
    """How many tokens of a text begin between two positions."""
    (starts,) = token_starts([text])
    return int(np.searchsorted(starts, end) - np.searchsorted(starts, start))


@given(TEXTS, SETTINGS)
@settings(max_examples=300, deadline=None)
def test_nothing_is_lost_and_nothing_is_out_of_order(text: str, chosen: Chunking) -> None:
    """Every visible character lies in a span; spans ascend, and overlap only if asked to."""
    spans = cut(text, chosen)
    covered = np.zeros(len(text), dtype=np.int64)
    for span in spans:
        covered[span.start : span.end] += 1
    visible = np.array([not char.isspace() for char in text], dtype=np.bool_)
    assert covered[visible].all()
    assert all(a.start < b.start and a.end < b.end for a, b in pairwise(spans))
    if not chosen.overlap:
        assert covered.max(initial=0) <= 1


@given(TEXTS, SETTINGS)
@settings(max_examples=300, deadline=None)
def test_no_chunk_has_more_tokens_than_allowed(text: str, chosen: Chunking) -> None:
    """The bound holds for every span, overlap included."""
    assert all(tokens(text, span.start, span.end) <= chosen.max_tokens for span in cut(text, chosen))


@given(TEXTS, SETTINGS.filter(lambda chosen: not chosen.overlap))
@settings(max_examples=300, deadline=None)
def test_two_neighbours_never_fit_into_one_chunk(text: str, chosen: Chunking) -> None:
    """So chunks are half full at least on the mean; a cut through indentation or a token may count one more."""
    spans = cut(text, chosen)
    assert all(tokens(text, a.start, b.end) >= chosen.max_tokens for a, b in pairwise(spans))


@given(TEXTS, SETTINGS.filter(lambda chosen: not chosen.overlap))
@settings(max_examples=200, deadline=None)
def test_a_chunk_is_not_cut_again(text: str, chosen: Chunking) -> None:
    """Cutting is idempotent: a chunk taken as a document of its own is one chunk."""
    for span in cut(text, chosen):
        chunk = text[span.start : span.end]
        if len(token_starts([chunk])[0]) <= chosen.max_tokens:  # a cut inside a word may make one token two
            assert cut(chunk, chosen) == [Span(0, len(chunk))]


@given(st.lists(TEXTS, max_size=5), SETTINGS)
@settings(max_examples=100, deadline=None)
def test_a_text_is_cut_alike_in_any_company(texts: list[str], chosen: Chunking) -> None:
    """The batch has no say: each text is cut as if it were alone."""
    together = make_chunker(chosen, token_starts, lengths).split(texts)
    assert together == [cut(text, chosen) for text in texts]


def test_cuts_are_the_same_everywhere() -> None:
    """A fixed text has fixed cuts, on every Python and platform: a change here must raise CHUNKER_VERSION."""
    text = "\n\n".join(f"## Part {n}\n\n" + " ".join(f"w{n}x{i}" for i in range(n % 9 + 3)) + "." for n in range(40))
    starts = {kind: [span.start for span in cut(text, Chunking(kind, 48))] for kind in _KINDS[:4]}
    assert starts == EXPECTED


EXPECTED = {
    "tokens": [0, 99, 289, 444, 635, 741, 942, 1128, 1296, 1501, 1539, 1733, 1911],
    "sentences": [0, 99, 254, 444, 593, 791, 1016, 1228, 1296, 1521, 1733, 1944],
    "markdown": [0, 99, 243, 364, 461, 593, 779, 1004, 1098, 1284, 1509, 1659, 1863, 1944],
    "code": [0, 99, 254, 444, 593, 791, 1016, 1228, 1296, 1521, 1733, 1944],
}


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize(
    "text",
    [
        "x" * 30_000,
        "a\n" * 15_000,
        "a\n\n" * 10_000,
        "One and the same paragraph.\n\n" * 4_000,
        "." * 30_000,
        ". " * 15_000,
        "# a\n" * 8_000,
        "```\n" * 7_501,
        "".join(" " * (n % 100) + "- a\n" for n in range(2_000)),
        "> a\n>\n" * 5_000,
        "| a | b |\n" * 3_000,
        "<!--\n" * 6_000,
        "a" + " " * 30_000 + "b" * 30_000,
        "- " * 15_000 + "x",
        "    a\n\n" * 5_000,
        "👩‍👩‍👧" * 5_000,
        "これは文です。" * 4_000,
        "\ud800 a" * 8_000,
        '."' * 15_000,
    ],
    ids=lambda text: repr(text[:8]),
)
def test_hostile_texts_are_cut_like_any_other(kind: str, text: str) -> None:
    """Degenerate texts neither exhaust recursion nor take quadratic time, and keep the bound."""
    spans = cut(text, Chunking(kind, 64))
    (starts,) = token_starts([text])
    counts = [np.searchsorted(starts, span.end) - np.searchsorted(starts, span.start) for span in spans]
    assert len(spans) >= len(starts) / 64 > 1
    assert max(counts) <= 64
    assert np.mean(counts) > 32
