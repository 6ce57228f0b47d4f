"""Where a rerank endpoint is, on whose account it is called, and the connections to it. No key is kept here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Lock
from typing import Final
from urllib.parse import urlsplit

from regen.errors import ConfigError, RerankerError

TIMEOUT: Final = 10.0
IDLE: Final = 4
"""How many connections are kept open between calls."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and an account. ``api_key_env`` names the environment variable that holds the key; None: none is sent.

    ``timeout`` is in seconds, for connecting and for each wait for an answer.
    """

    url: str
    api_key_env: str | None = None
    timeout: float = TIMEOUT

    def __post_init__(self) -> None:
        if urlsplit(str(self.url)).scheme not in ("http", "https") or not self.host:
            raise ConfigError(f"options.url is {self.url!r}", hint="an address such as https://api.jina.ai/v1/rerank")
        timeout: object = self.timeout  # written by hand in regen.yaml
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= 3600:
            raise ConfigError(f"options.timeout is {self.timeout!r}", hint="seconds, above 0; 10 is usual")

    @property
    def host(self) -> str:
        """The server, without user, password, port and path."""
        return urlsplit(self.url).hostname or ""

    @property
    def place(self) -> str:
        """The address as messages show it: without user, password and query."""
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.hostname}{port}{parts.path}"

    def headers(self) -> dict[str, str]:
        """What every request carries; the key is read anew each time. Raises ConfigError when it is not there."""
        sent = {"content-type": "application/json", "accept": "application/json"}
        if self.api_key_env is None:
            return sent
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise ConfigError(
                f"the environment variable {self.api_key_env}, which should hold the key for {self.place}, is not set",
                hint=f"export {self.api_key_env}=…, or name another variable with options.api_key_env",
            )
        return {**sent, "authorization": f"Bearer {key}"}


class Connections:
    """Connections to one endpoint, kept open between calls: a new TLS handshake may cost the whole time there is.

    Safe for threads. Redirects are not followed, so a key goes nowhere else; proxies are not used.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint, self._lock = endpoint, Lock()
        self._idle: list[HTTPConnection] = []
        self._closed = False

    def post(self, body: bytes) -> tuple[int, bytes]:
        """Send a request; the answer's status and body. Raises RerankerError when there is none."""
        try:
            return self._sent(body)
        except TimeoutError:
            raise RerankerError(f"{self._endpoint.place}: no answer in {self._endpoint.timeout:g} s") from None
        except (OSError, HTTPException) as error:
            told = f"{type(error).__name__}: {error}"
            raise RerankerError(f"{self._endpoint.place} cannot be reached: {told}") from error

    def _sent(self, body: bytes) -> tuple[int, bytes]:
        idle = self._taken()
        if idle is not None:
            try:
                return self._exchange(idle, body)
            except TimeoutError:
                raise
            except (OSError, HTTPException):
                pass  # the server had closed an idle connection: that says nothing about a new one
        return self._exchange(self._new(), body)

    def close(self) -> None:
        """Close what is idle; a connection in use is closed when its call ends."""
        with self._lock:
            idle, self._idle, self._closed = self._idle, [], True
        for connection in idle:
            connection.close()

    def _exchange(self, connection: HTTPConnection, body: bytes) -> tuple[int, bytes]:
        path = urlsplit(self._endpoint.url)
        try:
            connection.request("POST", f"{path.path or '/'}{'?' + path.query if path.query else ''}", body,
                               self._endpoint.headers())  # fmt: skip
            reply = connection.getresponse()
            status, answer = reply.status, reply.read()
        except BaseException:
            connection.close()
            raise
        self._kept(connection)
        return status, answer

    def _taken(self) -> HTTPConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _new(self) -> HTTPConnection:
        parts = urlsplit(self._endpoint.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        return kind(self._endpoint.host, parts.port, timeout=self._endpoint.timeout)

    def _kept(self, connection: HTTPConnection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < IDLE and connection.sock is not None:
                self._idle.append(connection)
                return
        connection.close()
