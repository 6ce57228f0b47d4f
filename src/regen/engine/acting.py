"""In whose name something is done: the process's user, unless a service acts for one of its callers."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_NAMED: Final[ContextVar[str | None]] = ContextVar("regen_actor", default=None)


def actor() -> str:
    """Who does it: the one that :func:`acting_as` names, else user and host."""
    named = _NAMED.get()
    if named is not None:
        return named
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """Act for somebody while the block runs, in this thread."""
    token = _NAMED.set(name)
    try:
        yield
    finally:
        _NAMED.reset(token)
