"""API keys: made, listed and revoked by administrators. A secret is shown once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from regen.core.keys import Scope
from regen.server.access import Caller, require
from regen.server.problems import responses
from regen.server.service import Served

router = APIRouter(prefix="/v1", tags=["keys"])

Admin = Annotated[Caller, Depends(require("admin"))]


class KeyRequest(BaseModel):
    """Who uses the key, what it may do, and the principals that its searches are made with."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    scopes: list[Scope] = Field(min_length=1, max_length=10)
    principals: list[Annotated[str, Field(max_length=1_000)]] = Field(default_factory=list, max_length=1_000)
    per_second: float | None = Field(default=None, gt=0, le=1e6)
    expires_in: float | None = Field(default=None, gt=0, le=1e10, description="Seconds.")


class KeyView(BaseModel):
    """A key without its secret."""

    id: str
    name: str
    scopes: list[str]
    principals: list[str]
    per_second: float | None
    created_at: float
    created_by: str
    expires_at: float | None
    revoked_at: float | None


class NewKey(KeyView):
    """A key that was just made: ``key`` is shown this once."""

    key: str


@router.get("/keys", responses=responses())
def keys(_caller: Admin, service: Served) -> list[KeyView]:
    """All keys there ever were."""
    return [KeyView(**key.to_dict()) for key in service.index.api_keys()]


@router.post("/keys", status_code=201, responses=responses())
def create(asked: KeyRequest, caller: Admin, service: Served, request: Request) -> NewKey:
    """Make a key."""
    with service.operating(request, caller, "keys create", **asked.model_dump()):
        key, made = service.index.create_key(
            asked.name,
            asked.scopes,
            principals=asked.principals,
            per_second=asked.per_second,
            expires_in=asked.expires_in,
        )
    service.doorkeeper.keys.forget()
    return NewKey(key=key, **made.to_dict())


@router.delete("/keys/{name}", responses=responses(404))
def revoke(
    name: Annotated[str, Path(min_length=1, max_length=100)], caller: Admin, service: Served, request: Request
) -> KeyView:
    """Let a key, by its name or id, open nothing any more."""
    with service.operating(request, caller, "keys revoke", name=name):
        revoked = service.index.revoke_key(name)
    service.doorkeeper.keys.forget()
    return KeyView(**revoked.to_dict())
