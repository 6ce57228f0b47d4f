"""A catalog built by migrations is the catalog that the schema describes, and an unknown one is left alone."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from regen import Document, Index
from regen.catalog import schema
from regen.catalog.document_rows import decompress
from regen.catalog.migrate import SCRIPTS, current_version, migrate
from regen.catalog.postgres import make_engine as make_postgres_engine
from regen.catalog.sqlite import make_engine, open_catalog
from regen.core.documents import content_hash
from regen.embedders.hashing import HashingEmbedder
from regen.errors import CatalogError, NotFound, SchemaMismatch
from regen.postgres import Address


@pytest.fixture
def migrated(tmp_path: Path) -> Engine:
    """A fresh catalog, built by its migrations."""
    engine = make_engine("sqlite:///migrated.db", tmp_path)
    migrate(engine)
    return engine


@pytest.fixture
def described(tmp_path: Path) -> Engine:
    """A database made from the schema's metadata alone."""
    engine = make_engine("sqlite:///described.db", tmp_path)
    schema.metadata.create_all(engine)
    return engine


def scripts() -> Config:
    """Alembic's settings for our migrations."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    return config


def statements(engine: Engine) -> dict[str, str]:
    """What SQLite says it was told to create, by name, with white space and the order of clauses evened out."""
    query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%'"
    with engine.connect() as connection:
        found = connection.exec_driver_sql(query).fetchall()
    return {name: re.sub(r"[\s\"]+", " ", sql).strip() for name, sql in found}


def test_migrations_give_what_the_schema_describes(migrated: Engine) -> None:
    """Alembic finds nothing to add, drop or alter."""
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []


def test_columns_are_equal_one_by_one(migrated: Engine, described: Engine) -> None:
    """Names, order, types, nullability and keys of every table."""
    ours, theirs = inspect(migrated), inspect(described)
    names = theirs.get_table_names()
    assert sorted(names) == sorted(schema.metadata.tables)
    assert sorted(set(ours.get_table_names()) - {"alembic_version"}) == sorted(names)
    for name in names:
        mine, wanted = (
            [(c["name"], str(c["type"]), c["nullable"]) for c in one.get_columns(name)] for one in (ours, theirs)
        )
        assert mine == wanted, name
        assert (
            ours.get_pk_constraint(name)["constrained_columns"] == theirs.get_pk_constraint(name)["constrained_columns"]
        )


def test_indexes_are_equal(migrated: Engine, described: Engine) -> None:
    """Every index exists, on the same columns, unique or not, and with the same condition."""
    mine, wanted = statements(migrated), statements(described)
    indexes = {name: sql for name, sql in wanted.items() if sql.upper().startswith("CREATE INDEX")}
    assert indexes
    assert {name: mine.get(name) for name in indexes} == indexes


def test_tables_without_rowid_stay_so(migrated: Engine, described: Engine) -> None:
    """The clause decides how SQLite lays a table down; Alembic does not compare it."""
    mine, wanted = statements(migrated), statements(described)
    without = {name for name, sql in wanted.items() if sql.upper().endswith("WITHOUT ROWID")}
    assert {"placements", "chunk_texts"} <= without
    assert {name for name, sql in mine.items() if sql.upper().endswith("WITHOUT ROWID")} == without


def test_the_newest_migration_is_the_schemas_version(migrated: Engine) -> None:
    """The constant, the scripts' only head and what a fresh catalog says are one."""
    config = scripts()
    assert ScriptDirectory.from_config(config).get_heads() == [schema.SCHEMA_VERSION]
    with migrated.connect() as connection:
        assert current_version(connection) == schema.SCHEMA_VERSION


def test_every_counter_starts(migrated: Engine, tmp_path: Path) -> None:
    """The migration fills in the counters that the statements take numbers from."""
    with migrated.connect() as connection:
        rows = connection.exec_driver_sql("SELECT name, value FROM counters").fetchall()
    found = {str(row[0]): int(row[1]) for row in rows}
    used = set()
    for path in (SCRIPTS.parent).glob("*.py"):
        used |= set(re.findall(r'allocate\(\w+, "(\w+)"', path.read_text()))
    assert used
    assert used <= found.keys()
    assert set(found.values()) == {0}


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    """A catalog of this version is opened as it is."""
    open_catalog("sqlite:///c.db", tmp_path).close()
    before = (tmp_path / "c.db").read_bytes()
    open_catalog("sqlite:///c.db", tmp_path).close()
    assert (tmp_path / "c.db").read_bytes() == before


def revisions() -> list[str]:
    """Every schema there has been, the first one first."""
    config = scripts()
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def made(engine: Engine, revision: str) -> None:
    """Bring a database to an earlier version's schema."""
    config = scripts()
    with engine.execution_options(regen_write=True).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


@pytest.mark.parametrize("revision", revisions()[:-1])
def test_every_earlier_schema_becomes_this_one(described: Engine, tmp_path: Path, revision: str) -> None:
    """Whatever version a catalog was left at, opening it gives the same tables and indexes."""
    engine = make_engine("sqlite:///old.db", tmp_path)
    made(engine, revision)
    with engine.connect() as connection:
        assert current_version(connection) == revision
    migrate(engine)
    mine, wanted = statements(engine), statements(described)
    assert {name for name in mine if not name.startswith("sqlite_")} >= wanted.keys()
    without = {name for name, sql in wanted.items() if sql.upper().endswith("WITHOUT ROWID")}
    assert {name for name, sql in mine.items() if sql.upper().endswith("WITHOUT ROWID")} == without


