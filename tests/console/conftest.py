"""A real index with two generations, and the console of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import regen
from regen import Document
from regen.evaluation.judged import JudgedCollection, JudgedQuery
from regen.index import Index
from regen.quality.settings import EvaluationSettings
from regen.server import create_app

HOSTILE_TEXT = (
    "<script>alert('text')</script> \u202edesrever \u0645\u0631\u062d\u0628\u0627 \"quoted\" " + "boundary " * 1_200
)
HOSTILE = Document(
    "<script>alert('id')</script>", HOSTILE_TEXT, {"<b>key": '"><img src=x onerror=alert(1)>', "part": 9}
)
"""Somebody's document that would like to be more than text."""

MOST_QUERIES = 40


def cranfield(folder: Path, count: int) -> list[Document]:
    """The first real documents that have a text; every tenth is for one team only."""
    rows = [json.loads(line) for line in (folder / "cranfield" / "corpus.jsonl").read_text().splitlines()]
    return [
        Document(
            row["_id"], row["text"], {"title": row["title"], "part": at % 5}, ["team:aero"] if at % 10 == 0 else None
        )
        for at, row in enumerate(row for row in rows[: count + 2] if row["text"])
    ]


def judged(folder: Path, known: set[str]) -> JudgedCollection:
    """The real queries and judgments, as far as these documents can answer them."""
    qrels: dict[str, dict[str, int]] = {}
    for line in (folder / "cranfield" / "qrels.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        if document in known and int(grade) > 0 and (query in qrels or len(qrels) < MOST_QUERIES):
            qrels.setdefault(query, {})[document] = int(grade)
    lines = (folder / "cranfield" / "queries.jsonl").read_text().splitlines()
    texts = {row["_id"]: row["text"] for row in map(json.loads, lines)}
    return JudgedCollection("cranfield", tuple(JudgedQuery(key, texts[key]) for key in qrels), qrels)


def make_index(root: Path, data: Path, model: str, count: int = 200) -> Index:
    """An index below a folder; opened again with another model it asks for another generation."""
    known = {item.id for item in cranfield(data, count)}
    return regen.Index(
        embedder=model,
        embedding={"price_per_million_tokens": 0.2},
        store="lancedb://vectors",
        catalog="sqlite:///catalog.db",
        alias="handbook",
        text="{text}",
        evaluation=EvaluationSettings(collections=[judged(data, known)], searches=10),
        root=root,
    )


@pytest.fixture(scope="module")
def migrating(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> Iterator[Index]:
    """Generation 1 is live, generation 2 ready and evaluated; nothing that a test does to it is an action."""
    root = tmp_path_factory.mktemp("migrating")
    with make_index(root, real_data, "wordllama/l2-supercat-64") as index:
        index.upsert([*cranfield(real_data, 200), HOSTILE, Document("empty", "")])
    with make_index(root, real_data, "wordllama/l2-supercat-128") as index:
        index.apply()
        index.evaluate()
        yield index


@pytest.fixture(scope="module")
def pages(migrating: Index) -> Iterator[TestClient]:
    """A client of the console that follows no redirect."""
    with TestClient(create_app(migrating), base_url="http://127.0.0.1:8321", follow_redirects=False) as client:
        yield client


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[TestClient]:
    """The console of an index that holds nothing yet."""
    with (
        regen.Index(
            embedder="hashing/8", store="memory://", catalog="sqlite:///c.db", alias="new", root=tmp_path
        ) as index,
        TestClient(create_app(index), base_url="http://127.0.0.1:8321", follow_redirects=False) as client,
    ):
        yield client
