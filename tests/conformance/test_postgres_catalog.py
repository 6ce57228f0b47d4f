"""What is PostgreSQL's own: several writers at once, schema checks, restarts; and catalogs that move."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select, text

from regen.catalog import schema
from regen.catalog.copying import copy_catalog
from regen.catalog.migrate import migrate
from regen.catalog.postgres import PostgresCatalog, make_engine, open_catalog
from regen.catalog.sqlite import open_catalog as open_sqlite
from regen.core.alarms import Alert
from regen.core.chunks import write_token
from regen.core.documents import Document
from regen.errors import (
    AliasMoved,
    CatalogBusy,
    CatalogError,
    CatalogUnreachable,
    ConfigError,
    LeaseLost,
    SchemaMismatch,
)
from regen.ports.catalog import Catalog, Cost
from regen.ports.rollouts import LoggedQuery
from regen.ports.service import ApiKey, Audited, KeptAnswer
from regen.postgres import Address
from regen.testing.catalog_cases import (
    ALIAS,
    ME,
    OTHER,
    behind,
    lease,
    letter,
    log,
    make_generation,
    numbered,
    place_all,
    placed_catalog,
)
from regen.testing.postgres_server import PostgresServer

NUL = "nul \0 mark \1 two \1\1"


@pytest.fixture
def catalog(postgres_url: str) -> Iterator[PostgresCatalog]:
    """A catalog in a database of its own."""
    catalog = open_catalog(postgres_url)
    yield catalog
    catalog.close()


def test_migrations_give_what_the_schema_describes(postgres_server: PostgresServer) -> None:
    """On PostgreSQL too Alembic finds nothing to add, drop or alter, and the catalog lies in the named schema."""
    with postgres_server.database() as url:
        open_catalog(f"{url}&schema=Of%20Ours").close()
        engine = make_engine(Address.of(f"{url}&schema=Of%20Ours"))
        with engine.connect() as connection:
            options = {"compare_type": True, "compare_server_default": True}
            context = MigrationContext.configure(connection, opts=options)
            assert compare_metadata(context, schema.metadata) == []
            found = connection.execute(text("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename = 'placements'"))
            assert found.fetchall() == [("Of Ours",)]
        engine.dispose()


def test_processes_that_make_one_catalog(postgres_server: PostgresServer) -> None:
    """One migrates, the others wait for it and find it made."""
    with postgres_server.database() as url:
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda _: open_catalog(url), range(4)))
        assert [catalog.head() for catalog in made] == [0, 0, 0, 0]
        for catalog in made:
            catalog.close()


def test_a_service_only_checks_the_schema(postgres_server: PostgresServer, postgres_url: str) -> None:
    """Without a catalog, or with one of another version, it refuses and changes nothing; with a right one it works."""
    with postgres_server.database() as empty:
        with pytest.raises(SchemaMismatch, match="there is no catalog"):
            open_catalog(empty, migrating=False)
        engine = make_engine(Address.of(empty))
        with engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'regen'")).scalar() == 0
        engine.dispose()
    open_catalog(postgres_url, migrating=False).close()
    engine = make_engine(Address.of(postgres_url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'from the future'"))
    for migrating in (True, False):
        with pytest.raises(SchemaMismatch, match="schema from the future"):
            open_catalog(postgres_url, migrating=migrating)
    engine.dispose()


def test_older_schemas_are_brought_forward(postgres_server: PostgresServer) -> None:
    """From the first schema, with rows in it, to this version's."""
    from alembic import command
    from alembic.config import Config

    from regen.catalog.migrate import SCRIPTS

    with postgres_server.database() as url:
        engine = make_engine(Address.of(url))
        with engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA regen"))
            config = Config()
            config.set_main_option("script_location", str(SCRIPTS))
            config.attributes["connection"] = connection
            command.upgrade(config, "0001")
            connection.execute(text("INSERT INTO aliases VALUES ('handbook', 1, NULL, 7)"))
        migrate(engine)
        engine.dispose()
        catalog = open_catalog(url, migrating=False)
        assert catalog.route("handbook").version == 7
        catalog.close()


