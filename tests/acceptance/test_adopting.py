"""Taking over what something else has built: from any store, by copy, if the vectors are the model's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from regen import Chunking, Document
from regen.core.changes import candidate
from regen.core.results import AdoptResult, Progress
from regen.embedders.hashing import HashingEmbedder
from regen.embedders.wordllama import WordLlamaEmbedder
from regen.errors import ConfigError, ForeignVectors
from regen.index import Index
from regen.ports import Embedder, ForeignColumns, ForeignRows, Vectors
from regen.spaces.derive import quantize
from regen.spaces.vectors import normalize
from regen.stores.memory import MemoryStore
from regen.testing.faults import CrashAt, Crashed, Steps
from regen.testing.faulty import FaultyEmbedder

COUNT = 90
IDS = [f"p{number}" for number in range(COUNT)]
TEXTS = [f"Page {number} tells of subject {number * 7} and of its long history." for number in range(COUNT)]
WHOLE = Chunking("whole")
MODEL = WordLlamaEmbedder(128)


@dataclass
class Theirs(MemoryStore):
    """A store of somebody else: one collection, delivered a few rows a page. ``drawn`` counts the pages."""

    vectors: Vectors
    ids: list[str] = field(default_factory=lambda: list(IDS))
    texts: list[str] = field(default_factory=lambda: list(TEXTS))
    page: int = 20
    drawn: int = 0

    def __post_init__(self) -> None:
        MemoryStore.__init__(self)

    def collections(self) -> list[str]:
        """One."""
        return ["theirs"]

    def foreign(self, collection: str, columns: ForeignColumns, batch: int = 2048) -> Iterator[ForeignRows]:
        """All rows."""
        for start in range(0, len(self.ids), self.page):
            some = slice(start, start + self.page)
            self.drawn += 1
            yield ForeignRows(
                self.ids[some], self.texts[some], [{"n": at} for at in range(len(self.ids[some]))], self.vectors[some]
            )


def made_by(model: Embedder = MODEL, prefix: str = "") -> Vectors:
    """The vectors that a model gives."""
    return model.embed_documents([prefix + text for text in TEXTS])


def opened(model: Embedder = MODEL, root: Path | None = None, **settings: Any) -> Index:
    """An index of that model, of which there is nothing yet."""
    given: dict[str, Any] = {"store": "memory://", "catalog": "sqlite://", "chunking": WHOLE} | settings
    return Index(embedder=model, root=root or ".", **given)


def taken(theirs: Theirs, model: Embedder = MODEL, **settings: Any) -> AdoptResult:
    """Adopt, and look whether all is there."""
    with opened(model, **settings) as index:
        result = index.adopt(theirs)
        assert (result.documents, result.chunks, result.embedded_texts) == (COUNT, COUNT, 0)
        assert index.search(TEXTS[41], k=1)[0].doc_id == "p41"
        assert index.verify().consistent
    return result


def halves(first: Vectors, second: Vectors) -> Vectors:
    """The first half of one, the second of the other."""
    return np.concatenate([first[: COUNT // 2], second[COUNT // 2 :]])


OTHERS: dict[str, tuple[Callable[[], Vectors], str, str]] = {
    "another model": (lambda: made_by(HashingEmbedder(128)), "of another model, or of other texts", "name the model"),
    "mixed": (lambda: halves(made_by(), made_by(HashingEmbedder(128))), "mixed: 5[0-9]% of the sample", "of their own"),
    "truncated": (lambda: made_by(WordLlamaEmbedder(64)), "truncated: they are the leading 64", "dimensions: 64"),
    "a larger one": (lambda: made_by(WordLlamaEmbedder(256)), "a larger model of the same family", "256 dimensions"),
    "other dimensions": (lambda: made_by(HashingEmbedder(96)), "have 96 dimensions, the model has 128", "name the"),
    "another prefix": (lambda: made_by(prefix="passage: "), "made with the document prefix 'passage: ', not ''",
                       "document_prefix: 'passage: '"),
    "an unknown prefix": (lambda: made_by(prefix="An excerpt, please: "), "near the model's own but not", "name the"),
    "signs": (lambda: quantize(made_by(), "binary"), "the signs only", "precision: binary"),
    "other rows": (lambda: np.roll(made_by(), 1, axis=0), "but of other rows", "name the model"),
}  # fmt: skip


@pytest.mark.parametrize("look", OTHERS)
def test_what_is_refused_is_told_by_its_looks(look: str) -> None:
    """Each kind of foreign vectors is refused before anything is written, with what it is and what would fit it."""
    make, problem, hint = OTHERS[look]
    with opened() as index:
        with pytest.raises(ForeignVectors, match=problem) as caught:
            index.adopt(Theirs(make()))
        assert hint in str(caught.value.hint)
        assert "nothing was taken over" in str(caught.value.hint)
        assert index.status().generations == []
        assert index.status().documents == 0


def test_the_prefix_that_was_found_fits() -> None:
    """With the prefix that the error names the same vectors are taken over."""
    taken(Theirs(made_by(prefix="passage: ")), embedding={"document_prefix": "passage: "})


def test_unnormalised_vectors_are_normalised_and_that_is_told() -> None:
    """Lengths do not matter to a recipe that normalises; that they were changed is said."""
    lengths = np.linspace(0.5, 7, COUNT, dtype=np.float32)[:, None]
    assert taken(Theirs(made_by() * lengths)).notes[0].startswith("the vectors were not normalised")
    assert taken(Theirs(normalize(made_by()))).notes == []


def test_lengths_matter_to_a_recipe_that_keeps_them() -> None:
    """Where the recipe does not normalise, normalised and scaled vectors are refused, the model's own taken."""

    class Raw(HashingEmbedder):
        def embed_documents(self, texts: Sequence[str]) -> Vectors:
            vectors = super().embed_documents(texts)
            return vectors * np.array([[1 + len(text) % 5] for text in texts], np.float32)

    raw = Raw(64)
    own = raw.embed_documents(TEXTS)
    keep: dict[str, Any] = {"embedding": {"normalize": False}}
    taken(Theirs(own), raw, **keep)
    for vectors, words in ((normalize(own), "normalised to length 1"), (own * 3, "of other lengths")):
        with opened(raw, **keep) as index, pytest.raises(ForeignVectors, match=words):
            index.adopt(Theirs(vectors))


