"""Long work: asked for, followed, and never lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal, NamedTuple

import orjson
from fastapi import APIRouter, Depends, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response, StreamingResponse

from regen.ports.service import RequestedRun
from regen.server.access import Caller, require
from regen.server.once import IdempotencyKey
from regen.server.problems import MEDIA_TYPE, Problem, responses
from regen.server.service import Served, Service, origin_of

router = APIRouter(prefix="/v1", tags=["runs"])

LONGEST_WAIT: Final = 300
GLANCE: Final = 0.1
KEEP_ALIVE: Final = 15.0
Operator = Annotated[Caller, Depends(require("operate"))]
Wait = Annotated[float, Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait for its end, to be told the result.")]
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
Generation = Annotated[int | None, Field(ge=1, le=2**31 - 1)]


class Progressed(BaseModel):
    """How far a run is."""

    stage: str
    done: int
    total: int | None
    unit: str
    embedded_texts: int
    cost_usd: float
    note: str


class RunView(BaseModel):
    """A run. ``result`` is what the verb's --json gives; ``error`` is a problem."""

    id: int
    verb: str
    arguments: dict[str, Any]
    actor: str
    state: Literal["queued", "running", "succeeded", "failed"]
    created_at: float
    started_at: float | None
    finished_at: float | None
    attempts: int
    version: int
    progress: Progressed | None
    result: dict[str, Any] | None
    error: Problem | None


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SyncRequest(_Asked):
    """``allow_mass_delete`` lets the source lose any share of its documents at once."""

    allow_mass_delete: bool = False


class PlanRequest(_Asked):
    """``sample`` is how many texts the wanted model may be sent to measure what it changes."""

    allow_mass_delete: bool = False
    sample: int | None = Field(default=0, ge=0, le=100_000)


class ApplyRequest(_Asked):
    """A plan, as a run of ``plan`` gave it, or nothing: then it is planned and done."""

    plan: dict[str, Any] | None = None
    allow_mass_delete: bool = False


class EvaluateRequest(_Asked):
    """Which generation (default: the newest that is ready), beside which."""

    generation: Generation = None
    against: Literal["live"] | Annotated[int, Field(ge=1, le=2**31 - 1)] | None = "live"


class PromoteRequest(_Asked):
    """Which generation (default: the newest that is ready); ``canary`` is the share of the callers (0 to 1) at first.

    ``force`` overrules the gate, which needs the scope admin and a reason, and is recorded.
    """

    generation: Generation = None
    canary: float | None = Field(default=None, gt=0, le=1)
    force: bool = False
    reason: str = Field(default="", max_length=10_000)
    expected_version: int | None = Field(default=None, ge=0, le=2**31 - 1)


class VerifyRequest(_Asked):
    """``repair`` mends what differs."""

    repair: bool = False


class GcRequest(_Asked):
    """``now`` removes the change log's past too: nothing can be restored then."""

    now: bool = False


class RetryRequest(_Asked):
    """Which documents to embed anew; without any, all dead letters are tried again."""

    documents: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list, max_length=10_000)


class RestoreRequest(_Asked):
    """Which document, as of which revision."""

    document: str = Field(min_length=1, max_length=4_000)
    revision: int = Field(ge=1, le=2**62)


class DoctorRequest(_Asked):
    """Nothing to say."""


class ReplayRequest(_Asked):
    """From which time on (seconds since 1970) documents are written to the store anew."""

    since: float = Field(ge=0, le=1e11)


BEGUN: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "It ended well within the time.", "model": RunView},
    202: {"description": "It is under way: GET /v1/runs/{id} tells more.", "model": RunView},
    **responses(404, 409),
}


class Verb(NamedTuple):
    """A verb that takes long: what it is asked by, how long to wait for it, and the flag that only admins may set."""

    name: str
    model: type[_Asked]
    told: str
    wait: float = 0.0
    flag: str | None = None


VERBS: Final = (
    Verb("sync", SyncRequest, "Bring the index in step with its source: documents only, never a new generation."),
    Verb("plan", PlanRequest, "What would restore consistency, why, and what it costs. Changes nothing.", 30),
    Verb("apply", ApplyRequest, "Run exactly a plan's steps, or plan and run. A new generation is left ready."),
    Verb("evaluate", EvaluateRequest, "Measure a generation beside another one on judged collections and checks."),
    Verb("promote", PromoteRequest, "Make a generation live through the gate, or begin a canary of it.", 30, "force"),
    Verb("verify", VerifyRequest, "Compare catalog and store of every generation, point by point."),
    Verb("gc", GcRequest, "Remove what is no longer needed.", 0, "now"),
    Verb("retry", RetryRequest, "Try dead letters again, or embed named documents anew."),
    Verb("restore", RestoreRequest, "Bring a document back as it was at an earlier revision.", 30),
    Verb("replay", ReplayRequest, "Write all points of documents changed since a time anew, for a restored store."),
    Verb("doctor", DoctorRequest, "Check all of it: source, model, store, catalog. Changes nothing.", 30),
)


