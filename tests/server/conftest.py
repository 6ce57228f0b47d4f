"""A small index, and clients of its service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from regen import Document, Index
from regen.server import create_app

DOCUMENTS = [
    Document("reset", "Click the link in the mail to reset a password.", {"lang": "en"}),
    Document("salary", "Who earns how much money each month.", {"lang": "en"}, access=["team:people"]),
    Document("backup", "Every night a copy of every disk is made.", {"lang": "en"}),
]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """Three documents, one of them for the team that it is about, in memory but for the catalog."""
    with Index(embedder="hashing/64", store="memory://", catalog="sqlite:///catalog.db", root=tmp_path) as made:
        made.upsert(DOCUMENTS)
        yield made


@pytest.fixture
def client(index: Index) -> Iterator[TestClient]:
    """A client of the running service, on this machine, where no key was made."""
    with TestClient(create_app(index)) as made:
        yield made
