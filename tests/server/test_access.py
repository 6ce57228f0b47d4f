"""Who may do what: every route and scope, keys, tokens, sessions, rates, and principals that callers make up."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI
from starlette.testclient import TestClient

from regen import Index
from regen.config.server import JwtSettings, ServerSettings
from regen.core.keys import SCOPES, Scope
from regen.errors import ConfigError
from regen.server import Service, create_app
from regen.server.access.rates import RateLimits, TooManyRequests
from regen.server.access.sessions import COOKIE, CSRF_HEADER

FREE = {"/healthz", "/readyz"}
NEEDS: dict[tuple[str, str], Scope] = {
    ("POST", "/v1/search"): "search",
    ("POST", "/v1/feedback"): "search",
    ("POST", "/v1/documents"): "write",
    ("POST", "/v1/documents/delete"): "write",
    ("DELETE", "/v1/documents/{doc_id:path}"): "write",
    ("POST", "/v1/events"): "write",
    ("GET", "/v1/revisions/{revision}"): "write",
    ("DELETE", "/v1/generations/{number}"): "admin",
    ("GET", "/v1/audit"): "admin",
    ("GET", "/v1/keys"): "admin",
    ("POST", "/v1/keys"): "admin",
    ("DELETE", "/v1/keys/{name}"): "admin",
    **{
        ("POST", f"/v1/{verb}"): "operate"
        for verb in (
            "sync", "plan", "apply", "evaluate", "promote", "verify", "gc", "retry", "restore", "replay", "doctor",
            "rollback", "pause", "resume", "rollouts", "rollouts/advance", "rollouts/pause", "rollouts/resume",
            "rollouts/abort",
        )
    },
    **{
        ("GET", path): "operate"
        for path in (
            "/v1/status", "/v1/runs", "/v1/runs/{number}", "/v1/runs/{number}/events", "/v1/generations", "/v1/alias",
            "/v1/evaluations", "/v1/rollouts", "/v1/dead-letters", "/v1/history", "/metrics",
        )
    },
}  # fmt: skip


def routes(app: FastAPI) -> set[tuple[str, str]]:
    """Every method and path of the API."""
    found: set[tuple[str, str]] = set()
    for path, methods in app.openapi()["paths"].items():
        found |= {(method.upper(), path) for method in methods}
    return {(method, path.replace("{doc_id}", "{doc_id:path}")) for method, path in found}


def bearer(key: str) -> dict[str, str]:
    """The header that shows a key or token."""
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def keys(index: Index) -> dict[str, str]:
    """A key for each scope alone, of nobody in particular."""
    return {scope: index.create_key(scope, [scope])[0] for scope in SCOPES}


@dataclass(frozen=True)
class Guarded:
    """A service with a key for each scope alone."""

    client: TestClient
    keys: dict[str, str]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    """One for all routes: nothing that they are asked for is done."""
    with Index(embedder="hashing/8", store="memory://", catalog="sqlite://") as index:
        made = {str(scope): index.create_key(scope, [scope], per_second=1e6)[0] for scope in SCOPES}
        settings = ServerSettings.model_validate({"rate_limit": "1000000/s"})
        with TestClient(create_app(index, settings)) as client:
            yield Guarded(client, made)


def test_every_route_is_in_the_table(client: TestClient) -> None:
    """A route that is added must say here what it needs; nothing else is open."""
    assert {path for _, path in routes(client.app)} - {path for _, path in NEEDS} == FREE  # type: ignore[arg-type]
    assert {pair for pair in routes(client.app) if pair[1] not in FREE} == set(NEEDS)  # type: ignore[arg-type]


@pytest.mark.parametrize(("method", "path"), sorted(NEEDS))
def test_each_scope_opens_its_routes_only(guarded: Guarded, method: str, path: str) -> None:
    """Without a key 401; with one of another scope 403; with the right one, or admin, whatever else it may be."""
    client, keys = guarded.client, guarded.keys
    address = path.replace("{doc_id:path}", "none").replace("{name}", "none").replace("{number}", "999")
    address = address.replace("{revision}", "0")
    needed = NEEDS[method, path]
    body: dict[str, Any] = {"json": {"nonsense": True}} if method == "POST" else {}
    assert client.request(method, address, **body).status_code == 401
    assert client.request(method, address, headers=bearer("regen_0_x"), **body).status_code == 401
    for scope, key in keys.items():
        status = client.request(method, address, headers=bearer(key), **body).status_code
        if scope in {needed, "admin"}:
            assert status not in {401, 403}, scope
        else:
            assert status == 403, scope


def test_keys_end(client: TestClient, index: Index, keys: dict[str, str]) -> None:
    """A revoked key opens nothing, an expired one neither, and revoking all of them opens no door."""
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    short, _ = index.create_key("short", ["search"], expires_in=0.001)
    time.sleep(0.01)
    service.doorkeeper.keys.forget()
    assert client.post("/v1/search", json={"query": "x"}, headers=bearer(short)).status_code == 401
    for name in [*keys, "short"]:
        index.revoke_key(name)
    service.doorkeeper.keys.forget()
    for key in keys.values():
        assert client.post("/v1/search", json={"query": "x"}, headers=bearer(key)).status_code == 401
    assert client.post("/v1/search", json={"query": "x"}).status_code == 401


def test_the_secret_is_nowhere_in_the_catalog(index: Index, tmp_path: Path) -> None:
    """What lies in the file opens nothing."""
    key, made = index.create_key("web", ["search"])
    secret = key.rpartition(made.id + "_")[2].encode()
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(made.id.encode() in data for data in files)
    assert not any(secret in data for data in files)


def test_principals_are_the_keys_own(client: TestClient, index: Index) -> None:
    """What a caller says in body, query or headers changes nothing; only a key with the scope act_as may name some."""
    plain, _ = index.create_key("plain", ["search", "write", "operate", "admin"])
    people, _ = index.create_key("people", ["search"], principals=["team:people"])
    acting, _ = index.create_key("acting", ["search", "act_as"])
    asked = {"query": "who earns how much money"}

    def found(shown: str, path: str = "/v1/search", headers: dict[str, str] | None = None, **more: Any) -> list[str]:
        answer = client.post(path, json={**asked, **more}, headers={**bearer(shown), **(headers or {})})
        return [hit["doc_id"] for hit in answer.json().get("hits", [])]

    assert found(people)[0] == "salary"
    assert found(acting, principals=["team:people"])[0] == "salary"
    assert "salary" not in found(acting)
    smuggled = "team:people"
    attempts = [
        found(plain),
        found(plain, principals=[smuggled]),
        found(plain, key=smuggled),
        found(plain, where={"access": smuggled}),
        found(plain, unrestricted=True),
        found(plain, f"/v1/search?principals={smuggled}&as={smuggled}"),
        *(
            found(plain, headers={name: smuggled})
            for name in ("principals", "x-principals", "x-forwarded-user", "x-regen-principals", "cookie")
        ),
    ]
    assert all("salary" not in hits for hits in attempts)
    refused = client.post("/v1/search", json={**asked, "principals": [smuggled]}, headers=bearer(plain))
    assert (refused.status_code, "bound to it" in refused.json()["detail"]) == (403, True)


# ── tokens ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Issuer:
    """An issuer of tokens with its keys in a file."""

    private: Any
    path: Path
    settings: JwtSettings

    def publish(self, *keys: tuple[str, Any]) -> None:
        """Write the public keys that are valid now."""
        found = [
            {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}
            for kid, key in keys
        ]
        self.path.write_text(json.dumps({"keys": found}))

    def token(self, *, key: Any = None, kid: str = "k1", algorithm: str = "RS256", **claims: Any) -> str:
        """A token, by default one that is believed."""
        told = {
            "iss": "https://issuer.example", "aud": "regen", "sub": "ann", "exp": time.time() + 60,
            "groups": ["people"], **claims,
        }  # fmt: skip
        told = {name: value for name, value in told.items() if value is not None}
        return jwt.encode(told, self.private if key is None else key, algorithm=algorithm, headers={"kid": kid})


@pytest.fixture(scope="module")
def private_key() -> Any:
    """A key of the issuer's."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