def test_of_two_who_switch_at_once_one_is_told(catalog: PostgresCatalog) -> None:
    """The alias moves once per version, whoever is quicker: compare-and-swap holds between transactions (I7)."""
    first, *others = (make_generation(catalog).number for _ in range(5))
    catalog.go_live(ALIAS, first, at=1.0, reason="complete")
    for number in others:
        catalog.mark_ready(number, at=2.0)
    version = catalog.route(ALIAS).version

    def switch(number: int) -> bool:
        try:
            catalog.switch(ALIAS, number, expected=version, actor="ann", reason="race", at=3.0)
        except AliasMoved:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(switch, others)) == [False, False, False, True]
    assert catalog.route(ALIAS).version == version + 1
    assert [item.state for item in catalog.generations()].count("live") == 1


def test_of_two_who_log_one_document_at_once_each_sees_the_other(catalog: PostgresCatalog) -> None:
    """Equal deliveries are one change, and different ones follow each other; none is lost, none fails."""
    with ThreadPoolExecutor(8) as pool:
        same = list(pool.map(lambda _: log(catalog, Document("same", "x")).outcomes[0], range(8)))
        other = list(pool.map(lambda at: log(catalog, Document("other", str(at))).outcomes[0], range(8)))
    assert sorted(same) == ["added"] + ["unchanged"] * 7
    assert sorted(other) == ["added"] + ["content"] * 7
    assert catalog.head() == 9


def test_one_of_many_gets_the_lease(catalog: PostgresCatalog) -> None:
    """Of eight who ask at once one has it, and the others are told who."""

    def take(at: int) -> bool:
        try:
            lease(catalog, f"host:{at}:x")
        except CatalogBusy:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(take, range(8))) == [False] * 7 + [True]


def test_a_lease_is_not_taken_over_within_a_commit(catalog: PostgresCatalog) -> None:
    """While its owner commits, a taker waits; a renewal does not; afterwards the former owner can commit no more."""
    number, held = placed_catalog(catalog, *numbered(2))
    log(catalog, *numbered(2, first=2))
    with ThreadPoolExecutor(2) as pool:
        with catalog.writing() as connection:
            from regen.catalog.leases import require

            require(connection, held)
            taker = pool.submit(lease, catalog, OTHER, 1_000.0)
            assert catalog.renew(held, at=1.0, seconds=1.0).expires_at == 2.0
            assert not taker.done()
        assert taker.result().owner == OTHER
    with pytest.raises(LeaseLost):
        place_all(catalog, number, held)


