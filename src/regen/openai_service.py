"""What embedders and judges share on OpenAI-style APIs: the address, the account, and what their errors say.

No key is kept, shown or logged here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from regen.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from openai import APIError, OpenAI

OFFICIAL: Final = "https://api.openai.com/v1"
KEY: Final = "OPENAI_API_KEY"
NO_KEY: Final = "none"
TOO_MANY: Final = 429
NO_MONEY: Final = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
WAITS: Final = (408, 409, 425)
HINTS: Final = {
    401: "is the key in {key} right, and for this server?",
    403: "the key in {key} may not use this model; is it for the right organisation and project?",
    404: "is the model's name right, and does options.base_url end as the server expects, usually in /v1?",
}
"""What may help, by status; ``{key}`` is the environment variable of the key."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and an account. ``api_key_env`` names the environment variable that holds the key.

    OPENAI_API_KEY is sent by default only to OpenAI and to where OPENAI_BASE_URL points. A ``base_url`` of regen.yaml
    gets a key when ``api_key_env`` names one: a key never goes to a server that it was not meant for. ``options`` is
    where these settings stand, for messages.
    """

    base_url: str | None = None
    api_key_env: str | None = None
    organization: str | None = None
    project: str | None = None
    timeout: float = 60.0
    options: str = "embedding.options"

    def __post_init__(self) -> None:
        if self.base_url is not None and urlsplit(str(self.base_url)).scheme not in ("http", "https"):
            raise ConfigError(
                f"options.base_url is {self.base_url!r}", hint="an address such as http://localhost:11434/v1"
            )
        timeout: object = self.timeout  # written by hand in regen.yaml
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0:
            raise ConfigError(f"options.timeout is {self.timeout!r}", hint="seconds, above 0; 60 is usual")

    @property
    def url(self) -> str:
        """The address that is called, without a slash at its end."""
        return (self.base_url or os.environ.get("OPENAI_BASE_URL") or OFFICIAL).rstrip("/")

    @property
    def place(self) -> str:
        """The address as messages show it: without user, password and query."""
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.hostname}{port}{parts.path}"

    @property
    def official(self) -> bool:
        """Whether this is OpenAI itself."""
        return urlsplit(self.url).hostname == urlsplit(OFFICIAL).hostname

    @property
    def key_name(self) -> str | None:
        """The variable that holds the key, None for a server that gets none."""
        return self.api_key_env or (None if self.base_url and not self.official else KEY)

    def key(self) -> str:
        """The key, read anew from the environment. Raises ConfigError when it is needed and not there."""
        name = self.key_name
        if name is None:
            return NO_KEY
        key = os.environ.get(name, "").strip()
        if not key:
            raise ConfigError(
                f"the environment variable {name}, which should hold the key for {self.place}, is not set",
                hint=f"export {name}=…, or name another variable with {self.options}.api_key_env",
            )
        return key

    def account(self) -> str:
        """What shares one limit: the address, the organisation, the project and a digest of the key."""
        digest = blake2b(self.key().encode(), digest_size=16).hexdigest()
        return "\n".join([self.url, self.organization or "", self.project or "", digest])

    def client(self) -> OpenAI:
        """A new client, which makes one attempt a call: who calls counts and repeats them. Raises MissingExtra."""
        key = self.key()
        try:
            from openai import OpenAI  # noqa: PLC0415 - takes half a second and is not always needed
        except ModuleNotFoundError:
            raise MissingExtra("the library 'openai' is not installed", hint="pip install 'regen[openai]'") from None
        return OpenAI(
            api_key=key,
            base_url=self.url,
            organization=self.organization,
            project=self.project,
            timeout=self.timeout,
            max_retries=0,
        )


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """How many seconds the provider asks to wait: ``retry-after-ms``, or ``retry-after`` in seconds or as a date.

    A date counts from the server's own ``date``, if it gives one, so that a wrong clock here does no harm; else from
    ``now``, in seconds since 1970.
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    until = _moment(headers.get("retry-after"))
    if until is None:
        return None
    return max(0.0, until - (_moment(headers.get("date")) or now))


def said(error: APIError, secret: str) -> str:
    """What the server said, with the key struck out, at most 500 characters."""
    status = getattr(error, "status_code", None)
    if status in (401, 403):  # what providers say here quotes parts of the key
        return f"status {status}, {error.code or error.type or 'access refused'}"
    text = f"status {status}: {error.message}" if status else f"{type(error).__name__}: {error.message}"
    return (text.replace(secret, "***") if secret != NO_KEY else text)[:500]


def _moment(date: str | None) -> float | None:
    """Seconds since 1970 of an HTTP date, None where there is none."""
    if not date:
        return None
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
