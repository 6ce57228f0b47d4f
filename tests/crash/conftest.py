"""The fork server, started once per module, and a network that can be cut."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from regen.testing.proxy import Proxy


class Nursery:
    """Speaks with :mod:`tests.crash.nursery`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """One order, one answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}, default=str) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=30)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """A fork server."""
    started = Nursery()
    yield started
    started.close()


@pytest.fixture
def network(postgres_url: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy to a database, and the database's address by way of it."""
    address = urlsplit(postgres_url)
    proxy = Proxy(Path(parse_qs(address.query)["host"][0]) / ".s.PGSQL.5432")
    yield proxy, f"postgresql://postgres@127.0.0.1:{proxy.port}{address.path}"
    proxy.close()
