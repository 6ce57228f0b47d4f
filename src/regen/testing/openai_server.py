"""A small server on this machine that speaks OpenAI's embeddings API, and misbehaves when told to.

    with EmbeddingServer() as server:
        embedder = OpenAIEmbedder("test-model", Endpoint(server.base_url))

Vectors are deterministic. What goes wrong is a plan: a function of the request's number and its content that returns
one of the faults below, or None. The server keeps every request, so a test can count what was sent, paid for, and sent
too early.
"""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal, Self, TypeAlias

import numpy as np

from regen.embedders.hashing import HashingEmbedder
from regen.embedders.tokens import approximate_starts
from regen.ports import Vectors

MODEL: Final = "test-model"
_PATH: Final = "/v1/embeddings"

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


def reordered() -> Spoil:
    """The vectors in reverse order, their ``index`` still true."""
    return Spoil(lambda answer: answer | {"data": answer["data"][::-1]})


def truncated(drop: int = 1) -> Spoil:
    """Fewer vectors than texts."""
    return Spoil(lambda answer: answer | {"data": answer["data"][: len(answer["data"]) - drop]})


def served_as(model: str) -> Spoil:
    """Another model than the one that was asked."""
    return Spoil(lambda answer: answer | {"model": model})


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
        """The texts to embed."""
        given = self.body.get("input", [])
        return [given] if isinstance(given, str) else list(given)


Plan: TypeAlias = Callable[[int, Received], Fault | None]
"""(number of the request from 0, the request) -> what goes wrong with it, or None."""


@dataclass
class EmbeddingServer:
    """The server; started by ``with``. It refuses what OpenAI refuses: empty texts, too many or too long ones.

    With ``api_key`` other keys get 401. ``models`` are the names it knows. ``vectors`` makes vectors of shape
    (texts, n), by hashing into 64 dimensions if not given; ``dimensions`` in a request cuts and rescales them.
    """

    plan: Plan = lambda _number, _request: None
    models: Sequence[str] = (MODEL,)
    api_key: str | None = None
    vectors: Callable[[Sequence[str]], Vectors] = field(default_factory=lambda: HashingEmbedder(64).embed_documents)
    max_texts: int = 2048
    max_tokens: int = 8191
    max_request_tokens: int = 300_000

    def __post_init__(self) -> None:
        self.requests: list[Received] = []
        self.tokens = 0
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
    def paid_texts(self) -> list[str]:
        """Every text that was answered with a vector, as often as it was."""
        return [text for request in self.requests if request.status == 200 for text in request.texts]

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

    def answer(self, request: Received) -> _Reply | None:
        """What is answered, None for a connection that is dropped."""
        fault = self.plan(request.number, request)
        if isinstance(fault, Hang | HangUp):
            self.stopping.wait(fault.seconds if isinstance(fault, Hang) else 0.0)
            return None
        if isinstance(fault, Throttle):
            return self._throttle(fault)
        if isinstance(fault, Refuse):
            return _error(fault.status, fault.message, fault.param, fault.code)
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        answer = self._embedded(request)
        spoiled = fault.change(answer) if fault is not None else answer
        return _Reply(200, spoiled if isinstance(spoiled, bytes) else json.dumps(spoiled).encode())

    def _throttle(self, fault: Throttle) -> _Reply:
        # A date has whole seconds: it is rounded up, so that who obeys it is never early.
        told: dict[str | None, dict[str, str]] = {
            "retry-after": {"retry-after": f"{fault.seconds:g}"},
            "retry-after-ms": {"retry-after-ms": f"{fault.seconds * 1000:g}"},
            "date": {"retry-after": formatdate(time.time() + fault.seconds + 1, usegmt=True)},
        }
        if fault.header is not None:
            with self._lock:
                self._closed_until = max(self._closed_until, time.monotonic() + fault.seconds)
        reply = _error(429, "Rate limit reached for requests", None, fault.code)
        return _Reply(reply.status, reply.body, told.get(fault.header, {}))

    def _refusal(self, request: Received) -> _Reply | None:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.api_key is not None and key != self.api_key:
            return _error(401, f"Incorrect API key provided: {key}", None, "invalid_api_key")
        if request.body.get("model") not in self.models:
            return _error(404, f"The model {request.body.get('model')!r} does not exist", None, "model_not_found")
        counts = [len(starts) for starts in approximate_starts(request.texts)]
        if not counts or len(counts) > self.max_texts or not all(request.texts):
            return _error(400, f"input must be 1 to {self.max_texts} texts, none of them empty", "input")
        if max(counts) > self.max_tokens:
            return _error(400, f"This model's maximum context length is {self.max_tokens} tokens", "input")
        if sum(counts) > self.max_request_tokens:
            return _error(400, f"Requested {sum(counts)} tokens, max {self.max_request_tokens} a request", "input")
        return None

    def _embedded(self, request: Received) -> dict[str, Any]:
        vectors = self.vectors(request.texts)
        if asked := request.body.get("dimensions"):
            vectors = vectors[:, :asked]
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        tokens = sum(map(len, approximate_starts(request.texts)))
        with self._lock:
            self.tokens += tokens
        packed = request.body.get("encoding_format") == "base64"
        rows = vectors.astype("<f4")
        return {
            "object": "list",
            "model": request.body["model"],
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": base64.b64encode(row.tobytes()).decode() if packed else row.tolist(),
                }
                for index, row in enumerate(rows)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def _error(status: int, message: str, param: str | None = None, code: str | None = None) -> _Reply:
    kind = code if code == "insufficient_quota" else "invalid_request_error" if status < 429 else "server_error"
    error = {"message": message, "type": kind, "param": param, "code": code}
    return _Reply(status, json.dumps({"error": error}).encode())


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    behaviour: EmbeddingServer

    def __init__(self, *arguments: Any) -> None:
        self._sockets: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._sockets.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Also end the connections that clients keep open, so that no thread is left waiting for them."""
        super().server_close()
        for connection in list(self._sockets):
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
        if self.path != _PATH:
            self._send(_error(404, f"there is no {self.path}; this server has {_PATH} only"))
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

    def _send(self, reply: _Reply) -> None:
        self.send_response(reply.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(reply.body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)
        self.wfile.flush()
