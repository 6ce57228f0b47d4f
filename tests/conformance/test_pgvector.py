"""What is PostgreSQL's own: indexes, aliases as views, tables of others, restarts, other processes' tables."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import sleep
from typing import Any

import numpy as np
import pytest

from regen.core.documents import UNRESTRICTED
from regen.core.recipe import Metric, Precision
from regen.errors import CollectionMissing, ConfigError, StoreError
from regen.ports import CollectionSpec, ForeignColumns, Points
from regen.postgres import Address
from regen.spaces.derive import quantize
from regen.stores.pgvector import PgvectorStore
from regen.testing.postgres_server import PostgresServer
from regen.testing.store_cases import COLLECTION, FIELDS, ids_of, make_collection, make_points, numbered, scanned, where

DIMENSIONS = 24


@pytest.fixture
def store(vectors_url: str) -> Iterator[PgvectorStore]:
    """A store in a schema of its own."""
    store = PgvectorStore.from_url(vectors_url)
    yield store
    store.close()


def sql(url: str, statement: str, *values: Any) -> list[Any]:
    """What a client that knows nothing of regen gets for a statement."""
    with Address.of(url).connect(path=("public",), autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def clustered(count: int, dimensions: int = DIMENSIONS) -> Points:
    """Points in forty clusters; one in a hundred is of the year 7, one in ten is not public."""
    generator = np.random.default_rng(5)
    centres = generator.standard_normal((40, dimensions))
    vectors = centres[generator.integers(0, 40, count)] + 0.3 * generator.standard_normal((count, dimensions))
    points = make_points(
        numbered(count),
        dimensions=dimensions,
        metadata=[{"year": at % 100, "lang": "en"} for at in range(count)],
        access=[None if at % 10 else ["team"] for at in range(count)],
    )
    return replace(points, vectors=vectors.astype(np.float32))


def filled(store: PgvectorStore, points: Points, **spec: Any) -> None:
    """A collection with an index over these points."""
    dimensions = points.vectors.shape[1]
    settings = {"min_rows": 500, "m": 8, "ef_construction": 32}
    store.create(COLLECTION, CollectionSpec(dimensions, fields=FIELDS, index=settings, **spec))
    store.insert(COLLECTION, points)
    assert store.maintain(COLLECTION)


def scans(store: PgvectorStore) -> int:
    """How often the collection's vector index was used. Connections tell what they did when they end, or later."""
    store.close()
    asked = "SELECT idx_scan FROM pg_stat_user_indexes WHERE schemaname = current_schema() AND indexrelname = %s"
    for _ in range(50):
        told = int(sql(store.url, asked, f"{COLLECTION}_vectors")[0][0])
        if told:
            return told
        sleep(0.1)
    return 0


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_an_index_answers_as_an_exact_scan(store: PgvectorStore, precision: Precision, metric: Metric) -> None:
    """Of the ten nearest at least nine in ten are found, with equal scores, and the index is what finds them."""
    points = clustered(1_500)
    points = replace(points, vectors=quantize(points.vectors, precision))
    store.create("exact", CollectionSpec(DIMENSIONS, fields=FIELDS, precision=precision, metric=metric))
    store.insert("exact", points)
    filled(store, points, precision=precision, metric=metric)
    found = 0
    for query in points.vectors[:20] + np.float32(0.05):
        wanted = store.search("exact", query, 10, principals=UNRESTRICTED)
        hits = store.search(COLLECTION, query, 10, principals=UNRESTRICTED)
        found += len(set(ids_of(hits)) & set(ids_of(wanted)))
        assert hits[0].score == pytest.approx(wanted[0].score, abs=1e-5)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert found >= 180
    assert scans(store) >= 20


