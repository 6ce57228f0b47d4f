"""What an error of the OpenAI client means for a call: try again or stop; and whether it may have been billed."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from regen.errors import JudgeError
from regen.judges.chat_endpoint import NO_KEY

if TYPE_CHECKING:
    from openai import APIError, APIStatusError

TOO_MANY: Final = 429
NO_MONEY: Final = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
WAITS: Final = (408, 409, 425)
_NEVER_SENT: Final = ("ConnectError", "ConnectTimeout")
_HINTS: Final = {
    401: "is the key in {key} right, and for this server?",
    403: "the key in {key} may not use this model; is it for the right organisation and project?",
    404: "is the model's name right, and does options.base_url end as the server expects, usually in /v1?",
}
_REFUSED: Final = (
    "a server that knows no JSON mode: options.json_mode: false; a model that refuses temperature 0: "
    "options.temperature: null; passages too long for the model: give it fewer"
)


class Unavailable(Exception):
    """The same call may succeed later. ``billed`` tells that it may have been paid for, although nothing came back.

    ``retry_after`` is in seconds, None when the provider did not say.
    """

    def __init__(self, message: str, *, billed: bool, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.billed, self.retry_after = billed, retry_after


def translated(error: APIError, *, what: str, key: str, secret: str) -> Unavailable | JudgeError:
    """The error that is raised instead.

    ``what`` names model and place, ``key`` the environment variable of the key; ``secret``, the key itself, is struck
    out of whatever the server said.
    """
    from openai import APIConnectionError, APIStatusError, APITimeoutError  # noqa: PLC0415 - loaded already

    cause = error.__cause__
    sent = type(cause).__name__ not in _NEVER_SENT
    if isinstance(error, APITimeoutError):
        return Unavailable(f"{what}: no answer in time", billed=sent)
    if isinstance(error, APIConnectionError):
        told = f"{type(cause).__name__ if cause else 'lost connection'}: {cause or error}"
        return Unavailable(f"{what}: {told}", billed=sent)
    message = f"{what}: {_said(error, secret)}"
    return _of_status(error, message, key) if isinstance(error, APIStatusError) else JudgeError(message)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """How many seconds the provider asks to wait: ``retry-after-ms``, or ``retry-after`` in seconds or as a date.

    A date counts from the server's own ``date``, if it gives one; else from ``now``, in seconds since 1970.
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


def _of_status(error: APIStatusError, message: str, key: str) -> Unavailable | JudgeError:
    status = error.status_code
    if status == TOO_MANY:
        if error.code in NO_MONEY or error.type in NO_MONEY:
            return JudgeError(message, hint="the account has no credit left: waiting will not help")
        return Unavailable(message, billed=False, retry_after=retry_after(error.response.headers, time.time()))
    if status >= 500 or status in WAITS:
        return Unavailable(message, billed=False, retry_after=retry_after(error.response.headers, time.time()))
    return JudgeError(message, hint=_HINTS.get(status, _REFUSED).format(key=key))


def _said(error: APIError, secret: str) -> str:
    status = getattr(error, "status_code", None)
    if status in (401, 403):  # what providers say here quotes parts of the key
        return f"status {status}, {error.code or error.type or 'access refused'}"
    text = f"status {status}: {error.message}" if status else f"{type(error).__name__}: {error.message}"
    return (text.replace(secret, "***") if secret != NO_KEY else text)[:500]


def _moment(date: str | None) -> float | None:
    if not date:
        return None
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
