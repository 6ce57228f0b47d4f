"""The rolling merge: pure at both ends, fair in between, and better than merges that ignore the two scales."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regen.errors import SpaceMismatch
from regen.spaces.merge import Scored, normalized
from regen.spaces.prior import CalibrationPrior
from regen.spaces.rolling import Relevant, rolling

DOCUMENTS = 2_000
DEPTH = 60
Search = tuple[np.ndarray, np.ndarray]


def best(scores: np.ndarray, among: np.ndarray) -> Scored:
    """The best candidates of a store query."""
    top = among[np.argsort(-scores[among])[:DEPTH]]
    return Scored(tuple(f"d{at:04d}" for at in top), scores[top])


def asked(scores: Search, migrated: np.ndarray) -> tuple[Scored, Scored, list[bool]]:
    """What the two store queries give for one query: old candidates, new candidates, and the flags of the old."""
    old = best(scores[0], np.arange(DOCUMENTS))
    new = best(scores[1], np.flatnonzero(migrated))
    return old, new, [bool(migrated[int(i[1:])]) for i in old.ids]


def searches(queries: int, seed: int = 0) -> list[Search]:
    """Queries of a made-up corpus: document 0 is relevant. The new model finds it better, on quite another scale."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(queries):
        shared = rng.standard_normal(DOCUMENTS)
        old, new = (0.8 * shared + 0.6 * rng.standard_normal(DOCUMENTS) for _ in range(2))
        old[0], new[0] = rng.standard_normal(2) + np.array([2.9, 3.7])
        found.append((old * 0.1 + 0.6, new * 0.3))
    return found


def reciprocal(ids: tuple[str, ...]) -> float:
    """1 / rank of the relevant document, 0 below ten."""
    rank = ids.index("d0000") + 1 if "d0000" in ids else 99
    return 1 / rank if rank <= 10 else 0.0


def quality(
    merge: Callable[[Scored, Scored, list[bool]], tuple[str, ...]], share: float, *, queries: int = 300
) -> float:
    """Mean reciprocal rank at a share of migrated documents, each query under another random order."""
    rng = np.random.default_rng(1)
    values = []
    for scores in searches(queries):
        migrated = rng.random(DOCUMENTS) < share
        values.append(reciprocal(merge(*asked(scores, migrated))))
    return float(np.mean(values))


class Learning:
    """The rolling merge with its memory, as a search runs it."""

    def __init__(self) -> None:
        self.prior = CalibrationPrior()

    def __call__(self, old: Scored, new: Scored, migrated: list[bool]) -> tuple[str, ...]:
        merged = rolling(old, new, migrated, prior=self.prior)
        self.prior = merged.prior
        return merged.ids


def scaled(method: str) -> Callable[[Scored, Scored, list[bool]], tuple[str, ...]]:
    """Each list on a scale of its own, each document by the one value that it has."""

    def merge(old: Scored, new: Scored, migrated: list[bool]) -> tuple[str, ...]:
        values = [normalized(one, method) if one.ids else {} for one in (old, new)]  # type: ignore[arg-type]
        waiting = {i: values[0][i] for i, done in zip(old.ids, migrated, strict=True) if not done}
        return Scored.of(waiting | values[1]).ranked().ids

    return merge


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcdefghijkl"), st.integers(-9, 9).map(float), min_size=1),
    st.dictionaries(st.sampled_from("abcdefghijkl"), st.integers(-9, 9).map(float)),
)
def test_at_both_ends_it_is_the_single_ranking(old: dict[str, float], new: dict[str, float]) -> None:
    """With nothing migrated it is the old ranking, with everything the new one, scores too, whatever was learned."""
    prior = CalibrationPrior().learn(np.array([3.0, 2.0, 1.0]), np.array([9.0, 5.0, 1.0]), 0.5)
    none = rolling(Scored.of(old), Scored.of({}), [False] * len(old), prior=prior, relevant=Relevant(9, 9))
    assert none.ids == Scored.of(old).ranked().ids
    np.testing.assert_array_equal(none.scores, Scored.of(old).ranked().scores)
    assert not none.from_new.any()
    everything = rolling(Scored.of(old), Scored.of(new), [True] * len(old), prior=prior, relevant=Relevant(0, 9))
    if new:
        assert everything.ids == Scored.of(new).ranked().ids
        np.testing.assert_array_equal(everything.scores, Scored.of(new).ranked().scores)
        assert everything.from_new.all()


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(8)), st.permutations(range(4)), st.sampled_from([(1.0, 0.0), (5.0, -3.0)]))
def test_neither_input_order_nor_units_matter(
    order: list[int], new_order: list[int], units: tuple[float, float]
) -> None:
    """The same lists in another order, or old scores in other units, give the same ranking."""
    ids, scores = np.array(list("abcdefgh")), np.array([9.0, 8.5, 7.0, 6.0, 5.5, 4.0, 3.0, 1.0])
    flags = np.array([True, False, True, False, True, False, False, True])
    new_ids, new_scores = np.array(list("ceha")), np.array([0.9, 0.7, 0.65, 0.2])
    wanted = rolling(Scored(tuple(ids), scores), Scored(tuple(new_ids), new_scores), flags.tolist()).ids
    mixed = rolling(
        Scored(tuple(ids[order]), scores[order] * units[0] + units[1]),
        Scored(tuple(new_ids[new_order]), new_scores[new_order]),
        flags[order].tolist(),
    )
    assert mixed.ids == wanted


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75, 0.9])
def test_quality_runs_along_the_straight_line(share: float) -> None:
    """Partly migrated, the relevant document is found as well as the share promises, though the scales differ."""
    before, after = quality(Learning(), 0.0), quality(Learning(), 1.0)
    assert after > before + 0.1
    merged = quality(Learning(), share)
    # Which queries have their document migrated is luck: 0.03 is two standard errors of 300 queries.
    assert merged > (1 - share) * before + share * after - 0.03
    assert merged > quality(scaled("min_max"), share) - 0.005
    assert merged > quality(scaled("reciprocal_rank"), share) - 0.005


