"""Alarms: each told once when it begins and once when it ends, by a webhook that fails, is slow and comes back."""

from __future__ import annotations

import base64
import hmac
import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.waiting import until

from regen import Document, Index
from regen.config import parse_settings
from regen.core.alarms import Alert, Found, compared, untold
from regen.core.freshness import Target
from regen.core.refresh import Leads, Ran, StandsBy
from regen.errors import ConfigError
from regen.monitoring.alarms import AlarmBook, Alerting
from regen.monitoring.webhook import Webhook, identity
from regen.opening import open as open_index

PATIENCE = 60.0
SECRET = "a secret of the test"


class Receiver:
    """A server on this machine that is told of alarms. ``status`` is its answer; 0: none at all, for a long while."""

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.raw: list[bytes] = []
        self.stopping = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if receiver.status == 0:
                    receiver.stopping.wait(PATIENCE)
                    return
                if receiver.status == 200:
                    receiver.raw.append(body)
                    receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
                    receiver.bodies.append(json.loads(body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/hook/token-in-the-path"

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def told(self) -> list[tuple[str, str]]:
        """What was told, in order: event and alarm."""
        return [(body["type"], body["data"]["alarm"]) for body in self.bodies]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver whose address and secret are in the environment."""
    with Receiver() as made:
        monkeypatch.setenv("HOOK_URL", made.url)
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        yield made


HOOK = Webhook("HOOK_URL", "HOOK_SECRET", timeout=PATIENCE)
HASTY = Webhook("HOOK_URL", "HOOK_SECRET", timeout=1.0)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[AlarmBook]:
    """A book on a real catalog."""
    index = Index(embedder="hashing/8", store="memory://", catalog="sqlite:///c.db", root=tmp_path)
    yield AlarmBook("default", index._catalog, Alerting(HOOK))
    index.close()


def note(book: AlarmBook, now: float, *keys: str) -> None:
    """Something was looked at, and this is wrong."""
    book.note([Found(key, "check", f"{key} is wrong", ("d1", "d2")) for key in keys], lambda _alert: True, now)


def test_told_once_when_it_begins_and_once_when_it_ends(receiver: Receiver, book: AlarmBook) -> None:
    """Whatever is found again in between."""
    for now in (10.0, 20.0, 30.0):
        note(book, now, "a")
        book.tell(now)
    note(book, 40.0)
    for now in (40.0, 50.0):
        book.tell(now)
    assert receiver.told == [("alarm.fired", "a"), ("alarm.resolved", "a")]
    fired, resolved = receiver.bodies
    assert fired == {
        "type": "alarm.fired",
        "timestamp": "1970-01-01T00:00:10.000Z",
        "data": {
            "index": "default", "alarm": "a", "kind": "check", "detail": "a is wrong", "documents": ["d1", "d2"],
            "documents_total": 2, "fired_at": "1970-01-01T00:00:10.000Z", "resolved_at": None,
        },
    }  # fmt: skip
    assert resolved["data"]["resolved_at"] == "1970-01-01T00:00:40.000Z"
    assert book.catalog.alerts("default") == []
    note(book, 60.0, "a")
    book.tell(60.0)
    assert receiver.told[-1] == ("alarm.fired", "a")
    assert len({headers["webhook-id"] for headers in receiver.headers}) == 3


def test_a_receiver_can_verify_what_it_is_told(receiver: Receiver, book: AlarmBook) -> None:
    """The signature is over id, time and body, as the Standard Webhooks say; the secret itself is nowhere."""
    note(book, 10.0, "a")
    book.tell(1_700_000_000.5)
    headers, body = receiver.headers[0], receiver.raw[0]
    assert headers["webhook-timestamp"] == "1700000000"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(SECRET.encode(), signed, sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{wanted}"
    assert SECRET not in str(headers) + body.decode()


def test_a_secret_in_base64(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """As receivers' libraries give it; what is no base64 is refused without being shown."""
    monkeypatch.setenv("HOOK_SECRET", "whsec_" + base64.b64encode(SECRET.encode()).decode())
    alert = Alert("a", "check", "", 1.0)
    HOOK.tell("default", alert, 5.0)
    signed = f"{identity('default', alert)}.5.".encode() + receiver.raw[0]
    wanted = base64.b64encode(hmac.new(SECRET.encode(), signed, sha256).digest()).decode()
    assert receiver.headers[0]["webhook-signature"] == f"v1,{wanted}"
    monkeypatch.setenv("HOOK_SECRET", "whsec_not base64!")
    with pytest.raises(ConfigError) as caught:
        HOOK.tell("default", alert, 5.0)
    assert "not base64!" not in str(caught.value)


@pytest.mark.parametrize("status", [0, 302, 404, 500, 503])
def test_a_webhook_that_fails_and_comes_back(receiver: Receiver, book: AlarmBook, status: int) -> None:
    """Slow or refusing, it is tried later each time; each event arrives once it is back, under one id."""
    receiver.status = status
    note(book, 100.0, "a", "b")
    failing = AlarmBook(book.alias, book.catalog, Alerting(HASTY)) if status == 0 else book
    first = failing.tell(100.0)
    assert first.fired == ()
    assert "token-in-the-path" not in first.error
    assert ("no answer in 1 s" if status == 0 else str(status)) in first.error
    assert not failing.tell(101.0).fired
    alert = next(alert for alert in book.catalog.alerts("default") if alert.attempts)
    assert (alert.attempts, alert.error) == (1, first.error) or alert.attempts > 1
    receiver.status = 200
    told = book.tell(1_000.0)
    assert len(told.fired) == 2
    assert sorted(receiver.told) == [("alarm.fired", "a"), ("alarm.fired", "b")]
    assert book.tell(2_000.0).fired == ()


def test_nobody_listens(book: AlarmBook, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection and a missing variable are told without the address."""
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("HOOK_URL", "http://127.0.0.1:1/secret-path")
    note(book, 1.0, "a")
    error = book.tell(1.0).error
    assert "ConnectionRefusedError" in error
    assert "secret-path" not in error
    monkeypatch.delenv("HOOK_URL")
    assert "HOOK_URL" in book.tell(500.0).error
    monkeypatch.setenv("HOOK_URL", "secret-path")
    with pytest.raises(ConfigError, match="holds no http address") as caught:
        HOOK.require()
    assert "secret-path" not in str(caught.value)


def test_what_is_over_before_it_was_told(receiver: Receiver, book: AlarmBook) -> None:
    """Nobody is told of it; one that comes back before its end was told goes on without a word."""
    receiver.status = 500
    note(book, 10.0, "a")
    book.tell(10.0)
    note(book, 20.0)
    assert book.catalog.alerts("default") == []
    receiver.status = 200
    note(book, 30.0, "b")
    book.tell(30.0)
    receiver.status = 500
    note(book, 40.0)
    book.tell(40.0)
    note(book, 50.0, "b")
    receiver.status = 200
    book.tell(500.0)
    assert receiver.told == [("alarm.fired", "b")]


@given(st.lists(st.tuples(st.sets(st.sampled_from("abc")), st.booleans()), max_size=30))
def test_whoever_listens_ends_with_the_truth(rounds: list[tuple[set[str], bool]]) -> None:
    """Whatever comes and goes, and however often telling fails, at the end exactly what is wrong is known to be."""
    kept: dict[str, Alert] = {}
    heard: dict[str, bool] = {}
    for number, (wrong, works) in enumerate([*rounds, (rounds[-1][0] if rounds else set(), True)]):
        now = float(number) * 10_000
        changed = compared(list(kept.values()), [Found(key, "check", "") for key in sorted(wrong)], lambda _: True, now)
        kept.update({alert.key: alert for alert in changed.keep})
        for key in changed.forget:
            del kept[key]
        for alert in list(untold(list(kept.values()), now)) if works else []:
            assert heard.get(alert.key, False) == (alert.resolved_at is not None), "told twice"
            heard[alert.key] = alert.resolved_at is None
            if alert.resolved_at is None:
                kept[alert.key] = Alert(alert.key, "check", "", alert.fired_at, told="fired")
            else:
                del kept[alert.key]
    assert {key for key, on in heard.items() if on} == (rounds[-1][0] if rounds else set())


# ── one scheduler for all of it ─────────────────────────────────────────────────────────────────────────────

CONFIG = """\
version: 1
source: {kind: files, path: docs, refresh: {cron: "* * * * * *"}}
embedding: {model: hashing/64}
freshness: {p99: 1h}
evaluation: {known_queries: known.jsonl}
schedule:
  checks: {cron: "*/2 * * * * *", names: [known_queries, model_unchanged]}
  evaluate: {cron: "*/3 * * * * *", timezone: Europe/Berlin}
  gc: {cron: "*/2 * * * * *"}
alerts: {webhook_url_env: HOOK_URL, secret_env: HOOK_SECRET, after_failures: 1, timeout: 30s}
"""


def succeeded(events: list[Ran | Leads | StandsBy]) -> set[str]:
    """The jobs that have run well."""
    return {event.job for event in list(events) if isinstance(event, Ran) and event.error is None}


def test_one_scheduler_runs_all(tmp_path: Path, receiver: Receiver) -> None:
    """Syncs, checks, evaluations and upkeep run; a lost known query and a failing source are told, and their ends."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text("reset a password by the link in the mail")
    query = {"query": "reset a password by the link in the mail", "documents": ["a.md"], "within": 1}
    (tmp_path / "known.jsonl").write_text(json.dumps(query) + "\n")
    (tmp_path / "regen.yaml").write_text(CONFIG)
    events: list[Ran | Leads | StandsBy] = []
    stop = threading.Event()
    with open_index(tmp_path / "regen.yaml") as index:
        thread = threading.Thread(target=index.scheduler().run, args=(stop, events.append))
        thread.start()
        try:
            until(lambda: {"sync files", "checks", "evaluate", "gc"} <= succeeded(events))
            assert receiver.told == []
            (tmp_path / "docs/a.md").rename(tmp_path / "docs/z.md")
            until(lambda: ("alarm.fired", "check known_queries") in receiver.told)
            assert any(alert.key == "check known_queries" for alert in index.status().alerts)
            (tmp_path / "docs/z.md").rename(tmp_path / "docs/a.md")
            until(lambda: ("alarm.resolved", "check known_queries") in receiver.told)
            (tmp_path / "docs").rename(tmp_path / "away")
            until(lambda: ("alarm.fired", "job sync files") in receiver.told)
            (tmp_path / "away").rename(tmp_path / "docs")
            until(lambda: ("alarm.resolved", "job sync files") in receiver.told)
        finally:
            stop.set()
            thread.join(PATIENCE)
        assert not thread.is_alive()
        jobs = {job.job: job for job in index.status().schedule.jobs}
        assert {"sync files", "checks", "evaluate", "gc"} <= set(jobs)
    assert len(receiver.told) == len(set(receiver.told))


def test_nothing_is_judged_before_there_is_anything(tmp_path: Path) -> None:
    """While the first load goes on, neither evaluation nor checks fail, and none is an alarm."""
    with Index(embedder="hashing/8", store="memory://", catalog="sqlite:///c.db", root=tmp_path) as index:
        assert index._evaluate_job(None) == "not evaluated: no generation is live yet"
        assert index._check_job(None) == "not checked: no generation is live yet"
        assert index.status().alerts == []


def test_a_missed_target_is_an_alarm(tmp_path: Path, receiver: Receiver) -> None:
    """Measured on what was really changed; it is over when the target is met again."""
    index = Index(
        embedder="hashing/8", store="memory://", catalog="sqlite:///c.db", root=tmp_path,
        freshness=Target(p99=1e-9), alerts=Alerting(HOOK),
    )  # fmt: skip
    index.upsert([Document(id="a", text="alpha")])
    assert index.status().freshness.sources[0].met is False
    assert "p99 is" in str(index._alarm_job(None))
    assert receiver.told == [("alarm.fired", "freshness push")]
    assert index._alarm_job(None) is None
    index._target = Target(p99=3600.0)
    index._alarm_job(None)
    assert receiver.told[-1] == ("alarm.resolved", "freshness push")
    index.close()


SMALL = "version: 1\nsource: {kind: files, path: docs}\nembedding: {model: hashing/8}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schedule: {gc: {}}", ":4: schedule.gc.cron is missing"),
        ("schedule: {gc: {cron: '* * *'}}", ":4: schedule.gc.cron: '* * *' has 3 fields"),
        ("schedule: {backup: {cron: '* * * * *'}}", "schedule.backup is not a known key"),
        ("alerts: {}", "alerts.webhook_url_env is missing"),
        ("alerts: {webhook_url_env: 'https://hooks.example.org/T0/B0'}", "alerts.webhook_url_env: must be the name of"),
        ("alerts: {webhook_url_env: A, secret: hunter2}", "holds a secret"),
        ("alerts: {webhook_url_env: A, after_failures: 0}", "alerts.after_failures must be at least 1"),
    ],
)
def test_mistakes_in_the_file(text: str, message: str) -> None:
    """Each is told with its place, and no address or secret is repeated."""
    with pytest.raises(ConfigError) as caught:
        parse_settings(SMALL + text + "\n", root=".")
    assert message in caught.value.message
    assert "hunter2" not in str(caught.value)
    assert "T0/B0" not in str(caught.value) + str(caught.value.hint)


def test_what_cannot_work_is_told_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that is none, and a variable that is not set."""
    monkeypatch.delenv("NOT_SET", raising=False)
    (tmp_path / "docs").mkdir()
    for text, told in (
        ("schedule: {checks: {cron: '* * * * *', names: [known]}}", "there is no check 'known'"),
        ("alerts: {webhook_url_env: NOT_SET}\nschedule: {gc: {cron: '* * * * *'}}", "NOT_SET"),
    ):
        (tmp_path / "regen.yaml").write_text(SMALL + text + "\n")
        with open_index(tmp_path / "regen.yaml") as index, pytest.raises(ConfigError, match=told):
            index.scheduler()
