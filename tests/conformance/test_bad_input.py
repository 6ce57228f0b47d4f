"""What every store says of a missing library, a wrong URL, refused credentials and a server that is not there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from regen.errors import ConfigError, StoreError, StoreUnreachable
from regen.registry import make_store
from regen.testing.elastic_server import SearchServer
from regen.testing.pinecone_server import PineconeServer
from regen.testing.postgres_server import PostgresServer
from regen.testing.qdrant_server import QdrantServer
from regen.testing.s3_server import S3Server
from regen.testing.weaviate_server import WeaviateServer

_SECRET = "s3cret-of-the-tests"
_WITHOUT = """
import json, sys
from regen.errors import MissingExtra
from regen.registry import make_store
cases = json.load(sys.stdin)
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in {library for _, libraries in cases for library in libraries}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
told = {}
for url, _ in cases:
    try:
        make_store(url, ".")
    except MissingExtra as error:
        told[url] = str(error)
print(json.dumps(told))
"""


# ── servers that let nobody in ──

Refusing = Callable[[pytest.MonkeyPatch, Path], Any]


@contextmanager
def refusing_bucket(patch: pytest.MonkeyPatch, _place: Path) -> Iterator[str]:
    """An S3 server that knows another key."""
    patch.setenv("AWS_ACCESS_KEY_ID", "another-key")
    patch.setenv("AWS_SECRET_ACCESS_KEY", _SECRET)
    with S3Server() as server:
        server.make_bucket("vectors")
        yield server.url("vectors/x")


@contextmanager
def refusing_postgres(patch: pytest.MonkeyPatch, place: Path) -> Iterator[str]:
    """A PostgreSQL that wants another password."""
    rules = place / "hba.conf"
    rules.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    for folder in (place, *place.parents[:3]):
        folder.chmod(0o755)
    patch.setenv("PGPASSWORD", _SECRET)
    with PostgresServer({"hba_file": str(rules)}) as server:
        server.execute("CREATE ROLE reader LOGIN PASSWORD 'another'")
        yield server.url().replace("postgres@", "reader@")


@contextmanager
def refusing_chroma(patch: pytest.MonkeyPatch, _place: Path) -> Iterator[str]:
    """A server that answers 401, as what is put before a Chroma to guard it does."""

    class Guard(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Refuse."""
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - the handler's own names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    patch.setenv("CHROMA_API_KEY", _SECRET)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Guard)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"chroma://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextmanager
def refusing_milvus(patch: pytest.MonkeyPatch, _place: Path) -> Iterator[str]:
    """A gRPC server that says to every call what a Milvus says to a wrong token."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    class Guard(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types here
        def service(self, _call: Any) -> Any:
            """Refuse."""

            def refuse(_request: bytes, context: Any) -> None:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "auth check failure, please check api key is correct")

            return grpc.unary_unary_rpc_method_handler(refuse)

    patch.setenv("MILVUS_TOKEN", _SECRET)
    server = grpc.server(ThreadPoolExecutor(4), (Guard(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"milvus://127.0.0.1:{port}?timeout=3"
    server.stop(None).wait()


@contextmanager
def refusing_qdrant(patch: pytest.MonkeyPatch, _place: Path) -> Iterator[str]:
    """Qdrant with another key."""
    patch.setenv("QDRANT_API_KEY", _SECRET)
    with QdrantServer() as server:
        yield server.url


@contextmanager
def refusing_weaviate(patch: pytest.MonkeyPatch, _place: Path) -> Iterator[str]:
    """Weaviate with another key."""
    patch.setenv("WEAVIATE_API_KEY", _SECRET)
    with WeaviateServer(key="another") as server:
        yield server.url


def refusing_search(product: Any, variable: str) -> Refusing:
    """Elasticsearch or OpenSearch with another key."""

    @contextmanager
    def refusing(patch: pytest.MonkeyPatch, _place: Path) -> Iterator[str]:
        patch.setenv(variable, f"me:{_SECRET}")
        with SearchServer(product, authorization="Bearer another") as server:
            yield server.url

    return refusing


@contextmanager
def refusing_pinecone(patch: pytest.MonkeyPatch, _place: Path) -> Iterator[str]:
    """Pinecone with another key."""
    patch.setenv("PINECONE_API_KEY", _SECRET)
    with PineconeServer() as server:
        yield server.url("tests")


# ── the stores ──


@dataclass(frozen=True)
class Case:
    """One store. ``libraries``: what its extra brings; ``url``: one that is right, of a port where nobody listens."""

    name: str
    libraries: tuple[str, ...]
    url: str
    bad: tuple[str, ...]
    refusing: Refusing
    variable: str
    install: str = ""
    needs: str = ""
    connection: str = ""


CASES = (
    Case(
        "lancedb", ("lancedb",), "s3://vectors/x?endpoint=http://127.0.0.1:9&region=us-east-1&timeout=1",
        ("lancedb://", "s3://", f"s3://me:{_SECRET}@vectors", f"s3://vectors?secret_access_key={_SECRET}", "s3://v?colour=red"),
        refusing_bucket, "AWS_ACCESS_KEY_ID", install="pip install lancedb", needs="moto",
    ),
    Case(
        "pgvector", ("psycopg", "pgvector"), "postgresql://me@127.0.0.1:9/vectors",
        ("postgresql:///x?schema=", f"postgresql://me:{_SECRET}@host/x", f"postgresql://h/x?password={_SECRET}", "postgresql://h:p/x"),
        refusing_postgres, "PGPASSWORD",
    ),
    Case(
        "chroma", ("chromadb",), "chroma://127.0.0.1:9",
        ("chroma://", f"chroma://me:{_SECRET}@host", f"chroma://host?token={_SECRET}", "chroma://host?colour=red", "chroma://host:p"),
        refusing_chroma, "CHROMA_API_KEY", needs="chromadb", connection="chroma_connection",
    ),
    Case(
        "milvus", ("pymilvus",), "milvus://127.0.0.1:9?timeout=2",
        ("milvus://", f"milvus://me:{_SECRET}@host", f"milvus://host?token={_SECRET}", "milvus://host?colour=red", "milvus+file://x"),
        refusing_milvus, "MILVUS_TOKEN", needs="pymilvus", connection="milvus_connection",
    ),
    Case(
        "qdrant", ("qdrant_client",), "qdrant://127.0.0.1:9",
        ("qdrant://", f"qdrant://me:{_SECRET}@host", f"qdrant://host?api_key={_SECRET}", "qdrant://host?colour=red", "qdrant+file://"),
        refusing_qdrant, "QDRANT_API_KEY", connection="qdrant_connection",
    ),
    Case(
        "weaviate", ("weaviate",), "weaviate://127.0.0.1:9:10?timeout=1",
        ("weaviate://", f"weaviate://me:{_SECRET}@host", f"weaviate://host?api_key={_SECRET}", "weaviate://host?colour=red"),
        refusing_weaviate, "WEAVIATE_API_KEY", connection="weaviate_connection",
    ),
    Case(
        "elasticsearch", ("elasticsearch",), "elasticsearch://127.0.0.1:9",
        ("elasticsearch://", f"elasticsearch://me:{_SECRET}@host", f"elasticsearch://h?api_key={_SECRET}", "elasticsearch://h?a=b"),
        refusing_search("elasticsearch", "ELASTICSEARCH_API_KEY"), "ELASTICSEARCH_API_KEY",
        connection="elastic_connection",
    ),
    Case(
        "opensearch", ("opensearchpy",), "opensearch://127.0.0.1:9",
        ("opensearch://", f"opensearch://me:{_SECRET}@host", f"opensearch://h?password={_SECRET}", "opensearch://h?colour=red"),
        refusing_search("opensearch", "OPENSEARCH_CREDENTIALS"), "OPENSEARCH_CREDENTIALS",
        connection="elastic_connection",
    ),
    Case(
        "pinecone", ("pinecone",), "pinecone://tests?control=http://127.0.0.1:9&timeout=2",
        ("pinecone://", f"pinecone://{_SECRET}@tests", f"pinecone://tests?api_key={_SECRET}", "pinecone://tests?colour=red"),
        refusing_pinecone, "PINECONE_API_KEY", connection="pinecone_connection",
    ),
)  # fmt: skip


def marked(case: Case, *, needed: bool = True) -> Any:
    """A case as a parameter: of its store, and left out where what it needs is not installed."""
    absent = pytest.mark.skipif(
        bool(needed and case.needs) and find_spec(case.needs) is None,
        reason=f"{case.needs} is not installed: `make test-all` installs it",
    )
    return pytest.param(case, id=case.name, marks=[pytest.mark.store(case.name), absent])


any_store = pytest.mark.parametrize("case", [marked(case) for case in CASES])


@pytest.fixture
def hasty(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon: how often a lost server is asked is not what is tested here."""
    if case.connection and hasattr(__import__(f"regen.stores.{case.connection}", fromlist=["_"]), "_ATTEMPTS"):
        monkeypatch.setattr(f"regen.stores.{case.connection}._ATTEMPTS", 2)
    if case.name == "pinecone":
        monkeypatch.setattr("pinecone._internal.http_client._retry_sleep", lambda _: None)
        monkeypatch.setenv("PINECONE_API_KEY", _SECRET)