@pytest.fixture
def issuer(tmp_path: Path, private_key: Any) -> Issuer:
    """An issuer that says who somebody is, and in which groups."""
    settings = JwtSettings(
        jwks="jwks.json", issuer="https://issuer.example", audience=["regen"],
        principals={"sub": "user:{}", "groups": "team:{}"}, leeway=5.0,
    )  # fmt: skip
    made = Issuer(private_key, tmp_path / "jwks.json", settings)
    made.publish(("k1", private_key))
    return made


@pytest.fixture
def believing(index: Index, issuer: Issuer) -> Iterator[TestClient]:
    """A client of a service that believes the issuer."""
    with TestClient(create_app(index, ServerSettings(jwt=issuer.settings))) as made:
        yield made


def status(client: TestClient, token: str) -> int:
    """What a search with a token is answered with."""
    return client.post("/v1/search", json={"query": "money"}, headers=bearer(token)).status_code


def test_a_token_says_as_whom_its_bearer_searches(believing: TestClient, issuer: Issuer) -> None:
    """Claims give the principals; the scopes that it does not name are not there; act_as is never."""
    answer = believing.post("/v1/search", json={"query": "who earns money"}, headers=bearer(issuer.token()))
    assert answer.json()["hits"][0]["doc_id"] == "salary"
    other = believing.post("/v1/search", json={"query": "who earns money"}, headers=bearer(issuer.token(groups=["x"])))
    assert "salary" not in [hit["doc_id"] for hit in other.json()["hits"]]
    assert believing.get("/v1/status", headers=bearer(issuer.token())).status_code == 403
    operator = issuer.token(scope="search regen:operate")
    assert believing.get("/v1/status", headers=bearer(operator)).status_code == 200
    smuggler = issuer.token(scope="search act_as", groups=[])
    named = {"query": "money", "principals": ["team:people"]}
    assert believing.post("/v1/search", json=named, headers=bearer(smuggler)).status_code == 403
    for path, body, more in (
        ("/v1/search?principals=team:people&as=team:people&groups=people", {}, {}),
        ("/v1/search", {"key": "team:people", "where": {"access": "team:people"}}, {}),
        ("/v1/search", {}, {"X-Principals": "team:people", "X-Forwarded-Groups": "people", "Cookie": "groups=people"}),
    ):
        sent = {"query": "who earns money", **body}
        answer = believing.post(path, json=sent, headers={**bearer(smuggler), **more})
        assert answer.status_code == 200
        assert "salary" not in [hit["doc_id"] for hit in answer.json()["hits"]]
    assert believing.post("/v1/search", json={"query": "x"}).status_code == 401


