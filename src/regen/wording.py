"""An error in words: the same on the command line, in its JSON, and over HTTP. No secret gets through."""

from __future__ import annotations

from typing import Any

from regen.config.secrets import mask_credentials
from regen.errors import RegenError


def error_data(error: Exception) -> dict[str, Any]:
    """An error as JSON: its type, message and hint, and whether the same call may succeed later."""
    return {
        "type": type(error).__name__,
        "message": message_of(error),
        "hint": hint_of(error),
        "retryable": isinstance(error, RegenError) and error.retryable,
    }


def message_of(error: Exception) -> str:
    """What was found, and what is valid."""
    if isinstance(error, RegenError):
        return mask_credentials(error.message)
    return mask_credentials(f"unexpected {type(error).__name__}: {error}")


def hint_of(error: Exception) -> str | None:
    """What to do; None where there is nothing to say."""
    if isinstance(error, RegenError):
        return mask_credentials(error.hint) if error.hint else None
    return "see where it comes from with --debug; nothing that was committed is lost"
