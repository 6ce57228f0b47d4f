"""What stores of free-form payloads share when regen reads a collection that it did not make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from regen.errors import ConfigError

_TEXTS: Final = ("text", "content", "contents", "page_content", "document", "chunk", "body")


def text_key(payload: Mapping[str, Any], wanted: str | None) -> str:
    """The key that holds the text, found by its name where it is not given. Raises ConfigError."""
    if wanted is not None:
        if wanted not in payload:
            raise ConfigError(f"there is no key {wanted!r}", hint=f"there are: {', '.join(sorted(payload))}")
        return wanted
    found = [key for key in _TEXTS if isinstance(payload.get(key), str)]
    if not found:
        raise ConfigError(
            f"which key holds the text cannot be told from {', '.join(sorted(payload)) or 'no keys at all'}",
            hint="name it with --text KEY",
        )
    return found[0]


def flat(payload: Mapping[str, Any], wanted: Sequence[str] | None, *, nested: str = "") -> dict[str, Any]:
    """A payload as metadata: without nulls, with the object under ``nested`` taken apart, only the keys ``wanted``."""
    found = {key: value for key, value in payload.items() if value is not None}
    inner = found.get(nested)
    if isinstance(inner, dict):
        del found[nested]
        found |= {key: value for key, value in inner.items() if value is not None}
    return found if wanted is None else {key: found[key] for key in wanted if key in found}
