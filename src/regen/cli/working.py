"""worker: one of any number of processes that keep an index in step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from regen.cli.session import Session
from regen.cli.syncing import until_stopped
from regen.cli.verb import verb

if TYPE_CHECKING:
    from regen.core.working import WorkEvent


@verb
def worker(
    session: Session,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", "--once", help="End when nothing is behind any more.", show_default=False)
    ] = False,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            metavar="N",
            min=1,
            help="Calls of the model at once; default: limits.concurrency.",
            show_default=False,
        ),
    ] = None,
    lease: Annotated[
        float,
        typer.Option("--lease", metavar="SECONDS", min=2, help="So long after its death others take its work over."),
    ] = 30.0,
) -> None:
    """Bring what is logged in step, beside any number of other workers; SIGTERM or Ctrl-C ends after the batch."""
    from regen.cli.rendering_working import event_line, work_lines  # noqa: PLC0415 - only when this verb runs

    def told(event: WorkEvent) -> None:
        if session.json:
            session.emit(event.to_dict())
        else:
            session.remark(event_line(event))

    with session.index() as index:
        if not until_idle:
            session.remark("Working; Ctrl-C or SIGTERM ends after the batch.")
        with until_stopped() as stop:
            done = index.work(stop, until_idle=until_idle, concurrency=concurrency, lease=lease, told=told)
        session.answer({"event": "end", **done.to_dict()}, work_lines(done))
