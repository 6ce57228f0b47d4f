"""Search, as the caller that the key or token says."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response

from regen.core.results import Explanation, Hit, SearchResult
from regen.ports.keywords import SearchMode
from regen.server.access import Caller, require
from regen.server.problems import responses
from regen.server.service import Served, Service
from regen.server.tracing import note_stages, span

router = APIRouter(prefix="/v1", tags=["search"])

MOST_HITS = 1_000


class SearchRequest(BaseModel):
    """A question: a text, or a vector of the named ``space``. ``mode`` says whether words count, too or alone.

    ``key`` names the caller to a rollout, which treats one alike. ``principals`` may be named by callers with the scope
    act_as only; everybody else searches as what their key or token says.
    """

    model_config = ConfigDict(extra="forbid")

    query: str | None = Field(default=None, max_length=100_000)
    vector: list[float] | None = Field(default=None, max_length=65_536)
    space: str | None = None
    k: int = Field(default=10, ge=1, le=MOST_HITS)
    where: dict[str, Any] | None = None
    generation: int | None = None
    key: str | None = Field(default=None, max_length=1_000)
    rerank: bool = True
    mode: SearchMode = "vector"
    explain: bool = False
    principals: list[str] | None = Field(default=None, max_length=1_000)

    @model_validator(mode="after")
    def _one_question(self) -> SearchRequest:
        if (self.query is None) == (self.vector is None):
            raise ValueError("either query or vector is needed, and not both")
        return self


class SearchAnswer(BaseModel):
    """The hits, best first. ``query_id`` is what feedback refers to, where searches are logged."""

    generation: int
    space: str
    hits: list[Hit]
    query_id: str | None = None
    explanation: Explanation | None = None


@router.post("/search", response_model=SearchAnswer, responses=responses(404))
async def search(
    asked: SearchRequest,
    caller: Annotated[Caller, Depends(require("search"))],
    service: Served,
) -> Response:
    """The best chunks that the caller may see; every hit has passed the fence."""

    def found() -> bytes:
        return orjson.dumps(answer(service, caller, asked).to_dict(explain=asked.explain))

    return Response(await service.searching(found), media_type="application/json")


def answer(service: Service, caller: Caller, asked: SearchRequest) -> SearchResult:
    """Search as the caller. Raises Forbidden, NotFound, ConfigError, SpaceMismatch."""
    question = asked.query if asked.query is not None else asked.vector
    assert question is not None
    with span("regen.search", k=asked.k), service.metrics.searching() as searched:
        result = service.index.search(
            question,
            asked.k,
            where=asked.where,
            principals=caller.principals_for(asked.principals),
            generation=asked.generation,
            space=asked.space,
            key=asked.key,
            rerank=asked.rerank,
            mode=asked.mode,
        )
        searched(result)
        note_stages(result)
    return result
