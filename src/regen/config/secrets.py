"""Secrets stay out of regen.yaml, and out of every message."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from regen.config.document import KeyPath

_SECRET_KEY: Final = re.compile(
    r"(^|[_-])(api[_-]?key|secret([_-]?key)?|private[_-]?key|access[_-]?key|passw(or)?d|credentials?|authorization"
    r"|(access|auth|bearer|refresh|api|session)[_-]token)$|^token$",
    re.IGNORECASE,
)
_CREDENTIALS: Final = re.compile(r"(?<=://)([^\s/@:]*):([^\s/@]+)@")


def is_secret_key(key: str) -> bool:
    """Whether a key of this name would hold a secret itself, rather than the name of an environment variable."""
    return bool(_SECRET_KEY.search(key))


def find_secrets(values: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The paths of everything in the values that looks like a secret: telling keys, and URLs with a password."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            if is_secret_key(str(key)) and value is not None:
                yield (*path, str(key))
            else:
                yield from find_secrets(value, (*path, str(key)))
    elif isinstance(values, list):
        for index, item in enumerate(values):
            yield from find_secrets(item, (*path, index))
    elif isinstance(values, str) and has_password(values):
        yield path


def has_password(text: str) -> bool:
    """Whether a text is a URL that carries a password."""
    if "://" not in text or "@" not in text:
        return False
    try:
        return bool(urlsplit(text).password)
    except ValueError:
        return bool(_CREDENTIALS.search(text))


def mask_credentials(text: str) -> str:
    """The text with the password of every URL in it replaced by stars."""
    return _CREDENTIALS.sub(r"\1:***@", text)
