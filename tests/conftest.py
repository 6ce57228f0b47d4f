"""What many tests need: real material from outside (without it they skip, and say why), and servers of our own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from tests.conformance.servers import server_url

from regen.errors import StoreError
from regen.testing.postgres_server import PostgresServer

STORES = (
    *("memory", "lancedb", "pgvector", "qdrant", "chroma", "milvus", "pinecone", "weaviate"),
    *("elasticsearch", "opensearch"),
)
"""What ``--stores`` takes: the names that tests are marked with, ``@pytest.mark.store("qdrant")``."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Choose which stores are tested."""
    parser.addoption("--stores", help=f"only tests of these stores, of those that are of one: {','.join(STORES)}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests of stores that were not chosen. Tests of no store in particular stay."""
    chosen = config.getoption("--stores")
    if chosen is None:
        return
    wanted = {name.strip() for name in chosen.split(",")}
    if unknown := wanted - set(STORES):
        raise pytest.UsageError(f"--stores knows {', '.join(STORES)}, not {', '.join(sorted(unknown))}")

    def left_out(item: pytest.Item) -> bool:
        marks = {mark.args[0] for mark in item.iter_markers("store")}
        return bool(marks) and not marks & wanted

    config.hook.pytest_deselected(items=[item for item in items if left_out(item)])
    items[:] = [item for item in items if not left_out(item)]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real collections: REGEN_DATA, or ../shared/data beside the repository."""
    named = os.environ.get("REGEN_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; REGEN_DATA names another folder")
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of our own, one per test process, started when the first test asks for it."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def milvus_programs(request: pytest.FixtureRequest) -> Path:
    """The folder that a Milvus server is started from, fetched once into pytest's cache."""
    from regen.testing.milvus_server import install, obstacle

    if told := obstacle():
        pytest.skip(told)
    try:
        return install(request.config.cache.mkdir("milvus"))
    except StoreError as error:
        pytest.skip(error.message)


@pytest.fixture(scope="session")
def milvus_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a Milvus server, its collections free to be dropped: REGEN_TEST_MILVUS_URL, or one of our own."""
    from regen.testing.milvus_server import MilvusServer

    if named := server_url("milvus"):
        yield named
        return
    with MilvusServer(request.getfixturevalue("milvus_programs")) as server:
        yield server.url


@pytest.fixture(scope="session")
def chroma_server() -> Iterator[str]:
    """The URL of a Chroma server, its collections free to be dropped: REGEN_TEST_CHROMA_URL, or one of our own."""
    from regen.testing.chroma_server import ChromaServer

    if named := server_url("chroma"):
        yield named
        return
    with ChromaServer() as server:
        yield server.url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """A database that holds an empty catalog and the vector extension: copying it is quicker than migrating."""
    from regen.catalog.postgres import open_catalog

    postgres_server.execute("CREATE DATABASE template_regen")
    postgres_server.execute("CREATE EXTENSION vector", "template_regen")
    open_catalog(postgres_server.url("template_regen")).close()
    postgres_server.execute("CREATE DATABASE stores TEMPLATE template_regen")
    return "template_regen"


@pytest.fixture(scope="session")
def postgres_names() -> Iterator[int]:
    """Numbers for names of the tests' own."""
    return count(1)


@pytest.fixture
def vectors_url(
    postgres_server: PostgresServer, postgres_template: str, postgres_names: Iterator[int]
) -> Iterator[str]:
    """The URL of a schema of the test's own, for a store: quicker to make than a database."""
    name = f"vectors_{next(postgres_names)}"
    yield f"{postgres_server.url('stores')}&schema={name}"
    postgres_server.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE", "stores")


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """The URL of a database of the test's own, with an empty catalog and the vector extension in it."""
    with postgres_server.database(postgres_template) as url:
        yield url


@pytest.fixture
def much_upkeep(monkeypatch: pytest.MonkeyPatch) -> None:
    """LanceDB takes few points and fragments for many, so that indexes and compaction are part of a short life."""
    for name, value in (("_MANY_POINTS", 4), ("_MANY_UNINDEXED_POINTS", 6), ("_MANY_FRAGMENTS", 5)):
        monkeypatch.setattr(f"regen.stores.lancedb_upkeep.{name}", value)