@pytest.mark.parametrize("precision", ["binary", "int8", "float16"])
def test_vectors_of_low_precision(precision: Any) -> None:
    """Vectors that were kept at the recipe's precision are the model's, and so are exact ones."""
    for vectors in (quantize(made_by(), precision), made_by()):
        taken(Theirs(vectors), embedding={"precision": precision})


def test_only_a_sample_is_sent_to_the_model() -> None:
    """Between 64 and 128 texts from all over the collection are embedded, once each."""
    many = 1_000
    texts = [f"Entry {number} is about matter {number}." for number in range(many)]
    model = FaultyEmbedder(HashingEmbedder(32), lambda *_: None)
    theirs = Theirs(model.inner.embed_documents(texts), [str(at) for at in range(many)], texts, page=150)
    with opened(model) as index:
        result = index.adopt(theirs)
        sent = [text for text in model.texts if text in set(texts)]
    assert result.checked == len(sent) == len(set(sent))
    assert 64 <= len(sent) <= 128
    places = sorted(texts.index(text) for text in sent)
    assert places[0] < 20
    assert places[-1] > many - 20
    assert max(np.diff(places)) < 40


def test_another_model_in_the_last_rows_only() -> None:
    """A tenth of the rows, all at the end, is found: the sample is spread over the whole collection."""
    mixed = np.concatenate([made_by()[:80], made_by(HashingEmbedder(128))[80:]])
    with opened() as index, pytest.raises(ForeignVectors, match="mixed: 89%"):
        index.adopt(Theirs(mixed))


def test_ids_that_are_not_unique() -> None:
    """Rows under one id would replace each other: that is refused, and the option is named."""
    theirs = Theirs(made_by())
    theirs.ids[70] = "p3"
    with opened() as index, pytest.raises(ConfigError, match=r"'p3' is there twice(.|\n)*--id"):
        index.adopt(theirs)


def test_rows_with_nothing_to_take_over() -> None:
    """Empty texts and unusable vectors are left out and counted."""
    theirs = Theirs(made_by().copy())
    theirs.texts[5] = "   "
    theirs.vectors[7] = 0
    theirs.vectors[9, 3] = np.nan
    with opened() as index:
        result = index.adopt(theirs)
        assert (result.documents, result.skipped) == (COUNT - 3, 3)
        assert index.verify().consistent
    theirs.texts = [""] * COUNT
    with opened() as index, pytest.raises(ConfigError, match="no row with a text and a vector"):
        index.adopt(theirs)


def test_progress_is_told_to_the_end() -> None:
    """Rows copied, of all rows."""
    told = list[Progress]()
    with opened() as index:
        index.adopt(Theirs(made_by()), progress=told.append)
    assert [(one.done, one.total) for one in told if one.stage == "adopt"] == [
        (min(at, COUNT), COUNT) for at in (20, 40, 60, 80, 100)
    ]


