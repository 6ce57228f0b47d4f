"""Real servers that are killed or asked to end in the middle of work: nothing is lost, nothing done twice."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.server.process import Served, furnish, serving
from tests.waiting import until

import regen

ROWS = 3_000


@contextmanager
def opened(folder: Path) -> Iterator[regen.Index]:
    """The index of a folder, with that folder's model."""
    sys.modules.pop("slow_model", None)
    with regen.open(folder / "regen.yaml") as index:
        yield index


def state(folder: Path) -> dict[str, Any]:
    """What the index holds: every document's placement, and that catalog and store agree on all of it."""
    with opened(folder) as index:
        assert index.verify().consistent
        found = index.status()
        hits = {n: index.search(f"text number {n}", 1).hits[0] for n in range(0, ROWS, 601)}
        return {
            "documents": found.documents,
            "pending": found.freshness.pending,
            "chunks": [item.chunks for item in found.generations],
            "live": found.live,
            "hits": {n: (hit.doc_id, hit.chunk_id, hit.text) for n, hit in hits.items()},
        }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration and rows, nothing indexed yet."""
    made = tmp_path / "served"
    made.mkdir()
    furnish(made, ROWS, 0.001)
    return made


def begin_sync(client: httpx2.Client, key: str) -> dict[str, Any]:
    """Ask for a sync under a key."""
    answer = client.post("/v1/sync", json={}, headers={"Idempotency-Key": key})
    assert answer.status_code in {200, 202}, answer.text
    found: dict[str, Any] = answer.json()
    return found


def under_way(client: httpx2.Client, number: int) -> bool:
    """Whether a run has placed something and is not done."""
    run = client.get(f"/v1/runs/{number}").json()
    assert run["finished_at"] is None, "too quick to be interrupted"
    return run["progress"] is not None and run["progress"]["done"] > 0


def test_a_run_goes_on_after_its_server_was_killed(folder: Path, tmp_path: Path) -> None:
    """The next server takes it up, as its second attempt, and the index equals one that nobody killed."""
    with serving(folder) as first, first.client() as client:
        number = begin_sync(client, "load")["id"]
        until(lambda: under_way(client, number))
        first.kill()
    (folder / "pace").write_text("0")
    with serving(folder) as second, second.client() as client:
        assert begin_sync(client, "load")["id"] == number, "the same request finds the same run"
        ended = client.get(f"/v1/runs/{number}", params={"wait": 120}).json()
        assert (ended["state"], ended["attempts"], ended["error"]) == ("succeeded", 2, None)
        assert client.get("/v1/status").json()["documents"] == ROWS
        assert second.end() == 0
    clean = tmp_path / "clean"
    clean.mkdir()
    furnish(clean, ROWS, 0)
    with opened(clean) as index:
        index.sync()
    assert state(folder) == state(clean)


def test_a_server_that_is_asked_to_end_drains(folder: Path) -> None:
    """What is being answered is answered, streams end, waiting ends, the run waits for the next server; exit code 0."""
    told: dict[str, Any] = {}
    streaming = threading.Event()

    def watch(server: Served, number: int) -> None:
        kinds = []
        with server.client() as client, client.stream("GET", f"/v1/runs/{number}/events") as answer:
            for line in answer.iter_lines():
                kinds += [line] if line.startswith("event: ") else []
                streaming.set()
        told["events"] = kinds

    def write(server: Served) -> None:
        with server.client() as client:
            sent = {"documents": [{"id": "pushed", "text": "pushed while a run was under way"}]}
            told["written"] = client.post("/v1/documents", json=sent, params={"wait": "searchable", "timeout": 300})

    with serving(folder) as first, first.client() as client:
        number = begin_sync(client, "load")["id"]
        until(lambda: under_way(client, number))
        watching = threading.Thread(target=watch, args=(first, number))
        watching.start()
        assert streaming.wait(60)
        with socket.create_connection(("127.0.0.1", httpx2.URL(first.url).port or 0)) as waiting:
            waiting.sendall(f"GET /v1/runs/{number}?wait=300 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            client.get("/healthz")  # what was sent before has been read by the time that this is answered
            began = time.monotonic()
            assert first.end() == 0
            assert time.monotonic() - began < 60, "it waited for somebody who waits for it"
            with waiting.makefile("rb") as answer:
                assert answer.readline().startswith(b"HTTP/1.1 200")
                told["waited"] = json.loads(answer.read().partition(b"\r\n\r\n")[2])
        watching.join(60)
    assert told["events"][-1] == "event: run"
    assert told["waited"]["finished_at"] is None
    with opened(folder) as index:
        left = index.records.requested_run(number)
        assert (left.state, left.attempts) == ("queued", 1)
    (folder / "pace").write_text("0.0005")
    with serving(folder) as second, second.client() as client:
        writing = threading.Thread(target=write, args=(second,))
        until(lambda: client.get(f"/v1/runs/{number}").json()["state"] in {"running", "succeeded"})
        writing.start()
        ended = client.get(f"/v1/runs/{number}", params={"wait": 120}).json()
        assert (ended["state"], ended["attempts"]) == ("succeeded", 2)
        writing.join(120)
        assert told["written"].status_code in {200, 202}
        assert second.end() == 0
    with opened(folder) as index:
        index.catch_up()
        assert index.search("pushed while a run was under way", 1).hits[0].doc_id == "pushed"
        assert index.verify().consistent


def push(server: list[Served], sent: dict[str, Any], key: str) -> httpx2.Response:
    """Send a change until somebody has answered it, whichever server that is."""
    while True:
        try:
            with server[-1].client() as client:
                answer = client.post("/v1/documents", json=sent, headers={"Idempotency-Key": key})
        except httpx2.TransportError:
            time.sleep(0.05)
            continue
        if answer.status_code != 503:
            return answer
        time.sleep(0.05)


def test_clients_with_keys_come_to_the_same_result(folder: Path) -> None:
    """Two kills while a client writes: every edit is answered once, each answer is kept, the log holds each once."""
    (folder / "rows.jsonl").write_text("")
    (folder / "pace").write_text("0")
    answers: dict[str, dict[str, Any]] = {}
    servers: list[Served] = []
    ended = threading.Event()

    def body(number: int) -> dict[str, Any]:
        return {"documents": [{"id": f"p{number % 40}", "text": f"edit {number}"}]}

    def write() -> None:
        for number in count():
            if ended.is_set():
                return
            answer = push(servers, body(number), f"edit-{number}")
            assert answer.status_code in {200, 202}, answer.text
            answers[f"edit-{number}"] = answer.json()

    writer = threading.Thread(target=write)
    for turn in range(3):
        with serving(folder) as server:
            servers.append(server)
            if turn == 0:
                writer.start()
            before = len(answers)
            until(lambda before=before: len(answers) >= before + 30)  # type: ignore[misc]
            if turn < 2:
                server.kill()
                continue
            ended.set()
            writer.join(60)
            edits = len(answers)
            with server.client() as client:
                for number in range(edits):
                    key = {"Idempotency-Key": f"edit-{number}"}
                    again = client.post("/v1/documents", json=body(number), headers=key)
                    assert again.headers["idempotency-replayed"] == "true"
                    assert again.json() == answers[f"edit-{number}"]
                last = max(answer["revision"] for answer in answers.values())
                assert client.get(f"/v1/revisions/{last}", params={"timeout": 120}).json()["searchable"]
            assert server.end() == 0
    with opened(folder) as index:
        assert index.verify().consistent
        logged = [item for item in index.history(limit=10_000) if item.doc_id.startswith("p")]
        assert len(logged) == edits
        for document in range(40):
            newest = max(number for number in range(edits) if number % 40 == document)
            assert index.past(f"p{document}", index.history(f"p{document}")[0].revision).text == f"edit {newest}"
            hits = index.search(f"edit {newest}", 40).hits
            assert (f"p{document}", f"edit {newest}") in {(hit.doc_id, hit.text) for hit in hits}


def test_it_says_where_it_listens_and_whom_it_lets_in(folder: Path) -> None:
    """The address is on standard output, at once, with a warning while nobody needs a key; no secret is in the log."""
    open_to_all = regen_cli(folder, "serve", "--host", "0.0.0.0", "--port", "0", "--json")
    assert open_to_all.returncode == 1
    assert "can be reached from other machines" in open_to_all.stdout + open_to_all.stderr
    with serving(folder) as server:
        assert "whoever is on this machine may do everything" in server.told["warnings"][0]
        assert json.loads(httpx2.get(f"{server.url}/healthz").text) == {"status": "ok"}
        assert server.end() == 0
    made = json.loads(regen_cli(folder, "keys", "create", "web", "--scope", "search", "--json").stdout)
    key, token = made["key"], "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"
    with serving(folder) as server, server.client() as client:
        assert server.told["warnings"] == []
        asked = {"query": "x"}
        shown = [{"Authorization": f"Bearer {secret}"} for secret in (key, token)]
        assert client.post("/v1/search", json=asked).status_code == 401
        assert [client.post("/v1/search", json=asked, headers=item).status_code for item in shown][1] == 401
        client.post(f"/v1/search?key={key}&token={token}", json=asked, headers=shown[0])
        client.get(f"/{key}/{token}")
        assert server.end() == 0
    log = (folder / "server.log").read_text()
    assert '"event": "request"' in log
    assert key not in log
    assert key.rpartition("_")[2] not in log
    assert token not in log


def regen_cli(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A verb in a process of its own."""
    program = str(Path(sys.executable).parent / "regen")
    return subprocess.run(
        [program, *arguments, "-c", "regen.yaml"], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
