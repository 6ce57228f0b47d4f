"""Measures by name: values that can be counted on fingers, ties, depth, and names that are none."""

from __future__ import annotations

import math
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.errors import EvaluationError
from regen.evaluation.judged import JudgedQuery, assemble
from regen.evaluation.measures import (
    EXAMPLES,
    check_measures,
    depth_needed,
    evidence_kept,
    in_order,
    means,
    measure,
    rank_documents,
)

C = assemble(
    "c",
    [JudgedQuery("q1", "a"), JudgedQuery("q2", "b"), JudgedQuery("q3", "c")],
    {"q1": {"d1": 1, "d2": 2, "d3": 0}, "q2": {"d9": 1}},
)
RANKINGS = {"q1": [("d3", 0.9), ("d1", 0.8), ("d0", 0.7), ("d2", 0.6)]}


def test_values_by_hand() -> None:
    """nDCG, recall, precision, reciprocal rank and average precision of one ranking, worked out on paper."""
    values = measure(C, RANKINGS, ["nDCG@10", "nDCG@2", "R@2", "P@2", "RR", "RR@1", "AP", "Success@1", "Judged@4"])
    ideal = 2 + 1 / math.log2(3)
    expected = {
        "nDCG@10": (1 / math.log2(3) + 2 / math.log2(5)) / ideal,
        "nDCG@2": (1 / math.log2(3)) / ideal,
        "R@2": 0.5,
        "P@2": 0.5,
        "RR": 0.5,
        "RR@1": 0.0,
        "AP": (1 / 2 + 2 / 4) / 2,
        "Success@1": 0.0,
        "Judged@4": 0.75,
    }
    assert {name: by_query["q1"] for name, by_query in values.items()} == pytest.approx(expected, abs=1e-12)


def test_a_judged_query_without_results_is_zero_and_an_unjudged_one_is_nothing() -> None:
    """A query that found nothing pulls the mean down; one that nobody judged has no say."""
    for rankings in (RANKINGS, {**RANKINGS, "q2": [], "q3": [("d1", 1.0)]}):
        values = measure(C, rankings, ["RR", "RR@10", "Judged@10"])
        assert values["RR"] == {"q1": 0.5, "q2": 0.0}
        assert values["RR@10"] == {"q1": 0.5, "q2": 0.0}
        assert list(values["Judged@10"]) == ["q1", "q2"]
        assert means(values)["RR"] == 0.25
    assert measure(C, {}, ["AP", "Judged@5"]) == {"AP": {"q1": 0.0, "q2": 0.0}, "Judged@5": {"q1": 0.0, "q2": 0.0}}


def test_means_of_a_slice() -> None:
    """A mean is over the queries asked for, in any order, and 0 over none."""
    values = {"RR": {"q1": 1.0, "q2": 0.5, "q3": 0.0}}
    assert means(values) == {"RR": 0.5}
    assert means(values, ["q2", "q1"]) == {"RR": 0.75}
    assert means(values, []) == {"RR": 0.0}


def test_asking_for_more_measures_changes_none() -> None:
    """Measures are computed together, but each as if alone: other relevance levels beside it do no harm."""
    names = ["P(rel=2)@5", "nDCG@10", "nDCG(judged_only=True)@10", "RR(rel=2)", "RR@10", "AP", "R(rel=2)@100", "Bpref"]
    together = measure(C, RANKINGS, names)
    assert list(together) == names
    for name in names:
        assert measure(C, RANKINGS, [name]) == {name: together[name]}
    assert together["P(rel=2)@5"]["q1"] == 0.2
    assert together["RR(rel=2)"]["q1"] == 0.25
    assert measure(C, RANKINGS, []) == {}


@pytest.mark.parametrize("names", list(permutations(["a", "b", "é", "z"])), ids="".join)
def test_ties_go_to_the_larger_document_id(names: tuple[str, ...]) -> None:
    """As trec_eval breaks them, whatever order they came in: by id, descending, byte by byte."""
    assert [document for document, _ in in_order([(name, 0.5) for name in names])] == ["é", "z", "b", "a"]


def test_scores_tie_as_32_bit_floats() -> None:
    """trec_eval holds scores as C floats: what differs only beyond them is a tie, and no reason for another rank."""
    assert in_order([("a", 1.0 + 1e-9), ("b", 1.0)]) == [("b", 1.0), ("a", 1.0 + 1e-9)]
    assert in_order([("a", 1.0 + 1e-6), ("b", 1.0)])[0][0] == "a"
    assert in_order([("a", -1e300), ("b", 1e300), ("c", 0.0)])[0][0] == "b"


@pytest.mark.parametrize("name", ["RR", "RR@10", "Judged@1", "P@1", "nDCG@1"])
def test_every_measure_sees_the_same_ties(name: str) -> None:
    """Two measures of different makers read one order: the unjudged d9 wins its tie with the relevant d1."""
    values = measure(C, {"q1": [("d1", 0.5), ("d9", 0.5)]}, [name])
    assert values[name]["q1"] == (0.5 if name.startswith("RR") else 0.0)


def test_documents_rank_by_their_best_chunk() -> None:
    """So that a chunker that makes many chunks and one that makes few are measured alike."""
    hits = [("a", 0.9), ("b", 0.8), ("a", 0.85), ("c", 0.8), ("b", 0.1)]
    assert rank_documents(hits) == [("a", 0.9), ("c", 0.8), ("b", 0.8)]
    assert rank_documents([("b", 0.1), ("a", 0.2), ("b", 0.7)]) == [("b", 0.7), ("a", 0.2)]
    assert rank_documents([]) == []


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(-1, 1, width=32)), max_size=30), st.randoms())
def test_the_order_of_the_hits_does_not_matter(hits: list[tuple[str, float]], random: object) -> None:
    """Any permutation of the same chunk hits gives the same ranking: each document once, scores descending."""
    shuffled = list(hits)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    ranked = rank_documents(hits)
    assert ranked == rank_documents(shuffled)
    assert {document for document, _ in ranked} == {document for document, _ in hits}
    assert all(first[1] >= second[1] for first, second in pairwise(ranked))
    assert all(score == max(s for d, s in hits if d == document) for document, score in ranked)


