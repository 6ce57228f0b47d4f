"""Following a folder: every change is told of, folders included."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from regen.errors import SourceError
from regen.sources.files import FilesSource
from regen.testing.sources import Watching, scanned, texts


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A folder with documents at three depths."""
    for name in ("a.md", "guides/b.md", "guides/deep/c.md", "other/d.md"):
        file = tmp_path / "docs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return tmp_path / "docs"


def move_away(docs: Path) -> None:
    """The system tells only of the folder."""
    (docs / "guides").rename(docs.parent / "elsewhere")


def delete(docs: Path) -> None:
    """A whole folder is deleted."""
    shutil.rmtree(docs / "guides")


CHANGES: list[tuple[Callable[[Path], object], set[str]]] = [
    (lambda docs: (docs / "a.md").rename(docs / "z.md"), {"a.md", "z.md"}),
    (move_away, {"guides/b.md", "guides/deep/c.md"}),
    (delete, {"guides/b.md", "guides/deep/c.md"}),
    (
        lambda docs: (docs / "guides").rename(docs / "manual"),
        {"guides/b.md", "guides/deep/c.md", "manual/b.md", "manual/deep/c.md"},
    ),
    (lambda docs: shutil.copytree(docs / "guides", docs / "new"), {"new/b.md", "new/deep/c.md"}),
    (lambda docs: (docs / "guides").rename(docs / ".hidden"), {"guides/b.md", "guides/deep/c.md"}),
    (lambda docs: (docs / "a.md").replace(docs / "other" / "d.md"), {"a.md", "other/d.md"}),
]


@pytest.mark.parametrize(("change", "ids"), CHANGES)
def test_both_sides_of_every_change(docs: Path, change: Callable[[Path], object], ids: set[str]) -> None:
    """A move is told as what it took away and what it brought, whether it was a file or a folder."""
    with Watching(FilesSource(docs)) as watching:
        change(docs)
        watching.expect(ids)


def test_a_folder_that_appeared_while_watching_can_vanish(docs: Path) -> None:
    """What the watch has told of it also remembers."""
    with Watching(FilesSource(docs)) as watching:
        shutil.copytree(docs / "guides", docs / "new")
        watching.expect({"new/b.md", "new/deep/c.md"})
        (docs / "new").rename(docs.parent / "elsewhere")
        watching.expect({"new/b.md", "new/deep/c.md"})


def test_a_save_by_replacement_is_told(docs: Path) -> None:
    """Many editors write another file and move it over the old one."""
    source = FilesSource(docs)
    with Watching(source) as watching:
        (docs / "a.md.tmp").write_text("saved")
        (docs / "a.md.tmp").rename(docs / "a.md")
        watching.expect({"a.md"})
    assert texts(source.read(["a.md"])[0]) == {"a.md": "saved"}


def test_only_documents_are_told_of(docs: Path) -> None:
    """What no pattern matches wakes nobody; the first thing told is the document."""
    stop = threading.Event()
    events = FilesSource(docs, exclude=["drafts"]).watch(stop)
    for name in (".git/x.md", "drafts/x.md", "x.txt"):
        (docs / name).parent.mkdir(exist_ok=True)
        (docs / name).write_text("x")
    (docs / "a.md").write_text("edited")
    assert next(events) == {"a.md"}
    stop.set()
    assert list(events) == []


def test_nothing_is_missed_between_a_scan_and_the_watch(docs: Path) -> None:
    """A watch that was opened before the scan tells of what changed during it."""
    source = FilesSource(docs)
    with Watching(source) as watching:
        assert len(texts(scanned(source))) == 4
        (docs / "a.md").write_text("edited after it was scanned")
        watching.expect({"a.md"})


def test_a_folder_that_vanishes_is_an_error(docs: Path) -> None:
    """An unmounted volume is no mass deletion."""
    with Watching(FilesSource(docs)) as watching:
        docs.rename(docs.parent / "elsewhere")
        with pytest.raises(SourceError, match="does not exist"):
            watching.expect({"a.md"})


def test_a_folder_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    """The error comes from the call, before anything is awaited."""
    with pytest.raises(SourceError, match="does not exist"):
        FilesSource(tmp_path / "nowhere").watch(threading.Event())