def test_it_beats_scales_of_their_own_early_on() -> None:
    """At a tenth migrated, min-max and ranks put the best of a tenth beside the best of all; calibration does not."""
    merged = quality(Learning(), 0.1)
    assert merged > quality(scaled("min_max"), 0.1) + 0.03
    assert merged > quality(scaled("reciprocal_rank"), 0.1) + 0.03


def test_judged_queries_tell_where_relevance_lies() -> None:
    """With relevant documents migrated last, judgments bring back what scores alone would lose; by chance, nothing."""
    rng = np.random.default_rng(2)
    plain, judged = [], []
    for scores in searches(100):
        migrated = rng.random(DOCUMENTS) < 0.8
        migrated[0] = False
        plain.append(reciprocal(rolling(*asked(scores, migrated)).ids))
        judged.append(reciprocal(rolling(*asked(scores, migrated), relevant=Relevant(98, 100)).ids))
    assert np.mean(judged) > np.mean(plain) + 0.1
    learning = Learning()
    for scores in searches(40):
        learning(*asked(scores, migrated))
    last, chance, first = (
        rolling(*asked(scores, migrated), prior=learning.prior, relevant=Relevant(pending, 100)).lean
        for pending in (98, 21, 2)
    )
    assert last > 0 > first
    assert abs(chance) < 0.1 * last


def test_a_migrated_document_is_never_shown_by_its_old_score() -> None:
    """One that the new list lacks is below all of it, however good its old score; one that moved meanwhile is new."""
    old = Scored.of({"a": 9.0, "b": 8.0, "c": 7.0, "moved": 6.0})
    merged = rolling(old, Scored.of({"c": 0.5, "moved": 0.4}), [True, False, True, False])
    assert "a" not in merged.ids
    assert sorted(merged.ids) == ["b", "c", "moved"]
    assert dict(zip(merged.ids, merged.from_new.tolist(), strict=True)) == {"b": False, "c": True, "moved": True}


def test_nothing_shared_and_nothing_learned() -> None:
    """Migrated documents that no old candidate is among lie below all of them, so they are ranked below."""
    old = Scored.of({"a": 0.9, "b": 0.8, "c": 0.7})
    merged = rolling(old, Scored.of({"x": 40.0, "y": 30.0, "z": 20.0}), [False] * 3)
    assert merged.ids == ("a", "b", "x", "c", "y", "z") or merged.ids[:2] == ("a", "b")
    assert merged.calibration.basis == "bound"
    assert set(merged.ids[:2]) == {"a", "b"}


def test_flags_must_go_with_the_candidates() -> None:
    """One flag too few is an error, never a shifted answer."""
    with pytest.raises(SpaceMismatch, match="1 migration flags for 2"):
        rolling(Scored.of({"a": 1.0, "b": 2.0}), Scored.of({}), [True])
    with pytest.raises(ValueError, match="4 of 3"):
        Relevant(4, 3)
