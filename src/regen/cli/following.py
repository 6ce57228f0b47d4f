"""What sync says while it goes on: a line for each run that did something, went wrong, or begins or ends a wait."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from regen.cli.layout import hint, listed, note
from regen.cli.quantities import duration
from regen.cli.rendering_sync import watch_line
from regen.cli.session import Session, show
from regen.cli.syncing import until_stopped
from regen.core.refresh import Leads, Ran, StandsBy
from regen.core.results import SyncResult
from regen.engine.schedule import Runner
from regen.errors import RegenError


def go_on(session: Session, runner: Runner) -> None:
    """Run the jobs until Ctrl-C or SIGTERM; what is running then is finished first."""
    session.remark("Going on; Ctrl-C ends when what is running is done, a second one at once.")
    with until_stopped() as stop:
        runner.run(stop, _Lines(session).tell)


@dataclass(slots=True)
class _Lines:
    """Tells what happens. Rounds in which nothing was to do are not told, but for a job's first."""

    session: Session
    _told: set[str] = field(default_factory=set)

    def tell(self, event: Ran | Leads | StandsBy) -> None:
        if isinstance(event, Leads):
            self.session.remark(f"Running: {', '.join(event.jobs)}.")
        elif isinstance(event, StandsBy):
            self.session.remark(note(f"{event.leader} runs the schedule; standing by to take over"))
        elif event.error is not None:
            self._tell_error(event, event.error)
        elif self._is_news(event):
            self._told.add(event.job)
            self._tell_result(event)

    def _is_news(self, event: Ran) -> bool:
        if not isinstance(event.result, SyncResult):
            return event.result is not None
        if event.job not in self._told:
            return True
        counts = event.result.documents
        return bool(counts.changed or counts.failed)

    def _tell_result(self, event: Ran) -> None:
        if self.session.json:
            found = event.result
            data: dict[str, Any] = found.to_dict() if isinstance(found, SyncResult) else {"result": str(found)}
            self.session.emit({**data, "job": event.job, "why": event.why})
        elif isinstance(event.result, SyncResult):
            show([Text.assemble(watch_line(event.result, _clock()), (f"  {event.job}", "dim"))])
        else:
            show([Text.assemble((f"{_clock()}  ", "dim"), ("✓ ", "bold green"), str(event.result))])

    def _tell_error(self, event: Ran, error: Exception) -> None:
        message = error.message if isinstance(error, RegenError) else f"{type(error).__name__}: {error}"
        again = None if event.again_at is None else max(0.0, event.again_at - time.time())
        if self.session.json:
            told = {"message": message, "hint": getattr(error, "hint", None), "type": type(error).__name__}
            self.session.emit({"job": event.job, "error": told, "again_at": event.again_at})
        later = "" if again is None else f"tried again in {duration(again)}"
        line = Text.assemble((f"{_clock()}  ", "dim"), ("✗ ", "bold red"), listed([event.job, message, later]))
        show([line, *([hint(error.hint)] if isinstance(error, RegenError) and error.hint else [])], error=True)


def _clock() -> str:
    return time.strftime("%H:%M:%S")
