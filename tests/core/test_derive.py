"""Vectors made of other vectors equal those that the model gives, as far as their precision goes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from regen.core.recipe import Embedding, Precision
from regen.embedders.wordllama import WordLlamaEmbedder
from regen.engine.donors import derivation
from regen.spaces.derive import neighbour_overlap, quantize
from regen.spaces.vectors import normalize

SUBJECTS = ("The cat", "A river", "Nobody", "My old teacher", "Error 404")
VERBS = ("sleeps", "was found", "cannot be opened")
PLACES = ("at home", "in Paris", "near the server")
TEXTS = [f"{subject} {verb} {place}." for subject in SUBJECTS for verb in VERBS for place in PLACES]
WIDE = Embedding("m/256", 256)
LOSSY: tuple[Precision, ...] = ("float16", "int8", "binary")


def derive(vectors: NDArray[np.float32], old: Embedding, new: Embedding) -> NDArray[np.float32]:
    """As a donor does it."""
    return derivation(old, new)(vectors)


@pytest.fixture(scope="module")
def raw() -> NDArray[np.float32]:
    """The vectors of a real model, as it gives them."""
    return WordLlamaEmbedder(256).embed_documents(TEXTS)


def built(raw: NDArray[np.float32], embedding: Embedding) -> NDArray[np.float32]:
    """The vectors as a clean build would make them of the model's."""
    cut = np.ascontiguousarray(raw[:, : embedding.dimensions])
    return quantize(normalize(cut) if embedding.normalize else cut, embedding.precision)


@pytest.mark.parametrize("size", [64, 128])
def test_truncated_vectors_are_those_of_the_smaller_model(raw: NDArray[np.float32], size: int) -> None:
    """WordLlama at 128 and 64 dimensions gives what is derived of its 256, within 1e-5."""
    smaller = normalize(WordLlamaEmbedder(size).embed_documents(TEXTS))
    found = derive(normalize(raw), WIDE, replace(WIDE, dimensions=size))
    assert found.shape == (len(TEXTS), size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, smaller, atol=1e-5)


@pytest.mark.parametrize("size", [64, 128, 256])
@pytest.mark.parametrize("precision", ["float32", *LOSSY])
@pytest.mark.parametrize("before", [True, False])
def test_derived_equals_built(raw: NDArray[np.float32], size: int, precision: Precision, *, before: bool) -> None:
    """Of full vectors, normalised or not, each size and precision comes out as a clean build makes it."""
    old = replace(WIDE, normalize=before)
    new = replace(WIDE, dimensions=size, precision=precision)
    found, wanted = derive(built(raw, old), old, new), built(raw, new)
    if precision == "int8":  # a component half-way between two numbers may be rounded to either
        assert np.abs(found - wanted).max() <= 1
        assert (found == wanted).mean() > 0.999
    else:
        np.testing.assert_allclose(found, wanted, atol=1e-3 if precision == "float16" else 1e-5)


@pytest.mark.parametrize("precision", LOSSY)
def test_truncated_vectors_keep_to_their_precision(raw: NDArray[np.float32], precision: Precision) -> None:
    """Fewer dimensions of vectors of low precision are vectors of that precision, near to what a build gives."""
    old = replace(WIDE, precision=precision)
    new = replace(old, dimensions=64)
    found, wanted = derive(built(raw, old), old, new), built(raw, new)
    np.testing.assert_array_equal(quantize(found, precision), found)
    cosine = (normalize(found) * normalize(wanted)).sum(axis=1)
    assert cosine.min() > 0.999
    if precision == "binary":
        np.testing.assert_array_equal(found, wanted)


def test_raw_vectors_stay_raw(raw: NDArray[np.float32]) -> None:
    """Without normalisation truncated vectors keep the lengths that the model gave them."""
    old = replace(WIDE, normalize=False)
    found = derive(raw, old, replace(old, dimensions=64))
    np.testing.assert_array_equal(found, raw[:, :64])
    assert found.flags["C_CONTIGUOUS"]


def test_what_is_given_is_not_changed(raw: NDArray[np.float32]) -> None:
    """Deriving writes into nothing that it was given."""
    unit = normalize(raw)
    kept = unit.copy()
    for precision in LOSSY:
        derive(unit, WIDE, replace(WIDE, precision=precision))
    derive(unit, WIDE, replace(WIDE, dimensions=64))
    np.testing.assert_array_equal(unit, kept)


def test_quantised_values(raw: NDArray[np.float32]) -> None:
    """int8 holds whole numbers up to 127, one of which is reached; binary holds signs, float16 what 16 bits hold."""
    whole = quantize(raw, "int8")
    np.testing.assert_array_equal(whole, np.rint(whole))
    np.testing.assert_array_equal(np.abs(whole).max(axis=1), 127)
    assert set(np.unique(quantize(raw, "binary"))) == {-1.0, 1.0}
    half = quantize(raw, "float16")
    np.testing.assert_array_equal(half, half.astype(np.float16))
    assert (half != raw).any()
    assert quantize(raw, "float32") is raw


@pytest.mark.parametrize(("precision", "least"), [("float16", 0.9999), ("int8", 0.999), ("binary", 0.75)])
def test_directions_survive(raw: NDArray[np.float32], precision: Precision, least: float) -> None:
    """The cosine of a vector and its quantised form stays high, the higher the finer it is."""
    assert (normalize(raw) * normalize(quantize(raw, precision))).sum(axis=1).min() > least


def test_zero_rows_stay_usable() -> None:
    """A zero vector, which no index holds, is no reason to divide by zero."""
    assert not quantize(np.zeros((1, 4), np.float32), "int8").any()
    assert np.isfinite(derive(np.zeros((1, 4), np.float32), Embedding("m", 4), Embedding("m", 2))).all()


def test_neighbours_that_stay(raw: NDArray[np.float32]) -> None:
    """All neighbours stay when nothing is lost, most with int8, and few with unrelated vectors."""
    assert neighbour_overlap(raw, raw) == 1.0
    assert neighbour_overlap(raw, 3 * raw) == 1.0
    assert neighbour_overlap(raw, quantize(raw, "int8")) > 0.9
    unrelated = np.random.default_rng(1).standard_normal(raw.shape).astype(np.float32)
    assert neighbour_overlap(raw, unrelated) < 0.5
    assert neighbour_overlap(raw, raw[:, :64]) < 1.0


def test_neighbours_as_a_search_finds_them(raw: NDArray[np.float32]) -> None:
    """A query that is not quantised itself keeps more neighbours of quantised vectors than one that is."""
    bits = quantize(raw, "binary")
    assert neighbour_overlap(raw, bits, queries=raw) > neighbour_overlap(raw, bits) + 0.02
    assert neighbour_overlap(raw, raw, queries=raw) == 1.0


def test_neighbours_of_very_few() -> None:
    """One vector has no neighbours to lose; two have each other."""
    assert neighbour_overlap(np.ones((1, 4), np.float32), np.ones((1, 4), np.float32)) == 1.0
    assert neighbour_overlap(np.eye(2, dtype=np.float32), np.ones((2, 2), np.float32)) == 1.0
