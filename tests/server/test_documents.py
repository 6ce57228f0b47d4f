"""Documents and events over HTTP: logged, searchable, once."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from regen import Document, Index
from regen.config.server import EventFields
from regen.embedders.hashing import HashingEmbedder
from regen.errors import ConfigError
from regen.ports import Vector
from regen.server import create_app
from regen.server.changes import ChangeBatch, DebeziumEvent, folded
from regen.server.service import MOST_AT_ONCE, PER_CORE

WAITED = {"wait": "searchable"}


def found(client: TestClient, query: str) -> list[str]:
    """The ids that a search finds."""
    return [hit["doc_id"] for hit in client.post("/v1/search", json={"query": query}).json()["hits"]]


def document(doc_id: str, text: str, **more: Any) -> dict[str, Any]:
    """A document as JSON."""
    return {"id": doc_id, "text": text, **more}


def test_what_was_waited_for_is_searchable(client: TestClient) -> None:
    """The answer tells the revision and what differed; a second time nothing does."""
    sent = {"documents": [document("tea", "Tea is made with water."), document("reset", "Another way to reset.")]}
    answer = client.post("/v1/documents", json=sent, params=WAITED)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["documents"]["added"], told["documents"]["updated"], told["searchable"]) == (1, 1, True)
    assert found(client, "tea water")[0] == "tea"
    again = client.post("/v1/documents", json=sent, params=WAITED).json()
    assert (again["revision"], again["documents"]["unchanged"]) == (told["revision"], 2)
    state = client.get(f"/v1/revisions/{told['revision']}").json()
    assert (state["searchable"], state["live"], state["head"]) == (True, told["revision"], told["revision"])


def test_without_waiting_there_is_a_revision_to_wait_for(client: TestClient) -> None:
    """202, and the revision's own address tells when it is searchable."""
    answer = client.post("/v1/documents", json={"documents": [document("tea", "Tea is made with water.")]})
    assert (answer.status_code, answer.json()["searchable"]) == (202, False)
    state = client.get(f"/v1/revisions/{answer.json()['revision']}", params={"timeout": 60}).json()
    assert state["searchable"]
    assert found(client, "tea water")[0] == "tea"
    beyond = client.get("/v1/revisions/1000000").json()
    assert not beyond["searchable"]


def test_deletions_hold_when_they_are_answered(client: TestClient) -> None:
    """No waiting is needed: the next search does not find it (I3). Unknown ids are ignored."""
    assert client.post("/v1/documents/delete", json={"ids": ["reset", "none"]}).json()["documents"]["deleted"] == 1
    assert "reset" not in found(client, "reset a password")
    assert client.delete("/v1/documents/backup").status_code == 202
    assert "backup" not in found(client, "copy of every disk")
    client.post("/v1/documents", json={"documents": [document("a/b?c", "A slash in the id.")]}, params=WAITED)
    assert client.delete("/v1/documents/a/b%3Fc").json()["documents"]["deleted"] == 1


def test_revoked_access_holds_when_it_is_answered(client: TestClient) -> None:
    """What nobody may see any more is not found, before the store has heard of it."""
    sent = {"documents": [document("reset", "Click the link in the mail to reset a password.", access=[])]}
    sent["documents"][0]["metadata"] = {"lang": "en"}
    assert client.post("/v1/documents", json=sent).json()["documents"]["access_updated"] == 1
    assert "reset" not in found(client, "reset a password")


@pytest.fixture
def two_lives(tmp_path: Path) -> Path:
    """A folder for an index that is opened twice."""
    return tmp_path


def test_the_same_request_is_done_once_also_after_a_restart(two_lives: Path) -> None:
    """The first answer is given again, word for word; another request under the same key is refused."""
    settings: dict[str, Any] = {"embedder": "hashing/64", "catalog": "sqlite:///c.db", "root": two_lives}
    first = {"documents": [document("a", "one")]}
    key = {"Idempotency-Key": "k1"}
    with Index(store="lancedb://v", **settings) as index, TestClient(create_app(index)) as client:
        told = client.post("/v1/documents", json=first, headers=key, params=WAITED)
        client.post("/v1/documents", json={"documents": [document("a", "two")]}, params=WAITED)
    with Index(store="lancedb://v", **settings) as index, TestClient(create_app(index)) as client:
        again = client.post("/v1/documents", json=first, headers=key, params=WAITED)
        assert again.headers["idempotency-replayed"] == "true"
        assert again.json()["revision"] == told.json()["revision"]
        assert again.json()["documents"] == told.json()["documents"]
        assert client.post("/v1/search", json={"query": "two"}).json()["hits"][0]["text"] == "two"
        other = client.post("/v1/documents", json={"documents": []}, headers=key)
        assert (other.status_code, other.json()["type"]) == (409, "urn:regen:KeyUsedOtherwise")