def test_scores_that_are_no_numbers_are_errors() -> None:
    """NaN has no place in an order, wherever it stands; it is not sorted somewhere in silence."""
    for hits in (
        [("a", math.nan), ("b", 1.0)],
        [("b", 1.0), ("a", math.nan), ("a", 2.0)],
        [("a", 1.0), ("a", math.nan)],
    ):
        with pytest.raises(EvaluationError, match="score of document 'a' is not a number"):
            rank_documents(hits)
    with pytest.raises(EvaluationError, match="not a number"):
        measure(C, {"q1": [("a", math.nan)]}, ["RR"])


def test_a_ranking_of_chunks_is_refused() -> None:
    """A document that is named twice would count twice."""
    with pytest.raises(EvaluationError, match="names a document twice"):
        measure(C, {"q1": [("a", 1.0), ("a", 0.5)]}, ["RR"])


def test_rankings_of_strange_queries_are_refused() -> None:
    """They can only be a mix-up of collections."""
    with pytest.raises(
        EvaluationError, match="1 rankings are of queries that the collection does not have, such as 'x'"
    ):
        measure(C, {"x": []}, ["RR"])


@pytest.mark.parametrize(
    ("names", "depth"),
    [
        ([], 0), (["nDCG@10"], 10), (["nDCG@10", "R@100", "P@5"], 100), (["RR"], 1000), (["AP", "P@5"], 1000),
        (["nDCG"], 1000), (["AP@20", "RR@10"], 20), (["nDCG(judged_only=True)@10"], 1000), (["R@5000", "AP"], 5000),
        (["P(rel=2)@7"], 7),
    ],
    ids=str,
)  # fmt: skip
def test_depth_needed(names: list[str], depth: int) -> None:
    """The largest cutoff decides; without one, TREC's thousand; unjudged documents may have to be passed over."""
    assert depth_needed(names) == depth


def test_the_examples_are_measures() -> None:
    """What an error message offers can be used as it stands."""
    check_measures(EXAMPLES)
    assert list(measure(C, RANKINGS, EXAMPLES)) == list(EXAMPLES)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MRR@10", "RR@10"), ("NDCG@5", "nDCG@5"), ("ndcg_cut_10", None), ("recall_100", "R@100"), ("map", "AP"),
        ("nDGC@10", "nDCG@10"), ("P", "P@10"), ("R", "R@10"), ("hit@5", "Success@5"), ("nDCG@0", "nDCG@10"),
        ("P@0", "P@10"), ("nDCG(cutoff=0)", "nDCG@10"), ("RR(cutoff=0)", "RR"), ("Bpref@10", "Bpref"),
        (" nDCG@10", "nDCG@10"), ("nDCG@010", "nDCG@10"), ("nDCG(cutoff=10)", "nDCG@10"), ("P(rel=0)@5", "P@5"),
        ("nDCG(gains={1:5})@10", "nDCG@10"), ("nDCG(dcg='exp-log2')@10", "nDCG@10"),
        ("RR(judged_only=True)@10", "RR@10"), ("nDCG@１０", "nDCG@10"), ("nDCG@10; import os", None),
        ("", None), ("@10", None), ("NumRet", None), ("foo", None),
        ("P@5@6", None), ("nDCG(foo=1)@10", "nDCG@10"), ("nDCG(", None), ("SetF", None), ("P(rel=1.5)@5", "P@5"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_measure_is_taught(name: str, meant: str | None) -> None:
    """Aliases and misspellings are named with the one valid spelling; a cutoff of 0 never reaches trec_eval's code."""
    with pytest.raises(EvaluationError, match="Valid: nDCG@10, R@100") as raised:
        check_measures([name])
    assert repr(name) in raised.value.message
    if meant is not None:
        assert raised.value.hint == f"Is {meant} meant?"
        check_measures([meant])
    with pytest.raises(EvaluationError):
        measure(C, RANKINGS, [name])


def test_evidence_is_counted_in_the_context() -> None:
    """One relevant document in the first k, or all of them; queries without a relevant document have no say."""
    collection = assemble(
        "c",
        [JudgedQuery(f"q{n}", "t") for n in range(1, 6)],
        {"q1": {"a": 1, "b": 1}, "q2": {"a": 1}, "q3": {"a": 0}, "q4": {"a": 1, "b": 2, "c": 1}},
    )
    rankings = {
        "q1": [("a", 3.0), ("x", 2.0), ("b", 1.0)],
        "q4": [("c", 1.0), ("b", 3.0), ("y", 0.5)],
        "q5": [("a", 1.0)],
    }
    two = evidence_kept(collection, rankings, 2)
    assert two.any == {"q1": 1.0, "q2": 0.0, "q4": 1.0}
    assert two.all == {"q1": 0.0, "q2": 0.0, "q4": 1.0}
    assert (two.any_share, two.all_share) == pytest.approx((2 / 3, 1 / 3))
    three = evidence_kept(collection, rankings, 3)
    assert three.all == {"q1": 1.0, "q2": 0.0, "q4": 0.0}
    with pytest.raises(EvaluationError, match="first 0 documents"):
        evidence_kept(collection, rankings, 0)
