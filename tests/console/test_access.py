"""Who may see and do what in the console: logging in with a key, sessions that end, scopes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from regen import Document, Index
from regen.server import create_app
from regen.server.service import Service

HERE = "http://127.0.0.1:8321"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """Two documents, one of them for a team."""
    with Index(
        embedder="hashing/32", store="memory://", catalog="sqlite:///c.db", alias="handbook", root=tmp_path
    ) as made:
        made.upsert([Document("public", "the kettle boils"), Document("secret", "the kettle leaks", access=["team:a"])])
        yield made


@pytest.fixture
def client(index: Index) -> Iterator[TestClient]:
    """A browser that nobody has logged in, on this machine."""
    with TestClient(create_app(index), base_url=HERE, follow_redirects=False) as made:
        yield made


def mark(client: TestClient, path: str) -> str:
    """The mark of a page's forms."""
    found = re.search(r'name="csrf" value="(\w+)"', client.get(path).text)
    assert found is not None
    return found[1]


def known_at_once(client: TestClient) -> None:
    """Let the service look its keys up anew, as it does every few seconds."""
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    service.doorkeeper.keys.forget()


def log_in(client: TestClient, key: str, wanted: str = "/console/history") -> str:
    """Show a key; where the browser is sent."""
    answer = client.post("/console/login", data={"csrf": mark(client, "/console/login"), "key": key, "next": wanted})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def test_without_keys_this_machine_is_let_in_and_warned(client: TestClient) -> None:
    """Every page says that nobody is asked for a key, until there is one."""
    page = client.get("/console").text
    assert "No key is asked for." in page
    assert "Log out" not in page


def test_a_key_opens_it(client: TestClient, index: Index) -> None:
    """Whoever is not known is sent to log in, and back to where they wanted to go; a wrong key is told."""
    key, _ = index.create_key("ann", ["search", "operate"])
    answer = client.get("/console/history?document=public")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/console/login?next=/console/history%3Fdocument%3Dpublic"
    wrong = client.post("/console/login", data={"csrf": mark(client, "/console/login"), "key": "regen_no", "next": ""})
    assert wrong.status_code == 401
    assert 'aria-invalid="true"' in wrong.text
    assert "regen_no" not in wrong.text
    assert log_in(client, key, "/console/history?document=public") == "/console/history?document=public"
    page = client.get("/console").text
    assert "ann" in page
    assert "Log out" in page
    assert "No key is asked for." not in page
    assert key not in page


def test_logging_out_ends_the_session(client: TestClient, index: Index) -> None:
    """On the server too: the old cookie opens nothing any more."""
    key, _ = index.create_key("ann", ["operate"])
    log_in(client, key)
    kept = client.cookies.get("regen_session")
    assert client.post("/console/logout", data={"csrf": mark(client, "/console")}).status_code == 303
    assert kept is not None
    client.cookies.set("regen_session", kept)
    assert client.get("/console").status_code == 303


def test_an_expired_session_does_nothing_and_says_so(client: TestClient, index: Index) -> None:
    """What is sent after the session has ended is not done: the browser is led to log in, which tells it."""
    key, _ = index.create_key("ann", ["operate", "admin"])
    log_in(client, key)
    form = {"csrf": mark(client, "/console/plan")}
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    service.doorkeeper.sessions._sessions.clear()
    answer = client.post("/console/plan", data=form)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/console/login?next=/console&expired=1"
    assert index.records.requested_runs() == []
    page = client.get(answer.headers["location"]).text
    assert "Your session has ended." in page


def test_a_revoked_key_ends_its_sessions(client: TestClient, index: Index) -> None:
    """From the next page on."""
    key, _ = index.create_key("ann", ["operate"])
    log_in(client, key)
    index.revoke_key("ann")
    known_at_once(client)
    assert client.get("/console").status_code == 303


def test_a_mark_is_for_one_caller(client: TestClient, index: Index) -> None:
    """A form that was made before somebody else logged in is not theirs."""
    ann, _ = index.create_key("ann", ["operate"])
    bob, _ = index.create_key("bob", ["operate"])
    log_in(client, ann)
    made_for_ann = mark(client, "/console/plan")
    log_in(client, bob)
    answer = client.post("/console/plan", data={"csrf": made_for_ann})
    assert answer.status_code == 403
    assert "nothing was done" in answer.text