def as_of_0008(engine: Engine) -> None:
    """Lay a catalog down as 0008 had it: each different text once, under its digest."""
    blob, layout = ("BLOB", "WITHOUT ROWID") if engine.dialect.name == "sqlite" else ("BYTEA", "")
    with engine.execution_options(regen_write=True).begin() as connection:

        def run(statement: str, **values: Any) -> Any:
            return connection.execute(text(statement), values)

        run(f"ALTER TABLE changes ADD COLUMN content_hash {blob}")
        run(
            f"CREATE TABLE old (content_hash {blob} NOT NULL PRIMARY KEY, size INTEGER NOT NULL, data {blob} NOT NULL) "
            f"{layout}"
        )
        for revision, size, data in run("SELECT revision, size, data FROM contents").fetchall():
            digest = content_hash(decompress([data])[0])
            run("INSERT INTO old VALUES (:d, :s, :t) ON CONFLICT DO NOTHING", d=digest, s=size, t=data)
            run("UPDATE changes SET content_hash = :d WHERE text_revision = :r", d=digest, r=revision)
        for statement in (
            "DROP TABLE contents", "ALTER TABLE old RENAME TO contents",
            "ALTER TABLE documents DROP COLUMN text_revision", "ALTER TABLE changes DROP COLUMN text_revision",
            "UPDATE alembic_version SET version_num = '0008'",
        ):  # fmt: skip
            run(statement)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_texts_survive_the_migration_to_0009(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    """An index whose texts lay by digest is as it was: nothing is embedded anew, and every text can be restored."""
    if kind == "sqlite":
        url, engine = "sqlite:///catalog.db", make_engine("sqlite:///catalog.db", tmp_path)
    else:
        url = request.getfixturevalue("postgres_url")
        engine = make_postgres_engine(Address.of(url))

    def opened() -> Index:
        return Index(embedder=HashingEmbedder(32), store=f"memory://{tmp_path}", catalog=url, root=tmp_path)

    documents = [Document(f"d{at}", f"text {at % 40} of many " * (at % 3), {"n": at}) for at in range(60)]
    with opened() as index:
        index.upsert(documents)
        index.upsert([Document("d1", "another text", {"n": 1}), Document("d2", documents[2].text, {"n": "two"})])
        index.delete(["d4", "d5"])
        index.upsert([Document("d5", documents[5].text)])
        index._catalog.purge(changes_before=index.history("d5", 1)[0].changed_at)  # so that most are in no change
        assert index.history("d7") != []
        before = {revision: past(index, revision) for revision in range(1, index._catalog.head() + 1)}
        living = [document for page in index._catalog.living() for document in page]
    as_of_0008(engine)
    engine.dispose()
    with opened() as index:
        assert [document for page in index._catalog.living() for document in page] == living
        assert {revision: past(index, revision) for revision in before} == before
        assert index.verify().consistent
        assert index.upsert(documents[6:]).documents.unchanged == 54
        assert index.replay(0.0).embedded_texts == 0
        assert index.upsert([Document("d1", documents[1].text)]).documents.changed == 1
        assert index.search(documents[1].text, k=1)[0].text in documents[1].text
        assert index.gc(now=True).contents > 0
        assert index.verify().consistent


def past(index: Index, revision: int) -> list[str | None]:
    """The texts that some documents can be restored to."""
    found: list[str | None] = []
    for doc_id in ("d1", "d2", "d4", "d5", "d7"):
        try:
            found.append(index._catalog.past_state(doc_id, revision).text)
        except NotFound:
            found.append("not kept")
    return found


def test_two_processes_create_one_catalog(tmp_path: Path) -> None:
    """Whoever comes second finds it made."""
    first, second = (make_engine("sqlite:///c.db", tmp_path) for _ in range(2))
    migrate(first)
    migrate(second)
    with second.connect() as connection:
        assert current_version(connection) == schema.SCHEMA_VERSION


def test_an_unknown_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    """The error names both versions; the file is not touched."""
    open_catalog("sqlite:///c.db", tmp_path).close()
    with sqlite3.connect(tmp_path / "c.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from the future'")
    connection.close()
    before = (tmp_path / "c.db").read_bytes()
    with pytest.raises(SchemaMismatch, match=rf"schema from the future.*schema {schema.SCHEMA_VERSION}"):
        open_catalog("sqlite:///c.db", tmp_path)
    assert (tmp_path / "c.db").read_bytes() == before


def test_a_half_made_catalog_does_not_exist(tmp_path: Path) -> None:
    """The migration is one transaction: when it fails, nothing of it is there, and the next attempt succeeds."""
    with sqlite3.connect(tmp_path / "c.db") as connection:
        connection.execute("CREATE TABLE runs (a)")  # in the way of a late table of the migration
    with pytest.raises(CatalogError):
        open_catalog("sqlite:///c.db", tmp_path)
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert names == ["runs"]
    connection.execute("DROP TABLE runs")
    connection.commit()
    connection.close()
    assert open_catalog("sqlite:///c.db", tmp_path).head() == 0


@pytest.mark.parametrize("dialect", [sqlite, postgresql], ids=["sqlite", "postgresql"])
def test_the_schema_can_be_said_in_both_dialects(dialect: Any) -> None:
    """Every table and index compiles for the database that is one adapter away."""
    for table in schema.metadata.sorted_tables:
        assert table.name in str(CreateTable(table).compile(dialect=dialect.dialect()))
        for index in table.indexes:
            assert str(index.name) in str(CreateIndex(index).compile(dialect=dialect.dialect()))