def test_a_deadlock_is_run_again(catalog: PostgresCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two transactions that lock two rows crosswise both succeed: the one that was taken back tries again."""
    from threading import Barrier

    log(catalog, *numbered(2))
    barrier, tries = Barrier(2), []

    def crosswise(self: PostgresCatalog, reason: str, costs: Any = (), **_: Any) -> None:
        first, second = ("d0", "d1") if reason == "up" else ("d1", "d0")
        tries.append(reason)
        docs = schema.documents
        with self.writing() as connection:
            connection.execute(docs.update().where(docs.c.doc_id == first).values(lane=1))
            if len(tries) <= 2:
                barrier.wait(10)
            connection.execute(docs.update().where(docs.c.doc_id == second).values(lane=1))

    from regen.catalog.postgres import _again

    again = _again(crosswise)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda reason: again(catalog, reason), ["up", "down"]))
    assert len(tries) == 3


def test_a_restarted_server_is_noticed(postgres_template: str) -> None:
    """Old connections are replaced without an error; while the server is down the error says so; nothing is lost."""
    with PostgresServer() as server:
        catalog = open_catalog(server.url())
        log(catalog, *numbered(3))
        server.halt(signal.SIGKILL)
        with pytest.raises(CatalogError, match="connection"):
            catalog.alive()
        server.start()
        assert catalog.alive() == 3
        server.halt(signal.SIGINT)
        server.start()
        log(catalog, *numbered(4))
        assert catalog.alive() == 4
        catalog.close()


def test_urls() -> None:
    """A password is refused and not repeated; a server that is not there is named."""
    with pytest.raises(ConfigError, match="password") as refused:
        open_catalog("postgresql://me:s3cret@host/db")
    assert "s3cret" not in str(refused.value)
    with pytest.raises(CatalogUnreachable, match="cannot be reached"):
        open_catalog("postgresql://me@/db?host=/nonexistent")


def test_a_user_whom_the_server_does_not_know(postgres_url: str) -> None:
    """It is told as what it is: the server is there, and to try again would not help."""
    with pytest.raises(CatalogError, match="refuses the credentials") as refused:
        open_catalog(postgres_url.replace("postgres@", "nobody@"))
    assert not isinstance(refused.value, CatalogUnreachable)
    assert "PGPASSWORD" in (refused.value.hint or "")


def full(catalog: Catalog) -> None:
    """Fill every table that a catalog has, some with odd texts."""
    number, held = placed_catalog(catalog, *numbered(5), Document("odd", NUL, {"k": NUL, "é": [1.5, None]}, [NUL]))
    catalog.tombstone(["d1"], at=3.0)
    log(catalog, Document("d0", "edited", version="7", updated_at=2.5))
    catalog.begin_write(number, b"x" * 32, held, at=2.0)
    place_all(catalog, number, held)
    catalog.go_live(ALIAS, number, at=9.0, reason="complete")
    second = make_generation(catalog).number
    catalog.mark_ready(second, at=2.0)
    catalog.keep_probes(number, b"\0\1\2")
    catalog.start_rollout(ALIAS, "canary", second, weight=0.1, settings={}, state={}, actor="a", reason="b", at=1.0)
    catalog.log_queries(ALIAS, [LoggedQuery("q", NUL, 1, ("d0",), (), 1.0)])
    catalog.record_evaluation(ALIAS, 2, against=1, verdict="hold", fingerprint="f", head=1, at=1.0, result={"x": NUL})
    catalog.record_run("sync", started=1.0, finished=2.0, result={}, costs=[Cost(1, "m", 2, 3, 0.1)])
    catalog.bury([letter("d2", number, 3, NUL)])
    catalog.count_queries({"d0": 3})
    catalog.amend_job(ALIAS, "source docs", at=1.0, error=NUL)
    catalog.keep_alert(ALIAS, Alert("k", "check", NUL, 1.0, documents=("d0",)))
    catalog.add_api_key(ApiKey("id", NUL, b"\0" * 32, ("search",), ("user:a",), 1.0, "me"))
    catalog.request_run("sync", {"x": NUL}, actor="me", at=1.0)
    catalog.keep_answer("me", "word", KeptAnswer("f", 200, NUL), at=1.0)
    catalog.audit(Audited(1.0, "me", "promote", {"x": NUL}))


def everything(catalog: Any) -> dict[str, list[Any]]:
    """All rows of all tables that are copied."""
    with catalog.reading() as connection:
        return {
            name: sorted(map(tuple, connection.execute(select(table)).fetchall()), key=repr)
            for name, table in schema.metadata.tables.items()
            if name not in {"leases", "text_claims", "workers"}
        }


def test_a_catalog_moves_to_postgresql_and_back(catalog: PostgresCatalog, tmp_path: Path) -> None:
    """Every row of every table arrives, and both copies go on where the original was."""
    origin = open_sqlite("sqlite:///a.db", tmp_path)
    full(origin)
    wanted = everything(origin)
    told: list[tuple[str, int]] = []
    copied = copy_catalog(origin, catalog, progress=lambda table, rows: told.append((table, rows)))
    assert everything(catalog) == wanted
    assert {item.table: item.rows for item in copied} == {name: len(rows) for name, rows in wanted.items()}
    assert ("documents", 6) in told
    back = open_sqlite("sqlite:///b.db", tmp_path)
    copy_catalog(catalog, back)
    assert everything(back) == wanted
    assert [row for row in wanted if not wanted[row]] == ["rerankers"], "every other table was tried"
    for copy in (catalog, back):
        assert copy.holder("writer") is None
        assert log(copy, Document("later", "x")).revision == origin.head() + 1
        assert len(behind(copy, 2)) == len(behind(origin, 2)) + 1
        costs = [Cost(1, "m", 1, 1, 1.0)]
        copy.record_run("sync", started=1.0, finished=2.0, result={}, costs=costs)
        copy.record_evaluation(ALIAS, 2, against=1, verdict="hold", fingerprint="f", head=1, at=1.0, result={})
        held = lease(copy, ME)
        assert write_token(copy.begin_write(1, b"", held, at=1.0)) != write_token(1)
    origin.close()
    back.close()


def test_many_rows_are_copied_in_batches(
    catalog: PostgresCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages follow each other by key, composite keys and texts of any alphabet included."""
    monkeypatch.setattr("regen.catalog.copying.BATCH", 3)
    origin = open_sqlite("sqlite:///a.db", tmp_path)
    placed_catalog(origin, *numbered(10))
    origin.bury([letter(f"{sign}{at}", number, 1) for sign in "aÄzZ_€" for at in range(3) for number in (1, 2)])
    copy_catalog(origin, catalog)
    assert everything(catalog) == everything(origin)
    origin.close()


def test_a_catalog_that_holds_something_is_not_overwritten(catalog: PostgresCatalog, tmp_path: Path) -> None:
    """Neither is anything added to it."""
    origin = open_sqlite("sqlite:///a.db", tmp_path)
    log(origin, *numbered(2))
    log(catalog, Document("mine", "x"))
    with pytest.raises(CatalogError, match="not empty: it holds"):
        copy_catalog(origin, catalog)
    assert (catalog.alive(), catalog.head()) == (1, 1)
    origin.close()


def test_a_copy_that_differs_is_not_kept(
    catalog: PostgresCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can be read back is compared with what was read; a row that was lost on the way takes all of it back."""
    from regen.catalog.bulk import Adding

    origin, run = open_sqlite("sqlite:///a.db", tmp_path), Adding.run
    log(origin, *numbered(5))

    def lossy(self: Adding, connection: Connection, rows: Sequence[Any]) -> None:
        run(self, connection, rows[1:] if len(rows) == 5 else rows)

    monkeypatch.setattr(Adding, "run", lossy)
    with pytest.raises(CatalogError, match="has 4 rows in the copy and 5"):
        copy_catalog(origin, catalog)
    monkeypatch.undo()
    assert (catalog.alive(), catalog.head()) == (0, 0)
    assert log(catalog, Document("a", "x")).revision == 1
    origin.close()


TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\0\1\2"\\{}, NUL\n'), max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS | st.sampled_from(["", "NULL", "null", "{}"]), max_size=8))
def test_any_texts_come_back_from_an_array(postgres_url: str, texts: list[str]) -> None:
    """In their order, whatever is in them; beside a None, and of numbers, as psycopg has it."""
    with Address.of(postgres_url).connect(autocommit=True) as connection:
        for statement in ("SELECT unnest(%s::text[])", "SELECT unnest(%t::text[])"):
            assert [row[0] for row in connection.execute(statement, [texts])] == texts
        assert connection.execute("SELECT %s::text[]", [[*texts, None]]).fetchall() == [([*texts, None],)]
        assert connection.execute("SELECT %s::int[]", [[1, 2]]).fetchall() == [([1, 2],)]
