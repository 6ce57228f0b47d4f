"""Changes by facet, and the least work that each leads to: pure functions, every row of the table."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.changes import classify, lane, state_of
from regen.core.documents import UNRESTRICTED, ChangeKind, Document, Unrestricted, canonical_json, fingerprint, may_see
from regen.core.placing import REPAY, REWRITE, input_hash, need, payload_hash
from regen.errors import DocumentError

OLD = Document("a", "text", {"title": "T", "lang": "en"}, ["x"])
PRINCIPALS = st.lists(st.sampled_from("abc"), max_size=3)


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (Document("a", "text", {"lang": "en", "title": "T"}, ["x", "x"], version="2", updated_at=1.0), "unchanged"),
        (Document("a", "text", {"title": "T", "lang": "en"}, ["y"]), "access"),
        (Document("a", "text", {"title": "T", "lang": "en"}, None), "access"),
        (Document("a", "text", {"title": "T", "lang": "en"}, []), "access"),
        (Document("a", "text", {"title": "T", "lang": "de"}, ["y"]), "metadata"),
        (Document("a", "text", {"title": "T"}, ["x"]), "metadata"),
        (Document("a", "text", {"title": "U", "lang": "en"}, ["x"]), "content"),
        (Document("a", "text", {"lang": "en"}, ["x"]), "content"),
        (Document("a", "more", {"title": "T", "lang": "en"}, ["x"]), "content"),
    ],
)
def test_the_strongest_facet_names_the_change(new: Document, expected: str) -> None:
    """Content before metadata before access; the title counts as content because the template names it."""
    assert classify(state_of(OLD), state_of(new), ["title"]) == expected


def test_equal_in_python_is_not_equal_in_a_text() -> None:
    """True and 1 are one value in Python, but not where the template writes them out."""
    before, after = (state_of(Document("a", "t", {"n": value})) for value in (True, 1))
    assert classify(before, after, ["n"]) == "content"
    assert classify(before, after, []) == "metadata"


def test_a_document_that_was_not_there_is_added() -> None:
    """Whatever it holds."""
    assert classify(None, state_of(OLD), []) == "added"


def test_access_goes_first() -> None:
    """Only access has a lane of its own: a deletion must not overtake the new name of what it deletes."""
    assert [kind for kind in get_args(ChangeKind) if lane(kind) == 0] == ["access"]


@given(PRINCIPALS, PRINCIPALS)
def test_principals_are_a_set(first: list[str], second: list[str]) -> None:
    """The fingerprint follows the set, not the list; an empty list is not public."""
    one, two = (fingerprint(Document("a", "t", access=access)) for access in (first, second))
    assert (one == two) == (set(first) == set(second))
    assert one != fingerprint(Document("a", "t", access=None))


@given(PRINCIPALS, PRINCIPALS)
def test_who_may_see(access: list[str], principals: list[str]) -> None:
    """Public is for all, a list for those who share a principal, everything for the unrestricted."""
    assert may_see(access, frozenset(principals)) == bool(set(access) & set(principals))
    assert may_see(None, frozenset(principals))
    assert may_see(access, UNRESTRICTED)
    assert Unrestricted() is UNRESTRICTED


def test_canonical_json() -> None:
    """Equal metadata gives equal bytes; what JSON cannot hold is an error that says what can."""
    assert canonical_json({"b": 1, "a": [True]}) == canonical_json({"a": [True], "b": 1}) == b'{"a":[true],"b":1}'
    with pytest.raises(DocumentError, match="Hint: use strings, numbers"):
        canonical_json({"a": {1, 2}})


def test_the_least_work_for_every_state() -> None:
    """Deleted, unplaced, marked, and each pair of hashes: one answer each."""
    wanted = (b"input", b"payload")
    for revision, same_input, same_payload in product((7, REWRITE, REPAY), (True, False), (True, False)):
        placed = (b"input" if same_input else b"-", b"payload" if same_payload else b"-")
        found = need(deleted=False, placed_revision=revision, placed=placed, wanted=wanted)
        if revision == REWRITE or not same_input:
            assert found == "replace"
        elif revision == REPAY or not same_payload:
            assert found == "payload"
        else:
            assert found == "touch"
        assert need(deleted=True, placed_revision=revision, placed=placed, wanted=wanted) == "delete"
    assert need(deleted=False, placed_revision=None, placed=None, wanted=wanted) == "replace"


def test_hashes_tell_values_apart() -> None:
    """No two lists of template values, and no two splits of metadata and access, share a hash."""
    lists = [(), ("a", "b"), ("ab", ""), ("a\0b", "c"), ("a", "b\0c"), ("b", "a")]
    assert len({input_hash(b"h" * 16, values) for values in lists}) == len(lists)
    assert payload_hash(b"m" * 16, b"a" * 16) != payload_hash(b"a" * 16, b"m" * 16)
