"""verify and gc: prove that catalog and store agree, and remove what nothing needs."""

from __future__ import annotations

from typing import Annotated

import typer

from regen.cli.exits import ExitCode
from regen.cli.session import Session
from regen.cli.verb import verb


@verb
def verify(
    session: Session,
    repair: Annotated[bool, typer.Option("--repair", help="Put right what differs.")] = False,
) -> None:
    """Compare catalog and store, point by point; exit with 1 when they differ."""
    from regen.cli.rendering_upkeep import verify_lines  # noqa: PLC0415 - heavy; only when this verb runs

    with session.index() as index, session.progress() as progress:
        report = index.verify(repair=repair, progress=progress)
    session.answer(report.to_dict(), verify_lines(report))
    if not report.consistent:
        raise typer.Exit(ExitCode.ERROR)


@verb
def gc(
    session: Session,
    now: Annotated[bool, typer.Option("--now", help="Also what is still within its retention period.")] = False,
    retire: Annotated[
        int | None, typer.Option("--retire", metavar="G", help="Also give up this generation; never the live one.")
    ] = None,
) -> None:
    """Remove what nothing needs any more: generations, dropped points, expired changes and texts; do the upkeep."""
    from regen.cli.rendering_upkeep import gc_lines  # noqa: PLC0415 - heavy; only when this verb runs

    with session.index() as index:
        if retire is not None:
            index.retire(retire)
        report = index.gc(now=now)
    if retire is not None:
        report.retired.insert(0, retire)
    session.answer(report.to_dict(), gc_lines(report))
