"""Telling alarms to a webhook, as Standard Webhooks say: signed, with an id by which a repetition is known."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from regen.core.alarms import Alert
from regen.errors import ConfigError, RegenError

DOCUMENTS: Final = 20
"""So many of the documents that an alarm involves are named to the receiver."""
_PREFIX: Final = "whsec_"


class WebhookError(RegenError):
    """The receiver could not be told. Its address is not in the message: it may hold a token."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where alarms are told. Address and secret are read from the environment at each call, and kept nowhere.

    ``timeout`` is in seconds, for a whole call, however slowly the receiver answers.
    """

    url_env: str
    secret_env: str | None = None
    timeout: float = 10.0

    def require(self) -> None:
        """Raise ConfigError when the environment lacks what is needed, or the address is none."""
        url = urlsplit(_read(self.url_env, "alerts.webhook_url_env"))
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ConfigError(
                f"the environment variable {self.url_env} holds no http address",
                hint="such as https://alerts.example.org/regen; it is not shown here, since it may hold a token",
            )
        self._secret()

    def tell(self, alias: str, alert: Alert, now: float) -> None:
        """Post one alarm, or its end. Raises ConfigError, and WebhookError for whatever is no answer of success."""
        self.require()
        body = orjson.dumps(message(alias, alert))
        url = os.environ[self.url_env].strip()
        status = _post(url, body, self._headers(identity(alias, alert), body, now), self.timeout)
        if not 200 <= status < 300:
            raise WebhookError(f"the webhook of {self.url_env} answered with status {status}")

    def _headers(self, name: str, body: bytes, now: float) -> dict[str, str]:
        stamp = str(int(now))
        headers = {
            "content-type": "application/json",
            "user-agent": "regen",
            "webhook-id": name,
            "webhook-timestamp": stamp,
        }
        secret = self._secret()
        if secret is not None:
            digest = hmac.new(secret, f"{name}.{stamp}.".encode() + body, sha256).digest()
            headers["webhook-signature"] = "v1," + base64.b64encode(digest).decode()
        return headers

    def _secret(self) -> bytes | None:
        if self.secret_env is None:
            return None
        secret = _read(self.secret_env, "alerts.secret_env")
        if not secret.startswith(_PREFIX):
            return secret.encode()
        try:
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            hint = "base64 follows whsec_; a secret without that beginning is taken as it is"
            raise ConfigError(f"the environment variable {self.secret_env} is no secret", hint=hint) from None


def message(alias: str, alert: Alert) -> dict[str, Any]:
    """The body: an event of an index's alarm, with what it is about and since when."""
    return {
        "type": "alarm.fired" if alert.resolved_at is None else "alarm.resolved",
        "timestamp": _iso(alert.fired_at if alert.resolved_at is None else alert.resolved_at),
        "data": {
            "index": alias,
            "alarm": alert.key,
            "kind": alert.kind,
            "detail": alert.detail,
            "documents": list(alert.documents[:DOCUMENTS]),
            "documents_total": len(alert.documents),
            "fired_at": _iso(alert.fired_at),
            "resolved_at": None if alert.resolved_at is None else _iso(alert.resolved_at),
        },
    }


def identity(alias: str, alert: Alert) -> str:
    """What is the same for each try to tell one event, and for no other event."""
    event = f"{alias}\0{alert.key}\0{alert.fired_at}\0{alert.resolved_at}"
    return f"regen_{sha256(event.encode()).hexdigest()[:32]}"


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _read(name: str, key: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise ConfigError(f"the environment variable {name}, which {key} names, is not set", hint=f"export {name}=…")
    return value


def _post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> int:
    """Send, and wait for the status; redirects are not followed, so that a signed body goes nowhere else."""
    from http.client import HTTPConnection, HTTPException, HTTPSConnection  # noqa: PLC0415 - who tells nobody needs none

    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    late = threading.Event()

    def cut() -> None:
        late.set()
        if (waiting := connection.sock) is not None:
            with suppress(OSError):  # it has been closed meanwhile
                waiting.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(timeout, cut)
    timer.daemon = True
    timer.start()
    try:
        connection.request(
            "POST", f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}", body, dict(headers)
        )
        return connection.getresponse().status
    except (OSError, HTTPException, AttributeError, ValueError) as error:
        slow = late.is_set() or isinstance(error, TimeoutError)
        told = f"no answer in {timeout:g} s" if slow else type(error).__name__
        raise WebhookError(f"the webhook's server could not be told: {told}") from None
    finally:
        timer.cancel()
        connection.close()
