"""Long work that pages begin and follow: a run has progress, a result, or an error."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final

from starlette.responses import Response

from regen.core.plan import Plan
from regen.core.results import Progress
from regen.errors import NotFound, RegenError
from regen.index import Index
from regen.server.console.visit import Visit


@dataclass(frozen=True, slots=True)
class Run:
    """One piece of long work; times are seconds since the epoch. ``error`` is None unless it failed."""

    id: int
    verb: str
    arguments: Mapping[str, Any]
    actor: str
    started_at: float
    finished_at: float | None = None
    progress: Progress | None = None
    result: Mapping[str, Any] | None = None
    error: RegenError | None = None

    @property
    def status(self) -> str:
        """``running``, ``done`` or ``failed``."""
        return "running" if self.finished_at is None else "failed" if self.error else "done"


@dataclass(slots=True)
class Work:
    """Runs of this process."""

    index: Index
    runs: dict[int, Run] = field(default_factory=dict)
    ids: count[int] = field(default_factory=lambda: count(1))

    def begin(self, visit: Visit, verb: str, **arguments: Any) -> Response:
        """Start a run, and go to its page."""
        assert visit.caller is not None
        run = Run(next(self.ids), verb, arguments, visit.caller.name, visit.now)
        self.runs[run.id] = run
        threading.Thread(target=self._do, args=(run,), daemon=True).start()
        return visit.leave(f"/console/runs/{run.id}")

    def run(self, number: int) -> Run:
        """One run. Raises NotFound."""
        if number not in self.runs:
            raise NotFound(f"there is no run {number}", hint="the history tells what was done")
        return self.runs[number]

    def recent(self, limit: int = 20) -> list[Run]:
        """The newest runs first."""
        return sorted(self.runs.values(), key=lambda run: -run.id)[:limit]

    def _do(self, run: Run) -> None:
        def note(progress: Progress) -> None:
            self.runs[run.id] = replace(self.runs[run.id], progress=progress)

        try:
            result = VERBS[run.verb](self.index, run.arguments, note)
            done = replace(self.runs[run.id], result=result, finished_at=time.time())
        except RegenError as error:
            done = replace(self.runs[run.id], error=error, finished_at=time.time())
        self.runs[run.id] = done


OnProgress = Callable[[Progress], None]
VERBS: Final[Mapping[str, Callable[[Index, Mapping[str, Any], OnProgress], Mapping[str, Any]]]] = {
    "sync": lambda index, _, note: index.sync(progress=note).to_dict(),
    "retry": lambda index, _, note: index.retry(progress=note).to_dict(),
    "plan": lambda index, _, note: index.plan(progress=note).to_dict(),
    "apply": lambda index, given, note: index.apply(_plan(given), progress=note).to_dict(),
    "evaluate": lambda index, given, note: index.evaluate(**given, progress=note).to_dict(),
}


def _plan(given: Mapping[str, Any]) -> Plan | None:
    return Plan.from_dict(given["plan"]) if "plan" in given else None


def work_of(visit: Visit) -> Work:
    """The work of the application that a visit is to."""
    found: Work = visit.request.app.state.console_work
    return found
