"""The catalog's port: the commit point of everything. Methods work in sets; none makes a round trip per document.

``CatalogReader`` is what code that must not write is given; ``Catalog`` adds the writes. Times are seconds since the
epoch and are passed in, never read from a clock here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from regen.core.changes import Candidate, Outcome
from regen.core.priority import Cut
from regen.core.recipe import Recipe
from regen.core.results import ChangeRecord, DeadLetter
from regen.core.transition import without_credentials
from regen.ports.auditing import AuditReader
from regen.ports.freshness import FreshnessReader
from regen.ports.insight import InsightReader
from regen.ports.jobs import JobReader, JobWriter
from regen.ports.observing import ObservingReader
from regen.ports.placements import FenceEntry, Holder, Lease, NewPlacement, Placement, Work
from regen.ports.reranking import RerankReader, RerankWriter
from regen.ports.rollouts import RolloutReader, RolloutWriter
from regen.ports.service import ServiceReader, ServiceWriter
from regen.ports.workers import WorkerReader, WorkerWriter

GenerationState: TypeAlias = Literal["building", "ready", "live", "retained", "retired", "aborted"]
CURRENT_STATES: tuple[GenerationState, ...] = ("building", "ready", "live", "retained")
"""The states in which a generation receives every change."""

SOURCE_STAGE = 0
"""The generation number of dead letters that a source, not a generation, produced."""


class Known(NamedTuple):
    """What the catalog knows of a document that a scan delivers. ``fingerprint`` is None once the source lacks it."""

    doc_key: int
    fingerprint: bytes | None
    deleted: bool
    source: str = ""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation's bookkeeping. ``fields`` are the filterable metadata keys of its collection.

    ``options`` say where and how its model runs (an address, the name of a key's variable), so that it can be asked
    when the configuration names another one. ``store`` is the URL of the store that its collection lies in, empty for
    a store that was handed in as an object. ``paused`` says who paused its backfill, and why;
    ``asked_at`` when ``apply`` let workers fill it.
    """

    number: int
    recipe: Recipe
    collection: str
    state: GenerationState
    watermark: int
    fields: dict[str, str]
    created_at: float
    completed_at: float | None
    retained_at: float | None = None
    options: dict[str, Any] = field(default_factory=dict)
    store: str = ""
    paused: str | None = None
    asked_at: float | None = None

    @property
    def told(self) -> str:
        """Number, state and store, for a reader: without credentials."""
        where = f" in {without_credentials(self.store)}" if self.store else ""
        return f"generation {self.number} ({self.state}{where})"


@dataclass(frozen=True, slots=True)
class Route:
    """Where an alias points. ``version`` is what a switch compares and swaps.

    ``restricted`` tells whether any document has an access list: where none has, no store need filter by it.
    ``drops`` is what :meth:`CatalogReader.drops` returns. ``rollout`` is the id of the rollout under way, if there is
    one, and ``rollout_version`` changes whenever it does.
    """

    alias: str
    live: int | None
    previous: int | None
    version: int
    restricted: bool = False
    drops: int = 0
    rollout: int | None = None
    rollout_version: int | None = None


@dataclass(frozen=True, slots=True)
class Switch:
    """One entry of an alias's history: who pointed it where, when and why.

    ``evaluation`` is the id of the evaluation that the promotion rests on, ``forced`` whether the gate was overruled.
    """

    version: int
    live: int | None
    previous: int | None
    actor: str
    reason: str
    switched_at: float
    evaluation: int | None = None
    forced: bool = False


