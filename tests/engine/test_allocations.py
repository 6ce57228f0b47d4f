"""Memory that a run has freed goes back to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest

from regen.core.documents import Document
from regen.core.recipe import Chunking
from regen.engine import allocations, reconcile
from regen.engine.settings import Limits
from regen.index import Index


@pytest.fixture
def undecided() -> Iterator[None]:
    """Look for the C library's function anew, before the test and after it."""
    allocations._trim.cache_clear()
    yield
    allocations._trim.cache_clear()


@pytest.mark.usefixtures("undecided")
def test_another_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the C library has no such function, nothing is asked of it and nothing fails."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    allocations.give_back()


@pytest.mark.usefixtures("undecided")
def test_the_c_library_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it has one, it is called, to keep nothing back."""
    kept: list[int] = []

    class Library:
        malloc_trim = staticmethod(kept.append)

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library)
    allocations.give_back()
    allocations.give_back()
    assert kept == [0, 0]


@pytest.mark.parametrize(("documents", "times"), [(3, 0), (4, 1), (9, 2)])
def test_every_few_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: int, times: int) -> None:
    """A long run gives memory back every fourth batch; one of few batches does not pay for it."""
    asked: list[None] = []
    monkeypatch.setattr(reconcile, "give_back", lambda: asked.append(None))
    with Index(
        embedder="hashing/16", store=f"memory://{tmp_path}", catalog="sqlite:///catalog.db",
        chunking=Chunking("whole"), root=tmp_path, limits=Limits(batch_documents=1),
    ) as index:  # fmt: skip
        index.upsert([Document(f"d{number}", f"Text {number}.") for number in range(documents)])
    assert len(asked) == times