def test_events_of_our_own_form(client: TestClient) -> None:
    """In their order: of one id the last word counts."""
    events = [
        {"op": "upsert", "id": "x", "text": "first"},
        {"op": "delete", "id": "x"},
        {"op": "upsert", "id": "y", "text": "about cheese", "metadata": {"lang": "en"}, "at": 1_700_000_000},
        {"op": "delete", "id": "backup"},
    ]
    told = client.post("/v1/events", json={"events": events}, params=WAITED).json()
    assert (told["documents"]["added"], told["documents"]["deleted"]) == (1, 1)
    assert found(client, "cheese")[0] == "y"


def envelope(op: str, before: Any = None, after: Any = None) -> dict[str, Any]:
    """A change in Debezium's words."""
    source = {"connector": "postgresql", "table": "pages", "ts_ms": 1_700_000_000_500}
    return {"schema": {"type": "struct"}, "payload": {"op": op, "before": before, "after": after, "source": source}}


def test_debeziums_envelope(client: TestClient) -> None:
    """One event or several, with a schema or without; rows become documents, their other columns metadata."""
    row = {"id": 7, "text": "about cheese", "lang": "en", "access": '["team:people"]', "version": 3}
    told = client.post("/v1/events", json=envelope("c", after=row), params=WAITED).json()
    assert told["documents"]["added"] == 1
    hit = client.post("/v1/search", json={"query": "cheese", "principals": ["team:people"]}).json()["hits"][0]
    assert (hit["doc_id"], hit["metadata"]) == ("7", {"lang": "en"})
    assert "7" not in found(client, "cheese")
    moved = {**row, "id": 8, "access": None}
    both = [envelope("u", row, moved), envelope("d", before={"id": "backup"})["payload"], {"payload": None}]
    told = client.post("/v1/events", json=both, params=WAITED).json()
    assert told["documents"]["deleted"] == 2
    assert found(client, "cheese")[0] == "8"


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (envelope("t"), "emptied"),
        (envelope("d", before={"name": "x"}), "no usable column 'id'"),
        (envelope("c", after={"id": 1}), "no usable column 'text'"),
        (envelope("c", after={"id": {"x": 1}, "text": "a"}), "no usable column 'id'"),
        (envelope("c", after={"id": 1, "text": "a", "access": "team:x"}), "no list of principals"),
    ],
)
def test_rows_that_are_no_documents_are_refused(client: TestClient, event: Any, told: str) -> None:
    """The whole request is refused, and says which event and why."""
    answer = client.post("/v1/events", json=[envelope("c", after={"id": "ok", "text": "fine"}), event])
    assert (answer.status_code, told in answer.json()["detail"]) == (422, True)
    assert "event 1" in answer.json()["detail"]
    assert "ok" not in found(client, "fine")


def test_columns_have_the_names_that_are_configured() -> None:
    """A row's id and text may be called otherwise."""
    fields = EventFields(id="key", text="body", access="readers", version="rev")
    row = {"key": "k", "body": "b", "readers": ["a"], "rev": 2, "id": 9}
    made = folded([DebeziumEvent.model_validate(envelope("r", after=row))], fields).upserts[0]
    assert (made.id, made.text, made.access, made.version, made.metadata) == ("k", "b", ["a"], "2", {"id": 9})
    assert made.updated_at == 1_700_000_000.5
    assert folded(ChangeBatch(events=[]), fields) == ([], [])
    with pytest.raises(ConfigError, match="event 0"):
        folded([DebeziumEvent.model_validate(envelope("c", after={"id": 1}))], fields)


class Stuck(HashingEmbedder):
    """A model that answers no query until it is let."""

    def __init__(self) -> None:
        super().__init__(16)  # which works in this process
        self.waiting, self.go_on = threading.Semaphore(0), threading.Event()

    def embed_query(self, text: str) -> Vector:
        """Wait."""
        self.waiting.release()
        assert self.go_on.wait(300)
        return super().embed_query(text)


def test_changes_do_not_wait_behind_searches() -> None:
    """As many searches as there are threads for them wait for their model; a deletion is answered all the same."""
    model, threads = Stuck(), min(MOST_AT_ONCE, PER_CORE * (os.cpu_count() or 1))
    with Index(embedder=model, store="memory://", catalog="sqlite://") as index:
        index.upsert([Document("a", "a text")])
        with TestClient(create_app(index)) as client, ThreadPoolExecutor(threads + 5) as pool:
            asked = [pool.submit(client.post, "/v1/search", json={"query": f"q{n}"}) for n in range(threads + 5)]
            try:
                for _ in range(threads):
                    assert model.waiting.acquire(timeout=120)
                told = client.post("/v1/documents/delete", json={"ids": ["a"]})
                assert (told.status_code, told.json()["documents"]["deleted"]) == (202, 1)
                assert client.get("/v1/revisions/2", params={"timeout": 60}).json()["searchable"]
                assert client.post("/v1/gc", json={}, params={"wait": 60}).status_code == 200
            finally:
                model.go_on.set()
            answers = [each.result() for each in asked]
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert [answer.json()["hits"] for answer in answers] == [[]] * len(answers), "it was deleted before they were told"
