"""Pages out of templates: escaped, with what every page shows, under a policy that forbids anything from outside."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from regen.evaluation import wording
from regen.server.console import words

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
ASSETS: Final[Mapping[str, str]] = {
    "tokens.css": "text/css; charset=utf-8",
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "mark.svg": "image/svg+xml",
}


@cache
def asset(name: str) -> bytes:
    """One of the ASSETS, as it is packaged."""
    return files(__package__).joinpath("static", name).read_bytes()


@cache
def asset_address(name: str) -> str:
    """Where an asset is found; the address changes with its content, so that a browser may keep it for ever."""
    return f"/console/static/{name}?v={hashlib.blake2b(asset(name), digest_size=6).hexdigest()}"


def render(template: str, values: Mapping[str, Any]) -> str:
    """A page. Raises jinja2's UndefinedError for a name that it needs and does not get."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(lambda name: files(__package__).joinpath("templates", name).read_text("utf-8")),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": wording.count,
        "plural": words.plural,
        "dollars": wording.dollars,
        "ms": wording.milliseconds,
        "score": wording.score,
        "percent": wording.percent,
        "duration": words.duration,
        "coarse": words.coarse,
        "rate": words.rate,
        "clock": words.clock,
        "iso": words.iso,
        "gist": words.gist,
        "say": lambda text, longest=600: words.marked_up(words.gist(text, longest)),
        "told": lambda error: words.sentences(error.message, error.hint),
        "visible": wording.visible,
    }
    environment.globals |= {"asset": asset_address, "ago": words.ago, "share": words.share}
    return environment


def _finalize(value: Any) -> Any:
    """The last thing that happens to a value: texts of others lose what would steer a page, drawings pass."""
    return wording.printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
