"""The catalog's port, as far as a service needs it: keys, runs that were asked for, answers that were given, the audit.

Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

RunState: TypeAlias = Literal["queued", "running", "succeeded", "failed"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key by which a caller is known. ``digest`` is SHA-256 of its secret, which nobody keeps.

    ``principals`` are those that its searches are made with; ``per_second`` limits its requests (None: as configured).
    """

    id: str
    name: str
    digest: bytes
    scopes: tuple[str, ...]
    principals: tuple[str, ...]
    created_at: float
    created_by: str
    per_second: float | None = None
    expires_at: float | None = None
    revoked_at: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without the digest."""
        return {name: value for name, value in asdict(self).items() if name != "digest"}


@dataclass(frozen=True, slots=True)
class RequestedRun:
    """Long work that somebody asked for. ``owner`` is the process at it, ``beat_at`` when that was last heard of.

    ``attempts`` counts how often it was begun: more than once after a server ended in the middle. ``version`` counts
    its changes. Of ``result`` and ``error`` one is set in the end.
    """

    id: int
    verb: str
    arguments: dict[str, Any]
    actor: str
    state: RunState
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    owner: str = ""
    beat_at: float | None = None
    attempts: int = 0
    version: int = 0
    progress: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What was answered to a request with an idempotency key, and the fingerprint of that request."""

    fingerprint: str
    status: int
    body: str


@dataclass(frozen=True, slots=True)
class Audited:
    """Who did what, when, from where, and what came of it."""

    at: float
    actor: str
    action: str
    details: dict[str, Any] = field(default_factory=dict)
    origin: str = ""
    outcome: str = ""
    id: int = 0


class ServiceReader(Protocol):
    """All questions; no method changes anything."""

    def api_keys(self) -> list[ApiKey]:
        """All keys there ever were, oldest first."""
        ...

    def requested_run(self, number: int) -> RequestedRun:
        """One run. Raises NotFound."""
        ...

    def requested_runs(self, limit: int = 50, *, unfinished: bool = False) -> list[RequestedRun]:
        """Runs, newest first."""
        ...

    def kept_answer(self, caller: str, key: str) -> KeptAnswer | None:
        """The answer that a caller was given under an idempotency key."""
        ...

    def audited(self, limit: int = 50, *, before: int | None = None) -> list[Audited]:
        """The audit log, newest first; with ``before`` what is older than the entry of that id."""
        ...


class ServiceWriter(Protocol):
    """The writes. Each is one transaction."""

    def add_api_key(self, key: ApiKey) -> None:
        """Keep a new key. Raises ConfigError when a valid one has its name."""
        ...

    def revoke_api_key(self, name: str, *, at: float) -> ApiKey:
        """Let a key, by its name or id, open nothing any more. Raises NotFound."""
        ...

    def request_run(
        self, verb: str, arguments: Mapping[str, Any], *, actor: str, at: float, once: str | None = None
    ) -> RequestedRun:
        """Ask for a run; with ``once`` the same that was asked for under that word before, if one was."""
        ...

    def claim_run(self, owner: str, *, at: float, stale: float, dead: Sequence[str] = ()) -> RequestedRun | None:
        """Take up the oldest run that waits, or whose owner is among the dead or was not heard of since ``stale``."""
        ...

    def beat_run(
        self, number: int, owner: str, *, at: float, progress: Mapping[str, Any] | None = None
    ) -> RequestedRun:
        """Say that we are at it, and how far. Raises LeaseLost when somebody else has taken it up."""
        ...

    def finish_run(
        self,
        number: int,
        owner: str,
        *,
        at: float,
        result: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> RequestedRun:
        """End a run with a result, or an error. Raises LeaseLost."""
        ...

    def release_run(self, number: int, owner: str, *, at: float) -> None:
        """Put a run back, for the next server to take up; does nothing if it is not ours any more."""
        ...

    def keep_answer(self, caller: str, key: str, answer: KeptAnswer, *, at: float) -> KeptAnswer:
        """Keep an answer, unless there is one; the one that is kept."""
        ...

    def forget_answers(self, before: float) -> int:
        """Remove answers that were given before a time; how many."""
        ...

    def audit(self, entry: Audited) -> None:
        """Add an entry to the audit log. Its id is given by the catalog."""
        ...


class ServiceRecords(ServiceReader, ServiceWriter, Protocol):
    """The questions and the writes."""
