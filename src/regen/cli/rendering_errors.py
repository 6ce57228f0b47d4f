"""Errors as lines and as JSON. No secret gets through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from regen.config.secrets import mask_credentials
from regen.errors import RegenError


def error_lines(error: Exception) -> Iterator[Text]:
    """What went wrong, and what to do."""
    message, hint = _message(error), _hint(error)
    first, *rest = message.splitlines() or [""]
    yield Text.assemble(("Error: ", "bold red"), first)
    for line in rest:
        yield Text(f"       {line}")
    if hint:
        first, *rest = hint.splitlines()
        yield Text.assemble(("Hint:  ", "bold cyan"), first)
        for line in rest:
            yield Text(f"       {line.strip()}")


def error_data(error: Exception) -> dict[str, Any]:
    """The value of the key ``error`` that --json gives instead of an answer."""
    return {
        "type": type(error).__name__,
        "message": _message(error),
        "hint": _hint(error),
        "retryable": isinstance(error, RegenError) and error.retryable,
    }


def _message(error: Exception) -> str:
    if isinstance(error, RegenError):
        return mask_credentials(error.message)
    return mask_credentials(f"unexpected {type(error).__name__}: {error}")


def _hint(error: Exception) -> str | None:
    if isinstance(error, RegenError):
        return mask_credentials(error.hint) if error.hint else None
    return "see where it comes from with --debug; nothing that was committed is lost"
