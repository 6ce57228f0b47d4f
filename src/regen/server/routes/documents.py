"""Documents and change-data events: logged at once, searchable soon after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from regen.core.documents import Document
from regen.core.results import DocumentCounts
from regen.server.access import Caller, require
from regen.server.changes import ChangeBatch, DebeziumEvent, folded
from regen.server.once import IdempotencyKey, fingerprint, json_response, once
from regen.server.problems import responses
from regen.server.service import Served, Service

router = APIRouter(prefix="/v1", tags=["documents"])

MOST_DOCUMENTS: Final = 10_000
GLANCE: Final = 0.02
Writer = Annotated[Caller, Depends(require("write"))]
Wait = Annotated[
    Literal["searchable"] | None, Query(description="Answer when the change is searchable, or `timeout` has passed.")
]
Timeout = Annotated[float, Query(ge=0, le=300, description="Seconds that `wait` may take.")]


class GivenDocument(BaseModel):
    """One document. ``access`` is a list of principals; without it the document is public, ``[]`` is for nobody."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=4_000)
    text: str
    metadata: dict[str, Any] = Field(default_factory=dict)
    access: list[str] | None = None
    version: str | None = None
    updated_at: float | None = Field(default=None, description="When the source changed it, in seconds since 1970.")


class Documents(BaseModel):
    """A batch of documents to create or replace."""

    model_config = ConfigDict(extra="forbid")

    documents: list[GivenDocument] = Field(max_length=MOST_DOCUMENTS)


class Ids(BaseModel):
    """A batch of ids."""

    model_config = ConfigDict(extra="forbid")

    ids: list[str] = Field(max_length=MOST_DOCUMENTS)


class AcceptedChanges(BaseModel):
    """What was logged. ``searchable`` tells whether everything up to ``revision`` is, at the time of the answer."""

    revision: int
    documents: DocumentCounts
    searchable: bool


class RevisionState(BaseModel):
    """Whether everything up to a revision is searchable; ``live`` is how far that is true, ``head`` the log's end."""

    revision: int
    searchable: bool
    live: int
    head: int


ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Logged, and searchable.", "model": AcceptedChanges},
    202: {"description": "Logged: deletions and revoked access hold. The rest is soon searchable."},
    **responses(409),
}


@router.post("/documents", status_code=202, response_model=AcceptedChanges, responses=ANSWERS)
async def upsert(  # noqa: PLR0917 - what a request is made of
    given: Documents,
    caller: Writer,
    service: Served,
    request: Request,
    key: IdempotencyKey = None,
    wait: Wait = None,
    timeout: Timeout = 30.0,
) -> Response:
    """Create or replace documents. Those that did not change cost nothing."""
    documents = [Document(**dict(item)) for item in given.documents]
    change = _Change(service, caller, request, key, given.model_dump())
    return await change.answered(documents, (), wait is not None, timeout)


@router.post("/documents/delete", status_code=202, response_model=AcceptedChanges, responses=ANSWERS)
async def delete(  # noqa: PLR0917 - what a request is made of
    given: Ids,
    caller: Writer,
    service: Served,
    request: Request,
    key: IdempotencyKey = None,
    wait: Wait = None,
    timeout: Timeout = 30.0,
) -> Response:
    """Delete documents: when this has answered, no search finds them. Unknown ids are ignored."""
    change = _Change(service, caller, request, key, given.model_dump())
    return await change.answered((), given.ids, wait is not None, timeout)


@router.delete("/documents/{doc_id:path}", status_code=202, response_model=AcceptedChanges, responses=ANSWERS)
async def delete_one(
    doc_id: Annotated[str, Path(min_length=1, max_length=4_000)],
    caller: Writer,
    service: Served,
    request: Request,
    wait: Wait = None,
    timeout: Timeout = 30.0,
) -> Response:
    """Delete one document."""
    return await _Change(service, caller, request, None, None).answered((), [doc_id], wait is not None, timeout)


@router.post("/events", status_code=202, response_model=AcceptedChanges, responses=ANSWERS)
async def events(  # noqa: PLR0917 - what a request is made of
    given: ChangeBatch | DebeziumEvent | list[DebeziumEvent],
    caller: Writer,
    service: Served,
    request: Request,
    key: IdempotencyKey = None,
    wait: Wait = None,
    timeout: Timeout = 30.0,
) -> Response:
    """Take what a source's change feed tells: regen's own body, or Debezium's envelopes. Of one id the last counts."""
    upserts, deletes = folded(given, service.settings.events)
    said = [item.model_dump() for item in given] if isinstance(given, list) else given.model_dump()
    change = _Change(service, caller, request, key, said)
    return await change.answered(upserts, deletes, wait is not None, timeout)


@router.get("/revisions/{revision}", response_model=RevisionState, responses=responses())
async def revision_state(
    revision: Annotated[int, Path(ge=0, le=2**62)],
    _caller: Writer,
    service: Served,
    timeout: Annotated[float, Query(ge=0, le=300, description="Seconds to wait for it.")] = 0.0,
) -> RevisionState:
    """Whether everything up to a revision is searchable."""
    done = await searchable(service, revision, timeout)
    at = service.follower.backlog
    return RevisionState(revision=revision, searchable=done, live=at.live, head=at.head)


class _Change:
    """One request that changes documents."""

    def __init__(self, service: Service, caller: Caller, request: Request, key: str | None, body: Any) -> None:
        self._service, self._caller, self._request = service, caller, request
        self._key, self._body = key, body

    async def answered(
        self, documents: Sequence[Document], deleted: Collection[str], wait: bool, timeout: float
    ) -> Response:
        """Log it, once, and wait for it if that is wanted."""

        def do() -> dict[str, Any]:
            accepted = self._service.index.accept(documents, deleted)
            self._service.follower.wake()
            return {**accepted.to_dict(), "searchable": False}

        same = "" if self._key is None else fingerprint(self._request, self._body)
        told, again = await run_in_threadpool(once, self._service, self._caller, self._key, same, do, 202)
        if wait:
            told["searchable"] = await searchable(self._service, told["revision"], timeout)
        return json_response(told, 200 if told["searchable"] else 202, again=again)


async def searchable(service: Service, revision: int, timeout: float) -> bool:
    """Whether everything up to a revision is searchable, now or within the time. No thread waits meanwhile.

    When the server ends, nobody is kept waiting: the next one tells more.
    """
    follower = service.follower
    deadline, look_at = time.monotonic() + timeout, 0.0
    while follower.backlog.live < revision:
        now = time.monotonic()
        if now >= look_at:  # what another process has caught up with
            await run_in_threadpool(follower.look)
            look_at = now + 1.0
            continue
        if now >= deadline or service.stopping:
            return False
        await asyncio.sleep(min(GLANCE, deadline - now))
    return True