def test_a_narrow_filter_fills_k_through_an_index(store: PgvectorStore) -> None:
    """Whatever the index gives up on: every point that satisfies the filter is found, the nearest first."""
    points = clustered(3_000)
    filled(store, points)
    assert len(store.search(COLLECTION, points.vectors[0], 30, where=where(year=7), principals=UNRESTRICTED)) == 30
    for asked in (where(year=7), where(year={"gte": 7, "lt": 7.5}), where(year=[7, 1e9])):
        hits = store.search(COLLECTION, points.vectors[0], 40, where=asked, principals=UNRESTRICTED)
        assert {int(point_id, 16) % 100 for point_id in ids_of(hits)} == {7}
        assert len(hits) == 30
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_an_index_is_built_once_and_anew_when_it_is_broken(store: PgvectorStore) -> None:
    """Below min_rows there is none; a second call finds nothing to do; one that was left half-made is replaced."""
    points = clustered(600)
    store.create(COLLECTION, CollectionSpec(DIMENSIONS, index={"min_rows": 601}))
    store.insert(COLLECTION, points)
    assert not any("index" in done for done in store.maintain(COLLECTION, force=True))
    store.drop(COLLECTION)
    filled(store, points)
    assert store.maintain(COLLECTION) == []
    sql(store.url, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", f"{COLLECTION}_vectors")
    assert "built the vector index over 600 points" in store.maintain(COLLECTION)
    assert len(store.search(COLLECTION, points.vectors[0], 700, principals=UNRESTRICTED)) == 600


@pytest.mark.parametrize("dimensions", [2_001, 4_001])
def test_long_vectors(store: PgvectorStore, dimensions: int) -> None:
    """Above 2,000 dimensions the index is of half precision, above 4,000 there is none; scores are exact."""
    points = clustered(600, dimensions)
    filled(store, points)
    kinds = sql(store.url, "SELECT indexdef FROM pg_indexes WHERE indexname = %s", f"{COLLECTION}_vectors")
    assert [("halfvec" in row[0]) for row in kinds] == ([True] if dimensions < 4_000 else [])
    hits = store.search(COLLECTION, points.vectors[3], 5, principals=UNRESTRICTED)
    assert hits[0].point_id == points.ids[3]
    assert hits[0].score == pytest.approx(1.0, abs=1e-6)


def test_an_alias_is_a_view_that_applications_query(store: PgvectorStore) -> None:
    """Its readers see one collection whole, of another dimension after the switch, and fields that came later."""
    for name, dimensions in (("first", 4), ("second", 8)):
        store.create(name, CollectionSpec(dimensions, fields={"lang": "string"}))
        store.upsert(name, make_points(["a"], dimensions=dimensions, metadata=[{"lang": name, "size": 3}]))
    store.set_alias("handbook", "first")
    assert sql(store.url, "SELECT f_lang, vector_dims(vector) FROM handbook") == [("first", 4)]
    store.set_alias("handbook", "second")
    assert sql(store.url, "SELECT f_lang, vector_dims(vector) FROM handbook") == [("second", 8)]
    store.add_fields("second", {"size": "number"})
    assert sql(store.url, "SELECT f_size FROM handbook") == [(None,)]


def test_no_reader_of_an_alias_fails_while_it_is_switched(store: PgvectorStore) -> None:
    """Readers in two threads see one of the two collections at every moment of fifty switches."""
    for name in ("first", "second"):
        store.create(name, CollectionSpec(4))
        store.upsert(name, make_points([name], dimensions=4))
    store.set_alias("handbook", "first")

    def read() -> set[str]:
        with Address.of(store.url).connect(autocommit=True) as connection:
            return {connection.execute("SELECT id FROM handbook").fetchall()[0][0] for _ in range(150)}

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for turn in range(50):
            store.set_alias("handbook", ("second", "first")[turn % 2])
        assert set().union(*(reader.result() for reader in readers)) <= {"first", "second"}


def test_names_that_are_taken(store: PgvectorStore) -> None:
    """A table of somebody else's is neither taken over, nor listed, nor dropped, nor hidden by an alias."""
    store.create("first", CollectionSpec(4))
    sql(store.url, "CREATE TABLE theirs (id int)")
    with pytest.raises(StoreError, match="no collection of regen's"):
        store.create("theirs", CollectionSpec(4))
    with pytest.raises(StoreError, match="is a table"):
        store.set_alias("theirs", "first")
    with pytest.raises(CollectionMissing):
        store.set_alias("handbook", "theirs")
    store.drop("theirs")
    assert store.collections() == ["first"]
    assert sql(store.url, "SELECT count(*) FROM theirs") == [(0,)]


def test_a_table_of_somebody_else_is_read(store: PgvectorStore) -> None:
    """Columns are found by name and type; JSON is taken apart, odd types become JSON values, pages are as asked."""
    sql(store.url, "CREATE SCHEMA IF NOT EXISTS " + Address.of(store.url).schema)
    sql(
        store.url,
        "CREATE TABLE chunks (uuid bigint, content text, embedding halfvec(3), meta jsonb, price numeric, "
        "at timestamptz, tags text[], raw bytea)",
    )
    row = "INSERT INTO chunks VALUES (%s, %s, %s, %s, 1.50, '2024-01-02Z', '{a,b}', '\\x01ff')"
    for at in range(3):
        sql(store.url, row, at, f"text {at}", f"[{at},1,0.5]", '{"lang": "en", "none": null}')
    sql(store.url, "CREATE TABLE plain (id int)")
    store.create("ours", CollectionSpec(4))
    assert "chunks" in store.foreign_collections()
    assert not {"plain", "ours"} & set(store.foreign_collections())
    pages = list(store.foreign(f"{Address.of(store.url).schema}.chunks", ForeignColumns(), batch=2))
    assert [page.ids for page in pages] == [["0", "1"], ["2"]]
    assert pages[1].texts == ["text 2"]
    assert pages[1].vectors.tolist() == [[2.0, 1.0, 0.5]]
    held = pages[1].metadata[0]
    assert held["at"].startswith("2024-01-02T")
    assert {key: held[key] for key in held if key != "at"} == {
        "lang": "en", "price": 1.5, "tags": ["a", "b"], "raw": "01ff",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="no column 'body'"):
        list(store.foreign("chunks", ForeignColumns(text="body")))
    with pytest.raises(CollectionMissing):
        list(store.foreign("nowhere", ForeignColumns()))


def test_a_row_without_a_vector_is_named(store: PgvectorStore) -> None:
    """Nothing is taken over in silence."""
    store.create("first", CollectionSpec(4))
    sql(store.url, "CREATE TABLE chunks (id text, text text, vector vector)")
    sql(store.url, "INSERT INTO chunks VALUES ('a', 'x', NULL)")
    with pytest.raises(StoreError, match="'a' of chunks has no vector"):
        list(store.foreign("chunks", ForeignColumns()))
    sql(store.url, "UPDATE chunks SET vector = '[1,2]'")
    sql(store.url, "INSERT INTO chunks VALUES ('b', 'x', '[1,2,3]')")
    with pytest.raises(StoreError, match=r"vectors of \[2, 3\] dimensions"):
        list(store.foreign("chunks", ForeignColumns()))


def test_a_batch_that_fails_leaves_nothing(store: PgvectorStore) -> None:
    """An insert of an id that is there takes its whole batch back."""
    store.create(COLLECTION, CollectionSpec(8))
    store.insert(COLLECTION, make_points(["m"]))
    with pytest.raises(StoreError):
        store.insert(COLLECTION, make_points(["a", "m", "z"]))
    assert list(scanned(store)) == ["m"]


def test_a_server_that_was_killed_and_came_back() -> None:
    """Everything acknowledged is there, the store's old connections are replaced, and a dead server is named."""
    with PostgresServer() as server:
        store = PgvectorStore.from_url(server.url())
        store.create(COLLECTION, CollectionSpec(8))
        store.upsert(COLLECTION, make_points(numbered(50)))
        server.halt(signal.SIGKILL)
        with pytest.raises(StoreError, match="cannot be reached"):
            store.count(COLLECTION)
        server.start()
        assert store.count(COLLECTION) == 50
        store.close()


def test_urls() -> None:
    """A password is refused and not repeated; an unreachable server is named when it is needed, not before."""
    with pytest.raises(ConfigError, match="holds a password") as refused:
        PgvectorStore.from_url("postgresql://me:s3cret@host/db")
    assert "s3cret" not in str(refused.value)
    for bad in ("postgres:/x", "mysql://h/d", "postgresql://h:port/d", "postgresql://h/d?schema="):
        with pytest.raises(ConfigError):
            PgvectorStore.from_url(bad)
    store = PgvectorStore.from_url("postgresql://nobody@/nowhere?host=/nonexistent")
    with pytest.raises(StoreError, match="cannot be reached"):
        store.collections()


def test_long_names(store: PgvectorStore) -> None:
    """Collections that begin alike have indexes of their own; a name that would be cut is refused."""
    for name in ("regen_" + "x" * 50 + "_g1", "regen_" + "x" * 50 + "_g2"):
        store.create(name, CollectionSpec(8, fields=FIELDS, index={"min_rows": 10}))
        store.insert(name, make_points(numbered(20)))
        store.maintain(name)
        held = "SELECT count(*) FROM pg_indexes WHERE tablename = %s"
        assert sql(store.url, held, name) == [(7,)], "id, vectors, access, odd, and three of the four fields"
    with pytest.raises(StoreError, match="too long"):
        store.create("g" * 64, CollectionSpec(4))
    with pytest.raises(StoreError, match="too long"):
        store.set_alias("a" * 64, "g1")


def test_an_index_that_another_process_built_is_used(store: PgvectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that has searched before learns of it, after a while also where the query must be another for it."""
    points = clustered(1_500)
    store.create(COLLECTION, CollectionSpec(DIMENSIONS, precision="float16", index={"min_rows": 10, "m": 8}))
    store.insert(COLLECTION, replace(points, vectors=quantize(points.vectors, "float16")))
    assert len(store.search(COLLECTION, points.vectors[0], 5, principals=UNRESTRICTED)) == 5
    other = PgvectorStore.from_url(store.url)
    assert other.maintain(COLLECTION)
    other.close()
    monkeypatch.setattr("regen.stores.pgvector._LOOK_AGAIN_SECONDS", 0.0)
    assert len(store.search(COLLECTION, points.vectors[0], 5, principals=UNRESTRICTED)) == 5
    assert scans(store) == 1


def test_index_settings(store: PgvectorStore) -> None:
    """A key that pgvector does not know, or a value that is no positive number, is refused with what is valid."""
    with pytest.raises(ConfigError, match="ef_construction"):
        store.create(COLLECTION, CollectionSpec(4, index={"refine": 2}))
    with pytest.raises(ConfigError, match="positive"):
        store.create(COLLECTION, CollectionSpec(4, index={"m": 0}))
    assert store.collections() == []


def test_a_missing_right_is_named(store: PgvectorStore) -> None:
    """A user who may not write is told what right is missing."""
    store.create("first", CollectionSpec(4))
    sql(store.url, "DROP ROLE IF EXISTS reader")
    sql(store.url, "CREATE ROLE reader LOGIN")
    schema = Address.of(store.url).schema
    sql(store.url, f"GRANT USAGE ON SCHEMA {schema} TO reader")
    sql(store.url, "GRANT SELECT ON first TO reader")
    reader = PgvectorStore.from_url(store.url.replace("postgres@", "reader@"))
    assert reader.collections() == ["first"]
    with pytest.raises(StoreError, match="permission denied"):
        reader.upsert("first", make_points(["a"], dimensions=4))
    reader.close()


def words(count: int) -> Points:
    """Texts of two common words and one of their own; one in fifty is of the year 7."""
    texts = [f"common words number{at}" for at in range(count)]
    return make_points(
        numbered(count), texts=texts, metadata=[{"year": 7 if at % 50 == 3 else 1} for at in range(count)]
    )


def test_the_first_search_by_words_makes_their_index(store: PgvectorStore) -> None:
    """Nobody pays for it before; one that was left half-made is built anew by upkeep, and answers are the same."""
    make_collection(store, words(200))
    table = f"{Address.of(store.url).schema}.{COLLECTION}"
    listed = f"SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = '{table}'::regclass"
    assert not any("g1_words" in name for (name,) in sql(store.url, listed))
    answers = [ids_of(store.search_words(COLLECTION, query, 9)) for query in ("number7", "common number8")]
    assert answers[0] == [numbered(200)[7]]
    assert (answers[1][0], len(answers[1])) == (numbered(200)[8], 9)
    assert any("g1_words" in name for (name,) in sql(store.url, listed))
    broken = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass"
    sql(store.url, broken, f"{table}_words")
    assert [ids_of(store.search_words(COLLECTION, query, 9)) for query in ("number7", "common number8")] == answers
    assert "built the index of words" in store.maintain(COLLECTION)
    assert "built the index of words" not in store.maintain(COLLECTION, force=True)
    assert [ids_of(store.search_words(COLLECTION, query, 9)) for query in ("number7", "common number8")] == answers


def test_a_filter_that_rare_words_miss(store: PgvectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the texts that rare words chose do not satisfy the filter, those with its common words are found."""
    monkeypatch.setattr("regen.stores.pgvector_words._LOOKED_UP", 10)
    make_collection(store, words(300))
    found = ids_of(store.search_words(COLLECTION, "common number4 number5", 4, where=where(year=7)))
    assert sorted(int(point_id, 16) % 50 for point_id in found) == [3] * 4
    assert ids_of(store.search_words(COLLECTION, "common number4 number5", 1)) == [numbered(300)[4]]


def test_who_may_only_read_searches_by_words(store: PgvectorStore) -> None:
    """Without the right to make an index, or while a transaction is in its way, all texts are read."""
    points = words(30)
    store.create("first", CollectionSpec(points.vectors.shape[1]))
    store.upsert("first", points)
    sql(store.url, "DROP ROLE IF EXISTS word_reader")
    sql(store.url, "CREATE ROLE word_reader LOGIN")
    sql(store.url, f"GRANT USAGE ON SCHEMA {Address.of(store.url).schema} TO word_reader")
    sql(store.url, "GRANT SELECT ON first TO word_reader")
    reader = PgvectorStore.from_url(store.url.replace("postgres@", "word_reader@"))
    assert ids_of(reader.search_words("first", "number17 unheard", 5)) == [numbered(30)[17]]
    assert len(reader.search_words("first", "common", 50)) == 30
    reader.close()


def test_texts_of_more_words_than_postgresql_indexes(store: PgvectorStore) -> None:
    """A point of megabytes of words is written beside an index of words, and found by those at its beginning."""
    make_collection(store, words(3))
    assert len(store.search_words(COLLECTION, "common", 9)) == 3
    huge = "okapi " + " ".join(f"w{at}" for at in range(400_000))
    store.upsert(COLLECTION, make_points(["huge"], texts=[huge]))
    assert ids_of(store.search_words(COLLECTION, "okapi", 9)) == ["huge"]
    assert ids_of(store.search_words(COLLECTION, "w12", 9)) == ["huge"]