def test_forged_tokens_are_not_believed(believing: TestClient, issuer: Issuer) -> None:
    """Another key, another signature, none at all, the public key as a shared secret, expired, for somebody else."""
    good = issuer.token()
    assert status(believing, good) == 200
    stranger = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    header, payload, signature = good.split(".")
    changed = json.loads(base64.urlsafe_b64decode(payload + "=="))
    changed["groups"] = ["board"]
    forged_payload = base64.urlsafe_b64encode(json.dumps(changed).encode()).decode().rstrip("=")
    nothing = base64.urlsafe_b64encode(b'{"alg":"none","kid":"k1"}').decode().rstrip("=")
    confused = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"k1"}').decode().rstrip("=")
    public = issuer.path.read_text()
    forged = {
        "another key": issuer.token(key=stranger),
        "unknown kid": issuer.token(kid="k2"),
        "changed claims": f"{header}.{forged_payload}.{signature}",
        "no signature": f"{header}.{payload}.",
        "alg none": f"{nothing}.{payload}.",
        "alg none, signed": f"{nothing}.{payload}.{signature}",
        "key confusion": f"{confused}.{forged_payload}.{by_shared_secret(public, f'{confused}.{forged_payload}')}",
        "confused header": f"{confused}.{payload}.{signature}",
        "algorithm not on the list": issuer.token(algorithm="RS512"),
        "expired": issuer.token(exp=time.time() - 6),
        "not yet": issuer.token(nbf=time.time() + 60),
        "no expiry": issuer.token(exp=None),
        "another audience": issuer.token(aud="other"),
        "no audience": issuer.token(aud=None),
        "another issuer": issuer.token(iss="https://evil.example"),
        "no subject": issuer.token(sub=None),
        "nonsense": "eyJ.x.y",
        "empty": "",
    }
    assert {name: status(believing, token) for name, token in forged.items()} == dict.fromkeys(forged, 401)
    assert status(believing, issuer.token(exp=time.time() - 3)) == 200, "within the leeway"


