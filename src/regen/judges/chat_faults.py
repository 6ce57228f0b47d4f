"""What an error of the OpenAI client means for a call: try again or stop; and whether it may have been billed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from regen.errors import JudgeError
from regen.openai_service import HINTS, NO_MONEY, TOO_MANY, WAITS, retry_after, said

if TYPE_CHECKING:
    from openai import APIError, APIStatusError

_NEVER_SENT: Final = ("ConnectError", "ConnectTimeout")
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
    message = f"{what}: {said(error, secret)}"
    return _of_status(error, message, key) if isinstance(error, APIStatusError) else JudgeError(message)


def _of_status(error: APIStatusError, message: str, key: str) -> Unavailable | JudgeError:
    status = error.status_code
    if status == TOO_MANY:
        if error.code in NO_MONEY or error.type in NO_MONEY:
            return JudgeError(message, hint="the account has no credit left: waiting will not help")
        return Unavailable(message, billed=False, retry_after=retry_after(error.response.headers, time.time()))
    if status >= 500 or status in WAITS:
        return Unavailable(message, billed=False, retry_after=retry_after(error.response.headers, time.time()))
    return JudgeError(message, hint=HINTS.get(status, _REFUSED).format(key=key))
