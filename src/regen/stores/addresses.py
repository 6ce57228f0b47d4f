"""The URLs of stores that are servers, or folders and files of a client that needs none."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from regen.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Product:
    """What the URLs of one product look like. ``options`` are those that it takes besides the usual ones.

    ``place`` is what its client keeps without a server, empty where it needs one.
    """

    name: str
    scheme: str
    port: int
    key_variable: str
    options: tuple[str, ...] = ()
    place: str = "folder"

    @property
    def forms(self) -> str:
        """Valid forms, for messages."""
        places = (f"{self.local}{self.place}",) if self.place else ()
        return ", ".join((f"{self.scheme}://host:{self.port}", f"{self.scheme}://host?https=true", *places))

    @property
    def local(self) -> str:
        """What the URL of a folder or file begins with."""
        return f"{self.scheme}+file://"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store is: a folder or file, or a server. ``shown`` holds no secret and no option."""

    shown: str
    local: Path | None = None
    host: str = ""
    port: int = 0
    path: str = ""
    https: bool = False
    timeout: float = 60.0
    key_variable: str = ""
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, url: str, product: Product, root: Path) -> Address:
        """Read ``scheme://host[:port][?https=true&timeout=60&api_key_env=NAME]`` or ``scheme+file://place``.

        Raises ConfigError for another form, an unknown option, or a secret in the URL.
        """
        if product.place and url.startswith(product.local) and url != product.local:
            place = (root / url.removeprefix(product.local)).resolve()
            return cls(f"{product.local}{place}", local=place)
        word = f"the {product.name} URL"
        try:
            parts = urlsplit(url)
            port = parts.port or product.port
            options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        except ValueError as error:
            raise ConfigError(f"{word} is not understood: {error}", hint=f"valid forms: {product.forms}") from None
        if parts.scheme != product.scheme or not parts.hostname:
            raise ConfigError(
                f"{parts.scheme}:// without a host is no {product.name}", hint=f"valid forms: {product.forms}"
            )
        if parts.username is not None or options.keys() & {"api_key", "token", "password"}:
            raise ConfigError(
                f"{word} holds a secret, which would be kept and shown wherever the URL is",
                hint=f"put it into the environment variable {product.key_variable}, or name another: ?api_key_env=NAME",
            )
        host, path = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname, parts.path.rstrip("/")
        usual = {name: options.pop(name) for name in ("https", "timeout", "api_key_env") if name in options}
        if unknown := options.keys() - set(product.options):
            known = ", ".join(("https=true", "timeout=SECONDS", "api_key_env=NAME", *product.options))
            raise ConfigError(f"unknown option {min(unknown)!r} in {word}", hint=f"options: {known}")
        return cls(
            shown=f"{product.scheme}://{host}:{port}{path}",
            host=host,
            port=port,
            path=path,
            https=_flag(usual.get("https", "false"), word),
            timeout=_seconds(usual.get("timeout", "60"), word),
            key_variable=usual.get("api_key_env", product.key_variable),
            options=options,
        )

    @property
    def url(self) -> str:
        """The server's address for HTTP."""
        return f"{'https' if self.https else 'http'}://{self.host}:{self.port}{self.path}"

    @property
    def key(self) -> str | None:
        """The secret, None where the environment holds none."""
        return os.environ.get(self.key_variable) or None

    @property
    def is_there(self) -> bool:
        """Whether there is anything to look at: a folder or file is made by writing, not by looking."""
        return self.local is None or self.local.exists()


def _flag(text: str, word: str) -> bool:
    if text not in {"true", "false"}:
        raise ConfigError(f"https={text} in {word}", hint="https=true or https=false")
    return text == "true"


def _seconds(text: str, word: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < math.inf:
        raise ConfigError(f"timeout={text} in {word}", hint="a positive number of seconds")
    return seconds
