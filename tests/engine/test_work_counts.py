"""How much work a sync and a search make for catalog, store and memory: counted without a clock, the same anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from regen.core.documents import Document
from regen.core.recipe import Chunking
from regen.engine.settings import Limits
from regen.index import Index
from regen.ports import KnownStamps, ScanBatch
from regen.testing.work_counts import counted

BATCH = 100
DIMENSIONS = 32


class Numbered:
    """A full source of so many documents, made while they are delivered; of every hundred one has been edited."""

    name, full = "numbered", True

    def __init__(self, count: int) -> None:
        self.count, self.edited = count, False

    def scan(self, known: KnownStamps) -> Iterator[ScanBatch]:
        """Batches as large as those in which they are placed."""
        for start in range(0, self.count, BATCH):
            yield ScanBatch([self._document(number) for number in range(start, min(start + BATCH, self.count))])

    def _document(self, number: int) -> Document:
        more = " edited" if self.edited and number % 100 == 0 else ""
        return Document(f"d{number}", f"document {number} of many{more}", {"parity": number % 2})


def opened(folder: Path, source: Numbered) -> Index:
    """One chunk a document."""
    return Index(
        embedder=f"hashing/{DIMENSIONS}", store="lancedb://vectors", catalog="sqlite:///catalog.db", source=source,
        chunking=Chunking("whole"), root=folder, limits=Limits(batch_documents=BATCH),
    )  # fmt: skip


@pytest.fixture
def source() -> Numbered:
    """Six batches."""
    return Numbered(6 * BATCH)


@pytest.fixture
def index(tmp_path: Path, source: Numbered) -> Iterator[Index]:
    """An index over the source."""
    with opened(tmp_path, source) as index:
        yield index


def test_a_first_load_makes_one_store_call_a_batch(index: Index, source: Numbered) -> None:
    """New points are appended, once each, with no look at what is there; their vectors are handed over once."""
    with counted(index) as counts:
        index.sync()
    assert dict(counts.store_calls) == {"add_fields": 1, "insert": 6}
    assert counts.points == source.count
    assert counts.vector_bytes == source.count * DIMENSIONS * 4


def test_a_first_load_needs_so_many_statements_a_batch(tmp_path: Path) -> None:
    """Work is done in sets: the statements grow with the batches, not with the documents."""
    statements: list[int] = []
    for batches in (2, 6):
        with opened(tmp_path / str(batches), Numbered(batches * BATCH)) as index, counted(index) as counts:
            index.sync()
        statements.append(counts.statements)
    assert (statements[1] - statements[0]) / 4 <= 60


def test_a_sync_without_changes_asks_twice_a_batch(index: Index) -> None:
    """Two statements a batch of the scan and a fixed number besides; the store is not asked at all."""
    index.sync()
    with counted(index) as counts:
        index.sync()
    assert counts.statements <= 64 + 2 * 6
    assert not counts.store_calls


def test_an_edit_writes_what_changed_only(index: Index, source: Numbered) -> None:
    """One document in a hundred is edited: so many points are written, in one call, and so many deleted in one."""
    index.sync()
    source.edited = True
    with counted(index) as counts:
        index.sync()
    assert dict(counts.store_calls) == {"add_fields": 1, "insert": 1, "delete": 1}
    assert counts.points == source.count // 100


def test_a_search_asks_store_and_catalog_once(index: Index) -> None:
    """A search is one call of the store and a fixed number of look-ups in the catalog, whatever the corpus."""
    index.sync()
    index.search("document 7")
    with counted(index) as counts:
        assert index.search("document 7")
    assert dict(counts.store_calls) == {"search": 1}
    assert counts.statements <= 6


def test_a_load_holds_a_few_batches_whatever_the_corpus(tmp_path: Path) -> None:
    """Twice the documents need no more memory for Python objects than a quarter more."""
    most: list[int] = []
    for batches in (8, 8, 16):  # the first one imports, caches and compiles
        folder = tmp_path / f"{len(most)}"
        with opened(folder, Numbered(batches * BATCH)) as index, counted(index, memory=True) as counts:
            index.sync()
        most.append(counts.most_python_bytes)
    assert most[2] <= 1.25 * most[1], most
