"""Whether two models are compatible, in a word."""

from __future__ import annotations

import numpy as np
import pytest
from tests.spaces.synthetic import rotation, texts, two_models

from regen.errors import MapRefused
from regen.spaces import compare


def test_the_same_vectors_are_identical() -> None:
    """Rounded to half precision they still are one space."""
    vectors = texts(200, 16, 0)
    found = compare(vectors, vectors.astype(np.float16).astype(np.float32))
    assert found.word == "identical"
    assert found.cosine == pytest.approx(1.0, abs=1e-4)
    assert found.overlap > 0.97


def test_truncation_is_recognised() -> None:
    """The leading dimensions of a larger model are not another model."""
    vectors = texts(200, 16, 0)
    assert compare(vectors[:, :8], vectors).word == "truncated"


def test_a_rotation_is_another_space_that_maps() -> None:
    """The neighbours are the same and no vector is: mappable, never identical."""
    vectors = texts(300, 16, 0)
    found = compare(vectors, vectors @ rotation(16, 1))
    assert found.word == "mappable"
    assert found.overlap > 0.99
    assert abs(found.cosine or 1.0) < 0.9
    assert found.map_score is not None
    assert found.map_score.recall > 0.95


def test_unrelated_vectors_are_unrelated() -> None:
    """Vectors of other texts have no map, and the reason is suspected aloud."""
    found = compare(texts(300, 16, 0), texts(300, 16, 1))
    assert found.word == "unrelated"
    assert "prefix" in found.detail


def test_too_few_texts_cannot_tell() -> None:
    """Without enough pairs for a map there is no verdict, but what can be said is said."""
    source, target = two_models(40, 16, 24)
    found = compare(source, target)
    assert (found.word, found.map_score, found.cosine) == ("cannot tell", None, None)
    assert found.overlap > 0.3
    with pytest.raises(MapRefused, match="do not pair"):
        compare(source, target[1:])


def test_a_dot_product_model_is_never_compared_by_cosine() -> None:
    """Where length carries meaning, vectors of equal direction are not the same, and the lengths are reported."""
    vectors = texts(300, 16, 0)
    long = vectors * np.random.default_rng(0).uniform(0.5, 2, (300, 1)).astype(np.float32)
    found = compare(long, vectors, metric_a="dot")
    assert found.cosine is None
    assert found.word != "identical"
    assert found.magnitudes[0].low < 0.6
    assert found.magnitudes[0].high > 1.9
    assert found.magnitudes[1].spread < 1e-6
    assert "the first model's metric is dot" in found.notes[0]
    assert found.overlap < compare(long, vectors, metric_a="cosine").overlap
    assert compare(vectors, vectors, metric_a="dot").cosine == pytest.approx(1.0)
