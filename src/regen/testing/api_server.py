"""A loopback server for an API of many paths: routes, a key, requests kept, and what goes wrong as a plan.

What it serves a subclass says: :class:`~regen.testing.pinecone_server.PineconeServer`,
:class:`~regen.testing.weaviate_server.WeaviateServer`. Faults are those of :mod:`regen.testing.local_server`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Self, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

from regen.testing.local_server import Fault, Hang, HangUp, Refuse, Throttle, _Http


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``number`` counts from 0; ``query`` holds lists; ``headers`` have lower-case names."""

    number: int
    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    size: int
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back: a body of bytes as it is, any other as JSON."""

    status: int
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """A request that the product would refuse, with its answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


Plan: TypeAlias = Callable[[Request], Fault | None]
"""What goes wrong with a request, None for nothing."""


class ApiServer:
    """The server; started by ``with``. Requests are answered one at a time for each connection, on threads."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.plan = plan
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._counting = threading.Lock()
        self._http = _Http(("127.0.0.1", 0), _ApiHandler)
        self._http.api = self  # type: ignore[attr-defined]  # the handler's way back to us
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
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return int(self._http.server_address[1])

    def respond(self, request: Request) -> Answer:
        """The answer to a request with which nothing goes wrong. Raises Refused."""
        raise NotImplementedError

    def error(self, status: int, message: str) -> Answer:
        """An error as the product words it."""
        raise NotImplementedError

    def parsed(self, raw: bytes) -> Any:
        """The body of a request: JSON, unless a subclass takes others."""
        return json.loads(raw) if raw else None

    def received(self, method: str, target: str, raw: bytes, headers: dict[str, str]) -> Request:
        """Note a request."""
        parts = urlsplit(target)
        body = self.parsed(raw)
        with self._counting:
            request = Request(
                len(self.requests),
                method,
                unquote(parts.path),
                parse_qs(parts.query, keep_blank_values=True),
                body,
                len(raw),
                headers,
            )
            self.requests.append(request)
        return request

    def answer(self, request: Request) -> Answer | None:
        """What is answered, None for a connection that is dropped."""
        fault = self.plan(request) if self.plan else None
        if isinstance(fault, Hang | HangUp):
            self.stopping.wait(fault.seconds if isinstance(fault, Hang) else 0.0)
            return None
        if isinstance(fault, Throttle):
            told = {} if fault.header is None else {"retry-after": f"{fault.seconds:g}"}
            return Answer(429, self.error(429, "Too Many Requests").body, told)
        if isinstance(fault, Refuse):
            return self.error(fault.status, fault.message)
        try:
            return self.respond(request)
        except Refused as refused:
            return refused.answer


class _ApiHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: no waiting for acknowledgements

    def _do(self) -> None:
        api: ApiServer = self.server.api  # type: ignore[attr-defined]  # set by ApiServer
        raw = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = api.answer(api.received(self.command, self.path, raw, headers))
        if answer is None:
            self.close_connection = True
            return
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _do  # noqa: N815 - the library's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Keep quiet."""
