"""monitor: the live generation's quality over time, with alarms."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated

import typer

from regen.cli.exits import ExitCode, UsageError
from regen.cli.session import Session
from regen.cli.syncing import until_stopped
from regen.cli.verb import verb

if TYPE_CHECKING:
    from regen.evaluation.conditions import MeasureCondition
    from regen.index import Index
    from regen.quality.monitoring import Watched


@verb
def monitor(
    session: Session,
    every: Annotated[
        str | None, typer.Option("--every", metavar="TIME", help="Go on: a round every 30m, 12h, 1d, until Ctrl-C.")
    ] = None,
    reprocess: Annotated[
        bool, typer.Option("--reprocess", help="Also embed the documents that alarms involve anew, at once.")
    ] = False,
) -> None:
    """Evaluate the live generation; raise alarms and flag the documents involved; exit with 3 on an alarm."""
    seconds = None if every is None else _seconds(every)
    floors = _floors(session)
    with session.index() as index:
        if seconds is not None:
            _go_on(session, index, floors, seconds, reprocess=reprocess)
            return
        found = _round(session, index, floors, reprocess=reprocess)
    if found.alarms:
        raise typer.Exit(ExitCode.CHANGES)


def _round(session: Session, index: Index, floors: tuple[MeasureCondition, ...], *, reprocess: bool) -> Watched:
    from regen.cli.rendering_monitoring import watched_lines  # noqa: PLC0415 - heavy; only when this verb runs
    from regen.quality.monitoring import watch  # noqa: PLC0415 - likewise

    with session.progress() as progress:
        found = watch(index, floors, reprocess=reprocess, progress=progress)
    if told := index.raise_alarms(found):
        session.remark(str(told))
    session.answer(found.to_dict(), watched_lines(found))
    return found


def _go_on(
    session: Session, index: Index, floors: tuple[MeasureCondition, ...], seconds: float, *, reprocess: bool
) -> None:
    session.remark("Watching; Ctrl-C ends.")
    with until_stopped() as stop:
        while not stop.is_set():
            _round(session, index, floors, reprocess=reprocess)
            _wait(stop, seconds)


def _wait(stop: threading.Event, seconds: float) -> None:
    stop.wait(seconds)


def _floors(session: Session) -> tuple[MeasureCondition, ...]:
    from regen.config import load_settings  # noqa: PLC0415 - heavy; only when this verb runs
    from regen.quality.monitoring import floors_of  # noqa: PLC0415 - likewise

    return floors_of(condition for item in load_settings(session.config).gate for condition in item.build())


def _seconds(every: str) -> float:
    from regen.config import parse_duration  # noqa: PLC0415 - only when this option is used

    try:
        seconds = parse_duration(every)
    except ValueError as error:
        raise UsageError(f"--every: {error}", hint="for example --every 12h") from None
    if seconds < 1:
        raise UsageError(f"--every is {every!r}", hint="at least 1s; once a day is usual")
    return seconds