@pytest.fixture(scope="module")
def without_libraries() -> dict[str, str]:
    """What a process of its own says, by URL, to which none of the libraries can be imported."""
    asked = json.dumps([(case.url, case.libraries) for case in CASES])
    done = subprocess.run([sys.executable, "-c", _WITHOUT], input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("case", [marked(case, needed=False) for case in CASES])
def test_a_missing_extra(case: Case, without_libraries: dict[str, str]) -> None:
    """Without the store's library the error names it and gives the command that installs it."""
    told = without_libraries[case.url]
    assert any(f"{name!r} is not installed" in told for name in case.libraries)
    assert told.endswith(case.install or f"pip install 'regen[{case.name}]'")


@any_store
def test_urls_that_are_wrong(case: Case) -> None:
    """No place, a secret, an unknown option: refused before anything is connected to, with what is valid."""
    for url in case.bad:
        with pytest.raises(ConfigError) as raised:
            make_store(url, ".")
        assert raised.value.hint, url
        assert _SECRET not in str(raised.value)


@any_store
@pytest.mark.usefixtures("hasty")
def test_refused_credentials(case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error names the variable that credentials are read from, shows none, and asking again would not help."""
    with case.refusing(monkeypatch, tmp_path) as url:
        store = make_store(url, tmp_path)
        with pytest.raises(StoreError, match="refuses the credentials") as raised:
            store.collections()
        store.close()
    assert case.variable in (raised.value.hint or "")
    assert _SECRET not in str(raised.value)
    assert not raised.value.retryable


@any_store
@pytest.mark.usefixtures("hasty")
def test_a_server_that_is_not_there(case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error says where nobody answered and what to look at, and the same call may succeed later."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", _SECRET)
    store = make_store(case.url, tmp_path)
    with pytest.raises(StoreUnreachable, match="cannot be reached") as raised:
        store.collections()
    store.close()
    assert raised.value.hint
    assert raised.value.retryable
    assert _SECRET not in str(raised.value)
