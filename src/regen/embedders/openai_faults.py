"""What an error of the OpenAI client means for regen: wait, try again, refuse these texts, or stop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from regen.errors import EmbedderError, RateLimited, TextRejected
from regen.openai_service import HINTS, NO_MONEY, TOO_MANY, WAITS, retry_after, said

if TYPE_CHECKING:
    from openai import APIError, APIStatusError

WRONG_SETTINGS: Final = ("model", "dimensions", "encoding_format", "user")
"""The parameters of a request that no text decides: an error in them is an error of the configuration."""


def translated(error: APIError, *, what: str, key: str, secret: str) -> Exception:
    """The error that regen raises instead.

    ``what`` names model and place, ``key`` the environment variable of the key; ``secret``, the key itself, is struck
    out of whatever the server said.
    """
    from openai import APIConnectionError, APIStatusError, APITimeoutError  # noqa: PLC0415 - loaded already

    if isinstance(error, APITimeoutError):
        return TimeoutError(f"{what}: no answer in time")
    if isinstance(error, APIConnectionError):
        cause = error.__cause__
        return ConnectionError(f"{what}: {type(cause).__name__ if cause else 'lost connection'}: {cause or error}")
    message = f"{what}: {said(error, secret)}"
    if not isinstance(error, APIStatusError):
        return EmbedderError(message)
    return _of_status(error, message, key)


def _of_status(error: APIStatusError, message: str, key: str) -> Exception:
    status = error.status_code
    if status == TOO_MANY:
        if error.code in NO_MONEY or error.type in NO_MONEY:
            return EmbedderError(message, hint="the account has no credit left: waiting will not help")
        return RateLimited(message, retry_after=retry_after(error.response.headers, time.time()))
    if status >= 500 or status in WAITS:
        return ConnectionError(message)
    if status in HINTS:
        return EmbedderError(message, hint=HINTS[status].format(key=key))
    if error.param in WRONG_SETTINGS:
        return EmbedderError(message, hint=f"the server refuses {error.param!r}: see embedding.model and its options")
    return TextRejected(message)  # 400, 413, 422: bisected until the one text is found
