"""The conformance suite for sources: every clause of the port as a test.

    from regen.testing.sources import SourceConformance

    class TestMySource(SourceConformance):
        no_watch = "the vendor has no notifications"    # a power that is left out needs a written reason

        def make_source(self, tmp_path, documents): ...
        def open_source(self, tmp_path): ...
        def edit(self, tmp_path, doc_id, text): ...
        def remove(self, tmp_path, doc_id): ...

Needs pytest (``regen[test]``).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

import pytest

from regen.ports import KnownStamps, PartialSource, ScanBatch, Source, WatchableSource

TEXTS: Final = {
    "plain.md": "One line without an end",
    "guides/newlines.md": "unix\nwindows\r\nold mac\rtwo blank lines\n\n\n",
    "guides/blanks.md": "  leading, trailing \t \n\n    indented\n",
    "guides/deep/er/unicode.md": "Grüße, 你好, \U0001f600 and a combining e\u0301\n",
    "name with blanks.md": "# A heading\n\ntext\n",
    "empty.md": "",
    "[odd] {name} #1.md": "odd",
}
MEGABYTE: Final = 1_000_000
PATIENCE_SECONDS: Final = 30.0  # a failing watch must not hang the tests


class _Stamps:
    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = known

    def stamps(self, ids: Sequence[str]) -> dict[str, str]:
        return {doc_id: self._known[doc_id] for doc_id in ids if doc_id in self._known}


def stamps_from(known: Mapping[str, str]) -> KnownStamps:
    """Stamps as a catalog would remember them, from a plain mapping of ids."""
    return _Stamps(known)


def scanned(source: Source, known: Mapping[str, str] | None = None) -> ScanBatch:
    """A whole scan as one batch."""
    whole = ScanBatch()
    for batch in source.scan(stamps_from(known or {})):
        whole.documents += batch.documents
        whole.untouched += batch.untouched
        whole.unreadable += batch.unreadable
        whole.stamps |= batch.stamps
    return whole


def texts(batch: ScanBatch) -> dict[str, str]:
    """The texts of a batch by id."""
    return {document.id: document.text for document in batch.documents}


def all_ids(batch: ScanBatch) -> list[str]:
    """Every id that a batch speaks of, sorted, repetitions kept."""
    ids = [document.id for document in batch.documents] + batch.untouched
    return sorted(ids + [unreadable.id for unreadable in batch.unreadable])


class SourceHooks:
    """What a source's tests must say. The ids are file-like; a source keeps them as they are.

    ``no_stamps``, ``no_partial``, ``no_watch`` and ``no_spoil`` are None, or the reason why the source lacks the power.
    """

    no_stamps: ClassVar[str | None] = None
    no_partial: ClassVar[str | None] = None
    no_watch: ClassVar[str | None] = None
    no_spoil: ClassVar[str | None] = None
    batch_ids: ClassVar[int] = 1_000

    def make_source(self, tmp_path: Path, documents: Mapping[str, str]) -> Source:
        """Lay down these documents (id to text) and open a source on them."""
        raise NotImplementedError

    def open_source(self, tmp_path: Path) -> Source:
        """Open another object on what is there."""
        raise NotImplementedError

    def edit(self, tmp_path: Path, doc_id: str, text: str) -> None:
        """Give a document another text, or create it."""
        raise NotImplementedError

    def remove(self, tmp_path: Path, doc_id: str) -> None:
        """Delete a document."""
        raise NotImplementedError

    def settle(self, tmp_path: Path) -> None:
        """Make all that is there old enough to be stamped. Does nothing where age plays no part."""

    def spoil(self, tmp_path: Path, doc_id: str) -> None:
        """Make a document unreadable."""
        raise NotImplementedError


class SourceConformance(SourceHooks):
    """All source cases."""

    def test_it_is_a_source(self, tmp_path: Path) -> None:
        """The object has the port's methods, and declares exactly the powers it has."""
        source = self.make_source(tmp_path, TEXTS)
        assert isinstance(source, Source)
        assert isinstance(source, PartialSource) is (self.no_partial is None)
        assert isinstance(source, WatchableSource) is (self.no_watch is None)

    def test_name_and_completeness_are_constant(self, tmp_path: Path) -> None:
        """The name is what the catalog keeps documents under: no scan and no new object changes it."""
        source = self.make_source(tmp_path, TEXTS)
        before = (source.name, source.full)
        assert len(texts(scanned(source))) == len(TEXTS)
        assert before[0]
        assert before == (source.name, source.full)
        again = self.open_source(tmp_path)
        assert before == (again.name, again.full)

    def test_a_scan_delivers_every_text_untouched(self, tmp_path: Path) -> None:
        """Newlines, blanks and every kind of character arrive as they are, each document once."""
        found = scanned(self.make_source(tmp_path, TEXTS))
        assert texts(found) == TEXTS
        assert all_ids(found) == sorted(TEXTS)

    def test_scans_agree(self, tmp_path: Path) -> None:
        """Two scans, of one object or of two, deliver equal documents in the same order."""
        source = self.make_source(tmp_path, TEXTS)
        first = scanned(source).documents
        assert len(first) == len(TEXTS)
        assert scanned(source).documents == first
        assert scanned(self.open_source(tmp_path)).documents == first

    def test_nothing_is_no_error(self, tmp_path: Path) -> None:
        """A source without documents delivers none."""
        assert all_ids(scanned(self.make_source(tmp_path, {}))) == []

    def test_batches_are_bounded_by_count(self, tmp_path: Path) -> None:
        """Memory does not grow with the number of documents."""
        documents = {f"{number // 500}/{number}.md": f"text {number}" for number in range(2_300)}
        source = self.make_source(tmp_path, documents)
        sizes = [len(all_ids(batch)) for batch in source.scan(stamps_from({}))]
        assert sum(sizes) == len(documents)
        assert max(sizes) <= self.batch_ids

    def test_batches_are_bounded_by_size(self, tmp_path: Path) -> None:
        """Memory does not grow with the length of documents: no batch is far over 16 MB."""
        documents = {f"{number}.md": "x" * (2 * MEGABYTE) for number in range(20)}
        source = self.make_source(tmp_path, documents)
        sizes = [sum(map(len, texts(batch).values())) for batch in source.scan(stamps_from({}))]
        assert sum(sizes) == 40 * MEGABYTE
        assert max(sizes) <= 20 * MEGABYTE

    def test_changes_are_seen(self, tmp_path: Path) -> None:
        """An edit, a creation and a deletion show in the next scan, at once."""
        source = self.make_source(tmp_path, TEXTS)
        stamps = scanned(source).stamps
        self.edit(tmp_path, "plain.md", "edited")
        self.edit(tmp_path, "guides/new.md", "created")
        self.remove(tmp_path, "empty.md")
        found = scanned(source, stamps)
        assert texts(found)["plain.md"] == "edited"
        assert texts(found)["guides/new.md"] == "created"
        assert all_ids(found) == sorted({*TEXTS, "guides/new.md"} - {"empty.md"})

    def test_known_stamps_spare_the_reading(self, tmp_path: Path) -> None:
        """What is as it was is untouched; what was edited is delivered."""
        self._needs(self.no_stamps)
        source = self.make_source(tmp_path, TEXTS)
        self.settle(tmp_path)
        stamps = scanned(source).stamps
        assert stamps.keys() == TEXTS.keys()
        assert sorted(scanned(source, stamps).untouched) == sorted(TEXTS)
        self.edit(tmp_path, "plain.md", "edited")
        found = scanned(self.open_source(tmp_path), stamps)
        assert texts(found) == {"plain.md": "edited"}
        assert sorted(found.untouched) == sorted(TEXTS.keys() - {"plain.md"})

    def test_an_edit_that_keeps_the_size_is_seen_at_once(self, tmp_path: Path) -> None:
        """However quickly a text is replaced by one as long, no stamp hides it."""
        source = self.make_source(tmp_path, {"a.md": "text 000"})
        stamps: dict[str, str] = {}
        for number in range(1, 30):
            stamps |= scanned(source, stamps).stamps
            self.edit(tmp_path, "a.md", f"text {number:03}")
            assert texts(scanned(source, stamps)) == {"a.md": f"text {number:03}"}

    def test_a_foreign_stamp_proves_nothing(self, tmp_path: Path) -> None:
        """A document whose stamp is another than the known one is delivered."""
        source = self.make_source(tmp_path, TEXTS)
        self.settle(tmp_path)
        assert texts(scanned(source, dict.fromkeys(TEXTS, "0:0"))) == TEXTS

    def test_an_unreadable_document_stops_nothing(self, tmp_path: Path) -> None:
        """It is named with a reason and without a stamp; the others are delivered."""
        self._needs(self.no_spoil)
        source = self.make_source(tmp_path, TEXTS)
        self.spoil(tmp_path, "plain.md")
        self.settle(tmp_path)
        found = scanned(source)
        assert [unreadable.id for unreadable in found.unreadable] == ["plain.md"]
        assert found.unreadable[0].reason
        assert texts(found) == {doc_id: text for doc_id, text in TEXTS.items() if doc_id != "plain.md"}
        assert "plain.md" not in found.stamps

    def test_reading_by_name_agrees_with_a_scan(self, tmp_path: Path) -> None:
        """Named documents are those of a scan, with the same stamps; what is not there is missing."""
        source = self._partial(tmp_path, TEXTS)
        self.settle(tmp_path)
        whole = scanned(self.open_source(tmp_path))
        found, missing = source.read([*TEXTS, "no such.md", "plain.md"])
        assert sorted(found.documents, key=lambda each: each.id) == sorted(whole.documents, key=lambda each: each.id)
        assert found.stamps == whole.stamps
        assert missing == ["no such.md"]

    def test_reading_by_name_sees_changes(self, tmp_path: Path) -> None:
        """An edited document comes with its new text, a removed one is missing."""
        source = self._partial(tmp_path, TEXTS)
        self.edit(tmp_path, "plain.md", "edited")
        self.remove(tmp_path, "empty.md")
        found, missing = source.read(["plain.md", "empty.md"])
        assert texts(found) == {"plain.md": "edited"}
        assert missing == ["empty.md"]

    def test_reading_by_name_tells_the_unreadable(self, tmp_path: Path) -> None:
        """An unreadable document is neither delivered nor missing."""
        self._needs(self.no_spoil)
        source = self._partial(tmp_path, TEXTS)
        self.spoil(tmp_path, "plain.md")
        found, missing = source.read(["plain.md", "empty.md"])
        assert [unreadable.id for unreadable in found.unreadable] == ["plain.md"]
        assert texts(found) == {"empty.md": ""}
        assert missing == []

    def test_a_watch_tells_of_changes(self, tmp_path: Path) -> None:
        """An edit, a creation and a deletion are told of, once the call has returned."""
        source = self._watchable(tmp_path)
        with Watching(source) as watching:
            self.edit(tmp_path, "plain.md", "edited")
            watching.expect({"plain.md"})
            self.edit(tmp_path, "guides/new.md", "created")
            watching.expect({"guides/new.md"})
            self.remove(tmp_path, "empty.md")
            watching.expect({"empty.md"})

    def test_a_watch_ends_when_told_to(self, tmp_path: Path) -> None:
        """The iterator ends after ``stop`` is set, although nothing changes."""
        stop = threading.Event()
        events = self._watchable(tmp_path).watch(stop)
        stop.set()
        assert list(events) == []

    def _needs(self, reason: str | None) -> None:
        if reason is not None:
            assert reason.strip(), "a power that is left out needs a written reason"
            pytest.skip(reason)

    def _partial(self, tmp_path: Path, documents: Mapping[str, str]) -> PartialSource:
        self._needs(self.no_partial)
        source = self.make_source(tmp_path, documents)
        assert isinstance(source, PartialSource)
        return source

    def _watchable(self, tmp_path: Path) -> WatchableSource:
        self._needs(self.no_watch)
        source = self.make_source(tmp_path, TEXTS)
        assert isinstance(source, WatchableSource)
        return source


class Watching:
    """A running watch whose reports can be waited for."""

    def __init__(self, source: WatchableSource) -> None:
        self._stop = threading.Event()
        self._timer = threading.Timer(PATIENCE_SECONDS, self._stop.set)
        self._source = source

    def __enter__(self) -> Watching:
        self._timer.start()
        self._events: Iterator[set[str]] = self._source.watch(self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._stop.set()

    def expect(self, ids: set[str]) -> None:
        """Wait until all these ids have been told of, together or one after the other."""
        told: set[str] = set()
        while not ids <= told:
            told |= next(self._events, set())
            assert not self._stop.is_set(), f"waited {PATIENCE_SECONDS} s for {ids - told}"
