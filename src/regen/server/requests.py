"""What happens around every request: an id, a trace, a line in the log, a count; and how large its body may be."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any, Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from regen.errors import RegenError
from regen.server.logs import LOG
from regen.server.metrics import Metrics
from regen.server.problems import respond
from regen.server.tracing import continued

REQUEST_ID: Final = "x-request-id"
_PLAUSIBLE: Final = re.compile(r"[A-Za-z0-9_.:\-]{1,100}")
QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""What machines ask every few seconds is counted, not logged."""
ELSEWHERE: Final = "(none)"
"""The route of a request that none of ours answers: paths that callers make up must not become metrics."""


class BodyTooLarge(RegenError):
    """A request's body is larger than the server takes."""

    status = 413


class Accompanied:
    """Goes with each request from its first byte to its last."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, and tell of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID, "")
        request_id = given if _PLAUSIBLE.fullmatch(given) else secrets.token_hex(8)
        started, status = time.perf_counter(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        with (
            structlog.contextvars.bound_contextvars(request=request_id),
            continued(dict(headers), f"{scope['method']} {scope['path']}"),
        ):
            try:
                await self._app(scope, receive, sending)
            except Exception:
                LOG.exception("request_failed", path=scope["path"])
                raise
            finally:
                self._tell(scope, status, time.perf_counter() - started)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", ELSEWHERE)
        self._metrics.requested(scope["method"] if route != ELSEWHERE else "-", route, status, seconds)
        if scope["path"] not in QUIET:
            caller = getattr(scope.get("state"), "caller", None) or scope.get("state", {}).get("caller")
            LOG.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                milliseconds=round(seconds * 1e3, 2),
                caller=getattr(caller, "name", None),
                origin=(scope.get("client") or ("",))[0],
            )


class LimitedBody:
    """Refuses bodies that are too large: by what they say, or once too much has come."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body before the application does, which would take it in whole."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self._app(scope, receive, send)
            return
        said = Headers(scope=scope).get("content-length", "")
        if said.isdecimal() and int(said) > self._most:
            await self._refuse(scope, receive, send)
            return
        messages, size = [], 0
        while True:
            message = await receive()
            messages.append(message)
            size += len(message.get("body", b""))
            if size > self._most:
                await self._refuse(scope, receive, send)
                return
            if message["type"] != "http.request" or not message.get("more_body"):
                break
        await self._app(scope, _replayed(messages, receive), send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = BodyTooLarge(
            f"the body is larger than {self._most:,} bytes", hint="send smaller batches; server.max_body sets the limit"
        )
        await respond(error, scope["path"], headers={"Connection": "close"})(scope, receive, send)


def _replayed(messages: list[Any], receive: Receive) -> Receive:
    """Give what was read already, then what comes."""

    async def replay() -> Message:
        return messages.pop(0) if messages else await receive()

    return replay
