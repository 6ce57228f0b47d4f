"""Linear maps between spaces: recovery, honesty of the score, direction, refusal, bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.spaces.synthetic import rotation, texts, two_models

from regen.errors import MapRefused, SpaceMismatch
from regen.spaces.fitting import KINDS, MapKind, pairs_needed
from regen.spaces.maps import Map, fit
from regen.spaces.vectors import normalize


@settings(max_examples=15, deadline=None)
@given(st.integers(4, 24), st.integers(0, 1_000), st.sampled_from(["procrustes", "ridge"]))
def test_a_known_rotation_is_recovered(dimensions: int, seed: int, kind: MapKind) -> None:
    """Pairs that differ by a rotation give that rotation back, exactly, on vectors that were not fitted."""
    source, turn = texts(150, dimensions, seed), rotation(dimensions, seed + 1)
    fitted = fit(kind, source[:120], source[:120] @ turn, seed=seed)
    np.testing.assert_allclose(fitted.apply(source[120:]), source[120:] @ turn, atol=2e-3)
    assert fitted.score.cosine > 0.999
    assert fitted.score.problem is None


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "procrustes"])
@pytest.mark.parametrize(("first", "second"), [(16, 24), (24, 16)])
def test_spaces_of_unequal_dimensions_are_mapped_either_way(kind: MapKind, first: int, second: int) -> None:
    """Up or down in dimensions, a map of every rectangular kind beats its shuffled control and keeps unit length."""
    source, target = two_models(400, first, second)
    fitted = fit(kind, source, target, seed=1)
    mapped = fitted.apply(source[:9])
    assert mapped.shape == (9, second)
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(mapped, axis=1), 1, atol=1e-5)
    assert fitted.score.problem is None
    assert fitted.score.recall > 3 * fitted.score.shuffled_recall


def test_a_semi_orthogonal_map_keeps_angles() -> None:
    """Up in dimensions, its rows are orthogonal and equally long: cosines of the (centred) source are kept."""
    source, target = two_models(300, 8, 12)
    weights = fit("semi_orthogonal", source, target, seed=0).factors[0].astype(np.float64)
    gram = weights @ weights.T
    np.testing.assert_allclose(gram, np.eye(8) * gram[0, 0], atol=1e-5)


def test_ridge_chooses_its_penalty_by_the_noise() -> None:
    """The noisier the pairs, the larger the penalty; and it helps: least squares without one does worse."""
    penalties = []
    for noise in (0.0, 0.1, 0.5):
        source, target = two_models(560, 20, 20, noise)
        fitted = fit("ridge", source[:60], target[:60], seed=0)
        penalties.append(fitted.penalty)
    assert penalties[0] < penalties[1] < penalties[2]
    plain = np.linalg.lstsq(np.c_[source[:60], np.ones(60)], target[:60], rcond=None)[0]
    unpenalised = normalize((np.c_[source[60:], np.ones(500)] @ plain).astype(np.float32))
    assert np.sum(fitted.apply(source[60:]) * target[60:]) > np.sum(unpenalised * target[60:]) + 5


def test_a_low_rank_relation_is_found_and_cheap() -> None:
    """Where only four directions are shared, the chosen rank is small and loses nothing."""
    rng = np.random.default_rng(0)
    source = texts(800, 32, 0)
    shared = rng.standard_normal((32, 4)) @ rng.standard_normal((4, 32))
    target = normalize((source @ shared + 0.02 * rng.standard_normal((800, 32))).astype(np.float32))
    low, full = (fit(kind, source, target, seed=0) for kind in ("low_rank", "ridge"))
    assert low.factors[0].shape == (32, 4)
    assert low.score.cosine > full.score.cosine - 0.005
    assert fit("low_rank", source, target, seed=0, rank=2).factors[1].shape == (2, 32)


@pytest.mark.parametrize("kind", KINDS)
def test_shuffled_pairs_are_caught(kind: MapKind) -> None:
    """A map fitted on pairs that do not belong together says that it is no better than chance."""
    source, target = two_models(500, 16, 16)
    assert fit(kind, source, target, seed=0).score.problem is None
    wrong = fit(kind, source, np.random.default_rng(1).permutation(target), seed=0)
    assert wrong.score.problem is not None
    assert "shuffled pairs" in wrong.score.problem
    assert "another prefix" in wrong.score.problem


def test_the_score_is_held_out() -> None:
    """With as few pairs as allowed, the score is that of unseen texts and not of those that were fitted."""
    source, target = two_models(60, 20, 20, noise=0.3)
    unseen_source, unseen_target = (side[60:] for side in two_models(560, 20, 20, noise=0.3))
    fitted = fit("ridge", source, target, seed=3)
    unseen = float(np.mean(np.sum(fitted.apply(unseen_source) * unseen_target, axis=1)))
    seen = float(np.mean(np.sum(fitted.apply(source) * target, axis=1)))
    assert abs(fitted.score.cosine - unseen) < abs(fitted.score.cosine - seen)


def test_one_vector_is_mapped_as_a_row_is() -> None:
    """A query (d,) gives a vector (d,), the same as in a matrix."""
    source, target = two_models(200, 12, 8)
    fitted = fit("ridge", source, target, seed=0)
    assert fitted.apply(source[0]).shape == (8,)
    np.testing.assert_allclose(fitted.apply(source[0]), fitted.apply(source)[0], atol=1e-6)


def test_lengths_are_kept_where_they_carry_meaning() -> None:
    """A target space without unit length gets vectors of its own lengths."""
    source = texts(300, 12, 0)
    sizes = np.random.default_rng(0).uniform(2, 5, (300, 1)).astype(np.float32)
    fitted = fit("ridge", source * sizes, (source @ rotation(12, 4)) * sizes, seed=0)
    assert not fitted.unit
    np.testing.assert_allclose(np.linalg.norm(fitted.apply(source * sizes), axis=1), sizes[:, 0], rtol=0.02)


def test_vectors_of_another_space_are_refused() -> None:
    """A map takes vectors of its source space only: another dimension or fingerprint is an error, never a result."""
    source, target = two_models(200, 12, 12)
    fitted = fit("ridge", source, target, seed=0, source_space="aaaa", target_space="bbbb")
    assert fitted.apply(source, space="aaaa").shape == (200, 12)
    with pytest.raises(SpaceMismatch, match="space bbbb"):
        fitted.apply(target, space="bbbb")
    with pytest.raises(SpaceMismatch, match="5 dimensions"):
        fitted.apply(np.ones((2, 5), dtype=np.float32))


@pytest.mark.parametrize(
    ("kind", "first", "second", "needed"),
    [
        ("ridge", 384, 384, 960),
        ("procrustes", 384, 384, 479),
        ("semi_orthogonal", 64, 256, 140),
        ("low_rank", 8, 8, 50),
    ],
)
def test_too_few_pairs_are_refused_with_the_number(kind: MapKind, first: int, second: int, needed: int) -> None:
    """One pair less than needed is refused, and the error says how many it takes."""
    assert pairs_needed(kind, first, second) == needed
    vectors = [np.eye(needed - 1, size, dtype=np.float32) + 1 for size in (first, second)]
    with pytest.raises(MapRefused, match=f"{needed - 1} pairs are too few") as caught:
        fit(kind, *vectors, seed=0)
    assert f"at least {needed}" in str(caught.value.hint)


def test_unusable_input_is_refused_with_the_reason() -> None:
    """What cannot be fitted says which row, kind, dimension or rank is at fault."""
    source, target = two_models(200, 12, 8)
    broken = source.copy()
    broken[7, 3] = np.nan
    with pytest.raises(MapRefused, match="row 7: contains NaN"):
        fit("ridge", broken, target, seed=0)
    with pytest.raises(MapRefused, match="do not pair"):
        fit("ridge", source[1:], target, seed=0)
    with pytest.raises(MapRefused, match="12 dimensions to 8"):
        fit("procrustes", source, target, seed=0)
    with pytest.raises(MapRefused, match="rank is 9"):
        fit("low_rank", source, target, seed=0, rank=9)
    with pytest.raises(MapRefused, match="'affine' is no kind"):
        fit("affine", source, target, seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["ridge", "low_rank"])
def test_a_map_survives_as_bytes(kind: MapKind) -> None:
    """Written and read back it maps the same, with its fingerprints and its score; equal fits give equal bytes."""
    source, target = two_models(300, 12, 8)
    fitted, again = (fit(kind, source, target, seed=5, source_space="aa", target_space="bb") for _ in range(2))
    read = Map.from_bytes(fitted.to_bytes())
    np.testing.assert_array_equal(read.apply(source), fitted.apply(source))
    assert (read.source_space, read.target_space, read.score, read.pairs) == ("aa", "bb", fitted.score, 300)
    assert fitted.to_bytes() == again.to_bytes() == read.to_bytes()


@pytest.mark.parametrize("cut", [0, 5, 14, 60, -4])
def test_broken_bytes_are_refused(cut: int) -> None:
    """Bytes cut anywhere, or of something else, are an error and never a map."""
    source, target = two_models(200, 6, 4)
    data = fit("ridge", source, target, seed=0).to_bytes()
    with pytest.raises(MapRefused, match="no map"):
        Map.from_bytes(data[:cut])
    with pytest.raises(MapRefused, match="no map"):
        Map.from_bytes(b"x" + data)
