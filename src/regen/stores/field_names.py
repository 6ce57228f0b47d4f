"""Metadata keys of any spelling as names that every store takes, and back."""

from __future__ import annotations

import re
from typing import Final

_SAFE: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789")
_ENCODED: Final = re.compile(rb"_([0-9a-f]{2})")


def column_name(prefix: str, key: str) -> str:
    """The column of a metadata key: ``prefix`` and the key, every byte but a-z and 0-9 written as ``_xx``."""
    return prefix + "".join(chr(byte) if byte in _SAFE else f"_{byte:02x}" for byte in key.encode())


def column_key(prefix: str, column: str) -> str:
    """The metadata key of a column: the inverse of :func:`column_name`."""
    encoded = column[len(prefix) :].encode()
    return _ENCODED.sub(lambda found: bytes([int(found[1], 16)]), encoded).decode()
