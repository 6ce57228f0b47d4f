"""The catalog's port, as far as two generations are compared: evaluations, rollouts, the query log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, get_args


@dataclass(frozen=True, slots=True)
class KeptEvaluation:
    """An evaluation as the catalog keeps it: what it was about, its verdict, and its JSON.

    ``head`` is the change log's position when it was made; ``fingerprint`` is of the candidate's recipe and the gate.
    """

    id: int
    alias: str
    generation: int
    against: int | None
    verdict: str
    fingerprint: str
    head: int
    evaluated_at: float
    result: dict[str, Any]


RouteKind: TypeAlias = Literal["canary", "ab", "shadow", "interleaved", "dual", "rolling", "on_read", "bridge"]
ROUTE_KINDS: tuple[RouteKind, ...] = get_args(RouteKind)
RolloutStatus: TypeAlias = Literal["running", "paused", "aborted", "succeeded", "ended"]


@dataclass(frozen=True, slots=True)
class Rollout:
    """How an alias's searches are answered while a candidate serves beside the live generation.

    ``weight`` is the share of callers (0 to 1) that the candidate answers, where the kind divides them. ``settings`` do
    not change while it runs, ``state`` is what it has learned; ``version`` counts its changes.
    """

    id: int
    alias: str
    kind: RouteKind
    candidate: int
    weight: float
    settings: dict[str, Any]
    state: dict[str, Any]
    status: RolloutStatus
    version: int
    actor: str
    reason: str
    started_at: float
    changed_at: float


@dataclass(frozen=True, slots=True)
class LoggedQuery:
    """One search of the query log. ``returned`` and ``clicked`` are document ids, best first.

    As part of a ``rollout`` it was answered by an ``arm`` in so many ``milliseconds``, or ``failed``; ``teams`` tells
    for each returned document of an interleaved list which side placed it (None: neither). ``key`` is a hash of the
    caller's key, the same for all searches of one caller.
    """

    id: str
    text: str
    generation: int
    returned: tuple[str, ...]
    clicked: tuple[str, ...]
    asked_at: float
    rollout: int | None = None
    arm: str = ""
    milliseconds: float = 0.0
    failed: bool = False
    teams: tuple[str | None, ...] = ()
    key: str = ""


class RolloutReader(Protocol):
    """All questions; no method changes anything."""

    def evaluations(self, alias: str, generation: int | None = None, limit: int = 20) -> list[KeptEvaluation]:
        """Evaluations, of one generation or of all, newest first."""
        ...

    def logged_queries(
        self,
        alias: str,
        *,
        since: float = 0.0,
        until: float | None = None,
        rollout: int | None = None,
        limit: int = 10_000,
    ) -> list[LoggedQuery]:
        """The query log, newest first: times in [since, until), of one rollout or of all."""
        ...

    def logged_query(self, query_id: str) -> LoggedQuery | None:
        """One search of the query log."""
        ...

    def rollout(self, alias: str) -> Rollout | None:
        """The rollout that is running or paused."""
        ...

    def rollouts(self, alias: str, limit: int = 20) -> list[Rollout]:
        """All rollouts, newest first."""
        ...

    def spent_on(self, generation: int) -> float:
        """US dollars that filling and following one generation has cost so far."""
        ...


class RolloutWriter(Protocol):
    """The writes. Each is one transaction."""

    def record_evaluation(
        self,
        alias: str,
        generation: int,
        *,
        against: int | None,
        verdict: str,
        fingerprint: str,
        head: int,
        at: float,
        result: Mapping[str, Any],
    ) -> int:
        """Keep an evaluation; its id."""
        ...

    def log_queries(self, alias: str, queries: Sequence[LoggedQuery]) -> None:
        """Keep searches for the query log."""
        ...

    def start_rollout(
        self,
        alias: str,
        kind: RouteKind,
        candidate: int,
        *,
        weight: float,
        settings: Mapping[str, Any],
        state: Mapping[str, Any],
        actor: str,
        reason: str,
        at: float,
    ) -> Rollout:
        """Begin to answer searches by two generations. Raises NotPromotable when another rollout is under way."""
        ...

    def change_rollout(
        self,
        rollout: Rollout,
        *,
        at: float,
        status: RolloutStatus | None = None,
        weight: float | None = None,
        state: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> Rollout:
        """Change a rollout that is still at this version; what is None stays. Raises AliasMoved when it moved on."""
        ...

    def note_clicks(self, query_id: str, doc_ids: Sequence[str]) -> None:
        """Record which documents a user took from a logged search. Raises NotFound for an unknown query."""
        ...

    def forget_queries(self, before: float) -> None:
        """Remove logged queries older than a time, in seconds since the epoch."""
        ...
