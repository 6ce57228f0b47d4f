"""Watching a folder: what is saved is searchable soon after, and what goes is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.waiting import until

from regen import Index, SyncResult
from regen.embedders.hashing import HashingEmbedder
from regen.errors import ConfigError
from regen.sources.files import FilesSource

PATIENCE = 30.0  # generous: the tests claim that search follows, not how quickly


class Watch:
    """An index that follows a folder in a thread of its own."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self.index = Index(
            embedder=HashingEmbedder(64), store="lancedb://v", catalog="sqlite:///c.db", root=root,
            source=FilesSource(folder),
        )  # fmt: skip
        self.synced: list[SyncResult] = []
        self.failed: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.until(lambda: bool(self.synced))

    def _run(self) -> None:
        try:
            self.index.watch(self._stop, self.synced.append)
        except BaseException as error:  # noqa: BLE001 - shown by the test's thread
            self.failed = error

    def save(self, name: str, text: str) -> None:
        """Write a file."""
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def found(self, query: str) -> list[str]:
        """The documents that a search returns, best first."""
        return list(dict.fromkeys(hit.doc_id for hit in self.index.search(query, k=50)))

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for it, or for what made watching end."""
        until(lambda: self.failed is not None or condition())
        assert self.failed is None, self.failed

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self.index.close()


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """A watched folder of three files."""
    folder = tmp_path / "docs"
    for name in ("one.md", "guides/two.md", "guides/deep/three.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"words of {Path(name).stem}")
    watching = Watch(folder, tmp_path)
    yield watching
    watching.close()


def test_it_begins_with_a_sync(watch: Watch) -> None:
    """What is there when the watch begins is indexed first."""
    assert watch.synced[0].documents.added == 3
    assert watch.found("words of three")[0] == "guides/deep/three.md"


def test_a_saved_file_is_found(watch: Watch) -> None:
    """A new file, then its edit: the new words are found, the old ones are not there any more."""
    watch.save("new.md", "fresh words about lanterns")
    watch.until(lambda: "new.md" in watch.found("fresh words about lanterns"))
    watch.save("new.md", "edited words about violins")
    watch.until(lambda: "edited words about violins" in [hit.text for hit in watch.index.search("violins", k=9)])
    assert "fresh words about lanterns" not in [hit.text for hit in watch.index.search("lanterns", k=9)]
    assert all(result.documents.changed for result in watch.synced)


def test_an_editors_way_of_saving(watch: Watch) -> None:
    """A temporary file that replaces the old one is an edit, not a deletion."""
    (watch.folder / ".one.md.swp").write_text("words that were swapped in")
    (watch.folder / ".one.md.swp").rename(watch.folder / "one.md")
    watch.until(lambda: watch.index.search("swapped in", k=1)[0].text == "words that were swapped in")
    assert sum(result.documents.deleted for result in watch.synced) == 0
    assert ".one.md.swp" not in watch.found("words")


def test_a_deleted_file_is_gone(watch: Watch) -> None:
    """Search does not return it any more, and its points leave the store."""
    (watch.folder / "one.md").unlink()
    watch.until(lambda: "one.md" not in watch.found("words of one"))
    watch.until(lambda: watch.index.status().freshness.deleted_still_present == 0)
    assert watch.index.verify().points == 2


def test_a_renamed_folder_is_followed(watch: Watch) -> None:
    """All that lies below it moves, and nothing is embedded for it."""
    (watch.folder / "guides").rename(watch.folder / "handbook")
    watch.until(lambda: {"handbook/two.md", "handbook/deep/three.md"} <= set(watch.found("words")))
    watch.until(lambda: not any(name.startswith("guides/") for name in watch.found("words")))
    assert sum(result.embedded_texts for result in watch.synced[1:]) == 0
    assert set(watch.found("words")) == {"one.md", "handbook/two.md", "handbook/deep/three.md"}
    assert watch.index.verify().consistent


def test_a_folder_that_is_removed(watch: Watch) -> None:
    """Everything in it goes."""
    (watch.folder / "guides/deep/three.md").unlink()
    (watch.folder / "guides/deep").rmdir()
    watch.until(lambda: "guides/deep/three.md" not in watch.found("words"))
    assert set(watch.found("words")) == {"one.md", "guides/two.md"}


def test_many_files_at_once(watch: Watch) -> None:
    """A burst is followed to its last file."""
    for number in range(200):
        watch.save(f"burst/{number}.md", f"burst number{number}")
    watch.until(lambda: watch.index.status().generations[0].documents == 203)
    assert watch.found("burst number199")[0] == "burst/199.md"
    assert watch.index.verify().consistent


def test_a_file_that_cannot_be_read_does_not_end_the_watch(watch: Watch) -> None:
    """It is told as failed, its old text stays, and the next save is followed."""
    (watch.folder / "one.md").write_bytes(b"\xff\xfe broken \xff")
    watch.until(lambda: watch.index.status().freshness.failed == 1)
    assert "one.md" in watch.found("words of one")
    watch.save("two.md", "later words")
    watch.until(lambda: "two.md" in watch.found("later words"))
    watch.save("one.md", "mended")
    watch.until(lambda: watch.index.status().freshness.failed == 0)


def test_only_what_can_be_watched() -> None:
    """A source without notifications is refused with what works."""
    index = Index(embedder="hashing/8", store="memory://", catalog="sqlite://", source={"kind": "push"})
    with pytest.raises(ConfigError, match="no source can be watched"):
        index.watch(threading.Event(), lambda _result: None)
