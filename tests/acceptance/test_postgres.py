"""Everything in one PostgreSQL: a life of edits, a migration and its way back, moves from and to LanceDB, processes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import ListSource, never
from tests.acceptance.generations import assert_same, contents, document, sentence
from tests.acceptance.test_living_corpus import (
    CHUNKING,
    Stream,
    assert_equals_clean_build,
    make_index,
    prefix_of,
    push,
    stream,
    texts_in,
)

from regen import UNRESTRICTED, Chunking, Document
from regen.embedders.hashing import HashingEmbedder
from regen.index import Index
from regen.postgres import Address
from regen.stores.pgvector_vectors import literal
from regen.testing.faulty import FaultyEmbedder

__all__ = ["stream"]
SMALL = Chunking("sentences", 16)
DOCUMENTS = tuple(document(number, lang="en" if number % 2 else "de") for number in range(8))


class Place:
    """Opens indexes on one PostgreSQL catalog, in any store, and closes them."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self._folder, self.source = url, folder, ListSource()
        self.embedder = FaultyEmbedder(HashingEmbedder(64), never)
        self.source.put(*DOCUMENTS)
        self._open = ExitStack()

    def index(self, **settings: Any) -> Index:
        """Another handle, as another process would have it."""
        given: dict[str, Any] = {"catalog": self.url, "store": self.url, "embedder": self.embedder, "chunking": SMALL}
        given |= settings
        return self._open.enter_context(Index(source=self.source, root=self._folder, **given))

    def close(self) -> None:
        """Close all of them."""
        self._open.close()


@pytest.fixture
def place(postgres_url: str, tmp_path: Path) -> Iterator[Place]:
    """An empty catalog in a database of its own."""
    place = Place(postgres_url, tmp_path)
    yield place
    place.close()


def found(index: Index, query: str, **options: Any) -> set[str]:
    """The ids of the documents that a search returns."""
    return {hit.doc_id for hit in index.search(query, k=50, **options)}


def test_documents_live_and_die(place: Place) -> None:
    """Edits, access, filters and deletions are found, fenced and verified as on the default store."""
    index = place.index()
    assert index.sync().documents.added == 8
    assert index.sync().documents.changed == 0
    place.source.put(Document("d0", "A secret river.", {"lang": "en"}, ["team"]), document(1, lang="fr"))
    del place.source.documents["d7"]
    done = index.sync().documents
    assert (done.updated, done.metadata_updated, done.deleted) == (1, 1, 1)
    assert found(index, "river", where={"lang": "fr"}) == {"d1"}
    assert "d0" not in found(index, "secret river")
    assert "d0" in found(index, "secret river", principals=["team"])
    assert "d7" not in found(index, "number 700", principals=UNRESTRICTED)
    report = index.verify()
    assert report.consistent, report.details
    odd = "nul \0 and \1 \u2028 end"
    index.upsert([Document("odd", odd, {"lang": odd})])
    assert found(index, odd, where={"lang": odd}) == {"odd"}
    assert place.index().search(odd, k=1)[0].text == odd


def test_a_migration_and_its_way_back(place: Place) -> None:
    """A new chunking is built beside the live one, promoted, and taken back with every change made since."""
    place.index().sync()
    index = place.index(chunking=Chunking("sentences", 32))
    before = len(place.embedder.calls)
    index.apply(index.plan())
    assert len(place.embedder.calls) > before
    index.promote(reason="longer chunks")
    index.upsert([Document("late", "Came after the promotion.")])
    index.rollback(reason="it was worse")
    assert "late" in found(index, "came after the promotion")
    assert index.verify().consistent


def test_to_lancedb_and_back_without_a_text(place: Place) -> None:
    """Both moves copy vectors: no text is embedded, and what the last generation holds is what the first one held."""
    index = place.index(store="lancedb://vectors")
    index.sync()
    first = contents(index, 1)
    for number, store in ((2, place.url), (3, "lancedb://others")):
        index.close()
        index = place.index(store=store)
        plan = index.plan()
        assert "copy_vectors" in {step.action for step in plan.steps}
        assert (plan.totals.texts_to_embed, index.apply(plan).embedded_texts) == (0, 0)
        index.promote(reason="another store")
        assert_same(contents(index, number), first)
        assert index.verify().consistent


def test_writers_in_several_handles_lose_nothing(place: Place) -> None:
    """Four handles write documents of their own and one that all share; the log has each change once."""
    index = place.index()
    index.sync()
    others = [place.index() for _ in range(4)]

    def write(writer: int) -> None:
        for turn in range(4):
            _patient(others[writer], Document(f"{writer}-{turn}", f"Written by {writer} in turn {turn}."))
            _patient(others[writer], Document("shared", f"Last written by {writer} in turn {turn}."))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert {f"{writer}-{turn}" for writer in range(4) for turn in range(4)} <= found(index, "written by turn")
    report = index.verify()
    assert report.consistent, report.details
    revisions = [record.revision for record in index._catalog.history(None, 1_000)]
    assert revisions == list(range(len(revisions), 0, -1))


def _patient(index: Index, document: Document) -> None:
    """Write a document, and once more while another handle holds the writer lease."""
    from stamina import retry_context

    from regen.errors import CatalogBusy

    for attempt in retry_context(on=CatalogBusy, attempts=200, timeout=60, wait_initial=0.01, wait_max=0.1):
        with attempt:
            index.upsert([document])


def test_a_table_is_taken_over(place: Place, tmp_path: Path) -> None:
    """The only table with vectors that regen has not made is found and searched; only a sample is embedded."""
    texts = {f"t{number}": f"{sentence(number)} {sentence(number + 7)}" for number in range(70)}
    vectors = place.embedder.inner.embed_documents(list(texts.values()))
    with Address.of(place.url).connect(path=("public",), autocommit=True) as connection:
        connection.execute("CREATE TABLE public.chunks (id text, content text, embedding vector(64), meta jsonb)")
        for (row, text), vector in zip(texts.items(), vectors, strict=True):
            values = [row, text, literal(vector), '{"lang": "en"}']
            connection.execute("INSERT INTO public.chunks VALUES (%s, %s, %s::vector, %s)", values)
    index = place.index(chunking=Chunking("whole"), text="{text}")
    assert index.adopt(place.url).documents == 70
    assert found(index, texts["t3"], where={"lang": "en"}) >= {"t3"}
    assert index.verify().consistent


def test_a_living_corpus(stream: Stream, postgres_url: str, tmp_path: Path) -> None:
    """Real pages and their first real commits: equal to a clean build on the default store, and nothing twice."""
    embedder = HashingEmbedder(64)
    with Index(
        embedder=embedder, store=postgres_url, catalog=postgres_url, chunking=CHUNKING, root=tmp_path, cache="cache.db"
    ) as index:
        index.upsert([Document(path, text) for path, text in stream.base.items()])
        texts = dict(stream.base)
        for number, commit in prefix_of(stream, 25):
            embedded = push(index, commit)
            assert not (commit.pure_rename and embedded), f"commit {number} only renames"
            texts = {path: text for path, text in (texts | commit.put).items() if path not in commit.gone}
        assert texts_in(index) == texts != stream.base
        with make_index(tmp_path / "clean", embedder) as clean:
            clean.upsert([Document(path, text) for path, text in texts.items()])
            assert_equals_clean_build(index, clean)
