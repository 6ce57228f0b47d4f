"""A process that is frozen within a transaction keeps nobody waiting for long, and goes on as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from regen.catalog.postgres import LOCK_SECONDS, PostgresCatalog, open_catalog
from regen.engine.lease import LEASE_SECONDS
from regen.errors import CatalogBusy, CatalogUnreachable
from regen.postgres import STANDSTILL_SECONDS
from regen.testing.catalog_cases import lease, log, numbered

SOON = "&options=-c%20idle_in_transaction_session_timeout%3D1500"
"""A second and a half, for tests that wait for it."""


@contextmanager
def frozen(url: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is stopped in the middle of a transaction, with the log's counter and its lease locked."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.frozen", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "within\n"
        os.kill(process.pid, signal.SIGSTOP)
        yield process
    finally:
        process.kill()
        process.communicate()


def setting(catalog: PostgresCatalog, name: str) -> str:
    """What the server says of a connection of the catalog's."""
    with catalog.glancing() as connection:
        return str(connection.execute(text(f"SHOW {name}")).scalar_one())


def test_a_frozen_writer_stops_nobody_for_long(postgres_url: str) -> None:
    """Others log and take its lease over when the server has ended its transaction; awake, it runs its call again."""
    catalog = open_catalog(postgres_url)
    with frozen(postgres_url + SOON) as process, ThreadPoolExecutor(2) as pool:
        logging = pool.submit(log, catalog, *numbered(3))
        taking = pool.submit(lease, catalog, "host:2:other", 1e9)
        assert logging.result(20).revision == 3
        assert taking.result(20).owner == "host:2:other"
        os.kill(process.pid, signal.SIGCONT)
        told, _ = process.communicate("go on\n", timeout=30)
        assert told == "2\n"
    assert process.returncode == 0
    assert (catalog.head(), catalog.alive()) == (4, 4)
    catalog.close()


def test_how_long_is_as_whoever_runs_the_database_says(postgres_url: str) -> None:
    """By default less than a lease, so that who takes it over can write; the URL's options go first."""
    for url, standstill in ((postgres_url, f"{STANDSTILL_SECONDS}s"), (postgres_url + SOON, "1500ms")):
        catalog = open_catalog(url)
        assert setting(catalog, "idle_in_transaction_session_timeout") == standstill
        assert setting(catalog, "lock_timeout") in {f"{LOCK_SECONDS}s", f"{LOCK_SECONDS // 60}min"}
        catalog.close()
    assert STANDSTILL_SECONDS < LEASE_SECONDS


def test_who_stands_still_is_told(postgres_url: str) -> None:
    """A transaction that cannot be run again by itself says what has happened, and what allows for more."""
    catalog = open_catalog(postgres_url + SOON)

    def stand_still() -> None:
        with catalog.writing() as connection:
            connection.execute(text("SELECT 1"))
            time.sleep(2.5)
            connection.execute(text("SELECT 1"))

    with pytest.raises(CatalogUnreachable, match="stood still in the middle of a transaction") as told:
        stand_still()
    assert told.value.retryable
    assert "idle_in_transaction_session_timeout" in str(told.value)
    with catalog.writing() as connection:
        catalog.at_leisure(connection)
        time.sleep(2.5)
        assert connection.execute(text("SELECT 1")).scalar() == 1
    catalog.close()


def test_a_lock_of_somebody_else_is_told(postgres_url: str) -> None:
    """Who is no process of regen's may keep a lock for ever: after a while the error says whom to look for."""
    catalog = open_catalog(f"{postgres_url}&options=-c%20lock_timeout%3D500")
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE regen.documents IN EXCLUSIVE MODE")
        with pytest.raises(CatalogBusy, match="are locked, and not by regen") as told:
            log(catalog, *numbered(1))
        assert "pg_stat_activity" in str(told.value)
    log(catalog, *numbered(1))
    catalog.close()


def test_a_connection_that_the_server_ends_is_told_as_such(postgres_url: str) -> None:
    """Ended in the middle of a statement, it is a lost connection, and not what the driver says of the rollback."""
    catalog = open_catalog(postgres_url)
    ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"

    def sleep() -> None:
        with catalog.reading() as connection:
            connection.execute(text("SELECT pg_sleep(30)"))

    with ThreadPoolExecutor(1) as pool, psycopg.connect(postgres_url, autocommit=True) as other:
        sleeping = pool.submit(sleep)
        while not other.execute(ending).fetchall():
            time.sleep(0.05)
        with pytest.raises(CatalogUnreachable, match="connection"):
            sleeping.result(20)
    assert catalog.alive() == 0
    catalog.close()
