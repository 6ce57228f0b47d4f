"""Documents and change-data events: logged at once, searchable soon after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
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


@dataclass(frozen=True, slots=True)
class Change:
    """One request that changes documents: by whom, under which key, and how long it waits for what it changes."""

    service: Service
    caller: Caller
    request: Request
    key: str | None
    patience: float | None

    async def answered(self, body: Any, documents: Sequence[Document] = (), deleted: Collection[str] = ()) -> Response:
        """Log it, once for the same body under one key, and wait until it is searchable, if that is wanted."""

        def do() -> dict[str, Any]:
            accepted = self.service.index.accept(documents, deleted)
            self.service.follower.wake()
            return {**accepted.to_dict(), "searchable": False}

        same = "" if self.key is None else fingerprint(self.request, body)
        told, again = await self.service.apart(lambda: once(self.service, self.caller, self.key, same, do, 202))
        if self.patience is not None:
            told["searchable"] = await searchable(self.service, told["revision"], self.patience)
        return json_response(told, 200 if told["searchable"] else 202, again=again)


async def change(
    caller: Writer,
    service: Served,
    request: Request,
    key: IdempotencyKey = None,
    wait: Wait = None,
    timeout: Timeout = 30.0,
) -> Change:
    """What every route that changes documents takes beside its body."""
    return Change(service, caller, request, key, None if wait is None else timeout)


Changing = Annotated[Change, Depends(change)]


@router.post("/documents", status_code=202, response_model=AcceptedChanges, responses=ANSWERS)
async def upsert(given: Documents, asked: Changing) -> Response:
    """Create or replace documents. Those that did not change cost nothing."""
    return await asked.answered(given.model_dump(), [Document(**dict(item)) for item in given.documents])


@router.post("/documents/delete", status_code=202, response_model=AcceptedChanges, responses=ANSWERS)
async def delete(given: Ids, asked: Changing) -> Response:
    """Delete documents: when this has answered, no search finds them. Unknown ids are ignored."""
    return await asked.answered(given.model_dump(), deleted=given.ids)


@router.delete("/documents/{doc_id:path}", status_code=202, response_model=AcceptedChanges, responses=ANSWERS)
async def delete_one(doc_id: Annotated[str, Path(min_length=1, max_length=4_000)], asked: Changing) -> Response:
    """Delete one document."""
    return await asked.answered(None, deleted=[doc_id])


@router.post("/events", status_code=202, response_model=AcceptedChanges, responses=ANSWERS)
async def events(given: ChangeBatch | DebeziumEvent | list[DebeziumEvent], asked: Changing) -> Response:
    """Take what a source's change feed tells: regen's own body, or Debezium's envelopes. Of one id the last counts."""
    upserts, deletes = folded(given, asked.service.settings.events)
    said = [item.model_dump() for item in given] if isinstance(given, list) else given.model_dump()
    return await asked.answered(said, upserts, deletes)


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


async def searchable(service: Service, revision: int, timeout: float) -> bool:
    """Whether everything up to a revision is searchable, now or within the time. No thread waits meanwhile.

    When the server ends, nobody is kept waiting: the next one tells more.
    """
    follower = service.follower
    deadline, look_at = time.monotonic() + timeout, 0.0
    while follower.backlog.live < revision:
        now = time.monotonic()
        if now >= look_at:  # what another process has caught up with
            await service.apart(follower.look)
            look_at = now + 1.0
            continue
        if now >= deadline or service.stopping:
            return False
        await asyncio.sleep(min(GLANCE, deadline - now))
    return True
