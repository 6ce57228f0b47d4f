"""Long work: begun, followed, found again after the server's end, and on record."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from regen import Index
from regen.core.results import Progress, VerifyReport
from regen.server import Service, create_app
from regen.server.access.caller import Caller


def operator(index: Index) -> dict[str, str]:
    """The header of somebody who may operate."""
    return {"Authorization": f"Bearer {index.create_key('ops', ['operate'])[0]}"}


def test_a_run_ends_with_the_verbs_own_result(client: TestClient) -> None:
    """Waited for it is the answer; else it is found at its address."""
    answer = client.post("/v1/verify", json={}, params={"wait": 60})
    assert (answer.status_code, answer.headers["location"]) == (200, "/v1/runs/1")
    run = answer.json()
    assert (run["state"], run["result"]["consistent"], run["error"]) == ("succeeded", True, None)
    begun = client.post("/v1/gc", json={})
    assert begun.status_code in {200, 202}
    ended = client.get(f"/v1/runs/{begun.json()['id']}", params={"wait": 60}).json()
    assert (ended["verb"], ended["state"]) == ("gc", "succeeded")
    assert [item["verb"] for item in client.get("/v1/runs").json()] == ["gc", "verify"]


def test_a_run_fails_in_the_words_of_the_command_line(client: TestClient) -> None:
    """A problem, with the run's number; the run keeps it."""
    answer = client.post("/v1/promote", json={"generation": 9}, params={"wait": 60})
    assert (answer.status_code, answer.json()["detail"]) == (404, "there is no generation 9")
    run = client.get(f"/v1/runs/{answer.json()['run']}").json()
    assert (run["state"], run["error"]["hint"]) == ("failed", "there are: [1]")
    nothing = client.post("/v1/promote", json={})
    assert (nothing.status_code, nothing.json()["detail"]) == (404, "no generation is ready")
    assert client.get("/v1/runs/99").status_code == 404


def test_plan_and_apply(client: TestClient, index: Index) -> None:
    """What was planned is applied; when the world has moved on it is refused as stale."""
    plan = client.post("/v1/plan", json={}).json()["result"]
    assert plan["steps"] == []
    assert client.post("/v1/apply", json={"plan": plan}, params={"wait": 60}).status_code == 200
    client.post("/v1/documents", json={"documents": [{"id": "new", "text": "new"}]}, params={"wait": "searchable"})
    stale = client.post("/v1/apply", json={"plan": plan}, params={"wait": 60})
    assert (stale.status_code, stale.json()["type"]) == (409, "urn:regen:StalePlan")
    assert client.post("/v1/apply", json={"plan": {"version": 0}}, params={"wait": 60}).status_code == 422


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Server-sent events as pairs of their kind and data."""
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]
    return [(block["event"], json.loads(block["data"])) for block in blocks]


@pytest.fixture
def slow_verify(index: Index, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let ``verify`` report progress until the event is set."""
    go_on = threading.Event()

    def verify(*, repair: bool = False, progress: Any) -> VerifyReport:
        done = 0
        while not go_on.wait(0.05):
            done += 1
            progress(Progress("verify", done, None))
        return VerifyReport(points=7)

    monkeypatch.setattr(index, "verify", verify)
    yield go_on
    go_on.set()


def test_progress_is_told_as_it_is_made(client: TestClient, slow_verify: threading.Event) -> None:
    """Server-sent events tell how far a run is, and its end once."""
    number = client.post("/v1/verify", json={}).json()["id"]
    threading.Timer(1.5, slow_verify.set).start()
    told = events(client.get(f"/v1/runs/{number}/events").text)
    kinds = [kind for kind, _ in told]
    assert (kinds[-1], set(kinds[:-1])) == ("end", {"run"})
    progressed = [data["progress"]["done"] for _, data in told if data["progress"] is not None]
    assert len(set(progressed)) >= 2
    assert progressed == sorted(progressed)
    assert told[-1][1]["result"]["points"] == 7
    last = told[-1][1]["version"]
    again = events(client.get(f"/v1/runs/{number}/events", headers={"Last-Event-ID": str(last)}).text)
    assert [kind for kind, _ in again] == ["end"]


