"""What tells open pages that something has changed, so that they fetch their regions anew."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Final

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from regen.errors import RegenError
from regen.server.console.visit import Reader, Visit
from regen.server.console.work import recent, run_of
from regen.server.service import service_of

router = APIRouter()
EVERY: Final = 1.0
LONGEST: Final = 300.0
"""Seconds after which the stream ends, and the browser asks anew: a session that has expired is noticed."""


@router.get("/live/{topic}")
def live(visit: Reader, topic: str) -> Response:
    """Server-sent events: one whenever what the topic is about has changed."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(changes(visit, topic), media_type="text/event-stream", headers=headers)


async def changes(visit: Visit, topic: str) -> AsyncIterator[str]:
    """An event for each change, until the browser leaves."""
    yield "retry: 2000\n\n"
    before, quiet = await run_in_threadpool(stamp, visit, topic), 0.0
    yield f"event: begun\ndata: {before}\n\n"
    for _ in range(int(LONGEST / EVERY)):
        await asyncio.sleep(EVERY)
        if service_of(visit.request).stopping or await visit.request.is_disconnected():
            return
        now = await run_in_threadpool(stamp, visit, topic)
        quiet = 0.0 if now != before else quiet + EVERY
        if now != before:
            yield f"event: changed\ndata: {now}\n\n"
        elif quiet >= 15:
            quiet = 0.0
            yield ": still here\n\n"
        before = now


def stamp(visit: Visit, topic: str) -> str:
    """A short text that differs whenever the topic has changed."""
    number = topic.removeprefix("run-")
    try:
        if topic.startswith("run-") and number.isdigit():
            found = run_of(visit, int(number))
            told: object = (found.state, found.progress)
        else:
            told = (visit.index.pulse(), [(run.id, run.state, run.progress) for run in recent(visit)])
    except RegenError as error:  # the catalog is busy or out of reach: the page says so when it is fetched
        told = error.message
    return hashlib.blake2b(repr(told).encode(), digest_size=8).hexdigest()
