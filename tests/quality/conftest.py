"""Indexes to check, healthy ones and ones that something is wrong with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from regen import Document, Index
from regen.embedders.hashing import HashingEmbedder
from regen.evaluation.outcome import CheckResult
from regen.quality.checks import CHECKS, Context, run_checks
from regen.quality.subject import Subject

WORDS = ("river", "stone", "cloud", "garden", "window", "market", "teacher", "engine", "letter", "harbour", "winter",
         "music", "forest", "bridge", "copper")  # fmt: skip


def sentence(number: int) -> str:
    """A sentence like no other."""
    return " ".join([*(WORDS[(number * step + step) % len(WORDS)] for step in (1, 2, 4, 7)), f"number {number}."])


def document(number: int, sentences: int = 3, **more: Any) -> Document:
    """A document whose sentences are its own."""
    return Document(f"d{number}", " ".join(sentence(10 * number + at) for at in range(sentences)), **more)


class Makers:
    """Makes indexes on one store below one folder, and closes them."""

    def __init__(self, folder: Path, store: str, stack: ExitStack) -> None:
        self.folder, self.store, self._stack = folder, store, stack

    def __call__(self, *documents: Document, **settings: Any) -> Index:
        """An index that holds these documents; the same folder each time."""
        index = Index(
            **{
                "embedder": HashingEmbedder(64),
                "store": f"memory://{self.folder}" if self.store == "memory" else "lancedb://vectors",
                "catalog": "sqlite:///catalog.db",
                "root": self.folder,
                **settings,
            }
        )
        self._stack.callback(index.close)
        if documents:
            index.upsert(documents)
        return index


@pytest.fixture(params=["memory", "lancedb"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Makers]:
    """A maker of indexes on each store."""
    with ExitStack() as stack:
        yield Makers(tmp_path, request.param, stack)


@pytest.fixture
def make_in_memory(tmp_path: Path) -> Iterator[Makers]:
    """A maker of indexes in memory."""
    with ExitStack() as stack:
        yield Makers(tmp_path, "memory", stack)


def subject(index: Index, number: int = 1) -> Subject:
    """One generation of an index, as the checks look at it."""
    return next(item for item in subjects(index) if item.number == number)


def subjects(index: Index) -> list[Subject]:
    """All current generations of an index."""
    return [index._quality._subject(item) for item in index._writer.current()]


def context(index: Index, number: int = 1, baseline: int | None = None, **more: Any) -> Context:
    """What the checks look at."""
    others = subjects(index)
    by_number = {item.number: item for item in others}
    live = None if baseline is None else by_number[baseline]
    return replace(Context(by_number[number], live, others, index._catalog), **more)


def check(index: Index, name: str, number: int = 1, baseline: int | None = None, **more: Any) -> CheckResult:
    """One check's result."""
    (found,) = run_checks(context(index, number, baseline, **more), [name])
    assert found.name == name
    assert found.detail
    if not found.passed:
        assert found.hint, f"{name} fails without saying what to do"
    return found


def failing(index: Index, number: int = 1, baseline: int | None = None, **more: Any) -> dict[str, str]:
    """The checks that fail, with what they say."""
    found = run_checks(context(index, number, baseline, **more))
    assert [item.name for item in found] == list(CHECKS)
    return {item.name: item.detail for item in found if not item.passed}


def points_of(index: Index, ids: Sequence[str], number: int = 1) -> list[str]:
    """The point ids of documents in a generation."""
    target = subject(index, number)
    return [
        point
        for page in target.store.scan(target.generation.collection)
        for point, doc_id in zip(page.ids, page.payload.doc_id, strict=True)
        if doc_id in ids
    ]
