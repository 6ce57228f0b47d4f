"""Merging two complete lists, and saying nothing twice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regen.errors import ConfigError
from regen.spaces.merge import METHODS, Method, Scored, distinct, fuse

lists = st.dictionaries(st.sampled_from("abcdefghij"), st.integers(-20, 20).map(float), max_size=8)


@settings(max_examples=150, deadline=None)
@given(lists, lists, st.sampled_from(METHODS), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(
    old: dict[str, float], new: dict[str, float], method: Method, random: np.random.Generator
) -> None:
    """Merged is the union, once each, best first, the same for any order in which the lists are given; ties by id."""
    mixed = [dict(random.sample(sorted(one.items()), len(one))) for one in (old, new)]  # type: ignore[attr-defined]
    first, second = (fuse(Scored.of(a), Scored.of(b), method) for a, b in ((old, new), mixed))
    assert first.ids == second.ids
    assert sorted(first.ids) == sorted({*old, *new})
    found = list(zip(first.scores.tolist(), first.ids, strict=True))
    assert found == sorted(found, reverse=True)


@settings(max_examples=100, deadline=None)
@given(lists.filter(bool), st.sampled_from(METHODS))
def test_one_list_alone_is_unchanged(scores: dict[str, float], method: Method) -> None:
    """Beside an empty list, or with all the weight, a list keeps its ranking and its scores."""
    one, none, other = Scored.of(scores), Scored.of({}), Scored.of({"a": 1.0, "z": 9.0})
    wanted = one.ranked()
    for merged in (
        fuse(one, none, method), fuse(none, one, method), fuse(one, other, method, weight=0.0),
        fuse(other, one, method, weight=1.0),
    ):  # fmt: skip
        assert merged.ids == wanted.ids
        np.testing.assert_array_equal(merged.scores, wanted.scores)


@settings(max_examples=100, deadline=None)
@given(lists, lists, st.sampled_from(METHODS), st.sampled_from([0.25, 4.0]), st.sampled_from([-8.0, 0.5]))
def test_units_do_not_matter(
    old: dict[str, float], new: dict[str, float], method: Method, scale: float, shift: float
) -> None:
    """Old scores in other units (a similarity in percent, a shifted distance) give the same merged order."""
    rescaled = {i: value * scale + shift for i, value in old.items()}
    first, second = (fuse(Scored.of(one), Scored.of(new), method) for one in (old, rescaled))
    if method != "calibrated" or len(old.keys() & new.keys()) >= 3:
        gaps = dict(zip(first.ids, first.scores.tolist(), strict=True))
        ranked = [gaps[i] for i in second.ids]
        assert all(a >= b - 1e-9 for a, b in pairwise(ranked)) or not old.keys() & new.keys()


def test_reciprocal_rank_is_the_published_formula() -> None:
    """1 / (60 + rank) from each list, a missing document getting nothing."""
    merged = fuse(Scored.of({"a": 9.0, "b": 5.0}), Scored.of({"b": 0.2, "c": 0.1}), "reciprocal_rank")
    assert merged.ids == ("b", "a", "c")
    np.testing.assert_allclose(merged.scores, [(1 / 62 + 1 / 61) / 2, 1 / 61 / 2, 1 / 62 / 2])


def test_calibrated_uses_documents_that_both_hold() -> None:
    """Old scores are read on the new scale: x10 there, so the one that only the old list has lands between."""
    old = Scored.of({"a": 4.0, "b": 3.0, "only": 2.5, "c": 2.0, "d": 1.0})
    merged = fuse(old, Scored.of({"a": 40.0, "b": 30.0, "c": 20.0, "d": 10.0}), "calibrated", weight=0.01)
    assert merged.ids == ("a", "b", "only", "c", "d")
    np.testing.assert_allclose(merged.scores[[0, 1, 3, 4]], [40, 30, 20, 10])


def test_unknown_methods_and_weights_are_named() -> None:
    """The error lists what is valid."""
    with pytest.raises(ConfigError, match="'sum'"):
        fuse(Scored.of({"a": 1.0}), Scored.of({}), "sum")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"weight 1\.5"):
        fuse(Scored.of({"a": 1.0}), Scored.of({}), "min_max", weight=1.5)


def test_nothing_is_said_twice() -> None:
    """The first of each document and of each text (but for white space and capitals) stays; empty texts all do."""
    documents = ["a", "b", "a", "c", "d", "e"]
    assert distinct(documents) == [0, 1, 3, 4, 5]
    assert distinct(documents, ["One  text", "other", "x", "one text ", "", ""]) == [0, 1, 4, 5]
