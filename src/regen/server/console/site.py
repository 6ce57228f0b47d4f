"""Everything below /console: pages, actions, assets, and errors told as pages."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from regen.errors import ConfigError, NotFound, RegenError
from regen.index import Index
from regen.server.access import Caller, principal_of
from regen.server.access.caller import Unauthenticated
from regen.server.console.pages import ROUTERS
from regen.server.console.rendering import ASSETS, asset
from regen.server.console.visit import Console, visit_of
from regen.server.problems import status_of


class PageRoute(APIRoute):
    """A route whose errors are told as pages, and that sends who is not known to log in."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with errors caught around it."""
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handle(request)
            except Unauthenticated:
                return to_login(request)
            except RequestValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"][1:])
                return problem_page(request, ConfigError(f"{where}: {first['msg']}", hint="go back and correct it"))
            except HTTPException as error:
                return problem_page(request, NotFound(str(error.detail)), error.status_code)
            except RegenError as error:
                return problem_page(request, error)

        return told


def build_console(app: FastAPI, index: Index) -> None:
    """Add the console of an index to an application of the server, which says who calls and what they may do."""
    app.state.console = Console(index)
    site = APIRouter(prefix="/console", include_in_schema=False, route_class=PageRoute)
    site.add_api_route("/static/{name}", static, methods=["GET"])
    for router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            site.add_api_route(route.path, route.endpoint, methods=sorted(route.methods or ()))
    site.add_api_route("/{rest:path}", lost, methods=["GET", "POST"])
    app.include_router(site)


def static(name: str) -> Response:
    """A style sheet, the script, the mark. Their addresses change with their content."""
    if name not in ASSETS:
        raise NotFound(f"there is no {name!r} among the console's assets")
    kept = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(asset(name), headers=kept, media_type=ASSETS[name])


def lost(rest: str) -> Response:
    """No page."""
    raise NotFound(f"there is no page /console/{rest[:200]}", hint="the sections beside this are all there is")


def to_login(request: Request) -> Response:
    """Where to say who one is, and back afterwards. A form that was sent is not repeated."""
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    wanted = back if request.method == "GET" else "/console"
    expired = "&expired=1" if request.method != "GET" else ""
    return RedirectResponse(f"/console/login?next={quote(wanted)}{expired}", 303, {"Cache-Control": "no-store"})


def problem_page(request: Request, error: RegenError, status: int | None = None) -> Response:
    """An error in the words of the command line, with the way on."""
    caller = _known(request)
    code = status or status_of(error)
    return visit_of(request, caller).page("problem.html.j2", status=code, error=error, code=code)


def _known(request: Request) -> Caller | None:
    try:
        return principal_of(request)
    except RegenError:  # not known, or not now: the page is told without the sections
        return None
