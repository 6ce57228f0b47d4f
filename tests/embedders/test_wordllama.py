"""WordLlama: the same vectors and tokens as the library itself, by another road."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regen.embedders.pieces import PieceTokenizer, cut
from regen.embedders.wordllama import WordLlamaEmbedder
from regen.errors import ConfigError, TextRejected

DATA = Path(os.environ.get("REGEN_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))

TRICKY = (
    "", " ", "  ", "\n", "\n\n", "a", " a", "a ", "  a  b  ", "a\n b", "a \nb", " \n ", "\n  x\n\n  y ", "a\tb\r\nc",
    "<s>strike</s> out", "a <unk> b", "▁", "a▁ ▁b", "▁\n", "👍 👍🏽\n👩‍👩‍👧", "e\u0301 x", "\0", "漢字 かな", "x" * 300,
    "def f(x):\n    return x\n", "- item\n\n  - nested\n", "a\u00a0b\u2003c",
)  # fmt: skip


@cache
def _vendor() -> Any:
    import wordllama

    return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)


@cache
def _pieces() -> PieceTokenizer:
    return PieceTokenizer(_vendor().tokenizer)


@pytest.fixture
def vendor() -> Any:
    """Load the library's own model from its wheel."""
    return _vendor()


@pytest.fixture
def pieces() -> PieceTokenizer:
    """Make a tokenizer with a memory of its own."""
    return _pieces()


def _whole(vendor: Any, text: str) -> Any:
    vendor.tokenizer.no_padding()
    return vendor.tokenizer.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("text", TRICKY)
def test_tokens_equal_the_librarys(text: str, vendor: Any, pieces: PieceTokenizer) -> None:
    """Tokenising units gives the ids and the offsets that tokenising the whole text gives."""
    expected = _whole(vendor, text)
    assert pieces.ids([text])[0].tolist() == expected.ids
    assert pieces.starts([text])[0].tolist() == [start for start, _ in expected.offsets]


@settings(max_examples=400, deadline=None)
@given(text=st.text(st.sampled_from(" \n\t▁abcdeorst.,<>/s👍é漢\u0301"), max_size=40))
def test_any_text_has_the_librarys_tokens(text: str) -> None:
    """Spaces, newlines and special tokens in any order: ids and offsets are those of the whole text."""
    expected = _whole(_vendor(), text)
    assert _pieces().ids([text])[0].tolist() == expected.ids
    assert _pieces().starts([text])[0].tolist() == [start for start, _ in expected.offsets]


@pytest.mark.parametrize("dimensions", [64, 128, 256])
def test_vectors_equal_the_librarys(dimensions: int, vendor: Any) -> None:
    """Every bit of a vector is what WordLlama.embed returns, for texts of all lengths in one call."""
    corpus = DATA / "scifact" / "corpus.jsonl"
    if not corpus.exists():
        pytest.skip(f"real texts are not at {corpus}; set REGEN_DATA")
    with corpus.open() as lines:
        texts = [json.loads(line)["text"] for _, line in zip(range(400), lines, strict=False)]
    texts += [text for text in TRICKY if text]
    found = WordLlamaEmbedder(dimensions).embed_documents(texts)
    expected = np.concatenate([vendor.embed([text], norm=False) for text in texts])[:, :dimensions]
    np.testing.assert_array_equal(found, expected)


def test_real_texts_have_the_librarys_tokens(vendor: Any, pieces: PieceTokenizer) -> None:
    """Markdown pages with code and indentation, and long abstracts, have the tokens of the whole text."""
    pages = sorted((DATA / "tldr-stream" / "base").rglob("*.md"))[:500]
    if not pages:
        pytest.skip(f"real pages are not at {DATA}; set REGEN_DATA")
    texts = [page.read_text() for page in pages]
    found = pieces.starts(texts)
    for text, ids, starts in zip(texts, pieces.ids(texts), found, strict=True):
        expected = _whole(vendor, text)
        assert ids.tolist() == expected.ids
        assert starts.tolist() == [start for start, _ in expected.offsets]


def test_an_overfull_memory_starts_afresh(vendor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of units is bounded, and emptying it changes no token."""
    monkeypatch.setattr("regen.embedders.pieces.REMEMBERED_CHARACTERS", 50)
    pieces = PieceTokenizer(vendor.tokenizer)
    texts = [f"word{number} and another{number} one" for number in range(100)]
    found = [pieces.ids([text])[0].tolist() for text in texts]
    assert found == [_whole(vendor, text).ids for text in texts]
    assert len(pieces._memory.ids) < 20


def test_units_join_to_the_text() -> None:
    """The documented meaning of units: a bare one stands for a space and itself, others for themselves."""
    for text in TRICKY:
        units = cut(text)
        joined = "".join(unit if unit[0] in " \n" else " " + unit for unit in units)
        assert joined == (" " + text if text else "")


def test_dimensions_are_prefixes() -> None:
    """64 and 128 dimensions are the first components of 256: what deriving a generation relies on."""
    texts = ["Reset your password.", "Restart the service."]
    full = WordLlamaEmbedder(256).embed_documents(texts)
    np.testing.assert_allclose(WordLlamaEmbedder(64).embed_documents(texts), full[:, :64], rtol=1e-6)
    assert WordLlamaEmbedder(128).info.matryoshka == (64, 128)


def test_only_the_empty_text_is_zero() -> None:
    """Whitespace and unknown characters have tokens and so a vector; the empty text has none."""
    vectors = WordLlamaEmbedder(64).embed_documents(["", " ", "\n", "\U0010fffd"])
    assert vectors.any(axis=1).tolist() == [False, True, True, True]


def test_meaning_is_near() -> None:
    """It is a real model: a paraphrase without common words is nearer than another subject."""
    embedder = WordLlamaEmbedder(256)
    query = embedder.embed_query("automobile repair")
    near, far = embedder.embed_documents(["fixing a broken car engine", "poems about the sea in spring"])
    assert query @ near / np.linalg.norm(near) > query @ far / np.linalg.norm(far)


def test_half_a_character_is_rejected() -> None:
    """A lone surrogate is a rejected text that says where it is, not an internal error."""
    with pytest.raises(TextRejected, match="at character 3"):
        WordLlamaEmbedder(64).embed_documents(["fine", "bad\ud800"])
    with pytest.raises(TextRejected, match="at character 3"):
        WordLlamaEmbedder(64).token_starts(["bad\ud800"])


def test_names_parse_back() -> None:
    """A model's name makes the model again; others are refused with the valid ones."""
    for dimensions in (64, 128, 256):
        info = WordLlamaEmbedder(dimensions).info
        assert WordLlamaEmbedder.from_name(info.name).info == info
    with pytest.raises(ConfigError, match="wordllama/l2-supercat-64"):
        WordLlamaEmbedder.from_name("wordllama/l2-supercat-100")
    with pytest.raises(ConfigError, match="64, 128, 256"):
        WordLlamaEmbedder(100)


def test_info_loads_nothing() -> None:
    """Asking what the model is does not import the vendor, and loading it leaves the program's logging alone."""
    program = (
        "import sys, logging\n"
        "from regen.embedders.wordllama import WordLlamaEmbedder\n"
        "embedder = WordLlamaEmbedder(64)\n"
        "assert embedder.info.revision\n"
        "assert 'wordllama' not in sys.modules and 'tokenizers' not in sys.modules\n"
        "embedder.embed_query('x')\n"
        "assert 'wordllama' in sys.modules\n"
        "print(logging.getLogger().handlers, logging.getLogger().level)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"[] {logging.WARNING}"
