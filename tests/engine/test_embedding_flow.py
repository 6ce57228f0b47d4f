"""A build's texts on their way to a model that answers several calls at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from regen.core.documents import Document
from regen.core.recipe import Chunking
from regen.embedders.hashing import HashingEmbedder
from regen.engine import probes
from regen.engine.settings import Limits
from regen.errors import EmbedderError
from regen.index import Index
from regen.ports import ModelInfo

PATIENCE = 10.0
CONCURRENCY = 4
DOCUMENTS = [Document(f"d{number}", f"Text number {number} of a small corpus.") for number in range(48)]


class Concurrent:
    """Two texts a call and four calls at a time; ``before`` sees each call before it is answered."""

    def __init__(self, name: str = "concurrent/32") -> None:
        self._model = HashingEmbedder(32)
        self.info = ModelInfo(name=name, dimensions=32, max_batch_texts=2, concurrency=CONCURRENCY)
        self.sent: list[str] = []
        self.before: Any = lambda texts: None
        self._lock = threading.Lock()

    def embed_documents(self, texts: Sequence[str]) -> Any:
        """Vectors of shape (len(texts), 32)."""
        self.before(texts)
        with self._lock:
            self.sent += [text for text in texts if text not in probes.TEXTS]
        return self._model.embed_documents(texts)

    def embed_query(self, text: str) -> Any:
        """As a document."""
        return self._model.embed_query(text)

    def token_starts(self, texts: Sequence[str]) -> Any:
        """Words."""
        return self._model.token_starts(texts)


def opened(folder: Path, embedder: Any, known: Any = None, batch: int = 8) -> Index:
    """An index of one chunk a document, in small batches."""
    models = {} if known is None else {known.info.name: known}
    return Index(
        embedder=embedder, store=f"memory://{folder}", catalog="sqlite:///catalog.db", chunking=Chunking("whole"),
        root=folder, models=models, limits=Limits(batch_documents=batch),
    )  # fmt: skip


def test_batches_overlap(tmp_path: Path) -> None:
    """A call that hangs does not keep the calls of the next batch from being made; all is placed in the end."""
    model, other = Concurrent(), threading.Event()

    def before(texts: Sequence[str]) -> None:
        if "number 1 " in texts[-1]:
            assert other.wait(PATIENCE), "the second batch waits for the last call of the first"
        elif "number 20 " in texts[0]:
            other.set()

    model.before = before
    with opened(tmp_path, model) as index:
        assert index.upsert(DOCUMENTS).chunks.written == len(DOCUMENTS)
        assert index.verify().consistent


def test_what_stops_the_run_keeps_what_was_paid(tmp_path: Path) -> None:
    """The first call that fails for good stops all further ones; documents that have their vectors are placed."""
    model = Concurrent()

    def before(texts: Sequence[str]) -> None:
        if "number 20 " in texts[0]:
            raise EmbedderError("the model is out of order")

    model.before = before
    with opened(tmp_path, model) as index:
        with pytest.raises(EmbedderError, match="out of order"):
            index.upsert(DOCUMENTS)
        paid = list(model.sent)
        assert len(paid) <= 20 + 2 * CONCURRENCY  # calls that were under way
        assert index.status().generations[0].chunks == len(paid)
        model.before = lambda texts: None
        index.sync()
        assert sorted(model.sent) == sorted(document.text for document in DOCUMENTS)
        assert index.verify().consistent


def test_a_document_that_readers_begin_to_ask_for_is_not_lost(tmp_path: Path) -> None:
    """A document whose tier improves while a build has that tier's pass behind it is taken by the last pass."""
    old, new = HashingEmbedder(16), Concurrent()
    documents = [Document(one.id, one.text, updated_at=0.0) for one in DOCUMENTS]
    with opened(tmp_path, old) as index:
        index.upsert(documents)
    with opened(tmp_path, new, known=old) as index:
        catalog = index._writer.catalog
        catalog.count_queries({"d0": 5})

        def before(texts: Sequence[str]) -> None:
            if "number 0 " in texts[0]:
                catalog.count_queries({"d47": 1_000})
                catalog.flag(["d46"], flagged=True)

        new.before = before
        index.apply()
        assert index.status().generations[-1].documents == len(documents)
        assert sorted(new.sent) == sorted(document.text for document in documents)
