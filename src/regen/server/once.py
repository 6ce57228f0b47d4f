"""Idempotency keys: a request that comes again, also after a restart, is given the first one's answer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Annotated, Any, Final

import orjson
from fastapi import Header, Request
from starlette.responses import Response

from regen.errors import RegenError
from regen.ports.service import KeptAnswer
from regen.server.access.caller import Caller
from regen.server.service import Service

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="A word of the caller's own: the same request under the same word is done once, within a day.",
        min_length=1,
        max_length=200,
    ),
]
_LOCKS: Final = [threading.Lock() for _ in range(64)]


class KeyUsedOtherwise(RegenError):
    """An idempotency key came again with another request."""

    status = 409


def fingerprint(request: Request, body: Any) -> str:
    """What makes two requests the same: method, path, query and body."""
    said = [request.method, request.url.path, request.url.query, body]
    # the standard library's JSON: orjson refuses integers beyond 64 bits, which are for the change log to judge
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def once(
    service: Service, caller: Caller, key: str | None, same: str, do: Callable[[], Any], status: int
) -> tuple[Any, bool]:
    """The answer to a request, and whether it was given before. Raises KeyUsedOtherwise.

    What is done must be idempotent by itself: a server that is killed between doing it and keeping the answer has
    answered nobody, and the request is done again.
    """
    if key is None:
        return do(), False
    records = service.index.records
    with _LOCKS[hash((caller.id, key)) % len(_LOCKS)]:
        kept = records.kept_answer(caller.id, key)
        again = kept is not None
        if kept is None:
            body = orjson.dumps(do(), default=str).decode()
            kept = records.keep_answer(caller.id, key, KeptAnswer(same, status, body), at=time.time())
    if kept.fingerprint != same:
        raise KeyUsedOtherwise(
            f"the idempotency key {key!r} was used for another request",
            hint="use a key of its own for each request, and the same only to send that one again",
        )
    return orjson.loads(kept.body), again


def json_response(data: Any, status: int, *, again: bool = False) -> Response:
    """A JSON answer; one that is given again says so."""
    headers = {"Idempotency-Replayed": "true"} if again else None
    return Response(orjson.dumps(data, default=str), status, headers, "application/json")