def test_a_run_outlives_its_server(index: Index, slow_verify: threading.Event) -> None:
    """Stopped in the middle, it waits, and the next server does it again from the start."""
    with TestClient(create_app(index)) as client:
        number = client.post("/v1/verify", json={}).json()["id"]
        while client.get(f"/v1/runs/{number}").json()["progress"] is None:
            time.sleep(0.02)
    left = index.records.requested_run(number)
    assert (left.state, left.attempts) == ("queued", 1)
    slow_verify.set()
    with TestClient(create_app(index)) as client:
        ended = client.get(f"/v1/runs/{number}", params={"wait": 60}).json()
    assert (ended["state"], ended["attempts"], ended["result"]["points"]) == ("succeeded", 2, 7)


def test_a_run_of_a_server_that_was_killed_is_taken_up(index: Index) -> None:
    """Its owner is a process of this host that is not there any more; after five such ends it is given up."""
    records = index.records
    for verb in ("verify", "verify"):
        records.request_run(verb, {"repair": False}, actor="ann", at=1.0)
    for _ in range(5):
        killed = records.claim_run(f"{gone_owner()}", at=2.0, stale=9e9)
        assert killed is not None
    records.claim_run(gone_owner(), at=2.0, stale=0.0)
    with TestClient(create_app(index)) as client:
        first, second = (client.get(f"/v1/runs/{number}", params={"wait": 60}).json() for number in (1, 2))
    assert (first["state"], "ended 5 times" in first["error"]["detail"]) == ("failed", True)
    assert (second["state"], second["attempts"]) == ("succeeded", 2)


def gone_owner() -> str:
    """The name of a process of this host that has ended."""
    import socket
    import subprocess
    import sys

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return f"{socket.gethostname()}:{ended.pid}:0"


def test_a_run_is_begun_once_under_one_key(client: TestClient) -> None:
    """The same request finds the same run."""
    key = {"Idempotency-Key": "once"}
    first = client.post("/v1/gc", json={}, headers=key, params={"wait": 60}).json()
    assert client.post("/v1/gc", json={}, headers=key, params={"wait": 60}).json() == first
    assert len(client.get("/v1/runs").json()) == 1


def test_what_operators_did_is_on_record(index: Index) -> None:
    """Who, what, from where and what came of it; not what was only looked at. The alias's history names them too."""
    ops, admin = operator(index), index.create_key("boss", ["admin"])[0]
    with TestClient(create_app(index)) as client:
        client.post("/v1/plan", json={}, headers=ops)
        client.post("/v1/rollback", json={"reason": "bad answers"}, headers=ops)
        client.post("/v1/promote", json={"generation": 1, "reason": "why not"}, headers=ops, params={"wait": 60})
        forced = client.post("/v1/promote", json={"force": True, "reason": "x"}, headers=ops)
        assert forced.status_code == 403
        assert client.get("/v1/audit", headers=ops).status_code == 403
        found = client.get("/v1/audit", headers={"Authorization": f"Bearer {admin}"}).json()
    told = [(item["actor"], item["action"], item["outcome"].partition(":")[0]) for item in reversed(found)]
    assert told == [
        ("key:ops", "rollback", "NotPromotable"),
        ("key:ops", "promote", "run 2 begun"),
        ("key:ops", "promote", "run 2 failed"),
    ]
    assert (found[-1]["details"]["reason"], found[-1]["origin"]) == ("bad answers", "testclient")
    assert [item.id for item in index.audited(1)] == [found[0]["id"]]


def test_the_history_names_the_caller(tmp_path: Path) -> None:
    """A switch over HTTP is the caller's, not the server's user's."""
    with Index(embedder="hashing/32", store="memory://", catalog="sqlite://", root=tmp_path) as index:
        service = Service(index, create_app(index).state.service.settings)
        assert service.index.live is None
        with index.acting_as(Caller("x", "key:ops", frozenset()).name):
            assert index.create_key("k", ["search"])[1].created_by == "key:ops"
