"""A life of edits, a migration and its way back, moves, adoption and the living corpus on other vector databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
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
from tests.conformance.servers import emptied, server_url

from regen import UNRESTRICTED, Chunking, Document
from regen.embedders.hashing import HashingEmbedder
from regen.errors import StoreError
from regen.index import Index
from regen.ports import AliasStore, ForeignColumns, InsertStore, Vectors
from regen.registry import make_store
from regen.testing.faults import FailAt, Steps
from regen.testing.faulty import FaultyEmbedder

__all__ = ["stream"]
SMALL = Chunking("sentences", 16)
DOCUMENTS = tuple(document(number, lang="en" if number % 2 else "de") for number in range(8))


def engine(name: str, library: str, url: str, place: str = "", *marks: pytest.MarkDecorator) -> Any:
    """A store of this name as a parameter: marked, and left out where its library is not installed.

    ``url`` is a store's, or the name of the fixture that serves one; ``place`` tells one of a store's places.
    """
    absent = pytest.mark.skipif(
        find_spec(library) is None, reason=f"{library} is not installed: `make test-all` does it"
    )
    return pytest.param(url, id=f"{name}{place}", marks=[pytest.mark.store(name), absent, *marks])


def real_server(name: str, library: str) -> Any:
    """A real server of this store's, one for all tests: a slow one."""
    return engine(name, library, f"{name}_url", " server", pytest.mark.slow, pytest.mark.xdist_group(name))


ENGINES = [
    engine("qdrant", "qdrant_client", "qdrant+file://vectors"),
    engine("chroma", "chromadb", "chroma+file://chroma"),
    engine("milvus", "pymilvus", "milvus+file://vectors.db"),
    engine("pinecone", "pinecone", "pinecone_url"),
    engine("weaviate", "weaviate", "weaviate_url"),
    engine("elasticsearch", "elasticsearch", "elasticsearch_url"),
    engine("opensearch", "opensearchpy", "opensearch_url"),
    engine("lancedb", "moto", "bucket_url", " in a bucket"),
    real_server("milvus", "pymilvus"),
    real_server("chroma", "chromadb"),
]


@pytest.fixture
def milvus_url(milvus_server: str) -> Iterator[str]:
    """A real Milvus with nothing on it, of regen's or of anybody's."""

    def empty(client: Any) -> None:
        for collection in client.list_collections():
            for alias in client.list_aliases(collection)["aliases"]:
                client.drop_alias(alias)
            client.drop_collection(collection)

    yield from emptied_around(milvus_server, empty)


@pytest.fixture
def chroma_url(chroma_server: str) -> Iterator[str]:
    """A real Chroma with nothing on it, of regen's or of anybody's."""

    def empty(client: Any) -> None:
        for collection in client.list_collections():
            client.delete_collection(collection.name)

    yield from emptied_around(chroma_server, empty)


def emptied_around(url: str, empty: Callable[[Any], None]) -> Iterator[str]:
    """The URL of a server that other tests use, too: emptied by its own client before a test and after it."""
    store: Any = make_store(url, ".")
    store._connection.call("*", empty)
    yield url
    store._connection.call("*", empty)
    store.close()


@pytest.fixture(scope="module")
def s3_server() -> Iterator[Any]:
    """An S3 server with a bucket."""
    from regen.testing.s3_server import S3Server

    with S3Server() as server:
        server.make_bucket("vectors")
        yield server