MOMENTS = {
    "after catalog.create_generation": 1, "after catalog.log": 3, "before store.upsert": 3, "after store.upsert": 1,
    "before catalog.commit_write": 2, "before catalog.go_live": 1, "after catalog.go_live": 1,
}  # fmt: skip


@pytest.mark.parametrize("moment", MOMENTS)
def test_it_goes_on_where_it_was_stopped(moment: str, tmp_path: Path) -> None:
    """Wherever it dies, adopting again takes over the rest, and embeds no more than the sample."""
    theirs, store = Theirs(made_by()), MemoryStore()
    index = opened(root=tmp_path, store=store, catalog="sqlite:///catalog.db")
    catalog, steps = index._catalog, Steps(CrashAt(moment, MOMENTS[moment]))
    index._writer.catalog, index._stores.configured = steps.wrap(catalog, "catalog"), steps.wrap(store, "store")
    with pytest.raises(Crashed):
        index.adopt(theirs)
    index._stores.configured, index._writer.catalog = store, catalog  # what is dead does nothing, not even close
    for lease in catalog.leases():
        catalog.release(lease)
    index.close()
    with opened(root=tmp_path, store=store, catalog="sqlite:///catalog.db") as again:
        if moment == "after catalog.go_live":
            assert again.status().live == 1
        else:
            assert (again.adopt(theirs).documents, again.status().live) == (COUNT, 1)
        again.gc()
        report = again.verify()
        assert (report.consistent, report.points) == (True, COUNT), report
        assert again.search(TEXTS[60], k=1)[0].doc_id == "p60"


def test_documents_that_the_collection_does_not_hold() -> None:
    """What else waits in the catalog is named, not embedded; nothing goes live without it."""
    with opened() as index:
        index._catalog.log("push", [candidate(Document("mine", "A text of my own."))], content_keys=(), at=1.0)
        with pytest.raises(ConfigError, match="1 documents wait in the catalog that 'theirs' does not hold: mine"):
            index.adopt(Theirs(made_by()))
        assert index.status().live is None
        assert index.delete(["mine"]).documents.deleted == 1


def write_table(folder: Path, name: str) -> None:
    """A LanceDB table of another program."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(made_by().ravel(), pa.float32()), 128)
    table = pa.table({"id": IDS, "text": TEXTS, "vector": column, "lang": ["en"] * COUNT})
    lancedb.connect(str(folder)).create_table(name, table)


@pytest.mark.parametrize("where", ["same", "other", "link"])
def test_from_the_same_store_another_one_or_through_a_link(tmp_path: Path, where: str) -> None:
    """The collection is read where it lies, left as it is, and copied into the index's own store; edits follow."""
    write_table(tmp_path / ("mine" if where == "same" else "theirs"), "pages")
    if where == "link":
        (tmp_path / "linked").symlink_to(tmp_path / "theirs")
    url = {"same": "lancedb://mine", "other": "lancedb://theirs", "link": "lancedb://linked"}[where]
    with opened(root=tmp_path, store="lancedb://mine", catalog="sqlite:///catalog.db") as index:
        result = index.adopt(url)
        assert (result.collection, result.store, result.documents) == ("pages", url, COUNT)
        own = index._writer.live_or_newest().collection
        assert index._store.collections() == ([own] if where != "same" else ["pages", own])
        assert index.search(TEXTS[8], k=1, where={"lang": "en"})[0].doc_id == "p8"
        edited = index.upsert([Document("p8", "Something else altogether.")])
        assert (edited.documents.updated, edited.embedded_texts) == (1, 1)
        assert index.verify().consistent
    table = lancedb.connect(str(tmp_path / ("mine" if where == "same" else "theirs"))).open_table("pages")
    assert table.count_rows() == COUNT


def test_a_collection_of_another_index_must_be_named(tmp_path: Path) -> None:
    """What regen made for another project is not taken by accident, only by its name."""
    with opened(root=tmp_path, store="lancedb://theirs", catalog="sqlite:///their.db") as first:
        first.upsert([Document(name, text) for name, text in zip(IDS, TEXTS, strict=True)])
    with opened(root=tmp_path, store="lancedb://mine", catalog="sqlite:///my.db") as index:
        with pytest.raises(
            ConfigError, match=r"only collections that regen has made: regen_default_g1(.|\n)*--collection"
        ):
            index.adopt("lancedb://theirs")
        assert index.adopt("lancedb://theirs", collection="regen_default_g1").documents == COUNT
        assert index.search(TEXTS[8], k=1)[0].text == TEXTS[8]
