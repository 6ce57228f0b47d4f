"""What a chunker promises, kind by kind: fitting texts, pieces, overlap, settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from regen.core.chunking import KINDS, make_chunker, pieces
from regen.core.chunks import Span
from regen.core.prose import sentence_starts
from regen.core.recipe import Chunking, TextTemplate
from regen.errors import ConfigError, EmbedderContract

_TOKEN = re.compile(r"\w+|[^\w\s]")


def token_starts(texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """A tokenizer of words and signs."""
    return [np.array([m.start() for m in _TOKEN.finditer(text)], dtype=np.int64) for text in texts]


def letters(texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors that tell apart texts of different vocabulary: counts of 26 letters."""
    return np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts], dtype=np.float32)


def split(text: str, kind: str, max_tokens: int = 16, overlap: int = 0) -> list[str]:
    """The chunk texts of one text."""
    (spans,) = make_chunker(Chunking(kind, max_tokens, overlap), token_starts, letters).split([text])
    return [text[span.start : span.end] for span in spans]


LONG = "\n\n".join(f"Paragraph {n} speaks of subject {n * n}. It says little, but it says it well." for n in range(9))


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_that_fits_is_one_chunk(kind: str) -> None:
    """Structure never cuts what fits: headings, code and paragraphs stay together."""
    assert split("# Title\n\nOne.\n\n```\ncode\n```\n", kind, 64) == ["# Title\n\nOne.\n\n```\ncode\n```\n"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["", " \n\t\n ", "\n" * 500])
def test_a_text_without_characters_is_one_empty_span(kind: str, text: str) -> None:
    """An empty document still yields a span, so that a title can be embedded for it."""
    assert make_chunker(Chunking(kind, 8), token_starts, letters).split([text]) == [[Span(0, 0)]]


def test_whole_never_cuts_and_never_counts() -> None:
    """The kind "whole" asks no tokenizer, however long the text."""

    def refuse(texts: Sequence[str]) -> list[NDArray[np.int64]]:
        raise AssertionError("no tokens were needed")

    assert make_chunker(Chunking("whole", 8), refuse).split([LONG]) == [[Span(0, len(LONG))]]


def test_short_ascii_is_not_tokenised_but_what_might_expand_is() -> None:
    """Only a text that fits under any tokenizer skips it: the ligature may become many tokens."""
    asked: list[str] = []

    def record(texts: Sequence[str]) -> list[NDArray[np.int64]]:
        asked.extend(texts)
        return token_starts(texts)

    make_chunker(Chunking("markdown", 32), record).split(["short", "\ufdfa", "x" * 30, "x" * 31])
    assert asked == ["\ufdfa", "x" * 31]


def test_all_texts_of_a_call_are_counted_in_one_call() -> None:
    """The tokenizer is asked once for a batch: that is where its speed lies."""
    calls: list[int] = []

    def record(texts: Sequence[str]) -> list[NDArray[np.int64]]:
        calls.append(len(texts))
        return token_starts(texts)

    make_chunker(Chunking("markdown", 16), record).split([LONG] * 7)
    assert calls == [7]


def test_the_kinds_are_named_in_the_error() -> None:
    """Whoever mistypes a kind learns the valid ones."""
    with pytest.raises(ConfigError, match="tokens, sentences, markdown, code, semantic, whole"):
        make_chunker(Chunking("paragraphs"), token_starts)


def test_semantic_without_an_embedder_is_refused() -> None:
    """No silent fallback to another kind."""
    with pytest.raises(ConfigError, match="no embedder"):
        make_chunker(Chunking("semantic"), token_starts)


def test_semantic_checks_what_the_embedder_returns() -> None:
    """A vector too few would rank the wrong boundaries."""
    chunker = make_chunker(Chunking("semantic", 16), token_starts, lambda texts: letters(texts)[1:])
    with pytest.raises(EmbedderContract, match="sentence vectors"):
        chunker.split([LONG])


def test_semantic_cuts_where_the_subject_changes() -> None:
    """The boundary between two vocabularies is the one that stays, wherever it lies."""
    one, other = "Abba bad cab dad fade.", "Zoo yuzu your pout root."
    for count in range(2, 6):
        text = " ".join([one] * count + [other] * (7 - count))
        chunks = split(text, "semantic", 36)
        assert any(chunk.startswith(other) for chunk in chunks)
        assert all(one not in chunk or other not in chunk for chunk in chunks)


def test_sentences_cut_between_sentences_of_many_languages() -> None:
    """Full stops of other scripts count, abbreviations, initials, decimals and item numbers do not."""
    sentences = [
        "Dr. J. Smith paid 3.5 million to Acme Inc. and left.",
        "He asked: where to?",
        "1. Fig. 5 shows it all, e.g. Tables and chairs!",
        "これは最初の文です。",
        "这是第二句话！",
        "यह तीसरा वाक्य है।",
        "هل هذا سؤال؟",
        "Ende gut, alles gut.",
    ]
    text = " ".join(sentences).replace(" 1. Fig", "\n1. Fig")
    found = [0, *sentence_starts(text, 0, len(text)), len(text)]
    assert [text[a:b].strip() for a, b in pairwise(found)] == sentences


def test_code_is_cut_before_definitions() -> None:
    """Functions stay whole as long as they fit, decorators and closing brackets stay with theirs."""
    functions = [
        f"@cached\ndef f{n}(x):\n    if x:\n        return {n}\n    return (\n        x\n)\n" for n in range(5)
    ]
    chunks = split("".join(functions), "code", 24)
    assert [chunk + "\n" for chunk in chunks] == functions


@pytest.mark.parametrize("kind", ["tokens", "sentences", "markdown", "code", "semantic"])
def test_overlap_repeats_the_end_of_the_chunk_before(kind: str) -> None:
    """Each chunk but the first begins up to ``overlap`` tokens early, at a word, and still fits."""
    text = LONG.replace("\n\n", "\n\n\n")
    (spans,) = make_chunker(Chunking(kind, 24, 6), token_starts, letters).split([text])
    assert len(spans) > 5
    for before, after in pairwise(spans):
        shared = text[after.start : before.end]
        assert 1 <= len(token_starts([shared])[0]) <= 6
        assert text[after.start - 1].isspace()
        assert len(token_starts([text[after.start : after.end]])[0]) <= 24


def test_pieces_are_tight_and_rendered() -> None:
    """White space at the edges is no part of a chunk, and the template is filled for each."""
    text = "  one \n\n two  "
    found = pieces(text, [Span(0, 8), Span(8, len(text))], TextTemplate("{title}: {text}"), ("T",))
    assert found == [("one", "T: one", Span(2, 5)), ("two", "T: two", Span(9, 12))]


def test_an_empty_text_is_embedded_by_its_title_alone() -> None:
    """What the template adds is worth a vector; nothing at all is not."""
    assert pieces("", [Span(0, 0)], TextTemplate("{title}\n{text}"), ("Title",)) == [("", "Title", Span(0, 0))]
    assert pieces("", [Span(0, 0)], TextTemplate("{title}\n{text}"), ("",)) == []
    assert pieces(" \n", [Span(0, 0)], TextTemplate(), ()) == []
