"""A scan judges one batch while the one before it is written: what must hold whichever of the two is quicker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from regen.catalog.sqlite import open_catalog
from regen.core.documents import Document
from regen.engine.scan import Scanner
from regen.engine.scans import log_all
from regen.engine.settings import Limits
from regen.errors import CatalogError, DuplicateDocument
from regen.ports import KnownStamps, ScanBatch
from regen.ports.catalog import Catalog
from regen.testing.faults import FailAt, OnStep, Steps

PATIENCE = 20.0


class Batches:
    """A full source of one document a batch; ``between`` is called before the batch of that number."""

    name, full = "batches", True

    def __init__(self, ids: str) -> None:
        self.ids = ids
        self.delivered = 0

    def between(self, number: int) -> None:
        """Replaced by tests that wait."""

    def scan(self, known: KnownStamps) -> Iterator[ScanBatch]:
        """One batch a letter."""
        for number, doc_id in enumerate(self.ids):
            self.between(number)
            self.delivered += 1
            yield ScanBatch([Document(doc_id, f"text {doc_id}")])


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """A catalog that several threads may use."""
    opened = open_catalog(f"sqlite:///{tmp_path}/catalog.db")
    yield opened
    opened.close()


def scan(source: Batches, catalog: Catalog, on_step: OnStep | None = None) -> int:
    """One pass; how many documents were added."""
    stepped = Steps(on_step).wrap(catalog, "catalog")
    scanned = log_all([Scanner(source, stepped, (), Limits())], stepped, allow_mass_delete=False)
    scanned.raise_failures()
    return scanned.counts.added


@pytest.mark.parametrize("ids", ["aa", "aba", "abca", "abcda"])
def test_an_id_delivered_twice_is_refused_when_the_first_was_written_already(catalog: Catalog, ids: str) -> None:
    """The catalog knows the document by then, though the scan has not been told of its key."""
    source, written = Batches(ids), threading.Semaphore(0)

    def on_step(moment: str, _: int) -> None:
        if moment == "after catalog.log":
            written.release()

    def between(number: int) -> None:
        assert number == 0 or written.acquire(timeout=PATIENCE)

    source.between = between  # type: ignore[method-assign]
    with pytest.raises(DuplicateDocument, match="twice"):
        scan(source, catalog, on_step)
    assert sorted(catalog.known(list("abcd"))) == sorted(set(ids))


@pytest.mark.parametrize("ids", ["aa", "abb", "abcc", "aba", "abca"])
def test_an_id_delivered_twice_is_refused_before_the_first_is_written(catalog: Catalog, ids: str) -> None:
    """The catalog does not know the document yet, and the scan remembers it; what came before is kept."""
    source, judged = Batches(ids), threading.Event()
    last = len(ids)

    def on_step(moment: str, occurrence: int) -> None:
        if (moment, occurrence) == ("after catalog.known", last):
            judged.set()
        if (moment, occurrence) == ("before catalog.log", last - 1):
            assert judged.wait(PATIENCE)

    with pytest.raises(DuplicateDocument, match="twice"):
        scan(source, catalog, on_step)
    assert sorted(catalog.known(list("abc"))) == sorted(set(ids))


def test_a_batch_is_judged_while_the_one_before_it_is_written(catalog: Catalog) -> None:
    """Otherwise this waits in vain, and says so."""
    judged, in_time = threading.Event(), []

    def on_step(moment: str, occurrence: int) -> None:
        if (moment, occurrence) == ("after catalog.known", 2):
            judged.set()
        if (moment, occurrence) == ("before catalog.log", 1):
            in_time.append(judged.wait(PATIENCE))

    assert scan(Batches("ab"), catalog, on_step) == 2
    assert in_time == [True]


def test_batches_are_written_in_the_order_of_delivery(catalog: Catalog) -> None:
    """Revisions follow the source, so that a batch of the log is never behind a later one."""
    assert scan(Batches("dbca"), catalog) == 4
    assert [record.doc_id for record in reversed(catalog.history(None, 10))] == list("dbca")


def test_a_catalog_that_fails_stops_the_scan_one_batch_later(catalog: Catalog) -> None:
    """The error of the thread that writes is raised, what was written before it stays, and nothing follows."""
    source = Batches("abcdef")
    with pytest.raises(CatalogError, match="full"):
        scan(source, catalog, FailAt("before catalog.log", CatalogError("full"), occurrence=2))
    assert sorted(catalog.known(list("abcdef"))) == ["a"]
    assert source.delivered == 3
    assert scan(Batches("abcdef"), catalog) == 5
