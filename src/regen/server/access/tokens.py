"""Tokens of an issuer: checked by its public keys, and read for who their bearer is and may see.

A key is chosen by the token's ``kid``, and used with the algorithm that the allow-list and the key itself agree on: a
token cannot have its signature checked by another kind of key, or not at all.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import jwt

from regen.config.server import JwtSettings
from regen.core.keys import SCOPES, Scope
from regen.errors import ConfigError
from regen.server.access.caller import Caller, Unauthenticated

GRANTED: Final = tuple(scope for scope in SCOPES if scope != "act_as")
"""A token's bearer is who the token says: it never names other principals."""
HASTE: Final = 10.0
"""Seconds between two looks for a key that is unknown: whoever makes such names up must not make us ask each time."""
PATIENCE: Final = 10.0


class IssuerKeys:
    """The public keys of an issuer, from a file or an address. The last ones known serve while it is out of reach."""

    def __init__(self, jwks: str, root: Path, lasting: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._jwks, self._root, self._lasting, self._clock = jwks, root, lasting, clock
        self._asking = threading.Lock()
        self._keys: dict[str, Mapping[str, Any]] = {}
        self._read_at = float("-inf")

    def of(self, kid: str) -> Mapping[str, Any]:
        """The key of that name, as a JWK. Raises Unauthenticated, ConfigError when there are no keys at all."""
        age, known = self._clock() - self._read_at, kid in self._keys
        # While one thread asks the issuer, those whose key is known go on with it.
        if (age > self._lasting or (not known and age > HASTE)) and self._asking.acquire(blocking=not known):
            try:
                if self._clock() - self._read_at >= min(age, HASTE):
                    self._refresh()
            finally:
                self._asking.release()
        found = self._keys.get(kid)
        if found is None:
            raise Unauthenticated("the token was signed by a key that its issuer does not have (any more)")
        return found

    def check(self) -> None:
        """Read the keys now. Raises ConfigError when there are none, or none that can be had."""
        self._keys = self._fetched()
        self._read_at = self._clock()

    def _refresh(self) -> None:
        try:
            self._keys = self._fetched()
        except ConfigError:
            if not self._keys:
                raise
        finally:
            self._read_at = self._clock()

    def _fetched(self) -> dict[str, Mapping[str, Any]]:
        try:
            found = json.loads(self._text())["keys"]
            keys = {str(key.get("kid", "")): key for key in found if key.get("use", "sig") == "sig"}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"server.jwt.jwks {self._jwks} cannot be read: {type(error).__name__}: {error}",
                hint='it must be a JSON object {"keys": […]}, as issuers publish it',
            ) from None
        if not keys:
            raise ConfigError(f"server.jwt.jwks {self._jwks} holds no key for signatures")
        return keys

    def _text(self) -> bytes:
        if "://" not in self._jwks:
            return (self._root / self._jwks).read_bytes()
        with urllib.request.urlopen(self._jwks, timeout=PATIENCE) as answer:  # noqa: S310 - https, by the settings
            read: bytes = answer.read(1_000_000)
            return read


class Tokens:
    """Reads tokens. Safe to use from several threads."""

    def __init__(self, settings: JwtSettings, root: Path) -> None:
        self._settings = settings
        self.keys = IssuerKeys(settings.jwks, root, settings.cache)

    def identify(self, token: str) -> Caller:
        """Who bears a token. Raises Unauthenticated."""
        try:
            claims = self._claims(token)
        except jwt.PyJWTError as error:
            raise Unauthenticated(
                f"the token is not believed: {error}", hint="ask its issuer for another one"
            ) from None
        subject = str(claims.get("sub", ""))
        scopes = frozenset(self._scopes(claims))
        return Caller(f"token:{subject}", subject or "token", scopes, frozenset(self._principals(claims)))

    def _claims(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in self._settings.algorithms:
            raise jwt.InvalidAlgorithmError(f"its algorithm is {algorithm}")
        key = jwt.PyJWK({**self._settings_key(header), "alg": algorithm})
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=self._settings.audience,
            issuer=self._settings.issuer,
            leeway=self._settings.leeway,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )

    def _settings_key(self, header: Mapping[str, Any]) -> Mapping[str, Any]:
        """The issuer's key, unless that is for another algorithm than the token says."""
        key = self.keys.of(str(header.get("kid", "")))
        if key.get("alg", header["alg"]) != header["alg"]:
            raise jwt.InvalidAlgorithmError(f"its key is for {key['alg']}, its algorithm is {header['alg']}")
        return key

    def _scopes(self, claims: Mapping[str, Any]) -> Iterable[Scope]:
        """The scopes that a token grants; one that says nothing of them may search."""
        if self._settings.scopes not in claims:
            return ("search",)
        named = {word.removeprefix("regen:") for word in _words(claims[self._settings.scopes])}
        return (scope for scope in GRANTED if scope in named)

    def _principals(self, claims: Mapping[str, Any]) -> Iterable[str]:
        for claim, form in self._settings.principals.items():
            value = claims.get(claim)
            for item in value if isinstance(value, list) else [] if value is None else [value]:
                if isinstance(item, str | int) and not isinstance(item, bool):
                    yield form.replace("{}", str(item))


def _words(value: object) -> list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    return str(value).split()
