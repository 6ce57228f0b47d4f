"""A small HTTP server on this machine that plays a provider's API, and misbehaves when told to.

What goes wrong is a plan: a function of the request's number and its content that returns one of the faults below, or
None. The server keeps every request, so a test can count what was sent, paid for, and sent too early. What it answers
when nothing goes wrong, a subclass decides: :class:`~regen.testing.openai_server.EmbeddingServer`,
:class:`~regen.testing.chat_server.ChatServer`.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Literal, Self, TypeAlias

# ── what can go wrong ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Throttle:
    """429. ``seconds`` are said in the header named; with None nothing is said. ``code`` may be insufficient_quota."""

    seconds: float = 1.0
    header: Literal["retry-after", "retry-after-ms", "date"] | None = "retry-after"
    code: str = "rate_limit_exceeded"


@dataclass(frozen=True, slots=True)
class Refuse:
    """Any other status, with an error as OpenAI words it."""

    status: int
    message: str = "refused by the plan"
    param: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Hang:
    """Say nothing for so many seconds (or until the server is stopped), then drop the connection."""

    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class HangUp:
    """Drop the connection at once, without an answer."""


@dataclass(frozen=True, slots=True)
class Spoil:
    """Answer 200, but change the answer, a JSON object, first; to bytes it is sent as it is."""

    change: Callable[[dict[str, Any]], dict[str, Any] | bytes]


Fault: TypeAlias = Throttle | Refuse | Hang | HangUp | Spoil


# ── the server ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Received:
    """One request. ``at`` is when it came (``time.monotonic``); ``early`` whether a Retry-After was still running.

    ``status`` is what was answered, 0 for nothing; ``headers`` have lower-case names.
    """

    number: int
    at: float
    body: dict[str, Any]
    headers: dict[str, str]
    early: bool
    status: int = 0

    @property
    def texts(self) -> list[str]:
        """The texts to embed, of a call for embeddings."""
        given = self.body.get("input", [])
        return [given] if isinstance(given, str) else list(given)


Plan: TypeAlias = Callable[[int, Received], Fault | None]
"""(number of the request from 0, the request) -> what goes wrong with it, or None."""


@dataclass
class LocalServer:
    """The server; started by ``with``. With ``api_key`` other keys get 401. ``models`` are the names it knows."""

    path: ClassVar[str]
    """The one path that it serves."""

    plan: Plan = lambda _number, _request: None
    models: Sequence[str] = ("test-model",)
    api_key: str | None = None

    def __post_init__(self) -> None:
        self.requests: list[Received] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._closed_until = 0.0
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.behaviour = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def base_url(self) -> str:
        """What ``options.base_url`` takes."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def connections(self) -> int:
        """How many connections clients keep open."""
        return len(self._http.sockets)

    @property
    def early(self) -> int:
        """How many requests came while a Retry-After that had been answered before was still running."""
        return sum(request.early for request in self.requests)

    def receive(self, body: dict[str, Any], headers: dict[str, str]) -> Received:
        """Note a request."""
        with self._lock:
            now = time.monotonic()
            request = Received(len(self.requests), now, body, headers, now < self._closed_until)
            self.requests.append(request)
            return request

    def answer(self, request: Received) -> Reply | None:
        """What is answered, None for a connection that is dropped."""
        fault = self.plan(request.number, request)
        if isinstance(fault, Hang | HangUp):
            self.stopping.wait(fault.seconds if isinstance(fault, Hang) else 0.0)
            return None
        if isinstance(fault, Throttle):
            return self._throttle(fault)
        if isinstance(fault, Refuse):
            return error_reply(fault.status, fault.message, fault.param, fault.code)
        refusal = self._unknown(request) or self.refusal(request)
        if refusal is not None:
            return refusal
        answer = self.answered(request)
        spoiled = fault.change(answer) if fault is not None else answer
        return Reply(200, spoiled if isinstance(spoiled, bytes) else json.dumps(spoiled).encode())

    def _throttle(self, fault: Throttle) -> Reply:
        # A date has whole seconds: it is rounded up, so that who obeys it is never early.
        told: dict[str | None, dict[str, str]] = {
            "retry-after": {"retry-after": f"{fault.seconds:g}"},
            "retry-after-ms": {"retry-after-ms": f"{fault.seconds * 1000:g}"},
            "date": {"retry-after": formatdate(time.time() + fault.seconds + 1, usegmt=True)},
        }
        if fault.header is not None:
            with self._lock:
                self._closed_until = max(self._closed_until, time.monotonic() + fault.seconds)
        reply = error_reply(429, "Rate limit reached for requests", None, fault.code)
        return Reply(reply.status, reply.body, told.get(fault.header, {}))

    def refusal(self, request: Received) -> Reply | None:  # noqa: ARG002 - for those who override it
        """Why the request is refused even though nothing was planned, None if it is answered."""
        return None

    def answered(self, request: Received) -> dict[str, Any]:
        """The answer to a good request, as a JSON object."""
        raise NotImplementedError

    def _unknown(self, request: Received) -> Reply | None:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.api_key is not None and key != self.api_key:
            return error_reply(401, f"Incorrect API key provided: {key}", None, "invalid_api_key")
        if request.body.get("model") not in self.models:
            return error_reply(404, f"The model {request.body.get('model')!r} does not exist", None, "model_not_found")
        return None


@dataclass(frozen=True, slots=True)
class Reply:
    """A status, a body and headers."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def error_reply(status: int, message: str, param: str | None = None, code: str | None = None) -> Reply:
    """An error as OpenAI words it."""
    kind = code if code == "insufficient_quota" else "invalid_request_error" if status < 429 else "server_error"
    error = {"message": message, "type": kind, "param": param, "code": code}
    return Reply(status, json.dumps({"error": error}).encode())


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    behaviour: LocalServer

    def __init__(self, *arguments: Any) -> None:
        self.sockets: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.sockets.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Also end the connections that clients keep open, so that no thread is left waiting for them."""
        super().server_close()
        for connection in list(self.sockets):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed by the other side already

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: no waiting for acknowledgements
    server: _Http

    def do_POST(self) -> None:
        """Answer one call."""
        length = int(self.headers.get("content-length", "0"))
        body = json.loads(self.rfile.read(length) or b"{}")
        behaviour = self.server.behaviour
        if self.path != behaviour.path:
            self._send(error_reply(404, f"there is no {self.path}; this server has {behaviour.path} only"))
            return
        request = behaviour.receive(body, {name.lower(): value for name, value in self.headers.items()})
        reply = behaviour.answer(request)
        if reply is None:
            self.close_connection = True
            return
        request.status = reply.status
        self._send(reply)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Keep quiet."""

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(reply.body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)
        self.wfile.flush()
