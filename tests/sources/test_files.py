"""A folder as a source: what is delivered, what is refused, and why."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from regen.errors import ConfigError, SourceError
from regen.sources.files import FilesSource
from regen.testing.sources import all_ids, scanned, stamps_from, texts


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file below the folder, made old enough to be stamped."""

    def _write(name: str, content: str | bytes = "text") -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.utime(file, (1_700_000_000, 1_700_000_000))
        return file

    return _write


def reasons(source: FilesSource) -> dict[str, str]:
    """Why documents cannot be delivered, by id."""
    return {unreadable.id: unreadable.reason for unreadable in scanned(source).unreadable}


def test_the_living_corpus_arrives_whole(shared_data: Path) -> None:
    """All 5,001 pages are delivered, and their checksum is that of the files."""
    base = shared_data / "tldr-stream" / "base"
    files = {str(file.relative_to(base)): file.read_bytes() for file in base.rglob("*.md")}
    found = texts(scanned(FilesSource(base)))
    assert len(found) == len(files) == 5_001

    def checksum(contents: dict[str, bytes]) -> str:
        digest = hashlib.sha256()
        for path in sorted(contents):
            digest.update(f"{path}\0{hashlib.sha256(contents[path]).hexdigest()}\n".encode())
        return digest.hexdigest()

    assert checksum({path: text.encode() for path, text in found.items()}) == checksum(files)


def test_untouched_files_are_not_opened(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The point of a stamp: a second scan reads nothing."""
    for number in range(20):
        write(f"{number}.md")
    source = FilesSource(write("x.md").parent)
    stamps = scanned(source).stamps
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("a file was opened"))
    assert len(scanned(source, stamps).untouched) == 21


def test_stamps_are_asked_for_in_batches(write: Callable[..., Path]) -> None:
    """One question for many ids, never one for each."""
    asked: list[int] = []

    class Counting:
        def stamps(self, ids: Any) -> dict[str, str]:
            asked.append(len(ids))
            return {}

    for number in range(1_200):
        write(f"{number}.md", "")
    list(FilesSource(write("x.md").parent).scan(Counting()))
    assert asked == [1_000, 201]


def test_a_fresh_file_gets_no_stamp(tmp_path: Path, write: Callable[..., Path]) -> None:
    """What was written a moment ago may be written again within the same tick of the clock."""
    write("old.md")
    (tmp_path / "fresh.md").write_text("fresh")
    found = scanned(FilesSource(tmp_path))
    assert found.stamps.keys() == {"old.md"}
    assert all_ids(found) == ["fresh.md", "old.md"]


def test_a_forged_time_is_noticed(tmp_path: Path, write: Callable[..., Path]) -> None:
    """An edit that keeps size and modification time changes the stamp all the same."""
    write("a.md", "one")
    source = FilesSource(tmp_path)
    stamps = scanned(source).stamps
    write("a.md", "two")
    assert texts(scanned(source, stamps)) == {"a.md": "two"}


def test_other_settings_read_again(tmp_path: Path, write: Callable[..., Path]) -> None:
    """A setting that changes what a file's bytes mean makes every stamp worthless."""
    write("a.md", "---\ngroups: [ops]\n---\ncaf\u00e9")
    stamps = scanned(FilesSource(tmp_path)).stamps
    assert scanned(FilesSource(tmp_path), stamps).untouched == ["a.md"]
    found = scanned(FilesSource(tmp_path, access_key="groups"), stamps)
    assert [document.access for document in found.documents] == [["ops"]]
    assert texts(scanned(FilesSource(tmp_path, encoding="latin-1"), stamps)) == {"a.md": "cafÃ©"}


def test_metadata_and_time(tmp_path: Path, write: Callable[..., Path]) -> None:
    """Title and path come with every document, front matter over them, and the time of the last change."""
    write("guides/start.md", "---\nlang: en\ntags: [a, b]\naccess: team:docs\n---\n# Getting started\n")
    [document] = scanned(FilesSource(tmp_path)).documents
    assert document.id == "guides/start.md"
    assert document.text == "# Getting started\n"
    assert document.metadata == {
        "title": "Getting started", "path": "guides/start.md", "lang": "en", "tags": ["a", "b"],
    }  # fmt: skip
    assert document.access == ["team:docs"]
    assert document.updated_at == 1_700_000_000


@pytest.mark.parametrize(
    ("name", "content", "title"),
    [
        ("a.md", "---\ntitle: Front\n---\n# Heading", "Front"),
        ("a.md", "---\ntitle: 2024\n---\n# Heading", "2024"),
        ("a.md", "---\ntitle:\n---\n# Heading", "Heading"),
        ("a.md", "intro\n\n# Heading", "Heading"),
        ("guide.v2.md", "no heading", "guide.v2"),
        ("a.txt", "# not a heading", "a"),
        ("a.txt", "---\ntitle: not front matter\n---\n", "a"),
    ],
)
def test_titles(tmp_path: Path, write: Callable[..., Path], name: str, content: str, title: str) -> None:
    """Front matter first, then the first heading, then the file's name; markup counts in Markdown only."""
    write(name, content)
    [document] = scanned(FilesSource(tmp_path, "*")).documents
    assert document.metadata["title"] == title


@pytest.mark.parametrize(
    ("front", "access"),
    [
        ("access: []", []),
        ("access:", None),
        ("lang: en", None),
        ("access: ops", ["ops"]),
        ("access: [a, b]", ["a", "b"]),
    ],
)
def test_access(tmp_path: Path, write: Callable[..., Path], front: str, access: list[str] | None) -> None:
    """No key or null is public, an empty list is nobody; the list never stays in the metadata."""
    write("a.md", f"---\n{front}\n---\ntext")
    [document] = scanned(FilesSource(tmp_path)).documents
    assert document.access == access
    assert "access" not in document.metadata


@pytest.mark.parametrize("access", ["{a: b}", "[1]", "yes", "''", "[ops, '']", "[[ops]]"])
def test_access_that_cannot_be_understood_opens_nothing(
    tmp_path: Path, write: Callable[..., Path], access: str
) -> None:
    """A document whose access list is not one is withheld, not published."""
    write("a.md", f"---\naccess: {access}\n---\ntext")
    assert "access" in reasons(FilesSource(tmp_path))["a.md"]


def test_what_is_no_text_is_named_with_its_reason(tmp_path: Path, write: Callable[..., Path]) -> None:
    """Each kind of bad file has a reason that says what to do, and the good one arrives."""
    write("good.md")
    write("latin.md", "abc caf\xe9".encode("latin-1"))
    write("image.md", b"\x89PNG\r\n\0\0")
    write("nul.md", "text\0text")
    write("large.md", "x" * 1_001)
    write("front.md", "---\ntitle: [\n---\n")
    (tmp_path / "dangling.md").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "loop.md").symlink_to(tmp_path / "loop.md")
    found = reasons(source := FilesSource(tmp_path, max_bytes=1_000))
    assert texts(scanned(source)) == {"good.md": "text"}
    assert "byte 7 is 0xe9" in found["latin.md"]
    assert "binary" in found["image.md"]
    assert "NUL at 4" in found["nul.md"]
    assert "1,001 bytes; source.max_bytes allows 1,000" in found["large.md"]
    assert "not valid YAML" in found["front.md"]
    assert "elsewhere" in found["dangling.md"]
    assert "symbolic links" in found["loop.md"]
    assert len(found) == 7


