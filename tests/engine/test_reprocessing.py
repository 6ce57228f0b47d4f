"""Reprocessing sends exactly the texts of the named documents to the model, whatever is held of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regen import Chunking, Document, Index
from regen.embedders.hashing import HashingEmbedder
from regen.engine import probes
from regen.engine.lease import writer_lease
from regen.engine.settings import Limits
from regen.errors import CatalogBusy, EmbedderError, NotFound
from regen.testing.faulty import FaultyEmbedder

SAME = "All of them say the same thing."
CHUNKING = Chunking("sentences", 12)


def document(number: int) -> Document:
    """Three chunks: two of its own, one that all documents share."""
    return Document(
        f"d{number}",
        f"The {number}th river has a bridge of stone today. Its {number}th garden is closed in the winter. {SAME}",
    )


def never(_call: int, _texts: object) -> None:
    """Nothing goes wrong."""


class Model(FaultyEmbedder):
    """A model that tells what it was sent."""

    def __init__(self, dimensions: int = 64) -> None:
        super().__init__(HashingEmbedder(dimensions), never)

    def sent(self) -> list[str]:
        """The texts since the last call of this method, in order, without the probes."""
        found = [text for text in self.texts if text not in probes.TEXTS]
        self.calls.clear()
        return sorted(found)


@pytest.fixture(params=["memory", "lancedb"])
def open_index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Opens an index on each store, always in the same folder."""
    store = f"memory://{tmp_path}" if request.param == "memory" else "lancedb://vectors"
    with ExitStack() as stack:

        def make(model: Model, **settings: Any) -> Index:
            defaults: dict[str, Any] = {
                "store": store,
                "catalog": "sqlite:///c.db",
                "chunking": CHUNKING,
                "root": tmp_path,
            }
            return stack.enter_context(Index(embedder=model, **(defaults | settings)))

        yield make


def vectors_of(index: Index, doc_id: str, number: int = 1) -> dict[str, Any]:
    """A document's vectors by chunk text."""
    generation = next(item for item in index._writer.current() if item.number == number)
    store = index._stores.of(generation)
    found = {}
    for page in store.scan(generation.collection):
        for row, point in enumerate(page.ids):
            if page.payload.doc_id[row] == doc_id:
                found[page.payload.text[row]] = store.fetch(generation.collection, [point])[1][0]
    return found


def test_their_texts_and_no_others(open_index: Any, tmp_path: Path) -> None:
    """The shared text too, though other documents, and the cache, hold it; each text once."""
    model = Model()
    index = open_index(model, cache=tmp_path / "cache.db")
    index.upsert(document(number) for number in range(6))
    texts = set(model.sent())
    assert len(texts) == 13
    result = index.reprocess(["d1", "d4", "d1"])
    theirs = sorted(text for text in texts if "1th" in text or "4th" in text or text == SAME)
    assert model.sent() == theirs
    assert len(theirs) == result.embedded_texts == 5
    assert (result.chunks.written, result.chunks.deleted) == (6, 6)
    assert index.verify().consistent
    assert [hit.doc_id for hit in index.search(document(4).text, k=1)] == ["d4"]
    assert index.status().freshness.pending == 0


def test_bad_vectors_are_replaced(open_index: Any) -> None:
    """What a model once gave wrongly is made anew; a retry or an edit would have kept it."""
    model = Model()
    model.plan = lambda _call, texts: None
    index = open_index(model)
    index.upsert([document(1), document(2)])
    good = vectors_of(index, "d1")
    spoilt = Model()
    spoilt.inner = HashingEmbedder(64, 7)  # gives other vectors under the name of seed 0
    index.delete(["d1"])
    index._models.embedder = spoilt
    index.upsert([document(1)])
    assert any(not np.allclose(vector, good[text]) for text, vector in vectors_of(index, "d1").items())
    index._models.embedder = model
    index.reprocess(["d1"])
    now = vectors_of(index, "d1")
    assert now.keys() == good.keys()
    assert all(np.allclose(now[text], good[text], atol=1e-6) for text in good)


def test_every_complete_generation_once_a_space(open_index: Any) -> None:
    """Two generations of one space need their texts once; one of another space needs its own."""
    model = Model()
    index = open_index(model)
    index.upsert(document(number) for number in range(3))
    wide = Model(96)
    index = open_index(wide, models={"hashing/64": model})
    index.apply()
    index = open_index(wide, models={"hashing/64": model}, metric="dot")
    index.apply()
    model.sent(), wide.sent()
    result = index.reprocess(["d2"])
    assert len(model.sent()) == 3
    assert len(wide.sent()) == 3
    assert result.embedded_texts == 6
    assert result.chunks.written == 9
    assert {item.number: item.state for item in index._writer.current()} == {1: "live", 2: "ready", 3: "ready"}


def test_what_waits_is_done_the_cheap_way(open_index: Any) -> None:
    """A pending document that is not named is brought in step with what is held, not embedded for nothing."""
    model = Model()
    index = open_index(model)
    index.upsert([document(1), document(2)])
    index._log_pushed([Document("d3", document(2).text)])
    model.sent()
    assert index.reprocess(["d1"]).embedded_texts == len(model.sent()) == 3
    assert index.status().freshness.pending == 0


def test_unknown_documents_are_refused(open_index: Any) -> None:
    """Deleted ones and those that never were: nothing is embedded, and the message names them."""
    model = Model()
    index = open_index(model)
    index.upsert([document(1), document(2)])
    index.delete(["d2"])
    model.sent()
    with pytest.raises(NotFound, match="2 of 3 documents are not in the index: 'd2', 'never'"):
        index.reprocess(["d1", "d2", "never"])
    assert model.sent() == []
    assert index.reprocess([]).embedded_texts == 0


def test_dead_letters_are_left_to_retry(open_index: Any) -> None:
    """They are named in a note, keep their letter, and leave nothing pending."""
    index = open_index(Model())
    index.upsert([document(1), Document("blank", " ")])
    result = index.reprocess(["d1", "blank"])
    assert result.chunks.written == 3
    assert "1 of these documents are dead letters" in result.notes[0]
    assert index._catalog.placed(1, ["blank"])["blank"].revision > 0
    assert index.status().freshness.failed == 1


def test_a_failure_is_gone_on_with(open_index: Any) -> None:
    """What was stopped on the way leaves the old vectors in place; run again, it is done."""
    model = Model()
    index = open_index(model)
    index.upsert([document(1), document(2)])
    model.plan = lambda _call, _texts: EmbedderError("gone")
    with pytest.raises(EmbedderError):
        index.reprocess(["d1"])
    model.plan = never
    assert len(index.search(document(1).text, k=9)) == 6
    model.sent()
    assert index.reprocess(["d1"]).embedded_texts == 3
    assert index.verify().consistent


def test_one_generation_that_is_held_does_not_keep_the_others(open_index: Any) -> None:
    """The live one is done; that the other was not is raised."""
    model, wide = Model(), Model(96)
    open_index(model).upsert([document(1)])
    index = open_index(wide, models={"hashing/64": model}, limits=Limits(lease_wait=0.0))
    index.apply()
    model.sent(), wide.sent()
    with writer_lease(index._catalog, "generation 2 of default", "elsewhere:1:x", wait=0.0), pytest.raises(CatalogBusy):
        index.reprocess(["d1"])
    assert (len(model.sent()), len(wide.sent())) == (3, 0)
