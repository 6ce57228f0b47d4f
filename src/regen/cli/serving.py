"""serve: the index as a service for applications in any language, and for the people who run it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from regen.cli.session import Session
from regen.cli.verb import verb

if TYPE_CHECKING:
    from regen.config.server import ServerSettings


class LogForm(Enum):
    """The forms of the server's log."""

    JSON = "json"
    TEXT = "text"


@verb
def serve(
    session: Session,
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="Listen there. Default: server.host, 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", "-p", metavar="N", min=0, max=65_535, help="Default: server.port, 8321.")
    ] = None,
    log: Annotated[
        LogForm | None,
        typer.Option("--log", help="How each request and run is told on standard error. Default: text on a terminal."),
    ] = None,
) -> None:
    """Serve the index over HTTP until Ctrl-C or SIGTERM; other machines are let in once there are keys."""
    from regen.config import load_settings  # noqa: PLC0415 - heavy; only when this verb runs

    try:
        from regen.server.listening import listen  # noqa: PLC0415 - likewise
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    given = {"host": host, "port": port}
    settings = load_settings(session.config).server
    settings = settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    with session.index() as index, _signals_end_quietly():
        as_text = sys.stderr.isatty() if log is None else log is LogForm.TEXT
        listen(
            index,
            settings,
            "text" if as_text else "json",
            lambda url, warnings: _tell(session, settings, url, warnings),
        )


def _tell(session: Session, settings: ServerSettings, url: str, warnings: list[str]) -> None:
    for warning in warnings:
        session.remark(f"Warning: {warning}")
    session.answer({"url": url, "host": settings.host, "warnings": warnings}, [f"Serving at {url}; Ctrl-C ends."])
    sys.stdout.flush()  # whoever reads a pipe or a file waits for it, and the verb goes on


def _missing(error: ModuleNotFoundError) -> Exception:
    from regen.errors import MissingExtra  # noqa: PLC0415 - only when something is missing

    if (error.name or "").startswith("regen"):
        return error
    return MissingExtra(f"the library {error.name!r} is not installed", hint="pip install 'regen[server]'")


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """The server stops by itself on SIGINT and SIGTERM, and then sends them on: they must not end us half-way."""
    former = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
