"""Long work that pages begin and follow: the server's runs, as pages show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import Response

from regen.core.results import Progress
from regen.ports.service import RequestedRun
from regen.server.console.visit import Visit
from regen.server.service import origin_of, service_of

ASKED: Final[Mapping[str, Mapping[str, Any]]] = {
    "sync": {"allow_mass_delete": False},
    "plan": {"allow_mass_delete": False, "sample": 0},
    "apply": {"plan": None, "allow_mass_delete": False},
    "evaluate": {"generation": None, "against": "live"},
    "retry": {"documents": []},
}
"""The runs that pages begin, with what they are asked by where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Told:
    """Why a run failed."""

    message: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class Run:
    """One piece of long work; times are seconds since the epoch. ``error`` is None unless it failed."""

    id: int
    verb: str
    actor: str
    state: str
    started_at: float
    finished_at: float | None
    progress: Progress | None
    result: Mapping[str, Any] | None
    error: Told | None

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.finished_at is not None


def begin(visit: Visit, verb: str, **arguments: Any) -> Response:
    """Ask for a run, and go to its page."""
    assert visit.caller is not None
    runs, origin = service_of(visit.request).runs, origin_of(visit.request)
    found = runs.begin(verb, {**ASKED[verb], **arguments}, visit.caller, origin=origin)
    return visit.leave(f"/console/runs/{found.id}")


def run_of(visit: Visit, number: int) -> Run:
    """One run as it stands. Raises NotFound."""
    return _shown(service_of(visit.request).runs.get(number))


def recent(visit: Visit, limit: int = 20) -> list[Run]:
    """The newest runs first."""
    return [_shown(run) for run in visit.index.records.requested_runs(limit)]


def _shown(run: RequestedRun) -> Run:
    error = None if run.error is None else Told(str(run.error.get("detail", "")), run.error.get("hint"))
    return Run(
        id=run.id,
        verb=run.verb,
        actor=run.actor,
        state=run.state,
        started_at=run.started_at or run.created_at,
        finished_at=run.finished_at,
        progress=None if run.progress is None else Progress(**run.progress),
        result=run.result,
        error=error,
    )
