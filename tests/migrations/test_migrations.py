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
from sqlalchemy import Engine, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from regen import Document, Index
from regen.catalog import schema
from regen.catalog.migrate import SCRIPTS, current_version, migrate
from regen.catalog.sqlite import make_engine, open_catalog
from regen.embedders.hashing import HashingEmbedder
from regen.errors import CatalogError, SchemaMismatch


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
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
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
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def made(engine: Engine, revision: str) -> None:
    """Bring a database to an earlier version's schema."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
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


def test_texts_survive_the_migration_to_0009(tmp_path: Path) -> None:
    """An index whose texts lay by digest is as it was: nothing is embedded anew, and every text can be restored."""
    with Index(embedder=HashingEmbedder(32), store=f"memory://{tmp_path}", root=tmp_path) as index:
        index.upsert([Document(f"d{at}", f"text {at} of many" * (at % 3)) for at in range(50)])
        index.upsert([Document("d1", "another text")])
    with sqlite3.connect(tmp_path / ".regen" / "catalog.db") as connection:
        connection.executescript(
            "CREATE TABLE old (content_hash BLOB NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL, "
            "PRIMARY KEY (content_hash)) WITHOUT ROWID; INSERT INTO old SELECT * FROM contents; DROP TABLE contents; "
            "ALTER TABLE old RENAME TO contents; UPDATE alembic_version SET version_num = '0008'"
        )
        before = connection.execute("SELECT * FROM contents ORDER BY content_hash").fetchall()
    connection.close()
    with Index(embedder=HashingEmbedder(32), store=f"memory://{tmp_path}", root=tmp_path) as index:
        assert index.verify().consistent
        assert index.restore("d1", index.history("d1")[-1].revision).documents.changed == 1
        assert index.search("text 1 of many", k=1)[0].doc_id == "d1"
    with sqlite3.connect(tmp_path / ".regen" / "catalog.db") as connection:
        assert connection.execute("SELECT * FROM contents ORDER BY content_hash").fetchall() == before
        (told,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'contents'").fetchone()
        assert "ROWID" not in told.upper()
    connection.close()


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