def test_a_pipe_is_not_waited_for(tmp_path: Path, write: Callable[..., Path]) -> None:
    """Opening a pipe or socket could block for ever."""
    write("good.md")
    os.mkfifo(tmp_path / "pipe.md")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket.md"))
        found = scanned(FilesSource(tmp_path))
    assert sorted(unreadable.id for unreadable in found.unreadable) == ["pipe.md", "socket.md"]
    assert texts(found) == {"good.md": "text"}


def test_a_name_that_is_no_text_is_unreadable(tmp_path: Path, write: Callable[..., Path]) -> None:
    """An id must be valid Unicode; the file is named by an escaped form."""
    write("good.md")
    with open(os.fsencode(tmp_path) + b"/caf\xe9.md", "wb") as file:  # noqa: PTH123 (the name is bytes)
        file.write(b"text")
    assert reasons(FilesSource(tmp_path)) == {"caf\\xe9.md": "the file's name is not valid UTF-8; rename it"}


def test_a_file_without_permission_is_unreadable(
    tmp_path: Path, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One closed file stops nothing. The refusal is injected, as an administrator may read everything."""
    write("closed.md")
    write("good.md")
    deny(monkeypatch, "builtins.open", "closed.md")
    found = scanned(FilesSource(tmp_path))
    assert [(each.id, each.reason) for each in found.unreadable] == [("closed.md", "cannot be read: Permission denied")]
    assert texts(found) == {"good.md": "text"}


def test_a_folder_without_permission_is_an_error(
    tmp_path: Path, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were a closed folder passed over, all its documents would look deleted."""
    write("closed/a.md")
    write("good.md")
    deny(monkeypatch, "os.scandir", "closed")
    with pytest.raises(SourceError, match=r"closed cannot be listed: Permission denied.*\nHint: .*exclude"):
        scanned(FilesSource(tmp_path))
    assert texts(scanned(FilesSource(tmp_path, exclude=["closed"]))) == {"good.md": "text"}


def deny(monkeypatch: pytest.MonkeyPatch, function: str, ending: str) -> None:
    """Let a function of the operating system refuse paths with this ending."""
    original: Any = open if function == "builtins.open" else os.scandir

    def refusing(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path).endswith(ending):
            raise PermissionError(13, "Permission denied", path)
        return original(path, *arguments, **options)

    monkeypatch.setattr(function, refusing)


def test_a_file_that_vanishes_while_listed_is_gone(tmp_path: Path, write: Callable[..., Path]) -> None:
    """Between listing and reading a file may be deleted: that is a deletion, not an error."""

    class Deleting:
        def stamps(self, ids: Any) -> dict[str, str]:
            (tmp_path / "a.md").unlink()
            return {}

    write("a.md")
    write("b.md")
    batches: Iterator[Any] = FilesSource(tmp_path).scan(Deleting())
    assert [all_ids(batch) for batch in batches] == [["b.md"]]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """A folder that is not there must never look like an empty one."""
    with pytest.raises(SourceError, match="does not exist"):
        scanned(FilesSource(tmp_path / "nowhere"))
    (tmp_path / "file.md").write_text("text")
    with pytest.raises(SourceError, match="is a file, not a folder"):
        scanned(FilesSource(tmp_path / "file.md"))
    with pytest.raises(SourceError, match="does not exist"):
        FilesSource(tmp_path / "nowhere").read(["a.md"])


def test_a_folder_that_is_replaced_while_read_is_an_error(tmp_path: Path, write: Callable[..., Path]) -> None:
    """A volume that is unmounted half-way must not delete the half that was not read."""
    write("docs/a.md")
    batches = FilesSource(tmp_path / "docs").scan(stamps_from({}))
    assert texts(next(batches)) == {"a.md": "text"}
    (tmp_path / "docs").rename(tmp_path / "old")
    (tmp_path / "docs").mkdir()
    with pytest.raises(SourceError, match="was replaced while it was read"):
        next(batches)


def test_links_to_folders_are_not_entered(tmp_path: Path, write: Callable[..., Path]) -> None:
    """No loop of links catches the listing, no document comes twice, and reading by name agrees."""
    write("docs/a.md")
    (tmp_path / "docs" / "again").symlink_to(tmp_path / "docs")
    (tmp_path / "docs" / "b.md").symlink_to(tmp_path / "docs" / "a.md")
    source = FilesSource(tmp_path / "docs")
    assert texts(scanned(source)) == {"a.md": "text", "b.md": "text"}
    assert source.read(["again/a.md"])[1] == ["again/a.md"]


@pytest.mark.parametrize("doc_id", ["../secret.md", "/etc/passwd", "a/../../b.md", "", "a//b.md", "./a.md", "a\0.md"])
def test_ids_outside_the_folder_are_refused(tmp_path: Path, doc_id: str) -> None:
    """No id reaches a file that the listing could not."""
    with pytest.raises(SourceError, match="not a path below"):
        FilesSource(tmp_path).read([doc_id])


def test_read_delivers_only_what_a_scan_would(tmp_path: Path, write: Callable[..., Path]) -> None:
    """A file that the patterns leave out is missing, though it is there."""
    for name in ("a.md", "b.txt", ".git/c.md", "node_modules/d.md", "folder.md/e.md"):
        write(name)
    found, missing = FilesSource(tmp_path).read(
        ["a.md", "b.txt", ".git/c.md", "node_modules/d.md", "folder.md", "a.md/x.md"]
    )
    assert texts(found) == {"a.md": "text"}
    assert missing == ["b.txt", ".git/c.md", "node_modules/d.md", "folder.md", "a.md/x.md"]


def test_encodings(tmp_path: Path, write: Callable[..., Path]) -> None:
    """A byte order mark is dropped, other encodings are read when named, unknown ones refused."""
    write("bom.md", b"\xef\xbb\xbf---\ntitle: T\n---\ntext\r\n")
    [document] = scanned(FilesSource(tmp_path)).documents
    assert (document.text, document.metadata["title"]) == ("text\r\n", "T")
    write("bom.md", "Grüße".encode("utf-16"))
    assert texts(scanned(FilesSource(tmp_path, encoding="utf-16"))) == {"bom.md": "Grüße"}
    for encoding in ("klingon", "base64"):
        with pytest.raises(ConfigError, match=encoding):
            FilesSource(tmp_path, encoding=encoding)


def test_settings(tmp_path: Path, write: Callable[..., Path]) -> None:
    """The source block of regen.yaml, with relative paths from its folder."""
    write("docs/a.md")
    write("docs/b.txt", "---\nx")
    write("docs/drafts/c.md")
    settings = {"kind": "files", "path": "docs", "glob": ["**/*.md", "*.txt"], "exclude": "drafts", "name": "handbook"}
    source = FilesSource.from_settings(settings, tmp_path)
    assert (source.name, source.full) == ("handbook", True)
    assert all_ids(scanned(source)) == ["a.md", "b.txt"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "source.path is missing"),
        ({"path": "docs", "globs": "*"}, "did you mean 'glob'"),
        ({"path": 3}, "source.path is 3"),
        ({"path": "docs", "max_bytes": 0}, "source.max_bytes is 0"),
        ({"path": "docs", "max_bytes": True}, "source.max_bytes is True"),
        ({"path": "docs", "glob": [1]}, "source.glob is 1"),
    ],
)
def test_wrong_settings_are_explained(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    """An unknown key or a wrong type is an error that says what is valid."""
    with pytest.raises(ConfigError, match=message):
        FilesSource.from_settings(settings, tmp_path)
