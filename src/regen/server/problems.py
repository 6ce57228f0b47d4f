"""Errors as problem+json (RFC 9457), in the words of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from regen import errors
from regen.errors import RegenError
from regen.server.access.caller import Forbidden, Unauthenticated
from regen.wording import error_data, hint_of, message_of

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER: Final = "5"

STATUS: Final[Sequence[tuple[type[Exception], int]]] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (errors.NotFound, 404),
    (errors.AliasMoved, 409),
    (errors.NotPromotable, 409),
    (errors.StalePlan, 409),
    (errors.MassDelete, 409),
    (errors.BudgetExceeded, 409),
    (errors.ModelChanged, 409),
    (errors.ForeignVectors, 409),
    (errors.MissingExtra, 503),
    (errors.ConfigError, 422),
    (errors.DocumentError, 422),
    (errors.SpaceMismatch, 422),
    (errors.EvaluationError, 422),
    (errors.RateLimited, 503),
    (errors.EmbedderError, 502),
    (errors.SourceError, 502),
    (errors.JudgeError, 502),
    (errors.RerankerError, 502),
    (errors.StoreError, 503),
    (errors.CatalogError, 503),
)
"""The first that fits."""


class Problem(BaseModel):
    """What went wrong: ``detail`` says what was found and what is valid, ``hint`` what to do."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    hint: str | None = None
    retryable: bool = False
    errors: list[dict[str, Any]] | None = None
    run: int | None = None


def status_of(error: Exception) -> int:
    """The HTTP status of an error."""
    own = getattr(error, "status", None)
    if isinstance(own, int):
        return own
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def problem(error: Exception, instance: str, **more: Any) -> dict[str, Any]:
    """An error as a problem."""
    data = error_data(error)
    return {
        "type": f"urn:regen:{data['type']}",
        "title": _words(data["type"]),
        "status": status_of(error),
        "detail": message_of(error),
        "instance": instance,
        "hint": hint_of(error),
        "retryable": data["retryable"],
        **more,
    }


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route's description says of its problems; those that every route may have are always there."""
    told = {
        400: "The request is no HTTP that can be read.",
        401: "No key or token, or one that is not believed.",
        403: "The caller may not do that.",
        404: "There is no such thing.",
        409: "The state of the index does not allow it; the detail says what does.",
        413: "The body is larger than the server takes.",
        422: "Something in the request cannot be used as it is.",
        429: "Too many requests by this key; Retry-After says when to come again.",
        500: "A defect of regen, which the server's log tells more about.",
        502: "The model, the source or a judge failed.",
        503: "The catalog or the store is out of reach or busy; Retry-After says when to come again.",
    }
    always = (401, 403, 413, 422, 429, 500, 502, 503)
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": told[status], "content": content, "model": Problem}
        for status in sorted({*always, *statuses})
    }


def install(app: FastAPI) -> None:
    """Let every error of the application be told as a problem."""

    @app.exception_handler(RegenError)
    def on_regen_error(request: Request, error: RegenError) -> Response:
        return respond(error, request.url.path)

    @app.exception_handler(RequestValidationError)
    def on_invalid(request: Request, error: RequestValidationError) -> Response:
        found = [{"at": _place(item["loc"]), "found": item["msg"]} for item in error.errors()]
        first = f"{found[0]['at']}: {found[0]['found']}" if found else "the request is not valid"
        told = errors.ConfigError(first, hint=f"{request.url.path} is described in /openapi.json")
        return respond(told, request.url.path, errors=found)

    @app.exception_handler(HTTPException)
    def on_http(request: Request, error: HTTPException) -> Response:
        return respond(PlainProblem(error), request.url.path, headers=error.headers)

    @app.exception_handler(Exception)
    def on_surprise(request: Request, error: Exception) -> Response:
        return respond(error, request.url.path)


class PlainProblem(RegenError):
    """What the framework refuses: no such page, no such method."""

    def __init__(self, error: HTTPException) -> None:
        super().__init__(str(error.detail).lower(), hint="what there is, is described in /openapi.json")
        self.status = error.status_code


def respond(error: Exception, instance: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> JSONResponse:
    """The response that tells an error."""
    data = problem(error, instance, **more)
    added = dict(headers or {})
    if data["status"] == 401:
        added["WWW-Authenticate"] = "Bearer"
    if data["status"] in {429, 503}:
        added["Retry-After"] = str(getattr(error, "retry_after", None) or RETRY_AFTER)
    return JSONResponse(data, data["status"], added, MEDIA_TYPE)


def _words(name: str) -> str:
    """``NotPromotable`` as ``not promotable``."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()


def _place(path: Sequence[object]) -> str:
    return ".".join(str(part) for part in path)