@dataclass(slots=True)
class LogOutcome:
    """What logging did: outcomes per candidate in order, the documents' keys, and the new end of the log."""

    outcomes: list[Outcome]
    doc_keys: list[int]
    revision: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run sent to the model."""

    generation: int
    model: str
    texts: int
    tokens: int
    usd: float


@dataclass(slots=True)
class Purged:
    """What upkeep removed from the catalog."""

    contents: int = 0
    changes: int = 0
    tombstones: int = 0


@dataclass(frozen=True, slots=True)
class PastState:
    """A document as it was at a revision."""

    doc_id: str
    source: str
    text: str | None
    metadata: dict[str, Any] = field(default_factory=dict)
    access: list[str] | None = None
    version: str | None = None


class CatalogReader(
    AuditReader,
    RolloutReader,
    RerankReader,
    InsightReader,
    WorkerReader,
    ServiceReader,
    ObservingReader,
    FreshnessReader,
    JobReader,
    Protocol,
):
    """All questions; no method changes anything."""

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """Those of the ids that the catalog has, deleted ones included."""
        ...

    def states(self, ids: Sequence[str]) -> dict[str, Any]:
        """The ``core.changes.State`` of those of the ids that are alive."""
        ...

    def stamps(self, ids: Sequence[str], source: str | None = None) -> dict[str, str]:
        """The stamps of those of the ids that are alive, have one and are not dead letters of their source.

        With a ``source``, only of documents that it delivered last.
        """
        ...

    def vanished(self, source: str, seen: bytearray) -> tuple[list[str], int]:
        """Ids of the source that are alive and whose key has no mark in ``seen``; and how many are alive in all."""
        ...

    def head(self) -> int:
        """The revision of the newest change, 0 for an empty log."""
        ...

    def generations(self) -> list[Generation]:
        """All generations, by number."""
        ...

    def route(self, alias: str) -> Route:
        """Where the alias points; ``live`` is None before the first generation is complete."""
        ...

    def drops(self) -> int:
        """A number that changes whenever points cease to be named: what a store found before that may have moved on."""
        ...

    def behind(
        self,
        generation: int,
        *,
        after: int,
        upto: int,
        lane: int | None,
        limit: int,
        max_bytes: int,
        cut: Cut | None = None,
        ids: Sequence[str] | None = None,
    ) -> list[Work]:
        """The next documents, by revision, whose placement is behind and that are not dead letters.

        Revisions lie in (after, upto]; with a ``lane`` only that lane's, with a ``cut`` only that tier's, with ``ids``
        only these documents. At most
        ``limit`` documents and about ``max_bytes`` of text, but at least one document if there is any.
        """
        ...

    def holders(self, generation: int, text_keys: Sequence[int]) -> list[Holder]:
        """Which documents of the generation hold texts with these keys."""
        ...

    def fence(self, generation: int, ids: Sequence[str]) -> dict[str, FenceEntry]:
        """The fence's facts for those of the ids that the generation places, in one statement."""
        ...

    def placements(self, generation: int, batch: int = 2000) -> Iterator[list[tuple[FenceEntry, Placement]]]:
        """All placements of a generation with their documents' facts, in pages, each page of one moment."""
        ...

    def placed(self, generation: int, ids: Sequence[str]) -> dict[str, Placement]:
        """The placements of those of the ids that the generation holds."""
        ...

    def rate(self) -> float | None:
        """Embedded texts per second over the last runs that embedded any, None when there was none."""
        ...

    def copy_rate(self) -> float | None:
        """Chunks per second over the last builds that embedded nothing, None when there was none."""
        ...

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The newest dead letters first."""
        ...

    def history(self, doc_id: str | None, limit: int) -> list[ChangeRecord]:
        """The newest changes first, of one document or of all."""
        ...

    def past_state(self, doc_id: str, revision: int) -> PastState:
        """A document as it was at a revision. Raises NotFound when that is not kept (any more)."""
        ...

    def buried(self, generation: int, source: str | None = None) -> list[str]:
        """The ids of all dead letters of one generation, or of the source stage: of one source, if it is named."""
        ...

    def total_cost(self) -> float:
        """US dollars, all runs together."""
        ...

    def switches(self, alias: str) -> list[Switch]:
        """The history of an alias, newest first."""
        ...

    def probes(self, generation: int) -> bytes | None:
        """The probe vectors kept with a generation, as they were given; None when none were."""
        ...

    def most_queried(self, share: float) -> int:
        """The number of queries that the most queried ``share`` of the documents reach; at least 1."""
        ...

    def alive(self, source: str | None = None) -> int:
        """How many documents exist, of one source or of all."""
        ...


class Catalog(CatalogReader, RolloutWriter, RerankWriter, WorkerWriter, ServiceWriter, JobWriter, Protocol):
    """The questions and the writes. Every write is one transaction."""

    def log(
        self,
        source: str,
        candidates: Sequence[Candidate],
        *,
        content_keys: Sequence[str],
        at: float,
        restored: bool = False,
    ) -> LogOutcome:
        """Append what really differs to the change log and bring ``documents`` up to date.

        With ``restored`` a candidate without a fingerprint keeps that of what its source last delivered.
        """
        ...

    def tombstone(self, ids: Sequence[str], *, at: float) -> int:
        """Log the deletion of those of the ids that are alive; how many that were. I3 holds when it returns.

        Their dead letters are forgotten: nothing is left to mend.
        """
        ...

    def restamp(self, stamps: Mapping[str, str]) -> None:
        """Remember new stamps of documents that turned out to be unchanged."""
        ...

    def create_generation(
        self,
        alias: str,
        recipe: Recipe,
        collection_prefix: str,
        *,
        at: float,
        options: Mapping[str, Any] | None = None,
        store: str = "",
    ) -> Generation:
        """Add a generation in state ``building``, whose collection lies in the store of that URL."""
        ...

    def pause(self, generation: int, why: str | None) -> None:
        """Pause a generation's backfill, saying who did and why, or (None) let it go on. Raises NotFound."""
        ...

    def set_fields(self, generation: int, fields: Mapping[str, str]) -> dict[str, str]:
        """Record filterable keys that a generation's collection has; all of them. One that is there keeps its kind."""
        ...

    def advance(self, generation: int, watermark: int, lease: Lease | None = None) -> None:
        """Raise the generation's watermark: everything up to it is placed or a dead letter.

        Raises LeaseLost when a lease is given that is not ours any more.
        """
        ...

    def go_live(self, alias: str, generation: int, *, at: float, reason: str) -> Route:
        """Point an alias that points nowhere at its first generation."""
        ...

    def count_queries(self, returned: Mapping[str, int]) -> None:
        """Add how often documents were returned by searches."""
        ...

    def flag(self, ids: Sequence[str], *, flagged: bool) -> int:
        """Mark documents as high value or badly found, or no longer so; how many of the ids are known."""
        ...

    def mark_ready(self, generation: int, *, at: float) -> bool:
        """Move a generation from ``building`` to ``ready`` if it has caught up with the log; whether it is complete.

        Whoever logs a change that it has not caught up with, and then looks who follows, finds it ready. A rollout of
        kind ``bridge`` to it ends with that.
        """
        ...

    def keep_probes(self, generation: int, vectors: bytes) -> None:
        """Keep a generation's probe vectors."""
        ...

    def amend_recipe(self, generation: int, recipe: Recipe) -> None:
        """Replace a generation's recipe by one of the same space (another query prefix)."""
        ...

    def switch(
        self,
        alias: str,
        to: int,
        *,
        expected: int,
        actor: str,
        reason: str,
        at: float,
        evaluation: int | None = None,
        forced: bool = False,
    ) -> Route:
        """Point the alias at a ready or retained generation if its version is still ``expected`` (I7).

        The former live generation becomes ``retained``. Raises AliasMoved when somebody was quicker, NotPromotable.
        """
        ...

    def retire(self, generation: int, *, state: GenerationState = "retired") -> None:
        """Give up a generation that is not live: its bookkeeping goes, its number stays. Raises NotPromotable."""
        ...

    def begin_write(
        self, generation: int, chunk_ids: bytes, lease: Lease, *, at: float, repaid: Sequence[int] = ()
    ) -> int:
        """Record which chunks (packed 16-byte ids) are about to be written; returns the write token.

        The placements of the ``repaid`` doc keys are marked: until they are committed nobody knows what payload their
        points have, even if the document goes back to what the placement says. Raises LeaseLost when the lease is
        not ours any more.
        """
        ...

    def commit_write(
        self,
        generation: int,
        token: int | None,
        placements: Sequence[NewPlacement],
        lease: Lease,
        *,
        at: float,
        letters: Sequence[DeadLetter] = (),
        collected: bool = False,
    ) -> set[int]:
        """Swap placements, collect garbage, clear the intent and bury ``letters``, in one transaction.

        Letters of older revisions of what is committed here are forgotten.
        A document that has moved on keeps its placement, and the points written for it become garbage; ``collected``
        says that whoever calls deletes all of that in the same transaction, so that none is kept. Returns the
        committed doc keys. Raises LeaseLost, and commits nothing, when the lease is not ours any more.
        """
        ...

    def abandon_writes(self, generation: int, lease: Lease, *, at: float) -> int:
        """Turn into garbage what crashed attempts left in ``intents``; how many points that were.

        Those are the intents of all who hold no lease any more, and the caller's own.
        """
        ...

    def clear_garbage(self, ids: Sequence[int]) -> None:
        """Forget garbage that the store has deleted."""
        ...

    def demand_rewrite(self, generation: int, doc_ids: Sequence[str]) -> int:
        """Mark placements so that reconcile writes all their points anew; how many were marked."""
        ...

    def demand_replay(self, generation: int, since: float) -> int:
        """Mark the placements of all documents changed since a time; how many were marked."""
        ...

    def demand_payloads(self, generation: int, keys: Sequence[str]) -> int:
        """Mark the placements of documents that have a value under one of these metadata keys; how many were marked.

        Reconcile then brings the payload of their points up to date.
        """
        ...

    def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Record dead letters; a repeated one counts an attempt more."""
        ...

    def unearth(self, generation: int, ids: Sequence[str]) -> None:
        """Forget dead letters of documents that have been placed, delivered, or are gone."""
        ...

    def revive(self) -> int:
        """Give all dead letters of generations another try; how many."""
        ...

    def pay(self, entry: int | None, cost: Cost, *, at: float, within: float | None = None) -> int:
        """Add the cost of a call to an entry of the account, or (None) open one with it; the entry's id.

        Raises BudgetExceeded, and adds nothing, if all that the generation has cost would pass ``within``.
        """
        ...

    def record_run(
        self, verb: str, *, started: float, finished: float, result: Mapping[str, Any], costs: Sequence[Cost]
    ) -> None:
        """Keep what a verb did and what it cost."""
        ...

    def purge(self, *, changes_before: float) -> Purged:
        """Remove old changes, contents that nothing names, and tombstones that no generation needs."""
        ...

    def close(self) -> None:
        """Release connections. Idempotent."""
        ...
