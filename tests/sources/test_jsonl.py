"""JSON lines as a source: fields, bad lines, duplicates."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from regen.core.documents import Document
from regen.errors import ConfigError, DuplicateDocument, SourceError
from regen.sources.jsonl import JsonlSource
from regen.sources.repeats import Repeats
from regen.testing.sources import all_ids, scanned, texts


def source_of(tmp_path: Path, *lines: str | bytes | dict[str, Any], **options: Any) -> JsonlSource:
    """A source of these lines."""
    encoded = [line if isinstance(line, bytes) else _text(line).encode() for line in lines]
    (tmp_path / "x.jsonl").write_bytes(b"\n".join(encoded))
    return JsonlSource(tmp_path / "x.jsonl", **options)


def _text(line: str | dict[str, Any]) -> str:
    return line if isinstance(line, str) else json.dumps(line)


def problems(source: JsonlSource) -> dict[str, str]:
    """Why lines cannot be delivered, by id."""
    return {unreadable.id: unreadable.reason for unreadable in scanned(source).unreadable}


def test_a_real_collection_arrives_whole(shared_data: Path) -> None:
    """Cranfield has 1,400 abstracts, and two of them are empty: they are delivered too."""
    file = shared_data / "cranfield" / "corpus.jsonl"
    found = scanned(JsonlSource(file))
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert texts(found) == {record["_id"]: record["text"] for record in records}
    assert len(found.documents) == 1_400
    assert [document.id for document in found.documents if not document.text] == ["471", "995"]
    assert [document.metadata["title"] for document in found.documents] == [record["title"] for record in records]


def test_every_field_has_its_place(tmp_path: Path) -> None:
    """Known keys become what they say, all others metadata, over what the metadata object holds."""
    record = {
        "id": 7, "title": "T", "text": "body", "metadata": {"lang": "en", "n": 1}, "n": 2, "tags": ["a"],
        "access": ["ops"], "version": 3, "updated_at": "2024-05-01T12:00:00+02:00",
    }  # fmt: skip
    [document] = scanned(source_of(tmp_path, record)).documents
    metadata = {"title": "T", "lang": "en", "n": 2, "tags": ["a"]}
    assert document == Document("7", "body", metadata, ["ops"], version="3", updated_at=1_714_557_600.0)


@pytest.mark.parametrize(
    ("record", "doc_id", "text", "metadata"),
    [
        ({"_id": "a", "text": "t", "contents": "c"}, "a", "t", {"contents": "c"}),
        ({"id": "a", "_id": "b", "contents": "c"}, "a", "c", {"_id": "b"}),
        ({"_id": "a", "content": "c", "metadata": None, "title": None}, "a", "c", {}),
    ],
)
def test_usual_names_are_recognised(
    tmp_path: Path, record: dict[str, Any], doc_id: str, text: str, metadata: dict[str, Any]
) -> None:
    """The first of the usual names counts; what is not used is metadata."""
    [document] = scanned(source_of(tmp_path, record)).documents
    assert (document.id, document.text, document.metadata) == (doc_id, text, metadata)


def test_named_fields(tmp_path: Path) -> None:
    """Settings name the fields, and then no other counts."""
    record = {"id": "a", "text": "t", "url": "u", "body": "b"}
    [document] = scanned(source_of(tmp_path, record, id_field="url", text_field="body")).documents
    assert (document.id, document.text, document.metadata) == ("u", "b", {"id": "a", "text": "t"})


GOOD = {"id": "good", "text": "good"}


@pytest.mark.parametrize(
    ("line", "doc_id", "reason"),
    [
        ("{not json", "line:2", "line 2 is not valid JSON"),
        ('{"id": "a", "text": "cut', "a", "line 2 is not valid JSON"),
        ('{"text": "cut", "id": "a"', "line:2", "line 2 is not valid JSON"),
        ('{"meta": {"id": "good"}, "text": ', "line:2", "line 2 is not valid JSON"),
        (b'{"id": "a", "text": "caf\xe9"}', "a", "invalid UTF-8 at byte 24 of the line"),
        ('{"id": "a", "text": "\\ud800"}', "a", "line 2 is not valid JSON"),
        ('"text"', "line:2", "holds a text; an object is valid"),
        ({"text": "t"}, "line:2", "has no id.*keys found: text.*source.id_field"),
        ({"id": ["a"], "text": "t"}, "line:2", "'id' is a list"),
        ({"id": "", "text": "t"}, "line:2", "'id' is an empty text"),
        ({"id": True, "text": "t"}, "line:2", "'id' is a boolean"),
        ({"id": "a", "body": "t"}, "a", "has no text.*source.text_field"),
        ({"id": "a", "text": None}, "a", "'text' is null"),
        ({"id": "a", "text": "t", "metadata": "m"}, "a", "'metadata' is a text"),
        ({"id": "a", "text": "t", "title": 5}, "a", "'title' is a number"),
        ({"id": "a", "text": "t", "access": {"x": 1}}, "a", "access is a mapping"),
        ({"id": "a", "text": "t", "version": []}, "a", "'version' is a list"),
        ({"id": "a", "text": "t", "updated_at": "soon"}, "a", "'updated_at' is 'soon'"),
        ({"id": "a", "text": "x" * 100}, "a", "line 2 has more than the 100 bytes"),
    ],
)
def test_a_bad_line_stops_nothing(tmp_path: Path, line: str | dict[str, Any], doc_id: str, reason: str) -> None:
    """It is named by its id where that is certain, else by its number, with a reason; the others are delivered."""
    after = {"id": "after", "text": "after"}
    source = source_of(tmp_path, GOOD, line, "", after, max_bytes=100)
    assert texts(scanned(source)) == {"good": "good", "after": "after"}
    found = problems(source)
    assert list(found) == [doc_id]
    assert found[doc_id].startswith("line 2")
    assert re.search(reason, found[doc_id])


def test_a_line_of_just_the_largest_size_is_read(tmp_path: Path) -> None:
    """The limit counts the line, not its end."""
    line = json.dumps({"id": "a", "text": "x" * 50})
    for end in ("", "\n", "\r\n"):
        assert texts(scanned(source_of(tmp_path, line + end, max_bytes=len(line)))) == {"a": "x" * 50}
    assert list(problems(source_of(tmp_path, line, max_bytes=len(line) - 1))) == ["a"]


def test_blank_lines_and_a_byte_order_mark_are_passed_over(tmp_path: Path) -> None:
    """Neither is a document, and line numbers still count them."""
    source = source_of(tmp_path, b'\xef\xbb\xbf{"id": "a", "text": "t"}\r', "", "   ", "oops")
    assert texts(scanned(source)) == {"a": "t"}
    assert list(problems(source)) == ["line:4"]


def test_a_repeated_id_is_an_error_that_names_both_lines(tmp_path: Path) -> None:
    """However far apart the lines are; nothing of the second is delivered."""
    lines = [{"id": number, "text": "t"} for number in range(2_500)]
    with pytest.raises(DuplicateDocument, match=r"'17' on line 18 and on line 2503"):
        scanned(source_of(tmp_path, *lines, "", "", {"_id": "17", "text": "other"}))
    with pytest.raises(DuplicateDocument, match=r"'a' on line 1 and on line 2"):
        scanned(source_of(tmp_path, '{"id": "a", "text": "t"}', '{"id": "a", "text": '))


def test_repeats_are_found_wherever_they_lie() -> None:
    """Within a call, between calls, and after the runs have been merged many times."""
    repeats = Repeats()
    assert repeats.add(["a", "b", "a"]) == ["a"]
    assert repeats.add([]) == []
    for start in range(0, 3_000, 30):
        assert repeats.add([str(number) for number in range(start, start + 30)]) == []
    assert repeats.add(["x", "0", "2999", "b", "1500"]) == ["0", "2999", "b", "1500"]


def test_files_that_cannot_be_read_are_errors(tmp_path: Path) -> None:
    """A file that is missing, cut off or of another kind must never look like an empty one."""
    with pytest.raises(SourceError, match="does not exist"):
        scanned(JsonlSource(tmp_path / "nowhere.jsonl"))
    with pytest.raises(SourceError, match="cannot be read"):
        scanned(JsonlSource(tmp_path))
    with pytest.raises(SourceError, match="JSON array"):
        scanned(source_of(tmp_path, '[{"id": "a", "text": "t"}]'))
    packed = gzip.compress(b'{"id": "a", "text": "t"}\n' * 100)
    for damaged in (packed[:-20], packed[:12] + b"\xff\xff\xff" + packed[15:], b"not gzip"):
        (tmp_path / "x.jsonl.gz").write_bytes(damaged)
        with pytest.raises(SourceError, match="cannot be read"):
            scanned(JsonlSource(tmp_path / "x.jsonl.gz"))


def test_settings(tmp_path: Path) -> None:
    """The source block of regen.yaml, with a relative path from its folder."""
    source_of(tmp_path, {"key": "a", "body": "t"})
    settings = {"kind": "jsonl", "path": "x.jsonl", "id_field": "key", "text_field": "body"}
    source = JsonlSource.from_settings(settings, tmp_path)
    assert (source.name, source.full) == ("jsonl", True)
    assert all_ids(scanned(source)) == ["a"]
    with pytest.raises(ConfigError, match="did you mean 'id_field'"):
        JsonlSource.from_settings({"path": "x.jsonl", "id_fields": "key"}, tmp_path)