def _add(verb: Verb) -> None:
    """A route for a verb: POST /v1/NAME begins a run of it."""

    async def begin(
        asked: Any,
        caller: Operator,
        service: Served,
        request: Request,
        wait: Wait = verb.wait,
        key: IdempotencyKey = None,
    ) -> Response:
        if verb.flag is not None and getattr(asked, verb.flag):
            caller.require("admin")
        return await begun(verb.name, asked, caller, service, request, wait=wait, key=key)

    begin.__annotations__["asked"] = verb.model
    router.add_api_route(
        f"/{verb.name}", begin, methods=["POST"], name=verb.name, summary=verb.name.capitalize(),
        description=verb.told, status_code=202, response_model=RunView, responses=BEGUN,
    )  # fmt: skip


for _verb in VERBS:
    _add(_verb)


@router.get("/runs", responses=responses())
def runs(_caller: Operator, service: Served, limit: Annotated[int, Query(ge=1, le=1_000)] = 50) -> list[RunView]:
    """The newest runs first."""
    return [view(run) for run in service.index.records.requested_runs(limit)]


@router.get("/runs/{number}", responses=responses(404))
async def run(number: Number, _caller: Operator, service: Served, wait: Wait = 0) -> RunView:
    """One run as it stands, or as it ended within the time."""
    return view(await ended(service, number, wait))


@router.get(
    "/runs/{number}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events: `run` whenever it moves on, `end` once; each holds the run.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **responses(404),
    },
)
async def run_events(
    number: Number,
    _caller: Operator,
    service: Served,
    last: Annotated[str | None, Header(alias="Last-Event-ID", description="The last one seen, to go on from.")] = None,
) -> Response:
    """A run's progress as it is made, by whichever server."""
    found = await service.apart(lambda: service.runs.get(number))
    seen = int(last) if last is not None and last.isdecimal() and len(last) < 18 else 0
    return StreamingResponse(
        _stream(service, found, seen), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def begun(
    verb: str, asked: BaseModel, caller: Caller, service: Service, request: Request, *, wait: float, key: str | None
) -> Response:
    """A run that was just asked for: as it stands, or as it ended within the time."""
    word = None if key is None else f"{caller.id} {verb} {key}"

    def begin() -> RequestedRun:
        return service.runs.begin(verb, asked.model_dump(), caller, origin=origin_of(request), once=word)

    found = await ended(service, (await service.apart(begin)).id, wait)
    if found.state == "failed" and found.error is not None:
        return JSONResponse({**found.error, "run": found.id}, found.error["status"], media_type=MEDIA_TYPE)
    done = found.state == "succeeded"
    headers = {"Location": f"/v1/runs/{found.id}"}
    return Response(orjson.dumps(shown(found)), 200 if done else 202, headers, "application/json")


async def ended(service: Service, number: int, wait: float) -> RequestedRun:
    """A run once it has ended, or after so many seconds, or when the server ends. Raises NotFound."""
    deadline = time.monotonic() + wait
    while True:
        found = await service.apart(lambda: service.runs.get(number))
        if found.finished_at is not None or service.stopping or time.monotonic() >= deadline:
            return found
        await asyncio.sleep(min(GLANCE, max(0.0, deadline - time.monotonic())))


async def _stream(service: Service, found: RequestedRun, seen: int) -> AsyncIterator[bytes]:
    told_at, number = time.monotonic(), found.id
    while True:
        if found.version > seen or found.finished_at is not None:
            kind = "run" if found.finished_at is None else "end"
            yield f"id: {found.version}\nevent: {kind}\ndata: ".encode() + orjson.dumps(shown(found)) + b"\n\n"
            seen, told_at = found.version, time.monotonic()
        if found.finished_at is not None or service.stopping:
            return
        await asyncio.sleep(GLANCE * 2)
        found = await service.apart(lambda: service.runs.get(number))
        if time.monotonic() - told_at > KEEP_ALIVE:
            yield b": still there\n\n"
            told_at = time.monotonic()


def shown(run: RequestedRun) -> dict[str, Any]:
    """A run as its callers see it."""
    return {name: value for name, value in asdict(run).items() if name not in {"owner", "beat_at"}}


def view(run: RequestedRun) -> RunView:
    """The same as a model."""
    return RunView(**shown(run))
