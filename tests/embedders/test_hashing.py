"""The hashing embedder: deterministic everywhere, similar texts near, never zero without reason."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regen.embedders.hashing import BLOCK_BYTES, HashingEmbedder
from regen.errors import ConfigError


def _cosine(embedder: HashingEmbedder, one: str, other: str) -> float:
    a, b = embedder.embed_documents([one, other])
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_vectors_are_frozen() -> None:
    """The vector of a text is a constant of revision 1: these numbers were computed once and must never change."""
    embedder = HashingEmbedder(8, seed=3)
    assert embedder.info.revision == "1"
    assert embedder.embed_query("Grüße, world 42!").tolist() == FROZEN


FROZEN: list[float] = [-1.0, 1.0, 0.0, 0.0, 1.0, -3.0, -2.0, -5.5]


def test_other_processes_agree() -> None:
    """A process with another hash seed gets the same vectors."""
    program = (
        "from regen.embedders.hashing import HashingEmbedder\n"
        "print(HashingEmbedder(16).embed_query('the same everywhere').tolist())"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "77"}
    )
    assert found.stdout.strip() == str(HashingEmbedder(16).embed_query("the same everywhere").tolist())


def test_similar_texts_are_near() -> None:
    """Common words and spellings bring texts together; case and spacing do not part them; other texts stay apart."""
    embedder = HashingEmbedder(384)
    text = "how do I read command line arguments"
    assert _cosine(embedder, text, "reading the arguments of the command line") > 0.3
    assert _cosine(embedder, text, "How do I read COMMAND line arguments") > 0.99
    assert abs(_cosine(embedder, text, "zebra crossings in heavy rush-hour traffic")) < 0.2


def test_seeds_make_other_spaces() -> None:
    """Two seeds give unrelated vectors of the same text, and names that say so."""
    text = "Restart the service after an upgrade of the kernel and the C library."
    one, other = (HashingEmbedder(256, seed).embed_query(text) for seed in (1, 2))
    assert abs(one @ other / np.linalg.norm(one) / np.linalg.norm(other)) < 0.3
    assert HashingEmbedder(256, 1).info.name != HashingEmbedder(256, 2).info.name


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=30), dimensions=st.sampled_from([1, 2, 3, 8, 64]))
def test_only_whitespace_is_zero(text: str, dimensions: int) -> None:
    """However few the dimensions, features never cancel to the zero vector; whitespace alone always is."""
    assert HashingEmbedder(dimensions).embed_query(text).any() == bool(text.strip())


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.text(max_size=20), max_size=8))
def test_neighbours_do_not_matter(texts: list[str]) -> None:
    """Features of a text never run over into the next text of the call."""
    embedder = HashingEmbedder(32)
    together = embedder.embed_documents(texts)
    assert together.shape == (len(texts), 32)
    for row, text in enumerate(texts):
        np.testing.assert_array_equal(together[row], embedder.embed_query(text))


def test_texts_longer_than_a_block() -> None:
    """A text of several blocks gets the features of all of them, and its neighbours stay right."""
    embedder = HashingEmbedder(64)
    long_text = "lorem ipsum dolor sit amet " * (3 * BLOCK_BYTES // 27)
    vectors = embedder.embed_documents(["before", long_text, "after", "x" * (BLOCK_BYTES - 1)])
    np.testing.assert_array_equal(vectors[0], embedder.embed_query("before"))
    np.testing.assert_array_equal(vectors[2], embedder.embed_query("after"))
    short = embedder.embed_query("lorem ipsum dolor sit amet ")
    assert vectors[1] @ short / np.linalg.norm(vectors[1]) / np.linalg.norm(short) > 0.9
    assert np.abs(vectors[1]).sum() > 2.5 * BLOCK_BYTES / 27


def test_half_a_character_is_embedded() -> None:
    """A lone surrogate, which cannot be encoded, still gets a vector."""
    assert HashingEmbedder(16).embed_query("\ud800").any()


def test_names_parse_back() -> None:
    """A name makes the embedder again; what is no name is refused with the right form."""
    for embedder in (HashingEmbedder(256), HashingEmbedder(8, 41)):
        assert HashingEmbedder.from_name(embedder.info.name).info == embedder.info
    assert HashingEmbedder.from_name("hashing/64-7").info.dimensions == 64
    for wrong in ("hashing/", "hashing/0", "hashing/12x", "hashing/8-", "hashing/-8", "Hashing/8"):
        with pytest.raises(ConfigError, match="hashing/DIMENSIONS"):
            HashingEmbedder.from_name(wrong)
    with pytest.raises(ConfigError, match="70000 dimensions"):
        HashingEmbedder(70_000)
