"""The standard library as a source."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from regen.core.documents import Document
from regen.errors import ConfigError, SourceError
from regen.sources.docstrings import DocstringsSource
from regen.testing.sources import scanned, stamps_from


@pytest.fixture(scope="module")
def library() -> dict[str, Document]:
    """Every docstring of this Python."""
    loaded = set(sys.modules)
    whole = scanned(DocstringsSource())
    assert {"antigravity", "this", "turtle", "tkinter", "idlelib"}.isdisjoint(set(sys.modules) - loaded)
    assert whole.unreadable == []
    found = {document.id: document for document in whole.documents}
    assert len(found) == len(whole.documents)
    return found


def test_there_are_thousands(library: dict[str, Document]) -> None:
    """Enough real texts for a demo, none of them tiny, all of them public."""
    assert 4_000 < len(library) < 12_000
    assert min(len(document.text) for document in library.values()) >= 20
    assert not [doc_id for doc_id in library if "._" in doc_id or doc_id.startswith(("_", "test.", "idlelib"))]


@pytest.mark.parametrize(
    ("doc_id", "kind", "start"),
    [
        ("argparse", "module", "Command-line parsing library"),
        ("argparse.ArgumentParser", "class", "ArgumentParser(prog=None, usage=None, "),
        ("argparse.ArgumentParser.add_argument", "method", "add_argument(*args, **kwargs)\n\n"),
        ("json.dumps", "function", "dumps(obj, *, skipkeys=False, "),
        ("os.path.join", "function", "join(a, *p)\n\nJoin two or more pathname components"),
        ("os.listdir", "function", "listdir(path=None)\n\nReturn a list containing the names"),
        ("builtins.str.split", "method", "split(sep=None, maxsplit=-1)\n\nReturn a list of the substrings"),
        ("builtins.len", "function", "len(obj, /)\n\nReturn the number of items"),
        ("struct.pack", "function", "pack("),
        ("socket.socket.bind", "method", "bind("),
        ("pathlib.Path.read_text", "method", "read_text(encoding=None, errors=None"),
        ("collections.Counter.most_common", "method", "most_common(n=None)\n\nList the n most common elements"),
        ("concurrent.futures.Future.result", "method", "result(timeout=None)\n\nReturn the result of the call"),
    ],
)
def test_what_people_ask_for_is_there(library: dict[str, Document], doc_id: str, kind: str, start: str) -> None:
    """Python and C, inherited from private classes or taken over from private modules: under the public name."""
    document = library[doc_id]
    assert document.text.startswith(start)
    assert document.metadata == {"title": doc_id, "module": doc_id.partition(".")[0], "kind": kind}


def test_a_part_of_it() -> None:
    """Modules and what lies below them, up to a limit; a smaller limit gives the beginning of a larger one."""
    found = scanned(DocstringsSource(modules=["json", "os.path"])).documents
    modules = {document.metadata["module"] for document in found}
    assert modules == {"json", "os"}
    assert {"json.decoder.JSONDecoder", "os.path.join"} <= {document.id for document in found}
    assert "os.listdir" not in {document.id for document in found}
    assert scanned(DocstringsSource(modules=["json", "os.path"], limit=5)).documents == found[:5]


def test_batches_are_bounded(library: dict[str, Document]) -> None:
    """A scan delivers a thousand at a time, in the same order each time."""
    batches = list(DocstringsSource().scan(stamps_from({})))
    assert {len(batch.documents) for batch in batches[:-1]} == {1_000}
    assert [document.id for batch in batches for document in batch.documents] == list(library)


def test_settings(tmp_path: Path) -> None:
    """The source block of regen.yaml; a module that no Python has is refused."""
    source = DocstringsSource.from_settings({"kind": "docstrings", "modules": "json", "limit": 3}, tmp_path)
    assert (source.name, source.full) == ("docstrings", True)
    assert len(scanned(source).documents) == 3
    with pytest.raises(ConfigError, match="'numpy' is not a module of Python's standard library"):
        DocstringsSource.from_settings({"modules": ["numpy"]}, tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'modules'"):
        DocstringsSource.from_settings({"module": "json"}, tmp_path)


def test_a_python_without_its_files_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library packed into one file has nothing to parse: to deliver nothing would delete everything."""
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(SourceError, match="no standard library as Python files"):
        scanned(DocstringsSource())


def test_a_file_that_cannot_be_parsed_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named with its reason; the other modules are delivered."""
    (tmp_path / "json.py").write_text('"""A module that is long enough."""\ndef broken(:\n')
    (tmp_path / "argparse.py").write_text('"""A module that is long enough."""\n')
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    found = scanned(DocstringsSource(modules=["json", "argparse"]))
    assert [document.id for document in found.documents] == ["argparse"]
    assert [unreadable.id for unreadable in found.unreadable] == ["json"]
    assert "json.py cannot be parsed" in found.unreadable[0].reason
