"""Judged collections as values: slices, and everything that two files may disagree about."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from regen.errors import EvaluationError
from regen.evaluation.judged import JudgedCollection, JudgedQuery, assemble, problems_with

QUERIES = (
    JudgedQuery("q1", "pay", ("lang=en", "hr")),
    JudgedQuery("q2", "leave", ("lang=de", "hr")),
    JudgedQuery("q3", "password", ("lang=en",)),
)
QRELS = {"q1": {"d1": 2, "d2": 0}, "q2": {"d3": 1}, "q3": {"d4": 1}}


def test_slices_begin_with_all() -> None:
    """The whole collection comes first, then each tag by name, with the queries in their order."""
    slices = assemble("c", QUERIES, QRELS).slices()
    assert list(slices) == ["all", "hr", "lang=de", "lang=en"]
    assert slices["all"] == QUERIES
    assert [query.id for query in slices["lang=en"]] == ["q1", "q3"]


def test_unjudged_queries_are_in_no_slice_and_are_reported() -> None:
    """As trec_eval does, a query without judgments is no zero; and a slice of such queries only does not exist."""
    asked = (*QUERIES, JudgedQuery("q4", "bonus", ("hr", "rare")))
    found = assemble("c", asked, QRELS)
    assert [query.id for query in found.queries] == ["q1", "q2", "q3", "q4"]
    assert [query.id for query in found.judged] == ["q1", "q2", "q3"]
    assert "rare" not in found.slices()
    assert found.problems == (
        "c: 1 of 4 queries without judgments: 'q4'. No mean counts them.",
        "c: 1 tag with no judged query: 'rare'. There is no such slice.",
    )


def test_judgments_of_unknown_queries_are_set_aside_and_reported() -> None:
    """They cannot be asked, so nothing counts them; how many there were is said."""
    found = assemble("c", QUERIES, {**QRELS, "x1": {"d1": 1, "d2": 1}, "x2": {"d1": 1}})
    assert found.qrels == QRELS
    assert found.problems == ("c: 3 judgments of 2 queries that it does not have: 'x1', 'x2'. They are not used.",)


def test_queries_without_a_relevant_document_are_reported() -> None:
    """They are judged and score zero whatever is returned, which dilutes every difference."""
    found = assemble("c", QUERIES, {**QRELS, "q3": {"d4": 0, "d5": -1}})
    assert len(found.judged) == 3
    assert found.relevant("q3") == frozenset()
    assert found.relevant("q1") == {"d1"}
    assert found.relevant("nobody") == frozenset()
    assert "1 of 3 judged queries without a relevant document: 'q3'" in found.problems[0]


@pytest.mark.parametrize(
    ("queries", "qrels", "said"),
    [
        ((), QRELS, "no queries were found"),
        (QUERIES, {}, "none of 3 queries .* is judged; there are no judgments"),
        (QUERIES, {"q1": {}}, "none of 3 queries"),
        (QUERIES, {"1": {"d": 1}}, "none of 3 queries .* the judgments are of queries '1'"),
        ((*QUERIES, QUERIES[0]), QRELS, "query id 'q1' occurs twice"),
        ((JudgedQuery("q1", " "),), QRELS, "no id or no text"),
        ((JudgedQuery("", "t"),), QRELS, "no id or no text"),
        ((JudgedQuery("q1", "t", ("all",)),), QRELS, "has the tag 'all'"),
    ],
    ids=["no-queries", "no-judgments", "empty-judgments", "other-ids", "twice", "no-text", "no-id", "all"],
)
def test_what_cannot_be_used_is_an_error(
    queries: Sequence[JudgedQuery], qrels: dict[str, dict[str, int]], said: str
) -> None:
    """A collection that could only give nonsense is not made."""
    with pytest.raises(EvaluationError, match=said):
        assemble("c", queries, qrels)


def test_judged_documents_that_are_not_there_are_counted() -> None:
    """The report tells how many, how many of them are relevant and to how many queries; nothing is changed."""
    asked: list[Sequence[str]] = []

    def known(documents: Sequence[str]) -> set[str]:
        asked.append(documents)
        return set(documents) - {"d1", "d2", "d3"}

    found = assemble("c", QUERIES, {**QRELS, "q3": {"d4": 1, "d1": 1}})
    (report,) = problems_with(found, known)
    assert report == (
        "c: 3 of 4 judged documents are not in the index (2 of them relevant, to 3 queries, of which 2 have no "
        "relevant document left): 'd1', 'd2', 'd3'. They stay judged, and count as not found."
    )
    assert asked == [["d1", "d2", "d3", "d4"]]
    assert found.qrels["q2"] == {"d3": 1}


def test_nothing_is_reported_when_every_document_is_there() -> None:
    """A complete index has no such problem."""
    assert problems_with(assemble("c", QUERIES, QRELS), set) == ()


def test_a_collection_made_by_hand_needs_no_parser() -> None:
    """The value alone is enough for tests and starter collections."""
    found = JudgedCollection("c", QUERIES, QRELS)
    assert found.judged == QUERIES
    assert found.problems == ()
