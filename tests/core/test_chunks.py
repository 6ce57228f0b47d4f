"""Chunk ids, points and packed placements; an edit as a set difference; fields learned from documents."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.chunks import (
    ENTRY_BYTES,
    Span,
    identify,
    names,
    pack,
    pack_keys,
    point_id,
    text_digest,
    text_key,
    unpack,
    unpack_keys,
    write_token,
)
from regen.core.learning import MAX_FIELDS, field_kind, new_fields
from regen.core.placing import diff_chunks

TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=8)
ENTRIES = st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8)), max_size=6)


def chunks_of(doc_id: str, texts: list[str]) -> list[Any]:
    """The chunks of a document with these embedded texts."""
    return identify(doc_id, [(text, text, Span(0, 1)) for text in texts])


def test_chunk_ids_do_not_depend_on_position() -> None:
    """The same text in the same document has the same id wherever it stands, and in no other document."""
    chunk = chunks_of("guides/start.md", ["Some text"])[0]
    assert len(chunk.id) == 16
    assert chunk.id == chunks_of("guides/start.md", ["Other", "Some text"])[1].id
    assert chunk.id != chunks_of("guides/other.md", ["Some text"])[0].id


@given(TEXTS)
def test_repeated_texts_are_different_chunks(texts: list[str]) -> None:
    """Within a document every chunk has an id of its own, and equal documents have equal ids."""
    ids = [chunk.id for chunk in chunks_of("d", texts)]
    assert len(set(ids)) == len(ids)
    assert ids == [chunk.id for chunk in chunks_of("d", texts)]


def test_no_two_documents_share_an_id_by_concatenation() -> None:
    """Document id, text and occurrence cannot flow into each other."""
    ids = {chunk.id for doc_id, texts in (("ab", ["c"]), ("a", ["bc"]), ("a1", ["x"]), ("a", ["1x"]), ("", ["abc"]))
           for chunk in chunks_of(doc_id, texts)}  # fmt: skip
    assert len(ids) == 5


@given(TEXTS, TEXTS)
def test_an_edit_is_a_difference_of_sets(before: list[str], after: list[str]) -> None:
    """New, kept and dropped part the two states; what is kept keeps its token; nothing else is written."""
    old, new = chunks_of("d", before), chunks_of("d", after)
    placed = pack([(chunk.id, write_token(number)) for number, chunk in enumerate(old)])
    diff = diff_chunks(new, placed)
    old_ids, new_ids = {chunk.id for chunk in old}, {chunk.id for chunk in new}
    assert {new[position].id for position in diff.new} == new_ids - old_ids
    assert diff.kept.keys() == new_ids & old_ids
    assert {chunk for chunk, _ in unpack(diff.dropped)} == old_ids - new_ids
    assert all(dict(unpack(placed))[chunk] == token for chunk, token in diff.kept.items())


@given(ENTRIES)
def test_packing_is_undone_by_unpacking(entries: list[tuple[bytes, bytes]]) -> None:
    """In order, 24 bytes each."""
    packed = pack(entries)
    assert len(packed) == ENTRY_BYTES * len(entries)
    assert unpack(packed) == entries
    assert all(names(packed, chunk + token) for chunk, token in entries)


@given(ENTRIES.filter(lambda entries: len(entries) >= 2))
def test_an_entry_is_named_only_where_one_begins(entries: list[tuple[bytes, bytes]]) -> None:
    """The end of one entry and the start of the next make no third."""
    packed = pack(entries)
    real = {chunk + token for chunk, token in entries}
    for first, second in pairwise(range(0, len(packed), ENTRY_BYTES)):
        astride = packed[first + 5 : second + 5]
        assert names(packed, astride) == (astride in real)


def test_points_are_never_reused() -> None:
    """The same chunk under another token is another point."""
    chunk = chunks_of("d", ["a"])[0].id
    points = {point_id(chunk, write_token(number)) for number in range(100)}
    assert len(points) == 100
    assert all(len(point) == 32 for point in points)


@given(st.lists(st.text(max_size=5)))
def test_text_keys_fit_and_pack(texts: list[str]) -> None:
    """Sixty-three bits, so that every database holds them; packed in order."""
    keys = [text_key(text_digest(text)) for text in texts]
    assert all(0 <= key < 2**63 for key in keys)
    assert unpack_keys(pack_keys(keys)) == keys


@pytest.mark.parametrize(
    ("value", "kind"),
    [("x", "string"), (1, "number"), (1.5, "number"), (True, "boolean"), (["a"], "strings"), ([], None), ([1], None),
     (["a", 1], None), ({"a": 1}, None), (None, None)],
)  # fmt: skip
def test_the_kind_of_a_field(value: Any, kind: str | None) -> None:
    """What a store can keep as a column; everything else is filtered by the fence."""
    assert field_kind(value) == kind


def test_fields_are_learned_once() -> None:
    """The first value of a kind decides; known keys, forbidden keys and too many keys are left alone."""
    documents: list[dict[str, Any]] = [{"a": None, "b": 1}, {"a": "x", "b": "y"}, {"c": True}]
    assert new_fields({}, documents) == {"a": "string", "b": "number", "c": "boolean"}
    assert new_fields({"a": "number"}, documents) == {"b": "number", "c": "boolean"}
    assert new_fields({}, documents, frozenset({"c", "z"})) == {"c": "boolean"}
    many = {f"key{number}": 1 for number in range(MAX_FIELDS + 9)}
    assert len(new_fields({}, [many])) == MAX_FIELDS
    assert len(new_fields(dict.fromkeys(map(str, range(60)), "string"), [many])) == MAX_FIELDS - 60
