"""What an error of the OpenAI client means for regen: wait, try again, refuse these texts, or stop."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from regen.embedders.openai_endpoint import NO_KEY
from regen.errors import EmbedderError, RateLimited, TextRejected

if TYPE_CHECKING:
    from openai import APIError, APIStatusError

TOO_MANY: Final = 429
NO_MONEY: Final = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
WRONG_SETTINGS: Final = ("model", "dimensions", "encoding_format", "user")
"""The parameters of a request that no text decides: an error in them is an error of the configuration."""
WAITS: Final = (408, 409, 425)

_HINTS: Final = {
    401: "is the key in {key} right, and for this server?",
    403: "the key in {key} may not use this model; is it for the right organisation and project?",
    404: "is the model's name right, and does options.base_url end as the server expects, usually in /v1?",
}


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
    message = f"{what}: {_said(error, secret)}"
    if not isinstance(error, APIStatusError):
        return EmbedderError(message)
    return _of_status(error, message, key)


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


def _of_status(error: APIStatusError, message: str, key: str) -> Exception:
    status = error.status_code
    if status == TOO_MANY:
        if error.code in NO_MONEY or error.type in NO_MONEY:
            return EmbedderError(message, hint="the account has no credit left: waiting will not help")
        return RateLimited(message, retry_after=retry_after(error.response.headers, time.time()))
    if status >= 500 or status in WAITS:
        return ConnectionError(message)
    if status in _HINTS:
        return EmbedderError(message, hint=_HINTS[status].format(key=key))
    if error.param in WRONG_SETTINGS:
        return EmbedderError(message, hint=f"the server refuses {error.param!r}: see embedding.model and its options")
    return TextRejected(message)  # 400, 413, 422: bisected until the one text is found


def _said(error: APIError, secret: str) -> str:
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
