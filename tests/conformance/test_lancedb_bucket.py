"""LanceDB in a bucket passes the conformance suite, against moto's S3 server: options, errors, writers at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from tests.conformance.servers import emptied, server_url

from regen.ports import Store
from regen.stores.lancedb import LanceStore
from regen.testing.s3_server import S3Server
from regen.testing.stores import StoreConformance

pytest.importorskip("moto", reason="moto is not installed: `make test-all` installs it")
pytestmark = pytest.mark.store("lancedb")

_NUMBERS = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    """An S3 server with a bucket; its credentials are in the environment."""
    with S3Server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        server.make_bucket("vectors")
        yield server


class TestLanceStoreInABucket(StoreConformance):
    """A prefix of the test's own, or the place that REGEN_TEST_S3_URL names."""

    @pytest.fixture(autouse=True)
    def prefix(self, server: S3Server) -> None:
        """Give each case a prefix of its own."""
        self.own = server_url("s3") or server.url(f"vectors/case {next(_NUMBERS)}/ü")

    def make_store(self, tmp_path: Path) -> Store:
        """Open a new store."""
        return emptied(LanceStore.from_url(self.own))

    def another_handle(self, tmp_path: Path) -> LanceStore:
        """Open its data once more."""
        return LanceStore.from_url(self.own)

    def url(self, tmp_path: Path) -> str:
        """Name its data."""
        return self.own
