"""Telling callers apart by what they show: a key or token, a browser's session, or that they are on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastapi import Request

from regen.config.server import JwtSettings, ServerSettings
from regen.errors import ConfigError
from regen.index import Index
from regen.server.access.addresses import is_loopback
from regen.server.access.caller import Caller, Unauthenticated, open_caller
from regen.server.access.keyring import KeyRing, caller_of
from regen.server.access.rates import RateLimits
from regen.server.access.sessions import CSRF_HEADER, Session, Sessions

if TYPE_CHECKING:
    from regen.server.access.tokens import Tokens

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
IN_PROCESS: Final = "testclient"
"""The address of a client that calls the application without a network."""


class Doorkeeper:
    """Looks at what a request shows, in this order: a bearer key or token, a browser's session, its address."""

    def __init__(self, index: Index, settings: ServerSettings, root: Path) -> None:
        self._settings = settings
        self.keys = KeyRing(index)
        self.tokens = None if settings.jwt is None else _tokens_of(settings.jwt, root)
        self.sessions = Sessions(settings.session)
        self.limits = RateLimits()

    def is_open(self) -> bool:
        """Whether nobody needs to show anything: no key was ever made, and no issuer of tokens is configured."""
        return self.tokens is None and self.keys.empty

    @property
    def at_hand(self) -> bool:
        """Whether callers can be told apart without waiting for the catalog or an issuer."""
        return self.tokens is None and self.keys.at_hand

    def identify(self, request: Request) -> Caller:
        """The caller, counted. Raises Unauthenticated, TooManyRequests."""
        try:
            caller, per_second = self._known(request)
        except Unauthenticated:
            self.limits.take(f"address:{_address(request)}", "this address", self._settings.rate_limit)
            raise
        self.limits.take(caller.id, caller.name, per_second or self._settings.rate_limit)
        return caller

    def log_in(self, shown: str) -> Session:
        """A session for a browser whose user has shown an API key. Raises Unauthenticated."""
        return self.sessions.begin(self.keys.identify(shown.strip()).id)

    def _known(self, request: Request) -> tuple[Caller, float | None]:
        shown = request.headers.get("authorization")
        if shown is not None:
            return self._by_authorization(shown)
        session = self.sessions.find(request)
        if session is not None:
            return self._by_session(session, request)
        if self.is_open() and _is_from_here(request):
            return open_caller(), None
        raise Unauthenticated(
            "this needs an API key or a token",
            hint="send it as `Authorization: Bearer …`; `regen keys create NAME --scope search` makes a key",
        )

    def _by_authorization(self, shown: str) -> tuple[Caller, float | None]:
        scheme, _, value = shown.partition(" ")
        value = value.strip()
        if scheme.lower() != "bearer" or not value:
            raise Unauthenticated(f"authorization by {scheme[:20]!r} is not known", hint="`Authorization: Bearer KEY`")
        if self.tokens is None or value.startswith("regen_"):
            key = self.keys.identify(value)
            return caller_of(key), key.per_second
        try:
            return self.tokens.identify(value), None
        except ConfigError as error:  # the issuer's keys cannot be had: nobody can be believed
            raise Unauthenticated(error.message, hint=error.hint) from error

    def _by_session(self, session: Session, request: Request) -> tuple[Caller, float | None]:
        key = self.keys.of(session.key_id)
        if key is None:
            raise Unauthenticated("the key that this browser logged in with is not valid any more")
        if request.method not in READING and not request.url.path.startswith("/console"):
            session.require_csrf(request.headers.get(CSRF_HEADER))
        return caller_of(key), key.per_second


def _tokens_of(settings: JwtSettings, root: Path) -> Tokens:
    from regen.server.access.tokens import Tokens  # noqa: PLC0415 - brings cryptography, which few servers need

    return Tokens(settings, root)


def _address(request: Request) -> str:
    return "" if request.client is None else request.client.host


def _is_from_here(request: Request) -> bool:
    """Whether a request comes from this machine and names it: a page of another site cannot make a browser do both."""
    address = _address(request)
    return address == IN_PROCESS or (is_loopback(address) and is_loopback(request.url.hostname or ""))
