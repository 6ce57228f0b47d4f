"""Sessions of browsers: logged in by an API key, held by a cookie that scripts cannot read and other sites not send."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from fastapi import Request
from starlette.responses import Response

from regen.server.access.caller import Forbidden

COOKIE: Final = "regen_session"
CSRF_HEADER: Final = "x-csrf-token"
MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that somebody has logged in. ``csrf`` must come back with everything that changes something."""

    token: str
    csrf: str
    key_id: str
    expires_at: float

    def require_csrf(self, shown: str | None) -> None:
        """Raise Forbidden unless a request that changes something comes from a page of ours."""
        if not hmac.compare_digest((shown or "").encode(), self.csrf.encode()):
            raise Forbidden(
                "a request of a browser's session needs its CSRF token", hint=f"send it in the header {CSRF_HEADER}"
            )


class Sessions:
    """The sessions of this process: after a restart browsers log in again. Safe to use from several threads."""

    def __init__(self, lasting: float, clock: Callable[[], float] = time.time) -> None:
        self._lasting, self._clock, self._lock = lasting, clock, threading.Lock()
        self._sessions: dict[bytes, Session] = {}

    def begin(self, key_id: str) -> Session:
        """A session of somebody who has shown a key."""
        now = self._clock()
        made = Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32), key_id, now + self._lasting)
        with self._lock:
            valid = {kept: it for kept, it in self._sessions.items() if it.expires_at > now}
            self._sessions = dict(list(valid.items())[-MOST + 1 :])
            self._sessions[_kept(made.token)] = made
        return made

    def find(self, request: Request) -> Session | None:
        """The session that a request's cookie names."""
        token = request.cookies.get(COOKIE)
        found = None if token is None else self._sessions.get(_kept(token))
        return found if found is not None and found.expires_at > self._clock() else None

    def end(self, request: Request) -> None:
        """Log a browser out."""
        token = request.cookies.get(COOKIE)
        if token is not None:
            with self._lock:
                self._sessions.pop(_kept(token), None)


def set_cookie(response: Response, request: Request, session: Session) -> None:
    """Let the browser hold its session."""
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, session.token, httponly=True, samesite="strict", secure=secure, path="/")


def clear_cookie(response: Response) -> None:
    """Let the browser forget its session."""
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")


def _kept(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
