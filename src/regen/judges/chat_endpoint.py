"""Where an OpenAI-style chat API is, and on whose account it is called. No key is kept, shown or logged here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from regen.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from openai import OpenAI

OFFICIAL: Final = "https://api.openai.com/v1"
KEY: Final = "OPENAI_API_KEY"
NO_KEY: Final = "none"


@dataclass(frozen=True, slots=True)
class ChatEndpoint:
    """An address and an account. ``api_key_env`` names the environment variable that holds the key.

    OPENAI_API_KEY is sent by default only to OpenAI and to where OPENAI_BASE_URL points. A ``base_url`` of regen.yaml
    gets a key when ``api_key_env`` names one: a key never goes to a server that it was not meant for.
    """

    base_url: str | None = None
    api_key_env: str | None = None
    timeout: float = 60.0

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
                hint=f"export {name}=…, or name another variable with options.api_key_env",
            )
        return key

    def client(self) -> OpenAI:
        """A new client, which makes one attempt a call: each attempt is counted. Raises MissingExtra."""
        key = self.key()
        try:
            from openai import OpenAI  # noqa: PLC0415 - takes half a second and is not always needed
        except ModuleNotFoundError:
            raise MissingExtra("the library 'openai' is not installed", hint="pip install 'regen[openai]'") from None
        return OpenAI(api_key=key, base_url=self.url, timeout=self.timeout, max_retries=0)