@pytest.mark.parametrize(
    ("scope", "path"), [("search", "/console"), ("search", "/console/plan"), ("write", "/console/search")]
)
def test_a_scope_that_is_not_enough(client: TestClient, index: Index, scope: str, path: str) -> None:
    """The page says which scope is needed and which there are."""
    key, _ = index.create_key("ann", [scope])
    log_in(client, key)
    answer = client.get(path)
    assert answer.status_code == 403
    assert "this needs the scope" in answer.text


def test_a_key_searches_as_its_own_principals_only(client: TestClient, index: Index) -> None:
    """Naming others has no effect without the scope act_as."""
    key, _ = index.create_key("ann", ["search", "operate"])
    log_in(client, key)
    for smuggled in ({"as": "team:a"}, {"everyone": "on"}, {"principals": "team:a"}):
        page = client.get("/console/search", params={"q": "kettle", **smuggled}).text
        assert "id=public" in page
        assert "id=secret" not in page
    team, _ = index.create_key("bob", ["search"], principals=["team:a"])
    known_at_once(client)
    log_in(client, team)
    assert "id=secret" in client.get("/console/search", params={"q": "kettle"}).text


def test_overruling_the_gate_needs_admin(client: TestClient, index: Index) -> None:
    """Operating is not enough to force a promotion, as in the HTTP API."""
    key, _ = index.create_key("ann", ["operate"])
    log_in(client, key)
    answer = client.post(
        "/console/generations/1/promote",
        data={
            "csrf": mark(client, "/console/generations/1/promote"),
            "confirm": "handbook",
            "force": "on",
            "reason": "x",
        },
    )
    assert answer.status_code == 403
    assert "this needs the scope admin" in answer.text


def test_retiring_needs_admin_and_the_alias(client: TestClient, index: Index) -> None:
    """A generation is given up by administrators only, confirmed by the alias, never the live one; it is on record."""
    ann, _ = index.create_key("ann", ["operate"])
    boss, _ = index.create_key("boss", ["admin"])
    with Index(
        embedder="hashing/32", store="memory://x", catalog="sqlite:///c.db", alias="handbook", root=index.root
    ) as other:
        other._writer.create(other.recipe)
    address = "/console/generations/2/retire"
    log_in(client, ann)
    assert "needs a key with the scope admin" in client.get(address).text
    sent = {"csrf": mark(client, address), "confirm": "handbook", "reason": "not wanted"}
    assert client.post(address, data=sent).status_code == 403
    log_in(client, boss)
    sent["csrf"] = mark(client, address)
    assert client.post(address, data={**sent, "confirm": "hand"}).status_code == 422
    assert [item.state for item in index.generations()] == ["live", "building"]
    live = client.post("/console/generations/1/retire", data=sent)
    assert (live.status_code, "generation 1 is live" in live.text) == (409, True)
    assert client.post(address, data=sent).headers["location"] == "/console/generations/2"
    assert [item.state for item in index.generations()] == ["live", "aborted"]
    done = index.audited(1)[0]
    assert (done.actor, done.action, done.details["reason"]) == ("key:boss", "retire", "not wanted")


def test_keys_are_listed_for_admins_without_secrets(client: TestClient, index: Index) -> None:
    """Names, scopes, principals and state; never a key or its digest."""
    operator, _ = index.create_key("ann", ["operate"])
    admin, made = index.create_key("<b>root</b>", ["admin"], principals=["team:a"])
    log_in(client, operator)
    assert "Only a key with the scope admin sees them." in client.get("/console/settings").text
    log_in(client, admin)
    page = client.get("/console/settings").text
    assert "&lt;b&gt;root&lt;/b&gt;" in page
    assert admin not in page
    assert made.digest.hex() not in page


def test_actions_name_their_actor(client: TestClient, index: Index) -> None:
    """The audit log, and the page that shows it, say who did what; runs do too."""
    key, _ = index.create_key("ann", ["operate", "admin"])
    log_in(client, key)
    answer = client.post("/console/rollback", data={"csrf": mark(client, "/console/plan"), "confirm": "handbook"})
    assert answer.status_code == 409
    assert "there is no previous generation" in answer.text
    begun = client.post("/console/sync", data={"csrf": mark(client, "/console/plan")})
    assert begun.headers["location"].startswith("/console/runs/")
    [first, *_] = [item for item in index.audited() if item.action == "rollback"]
    assert (first.actor, first.outcome.partition(":")[0]) == ("key:ann", "NotPromotable")
    page = client.get("/console/history").text
    assert "What operators did" in page
    assert "NotPromotable" in page