def by_shared_secret(secret: str, signed: str) -> str:
    """What HS256 would sign a token with, if the issuer's public key were its secret."""
    made = hmac.new(secret.encode(), signed.encode(), "sha256").digest()
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def test_keys_rotate(believing: TestClient, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of a new key is believed once the issuer publishes it; one of a withdrawn key no more."""
    service: Service = believing.app.state.service  # type: ignore[attr-defined]
    assert service.doorkeeper.tokens is not None
    keys, now = service.doorkeeper.tokens.keys, [time.monotonic()]
    monkeypatch.setattr(keys, "_clock", lambda: now[0])
    fresh = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    token = issuer.token(key=fresh, kid="k2")
    issuer.publish(("k2", fresh))
    now[0] += 1
    assert status(believing, token) == 401, "the issuer is not asked at once again for each unknown name"
    now[0] += 10
    assert status(believing, token) == 200
    assert status(believing, issuer.token()) == 401
    issuer.path.unlink()
    now[0] += 601
    assert status(believing, token) == 200, "while the issuer is out of reach its last keys serve"


# ── browsers, rates ─────────────────────────────────────────────────────────────────────────────────────────


class Published(BaseHTTPRequestHandler):
    """An issuer's address: what it answers with, and how often it was asked."""

    text: ClassVar[bytes] = b""
    asked: ClassVar[int] = 0

    def do_GET(self) -> None:
        """Give the keys, or nothing at all."""
        type(self).asked += 1
        self.send_response(200 if self.text else 503)
        self.end_headers()
        self.wfile.write(self.text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


def test_keys_of_an_address(index: Index, issuer: Issuer, private_key: Any) -> None:
    """Asked once for many tokens, and once for many unknown keys; while it is out of reach the last ones serve."""
    Published.text, Published.asked = issuer.path.read_bytes(), 0
    with HTTPServer(("127.0.0.1", 0), Published) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/jwks.json"
        settings = issuer.settings.model_copy(update={"jwks": address})
        with TestClient(create_app(index, ServerSettings(jwt=settings))) as client:
            service: Service = client.app.state.service  # type: ignore[attr-defined]
            assert service.doorkeeper.tokens is not None
            keys, now = service.doorkeeper.tokens.keys, [time.monotonic()]
            keys._clock = lambda: now[0]
            assert [status(client, issuer.token()) for _ in range(5)] == [200] * 5
            assert Published.asked == 1
            now[0] += 11
            assert [status(client, issuer.token(kid=f"made-up-{n}")) for n in range(5)] == [401] * 5
            assert Published.asked == 2
            Published.text = b""
            now[0] += 10_000
            assert status(client, issuer.token()) == 200
            assert Published.asked == 3
        server.shutdown()
    Published.text = b""
    with (
        pytest.raises(ConfigError, match="cannot be read"),
        TestClient(create_app(index, ServerSettings(jwt=settings))),
    ):
        pass


def test_a_browsers_session(client: TestClient, index: Index, keys: dict[str, str]) -> None:
    """It opens what its key opens, changes something only with its CSRF token, and ends with its key."""
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    service.doorkeeper.keys.forget()
    session = service.doorkeeper.log_in(keys["operate"])
    client.cookies.set(COOKIE, session.token)
    assert client.get("/v1/status").status_code == 200
    assert client.get("/v1/keys").status_code == 403
    assert client.post("/v1/plan", json={}).status_code == 403
    assert client.post("/v1/plan", json={}, headers={CSRF_HEADER: "guessed"}).status_code == 403
    assert client.post("/v1/plan", json={}, headers={CSRF_HEADER: session.csrf}).status_code == 200
    index.revoke_key("operate")
    service.doorkeeper.keys.forget()
    assert client.get("/v1/status").status_code == 401


def test_who_comes_too_often_waits(index: Index) -> None:
    """Each key has a bucket of its own; what is refused says when to come again."""
    slow, _ = index.create_key("slow", ["search"], per_second=0.01)
    quick, _ = index.create_key("quick", ["search"])
    with TestClient(create_app(index)) as client:
        answers = [client.post("/v1/search", json={"query": "x"}, headers=bearer(slow)) for _ in range(12)]
        assert [answer.status_code for answer in answers[:10]] == [200] * 10
        last = answers[-1]
        assert (last.status_code, last.json()["type"]) == (429, "urn:regen:TooManyRequests")
        assert 1 <= int(last.headers["retry-after"]) <= 100
        assert client.post("/v1/search", json={"query": "x"}, headers=bearer(quick)).status_code == 200


def test_a_bucket_fills_at_its_rate() -> None:
    """Ten at once, then one whenever its time has passed, and no more than ten after a long pause."""
    now = [0.0]
    limits = RateLimits(lambda: now[0])

    def taken() -> int:
        count = 0
        while True:
            try:
                limits.take("a", "a", 2.0)
            except TooManyRequests:
                return count
            count += 1

    assert taken() == 10
    now[0] += 1.6
    assert taken() == 3
    now[0] += 1e6
    assert taken() == 10


def test_too_large_a_body_is_refused(index: Index) -> None:
    """By what it says of itself, and by what comes if it says nothing or lies."""
    with TestClient(create_app(index, ServerSettings(max_body=1_000))) as client:
        large = {"query": "x" * 2_000}
        refused = client.post("/v1/search", json=large)
        assert (refused.status_code, refused.json()["type"]) == (413, "urn:regen:BodyTooLarge")
        streamed = client.post("/v1/search", content=iter([json.dumps(large).encode()]))
        assert streamed.status_code == 413
        assert client.post("/v1/search", json={"query": "x"}).status_code == 200


def test_open_access_is_for_this_machine(index: Index) -> None:
    """Another address, or this one under another name (a page of another site), is refused where no key is needed."""
    app, asked = create_app(index), {"query": "x"}
    elsewhere = TestClient(app, client=("192.0.2.7", 1))
    rebound = TestClient(app, base_url="http://rebound.example", client=("127.0.0.1", 1))
    here = TestClient(app, base_url="http://127.0.0.1:8321", client=("127.0.0.1", 1))
    found = [client.post("/v1/search", json=asked).status_code for client in (elsewhere, rebound, here)]
    assert found == [401, 401, 200]
