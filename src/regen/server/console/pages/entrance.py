"""Logging in and out, and light or dark."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from regen.server.access import Caller, principal_of
from regen.server.access.caller import Unauthenticated
from regen.server.access.sessions import clear_cookie, set_cookie
from regen.server.console.visit import THEME, THEMES, read_form, visit_of
from regen.server.service import service_of

router = APIRouter()


@router.get("/login")
def ask(request: Request, expired: bool = False) -> Response:
    """Where to say who one is."""
    return visit_of(request, None).page(
        "login.html.j2", expired=expired, wrong=None, next=own_address(request.query_params.get("next", ""))
    )


@router.post("/login")
def log_in(request: Request, form: Annotated[dict[str, str], Depends(read_form)]) -> Response:
    """A session for whoever shows a key that is known."""
    visit, wanted = visit_of(request, None), own_address(form.get("next", ""))
    visit.form = form
    visit.require_own_form()
    try:
        session = service_of(request).doorkeeper.log_in(form.get("key", ""))
    except Unauthenticated as error:
        return visit.page("login.html.j2", status=401, expired=False, wrong=error, next=wanted)
    response = visit.leave(wanted)
    set_cookie(response, request, session)
    return response


@router.post("/logout")
def log_out(request: Request, form: Annotated[dict[str, str], Depends(read_form)]) -> Response:
    """End the session, here and on the server."""
    visit = visit_of(request, known(request))
    visit.form = form
    visit.require_own_form()
    service_of(request).doorkeeper.sessions.end(request)
    response = visit.leave("/console/login")
    clear_cookie(response)
    return response


@router.post("/theme")
def theme(request: Request, form: Annotated[dict[str, str], Depends(read_form)]) -> Response:
    """Remember light or dark in this browser."""
    visit = visit_of(request, known(request))
    visit.form = form
    visit.require_own_form()
    response = visit.leave(own_address(form.get("back", "")))
    if form.get("to") in THEMES:
        response.set_cookie(THEME, form["to"], max_age=365 * 86_400, path="/console", samesite="strict")
    return response


def own_address(wanted: str) -> str:
    """An address below /console, whatever was asked for."""
    plain = all(33 <= ord(letter) < 127 for letter in wanted) and "\\" not in wanted and "//" not in wanted
    return wanted if plain and (wanted == "/console" or wanted.startswith(("/console/", "/console?"))) else "/console"


def known(request: Request) -> Caller | None:
    """Who asks, where that is known."""
    try:
        return principal_of(request)
    except Unauthenticated:
        return None
