"""Whose vectors are these? Each way in which they can be another's is told from the others, on made-up models."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from tests.spaces.synthetic import Vectors, rotation, texts

from regen.spaces.agreement import agreement, closest
from regen.spaces.derive import quantize
from regen.spaces.vectors import normalize

COUNT, SIZE = 64, 48
OWN = texts(COUNT, SIZE, 1)


def near(cosine: float, seed: int = 5) -> Vectors:
    """Unit vectors of this cosine with the model's own."""
    drawn = np.random.default_rng(seed).standard_normal(OWN.shape).astype(np.float32)
    across = normalize(drawn - (drawn * OWN).sum(axis=1, keepdims=True) * OWN)
    made: Vectors = (cosine * OWN + np.sqrt(1 - cosine**2) * across).astype(np.float32)
    return made


def partly(share: float, others: Vectors) -> Vectors:
    """So large a share of the model's own, the rest others."""
    own = np.random.default_rng(2).permutation(COUNT) < round(share * COUNT)
    return np.where(own[:, None], OWN, others).astype(np.float32)


def another_model() -> Vectors:
    """The same texts in a space of its own."""
    return (OWN @ rotation(SIZE, 9)).astype(np.float32)


LOOKS: dict[str, tuple[Callable[[], Vectors], str]] = {
    "another model": (another_model, r"another model, or of other texts: the median cosine"),
    "two models": (lambda: partly(0.5, another_model()), r"mixed: 50% of the sample are the model's vectors"),
    "mostly the model's": (lambda: partly(0.9, another_model()), r"mixed: 91%"),
    "two of two others": (lambda: np.where(np.arange(COUNT)[:, None] % 3 > 0, near(0.9), near(0.2)).astype(np.float32),
                          r"two makings: one group has cosine 0.900 with the model's own, the other 0.200"),
    "another prefix": (lambda: near(0.93), r"near the model's own but not the same \(median cosine 0.930\): made with"),
    "just outside": (lambda: near(0.994), r"near the model's own but not the same"),
    "signs": (lambda: quantize(OWN, "binary"), "the signs only"),
    "scaled signs": (lambda: (quantize(OWN, "binary") > 0).astype(np.float32), "the signs only"),
    "other rows": (lambda: np.roll(OWN, 1, axis=0), "of other rows: 100% of the sample are another text's"),
    "truncated": (lambda: OWN[:, :32], "truncated: they are the leading 32 of the model's 48 dimensions"),
    "truncated and normalised": (lambda: normalize(OWN[:, :32]), "truncated: they are the leading 32"),
    "larger": (lambda: np.hstack([OWN, OWN[:, :8]]), "of a larger model of the same family: their leading 48 of 56"),
    "padded": (lambda: np.hstack([OWN, np.zeros((COUNT, 8), np.float32)]), "padded: 48 dimensions of the model, and 8"),
    "other dimensions": (lambda: texts(COUNT, 32, 7), "of another model: they have 32 dimensions, the model has 48"),
}  # fmt: skip


@pytest.mark.parametrize("look", LOOKS)
def test_what_foreign_vectors_look_like(look: str) -> None:
    """Each is refused, and told by its own words."""
    make, words = LOOKS[look]
    found = agreement(make(), OWN)
    assert not found.same
    assert found.problem is not None
    assert re.search(words, found.problem), found.problem


SAME_BUT_FOR = {
    "nothing": OWN,
    "float16": quantize(OWN, "float16"),
    "int8": quantize(OWN, "int8"),
    "lengths": OWN * np.linspace(0.1, 9, COUNT, dtype=np.float32)[:, None],
    "one edited text": partly(63 / 64, another_model()),
}


@pytest.mark.parametrize("what", SAME_BUT_FOR)
def test_the_models_own_vectors_are_recognised(what: str) -> None:
    """Rounding, lengths (which a recipe normalises) and a single edited text do not make them another's."""
    assert agreement(SAME_BUT_FOR[what], OWN).same


def test_lengths_count_where_the_recipe_keeps_them() -> None:
    """Vectors normalised behind a model that is not, and scaled ones, are refused with the setting that fits them."""
    raw = OWN * np.linspace(1, 3, COUNT, dtype=np.float32)[:, None]
    assert agreement(raw, raw, lengths=True).same
    unit, scaled = agreement(OWN, raw, lengths=True), agreement(raw * 5, raw, lengths=True)
    assert "normalised to length 1; the model's own have lengths from 1" in str(unit.problem)
    assert "of other lengths, from 5.5 to 14.5" in str(scaled.problem)
    assert "normalize: true" in str(unit.hint)
    assert "normalize: true" in str(scaled.hint)
    assert agreement(raw * 5, raw).same


def test_only_near_vectors_may_be_of_another_prefix() -> None:
    """``near`` says when it pays to try other prefixes: the model's space, but not its vectors of these texts."""
    assert agreement(near(0.8), OWN).near
    assert not agreement(another_model(), OWN).near
    assert not agreement(partly(0.5, another_model()), OWN).near
    assert closest(near(0.8), {"a": near(0.8, 6), "b": near(0.8)}) == "b"
    assert closest(near(0.8), {"a": OWN}) is None


def test_a_small_sample_is_not_called_two_groups() -> None:
    """Two or three vectors say nothing of groups; a spread without a gap is one group."""
    assert "mixed" not in str(agreement(near(0.5)[:3], OWN[:3]).problem)
    spread = np.linspace(0.4, 0.95, COUNT, dtype=np.float32)[:, None]
    across = near(0.0)
    assert "near the model's own" in str(
        agreement((spread * OWN + np.sqrt(1 - spread**2) * across).astype(np.float32), OWN).problem
    )