@pytest.fixture
def bucket_url(s3_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """LanceDB in a bucket, under a prefix of the test's own."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return str(s3_server.url(f"vectors{tmp_path}"))


@pytest.fixture
def pinecone_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Pinecone as our own server plays it, late as it is."""
    from regen.testing.pinecone_server import PineconeServer

    with PineconeServer(lag=0.005, fetch_lag=0.01) as server:
        monkeypatch.setenv("PINECONE_API_KEY", server.key)
        yield server.url("engines")


@pytest.fixture
def elasticsearch_url() -> Iterator[str]:
    """Elasticsearch as our own server plays it, or a real one."""
    yield from searched_server("elasticsearch")


@pytest.fixture
def opensearch_url() -> Iterator[str]:
    """OpenSearch as our own server plays it, or a real one."""
    yield from searched_server("opensearch")


def searched_server(product: Any) -> Iterator[str]:
    """The URL of either."""
    from regen.testing.elastic_server import SearchServer

    named = server_url(product)
    if named is not None:
        store: Any = make_store(named, ".")
        for name in [*emptied(store).collections(), *store.foreign_collections()]:
            store._connection.ask(name, "DELETE", f"/{name}")
        store.close()
        yield named
        return
    with SearchServer(product) as server:
        yield server.url


@pytest.fixture
def weaviate_url() -> Iterator[str]:
    """Weaviate as our own server plays it."""
    from regen.testing.weaviate_server import WeaviateServer

    with WeaviateServer() as server:
        yield server.url


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store."""
    given = str(request.param)
    return given if "://" in given else str(request.getfixturevalue(given))


class Place:
    """Opens indexes on one catalog, one at a time, in any store."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder, self.source = url, folder, ListSource()
        self.embedder = FaultyEmbedder(HashingEmbedder(64), never)
        self.source.put(*DOCUMENTS)
        self._open = ExitStack()

    def index(self, **settings: Any) -> Index:
        """The index, closed before it is opened anew: these stores are for one process, and one set of handles."""
        self._open.close()
        given: dict[str, Any] = {"catalog": "sqlite:///catalog.db", "store": self.url, "embedder": self.embedder}
        given |= {"chunking": SMALL, "source": self.source} | settings
        return self._open.enter_context(Index(root=self.folder, **given))

    def close(self) -> None:
        """Close it."""
        self._open.close()


@pytest.fixture
def place(url: str, tmp_path: Path) -> Iterator[Place]:
    """An empty catalog and an empty store."""
    place = Place(url, tmp_path)
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
    assert found(index, "river", where={"lang": {"gt": "en"}}) == {"d1"}
    assert "d0" not in found(index, "secret river")
    assert "d0" in found(index, "secret river", principals=["team"])
    index.upsert([Document("d0", "A secret river.", {"lang": "en"}, ["others"])])
    assert "d0" not in found(index, "secret river", principals=["team"])
    assert "d7" not in found(index, "number 700", principals=UNRESTRICTED)
    report = index.verify()
    assert report.consistent, report.details


def test_a_migration_and_its_way_back(place: Place) -> None:
    """A new chunking is built beside the live one, promoted, and taken back with every change made since."""
    place.index().sync()
    index = place.index(chunking=Chunking("sentences", 32))
    before = len(place.embedder.calls)
    index.apply(index.plan())
    assert len(place.embedder.calls) > before
    for live in (1, 2, 1):
        if live == 2:
            index.promote(reason="longer chunks")
            index.upsert([Document("late", "Came after the promotion.")])
        elif "late" in found(index, "came after the promotion"):
            index.rollback(reason="it was worse")
        if isinstance(index._store, AliasStore):
            assert index._store.alias_target(index.alias) == f"regen_default_g{live}"
    assert "late" in found(index, "came after the promotion")
    assert index.search("river").generation == 1
    assert index.verify().consistent
    assert index.gc(now=True).retired == [2]
    assert index._store.collections() == ["regen_default_g1"]


def test_there_and_back_without_a_text(place: Place) -> None:
    """Moves from LanceDB and back copy vectors: no text is embedded, and count, ids, payload and vectors are equal."""
    index = place.index(store="lancedb://vectors.lance")
    index.sync()
    first = contents(index, 1)
    for number, store in ((2, place.url), (3, "lancedb://others")):
        index = place.index(store=store)
        plan = index.plan()
        assert "copy_vectors" in {step.action for step in plan.steps}
        assert (plan.totals.texts_to_embed, index.apply(plan).embedded_texts) == (0, 0)
        index.promote(reason="another store")
        assert_same(contents(index, number), first)
        assert index.verify().consistent


def test_every_step_of_a_write_may_fail(place: Place) -> None:
    """A store that fails before or after it has written leaves nothing behind that the next sync does not heal."""
    index = place.index()
    index.sync()
    write = "insert" if isinstance(index._store, InsertStore) else "upsert"
    for at, moment in enumerate((f"before store.{write}", f"after store.{write}", "after store.delete")):
        steps = Steps(FailAt(moment, StoreError("the connection was dropped")))
        whole = index._stores.configured
        index._stores.configured = steps.wrap(whole, "store")
        place.source.put(Document("d3", f"{sentence(900 + at)} In turn {at}."))
        with pytest.raises(StoreError, match="dropped"):
            index.sync()
        index._stores.configured = whole
        index.sync()
        assert "d3" in found(index, sentence(900 + at))
        index.gc()
        report = index.verify()
        assert report.consistent, report.details


def filled_qdrant(index: Index, ids: list[str], texts: list[str], vectors: Vectors) -> None:
    """A collection as Qdrant's own client makes it."""
    from qdrant_client import models

    def fill(client: Any) -> None:
        size = vectors.shape[1]
        client.create_collection("theirs", models.VectorParams(size=size, distance=models.Distance.COSINE))
        payloads = [{"text": text, "name": name, "lang": "en"} for name, text in zip(ids, texts, strict=True)]
        client.upsert("theirs", models.Batch(ids=list(range(len(ids))), vectors=vectors.tolist(), payloads=payloads))

    index._store._connection.call("*", fill)  # type: ignore[attr-defined]


def filled_chroma(index: Index, ids: list[str], texts: list[str], vectors: Vectors) -> None:
    """A collection as Chroma's own client makes it."""

    def fill(client: Any) -> None:
        theirs = client.create_collection("theirs", embedding_function=None)
        theirs.upsert(ids, vectors, [{"name": name, "lang": "en"} for name in ids], texts)

    index._store._connection.call("*", fill)  # type: ignore[attr-defined]


def filled_milvus(index: Index, ids: list[str], texts: list[str], vectors: Vectors) -> None:
    """A collection as Milvus's own client makes it."""

    def fill(client: Any) -> None:
        client.create_collection("theirs", dimension=vectors.shape[1], metric_type="COSINE")
        rows = zip(ids, texts, vectors, strict=True)
        client.insert(
            "theirs",
            [
                {"id": at, "vector": vector.tolist(), "text": text, "name": name, "lang": "en"}
                for at, (name, text, vector) in enumerate(rows)
            ],
        )

    index._store._connection.call("*", fill)  # type: ignore[attr-defined]


def filled_pinecone(index: Index, ids: list[str], texts: list[str], vectors: Vectors) -> None:
    """A namespace as Pinecone's own client fills it, in an index that somebody has made."""
    store: Any = index._store
    client = store._connection._client()
    field = {"type": "dense_vector", "dimension": vectors.shape[1], "metric": "cosine"}
    made = client.indexes.create(name="engines", schema={"fields": {"_values": field}})
    metadata = [{"text": text, "name": name, "lang": "en"} for name, text in zip(ids, texts, strict=True)]
    rows = zip(range(len(ids)), vectors, metadata, strict=True)
    theirs = client.index(host=made.host)
    theirs.upsert(vectors=[(f"row-{at}", vector.tolist(), held) for at, vector, held in rows], namespace="theirs")
    theirs.close()


def filled_elasticsearch(index: Index, ids: list[str], texts: list[str], vectors: Vectors) -> None:
    """An index as Elasticsearch's own client makes it, with what it makes of vectors by default."""
    store: Any = index._store
    client = store._connection._opened()._client
    vector = {"type": "dense_vector", "dims": vectors.shape[1]}
    client.indices.create(index="theirs", mappings={"properties": {"embedding": vector, "name": {"type": "keyword"}}})
    client.bulk(index="theirs", operations=operations(ids, texts, vectors), refresh=True)


def filled_opensearch(index: Index, ids: list[str], texts: list[str], vectors: Vectors) -> None:
    """An index as OpenSearch's own client makes it."""
    store: Any = index._store
    client = store._connection._opened()._client
    vector = {"type": "knn_vector", "dimension": vectors.shape[1], "space_type": "cosinesimil"}
    properties = {"embedding": vector, "name": {"type": "keyword"}}
    client.indices.create(
        index="theirs", body={"settings": {"index": {"knn": True}}, "mappings": {"properties": properties}}
    )
    client.bulk(index="theirs", body=operations(ids, texts, vectors), refresh=True)


def operations(ids: list[str], texts: list[str], vectors: Vectors) -> list[dict[str, Any]]:
    """Documents as either's bulk request takes them; what they say of themselves lies in an object."""
    documents = [
        [{"index": {"_id": f"row-{at}"}}, {"text": text, "embedding": vector.tolist(), "metadata": held}]
        for at, (text, vector, held) in enumerate(
            zip(texts, vectors, [{"name": name, "lang": "en"} for name in ids], strict=True)
        )
    ]
    return [line for lines in documents for line in lines]


def filled_weaviate(index: Index, ids: list[str], texts: list[str], vectors: Vectors) -> None:
    """A collection as Weaviate's own client makes it."""
    from weaviate.classes.config import Configure, DataType, Property
    from weaviate.classes.data import DataObject

    def fill(client: Any) -> None:
        properties = [Property(name=name, data_type=DataType.TEXT) for name in ("text", "name", "lang")]
        vector = Configure.Vectors.self_provided(name="default")
        theirs = client.collections.create("Theirs", vector_config=vector, properties=properties)
        rows = zip(ids, texts, vectors, strict=True)
        made = [
            DataObject(properties={"text": text, "name": name, "lang": "en"}, vector={"default": one.tolist()})
            for name, text, one in rows
        ]
        assert not theirs.data.insert_many(made).errors

    index._store._connection.call("*", fill)  # type: ignore[attr-defined]


def filled_lancedb(index: Index, ids: list[str], texts: list[str], vectors: Vectors) -> None:
    """A table as LanceDB's own client makes it."""
    rows = zip(ids, texts, vectors, strict=True)
    made = [
        {"id": f"row-{at}", "text": text, "vector": one, "name": name, "lang": "en"}
        for at, (name, text, one) in enumerate(rows)
    ]
    index._store._database.create_table("theirs", made)  # type: ignore[attr-defined]


FILLED: dict[str, Callable[[Index, list[str], list[str], Vectors], None]] = {
    "qdrant": filled_qdrant,
    "chroma": filled_chroma,
    "milvus": filled_milvus,
    "pinecone": filled_pinecone,
    "weaviate": filled_weaviate,
    "elasticsearch": filled_elasticsearch,
    "opensearch": filled_opensearch,
    "s3": filled_lancedb,
}


def test_adopting_what_another_program_made(place: Place) -> None:
    """A collection that is there is taken over with ids, texts, metadata and vectors; only a sample is embedded."""
    ids = [f"doc-{at}" for at in range(150)]
    texts = [sentence(at) for at in range(150)]
    vectors = place.embedder.inner.embed_documents(texts)
    vectors = np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
    index = place.index(chunking=Chunking("whole"), source=None)
    kind = place.url.partition(":")[0].partition("+")[0]
    FILLED[kind](index, ids, texts, vectors)
    theirs = "Theirs" if kind == "weaviate" else "theirs"
    result = index.adopt(place.url, collection=theirs, columns=ForeignColumns(id="name"))
    assert result.documents == 150
    assert sum(len(call) for call in place.embedder.calls) < 150
    hit = index.search(texts[42], k=1, where={"lang": "en"})[0]
    assert (hit.doc_id, hit.text) == ("doc-42", texts[42])
    assert hit.score == pytest.approx(1.0, abs=1e-4)
    assert index.verify().consistent


@pytest.mark.slow  # a minute or more each
def test_the_living_corpus(stream: Stream, tmp_path: Path, url: str) -> None:
    """A hundred commits of a real history leave the index as a clean build on the default store leaves its own."""
    embedder = HashingEmbedder(64)
    (tmp_path / "living").mkdir()
    settings: dict[str, Any] = {"store": url, "catalog": "sqlite:///catalog.db", "chunking": CHUNKING}
    with Index(embedder=embedder, root=tmp_path / "living", **settings) as index:
        index.upsert([Document(path, text) for path, text in stream.base.items()])
        for _, commit in prefix_of(stream, 100):
            push(index, commit)
        texts = texts_in(index)
        with make_index(tmp_path / "clean", embedder) as clean:
            clean.upsert([Document(path, text) for path, text in texts.items()])
            assert_equals_clean_build(index, clean)
