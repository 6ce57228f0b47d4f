"""Team-draft interleaving: whole, without repeats, the same for the same seed, and fair."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.errors import EvaluationError
from regen.evaluation.interleave import BASELINE, CANDIDATE, Interleaved, common_prefix, outcome, team_draft

DOCUMENTS = st.lists(st.sampled_from("abcdefghij"), max_size=8)
SEEDS = [str(seed) for seed in range(400)]


def pair(baseline: str, candidate: str) -> dict[str, list[str]]:
    """Two rankings, one letter a document."""
    return {BASELINE: list(baseline), CANDIDATE: list(candidate)}


@given(
    st.dictionaries(st.sampled_from(["x", "y", "z"]), DOCUMENTS, min_size=2), st.text(max_size=5), st.integers(1, 12)
)
def test_what_is_shown(rankings: dict[str, list[str]], seed: str, k: int) -> None:
    """At most k documents, none twice, none invented, none withheld while there is room; the same for the same seed."""
    shown = team_draft(rankings, seed=seed, k=k)
    found = set().union(*rankings.values())
    assert len(set(shown.documents)) == len(shown.documents) == min(k, len(found))
    assert set(shown.documents) <= found
    turned = team_draft(dict(reversed(rankings.items())), seed=seed, k=k)
    assert (shown.documents, shown.teams) == (turned.documents, turned.teams), "the order of the names is no matter"
    for team, documents in rankings.items():
        own = [doc_id for doc_id, name in zip(shown.documents, shown.teams, strict=True) if name == team]
        assert own == sorted(own, key=documents.index), "a team's documents keep their order"


@given(DOCUMENTS, DOCUMENTS, st.text(max_size=5))
def test_teams_have_equally_many_places(a: list[str], b: list[str], seed: str) -> None:
    """However unequal the rankings are, no team has more credited places than the other, but for a last odd one."""
    full = Counter(team_draft({"a": a, "b": b}, seed=seed, k=50).teams)
    assert full["a"] == full["b"]
    cut = Counter(team_draft({"a": a, "b": b}, seed=seed, k=3).teams)
    assert abs(cut["a"] - cut["b"]) <= 1


def test_the_seed_decides_and_nothing_else() -> None:
    """Rankings named in another order give the same documents and teams; another seed gives another list."""
    one = team_draft(pair("abcdef", "fedcba"), seed="q1", k=6)
    other = team_draft(dict(reversed(pair("abcdef", "fedcba").items())), seed="q1", k=6)
    assert (one.documents, one.teams) == (other.documents, other.teams)
    assert len({team_draft(pair("abcdef", "fedcba"), seed=seed, k=6).documents for seed in SEEDS}) == 8


def test_each_team_leads_equally_often() -> None:
    """Over many seeds each team places first in about half of the lists."""
    leads = Counter(team_draft(pair("abc", "xyz"), seed=seed, k=3).teams[0] for seed in SEEDS)
    assert 160 <= leads[BASELINE] <= 240
    assert sum(leads.values()) == len(SEEDS)


def test_what_both_begin_with_is_nobodys() -> None:
    """The common prefix is shown first, and clicks on it prefer nobody; rankings that agree never differ."""
    shown = team_draft(pair("abcd", "abdc"), seed="q", k=4)
    assert shown.documents[:2] == ("a", "b")
    assert shown.teams[:2] == (None, None)
    assert set(shown.teams[2:]) == {BASELINE, CANDIDATE}
    assert outcome(shown, ["a", "b"]) == 0
    assert set(team_draft(pair("abcd", "abcd"), seed="q", k=4).teams) == {None}
    assert common_prefix(["abc", "abd", "ab"]) == ["a", "b"]


def test_a_longer_ranking_does_not_win_by_its_length() -> None:
    """Beyond the end of the shorter ranking documents are still shown, and clicks on them prefer nobody."""
    for seed in SEEDS:
        shown = team_draft(pair("xbcdef", "bx"), seed=seed, k=6)
        assert set(shown.documents[2:]) == set("cdef")
        assert [np.sign(outcome(shown, [doc_id])) for doc_id in "xbcdef"] == [-1, 1, 0, 0, 0, 0]
    nothing = team_draft(pair("abc", ""), seed="q", k=3)
    assert nothing.documents == ("a", "b", "c")
    assert set(nothing.teams) == {None}


def test_clicks_at_random_prefer_nobody() -> None:
    """A click at any place gives no credit on average, whatever the rankings: the draft itself is fair."""
    for a, b, k in product(("abcdef", "fabc"), ("badcfe", "xyz"), (3, 4, 6)):
        drafts = [team_draft(pair(a, b), seed=seed, k=k) for seed in SEEDS]
        for place in range(min(map(len, (draft.documents for draft in drafts)))):
            mean = sum(outcome(draft, [draft.documents[place]]) for draft in drafts) / len(drafts)
            assert abs(mean) < 0.2, (a, b, k, place)


def test_the_better_ranking_wins() -> None:
    """A document that one ranks first and the other last is the first one's in every draft."""
    assert {np.sign(outcome(team_draft(pair("bcda", "abcd"), seed=seed, k=4), ["a"])) for seed in SEEDS} == {1}
    assert {np.sign(outcome(team_draft(pair("abcd", "bcda"), seed=seed, k=4), ["a"])) for seed in SEEDS} == {-1}


def test_credit_counts_documents_once() -> None:
    """Clicks count by place, repeated ones once; repeated documents count at their best place."""
    shown = Interleaved(("a", "b", "c", "d"), (BASELINE, CANDIDATE, CANDIDATE, None))
    assert shown.credit(["b", "b", "c", "d"]) == {BASELINE: 0, CANDIDATE: 2}
    found = [outcome(shown, clicked) for clicked in (["a"], ["b", "b"], ["b", "c"], ["a", "c"], [], ["d"])]
    assert found == pytest.approx([-1, 0.5**0.5, 1, (1 / 3) ** 0.5 - 1, 0, 0])
    assert team_draft(pair("aabab", "cca"), seed="q", k=9) == team_draft(pair("ab", "ca"), seed="q", k=9)


def test_three_rankings_are_drafted_together() -> None:
    """More than two teams play in one list, and any two of them can be compared."""
    shown = team_draft({"live": list("abc"), "new": list("xyz"), "newer": list("pqr")}, seed="q", k=9)
    assert Counter(shown.teams) == {"live": 3, "new": 3, "newer": 3}
    assert outcome(shown, ["p"], candidate="newer", baseline="live") > 0
    assert outcome(shown, ["p"], candidate="new", baseline="newer") < 0


def test_what_cannot_be_is_told() -> None:
    """One ranking, no place, a click on what was not shown, a team that did not play: each error says what is valid."""
    shown = team_draft(pair("ab", "ba"), seed="q", k=2)
    with pytest.raises(EvaluationError, match="cannot interleave 1 rankings"):
        team_draft({"only": ["a"]}, seed="q", k=3)
    with pytest.raises(EvaluationError, match="into 0 places"):
        team_draft(pair("a", "b"), seed="q", k=0)
    with pytest.raises(EvaluationError, match="not among the 2 documents shown"):
        outcome(shown, ["z"])
    with pytest.raises(EvaluationError, match="interleaved were baseline, candidate"):
        outcome(shown, ["a"], candidate="canary")
