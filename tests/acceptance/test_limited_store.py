"""A store that cannot hold every document: what is too long for it is a dead letter, and stops nobody else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import never

from regen import Chunking, Document
from regen.embedders.hashing import HashingEmbedder
from regen.index import Index
from regen.stores.memory import MemoryStore
from regen.testing.faulty import FaultyEmbedder


class NarrowStore(MemoryStore):
    """Holds texts of 100 characters, and metadata of 50."""

    def refusal(self, text: str, metadata: Mapping[str, Any], access: list[str] | None) -> str | None:
        """Why not."""
        if len(text) > 100:
            return f"a text of {len(text)} characters"
        return "too much metadata" if len(str(dict(metadata))) > 50 else None


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An index on it, whose documents are one chunk each."""
    embedder = FaultyEmbedder(HashingEmbedder(16), never)
    with Index(embedder=embedder, store=NarrowStore(), chunking=Chunking("whole"), root=tmp_path) as index:
        yield index


def letters(index: Index) -> dict[str, str]:
    """Dead letters: document to reason."""
    return {letter.doc_id: letter.reason for letter in index.status().dead_letters}


def test_a_text_that_is_too_long(index: Index) -> None:
    """It is never embedded, its document says why, the others are found, and a shorter text heals it."""
    long = Document("long", "river " * 30)
    result = index.upsert([Document("a", "A river."), long, Document("b", "A lake.")])
    assert (result.documents.failed, result.embedded_texts) == (1, 2)
    assert letters(index) == {"long": "a text of 179 characters"}
    assert {hit.doc_id for hit in index.search("river")} == {"a", "b"}
    index.upsert([Document("long", "A short river.")])
    assert letters(index) == {}
    assert "long" in {hit.doc_id for hit in index.search("short river")}
    assert index.verify().consistent


def test_an_edit_that_is_too_long_leaves_what_was(index: Index) -> None:
    """The placed revision goes on to serve until the document fits again, or is deleted."""
    index.upsert([Document("a", "A river.")])
    index.upsert([Document("a", "river " * 30)])
    assert list(letters(index)) == ["a"]
    index.delete(["a"])
    assert not list(index.search("river"))
    assert letters(index) == {}


def test_metadata_that_are_too_long(index: Index) -> None:
    """Metadata that no longer fit are told of, and the store is not asked to keep them."""
    index.upsert([Document("a", "A river.", {"lang": "en"}), Document("b", "A lake.")])
    index.upsert([Document("a", "A river.", {"lang": "e" * 60})])
    assert letters(index) == {"a": "too much metadata"}
    index.upsert([Document("a", "A river.", {"lang": "de"})])
    assert letters(index) == {}
    assert [hit.doc_id for hit in index.search("river", where={"lang": "de"})] == ["a"]
