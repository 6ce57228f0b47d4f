"""One request to the console: who asks, the page they get, and whether a form really came from one of our pages."""

from __future__ import annotations

import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Annotated, Any, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

from fastapi import Depends, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from regen.errors import RegenError
from regen.index import Index
from regen.server.access import Caller, Scope, principal_of
from regen.server.console.rendering import HEADERS, render
from regen.server.console.sections import shown_sections
from regen.server.service import service_of

BROWSER: Final = "regen_console"
TOLD: Final = "regen_told"
THEME: Final = "regen_theme"
THEMES: Final = ("light", "dark")
MOST_TOLD: Final = 1_200
LONGEST_FIELD: Final = 100_000


class Misdirected(RegenError):
    """A form that did not come from a page of this console, or from one that is too old."""

    status = 403


@dataclass(frozen=True, slots=True)
class Console:
    """What all visits share: the index, the clock, and the secret that marks our own forms."""

    index: Index
    clock: Callable[[], float] = time.time
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def mark(self, browser: str, caller: str) -> str:
        """The mark of a form that was made for one browser and caller."""
        return hmac.new(self.secret, f"{browser}\0{caller}".encode(), "sha256").hexdigest()


@dataclass(slots=True)
class Visit:
    """One request. ``caller`` is None where nobody is known yet; ``form`` holds the first value of each field sent."""

    request: Request
    console: Console
    caller: Caller | None
    browser: str
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def index(self) -> Index:
        """The index."""
        return self.console.index

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self.console.clock()

    @property
    def csrf(self) -> str:
        """The mark that this visit's forms carry."""
        return self.console.mark(self.browser, self.caller.id if self.caller else "")

    def page(self, template: str, section: str = "", *, status: int = 200, live: str = "", **values: Any) -> Response:
        """A page of the console. With ``live`` its regions follow what happens."""
        shared = {
            "alias": self.index.alias,
            "caller": self.caller,
            "csrf": self.csrf,
            "live": live,
            "now": self.now,
            "open_access": self.caller is not None and self.caller.id == "open",
            "path": self._address(),
            "section": section,
            "sections": shown_sections(self.index) if self.caller else (),
            "session": self.caller is not None and self.caller.id != "open",
            "theme": self._theme(),
            "told": self._told(),
        }
        response = HTMLResponse(render(template, shared | values), status, dict(HEADERS))
        self._keep_browser(response)
        if TOLD in self.request.cookies:
            response.delete_cookie(TOLD, path="/console")
        return response

    def leave(self, to: str, told: str = "", tone: str = "good") -> Response:
        """Go on to another page, which says what was done."""
        response = RedirectResponse(to, 303, {"Cache-Control": "no-store"})
        if told:
            text = told if len(told) <= MOST_TOLD else f"{told[: MOST_TOLD - 1]}…"
            response.set_cookie(
                TOLD, quote(json.dumps([tone, text])), max_age=60, path="/console", httponly=True, samesite="strict"
            )
        self._keep_browser(response)
        return response

    def operating(self, action: str, **details: Any) -> AbstractContextManager[None]:
        """Act in the caller's name: the history names them, and the audit log keeps what came of it."""
        assert self.caller is not None
        return service_of(self.request).operating(self.request, self.caller, action, **details)

    def require_own_form(self) -> None:
        """Raise Misdirected unless the form comes from a page that this browser and caller were given."""
        site, origin = (self.request.headers.get(name) for name in ("sec-fetch-site", "origin"))
        foreign = site not in {None, "same-origin", "none"}
        elsewhere = origin not in {None, "null"} and urlsplit(str(origin)).netloc != self.request.headers.get("host")
        known = BROWSER in self.request.cookies
        if foreign or elsewhere or not known or not hmac.compare_digest(self.form.get("csrf", ""), self.csrf):
            raise Misdirected(
                "nothing was done: this form did not come from a page of this console, or the page was too old",
                hint="load the page again and send it once more",
            )

    def _address(self) -> str:
        query = self.request.url.query
        return self.request.url.path + (f"?{query}" if query else "")

    def _theme(self) -> str:
        chosen = self.request.cookies.get(THEME, "")
        return chosen if chosen in THEMES else ""

    def _told(self) -> dict[str, str] | None:
        try:
            tone, text = json.loads(unquote(self.request.cookies.get(TOLD, "")))
        except (ValueError, TypeError):
            return None
        return {"tone": tone if tone in {"good", "bad", "unsure"} else "plain", "text": str(text)}

    def _keep_browser(self, response: Response) -> None:
        if BROWSER not in self.request.cookies:
            response.set_cookie(BROWSER, self.browser, path="/console", httponly=True, samesite="strict")


def visit_of(request: Request, caller: Caller | None) -> Visit:
    """A visit, by somebody or nobody."""
    browser = request.cookies.get(BROWSER) or secrets.token_urlsafe(24)
    return Visit(request, request.app.state.console, caller, browser)


def visiting(scope: Scope) -> Any:
    """A dependency: the visit of a caller with a scope. Raises Unauthenticated, Forbidden."""

    def visit(request: Request) -> Visit:
        caller = principal_of(request)
        caller.require(scope)
        return visit_of(request, caller)

    return Depends(visit)


async def read_form(request: Request) -> dict[str, str]:
    """The first value of each field of a form."""
    body = (await request.body()).decode("utf-8", "replace")
    fields = parse_qs(body, keep_blank_values=True, max_num_fields=200)
    return {name: values[0][:LONGEST_FIELD] for name, values in fields.items()}


def acting(scope: Scope) -> Any:
    """A dependency: the visit of a caller with a scope, who sends one of our forms. Raises Misdirected too."""

    def visit(request: Request, form: Annotated[dict[str, str], Depends(read_form)]) -> Visit:
        caller = principal_of(request)
        caller.require(scope)
        found = visit_of(request, caller)
        found.form = form
        found.require_own_form()
        return found

    return Depends(visit)


Reader = Annotated[Visit, visiting("operate")]
"""Somebody who looks at a page."""
Actor = Annotated[Visit, acting("operate")]
"""Somebody who sends a form."""
