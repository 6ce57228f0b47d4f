"""What regen's verbs return. ``to_dict`` gives the JSON that scripts rely on: keys are added, never renamed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from regen.core.alarms import Alert
from regen.core.freshness import Percentiles, SourceStatus
from regen.core.refresh import ScheduleStatus


@dataclass(slots=True)
class DocumentCounts:
    """How many documents a sync touched, by the strongest facet that changed."""

    added: int = 0
    updated: int = 0
    metadata_updated: int = 0
    access_updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    failed: int = 0

    @property
    def changed(self) -> int:
        """Documents that differ from what was indexed."""
        return self.added + self.updated + self.metadata_updated + self.access_updated + self.deleted


@dataclass(slots=True)
class ChunkCounts:
    """How many chunks were written, kept with their vectors, and deleted."""

    written: int = 0
    reused: int = 0
    deleted: int = 0


@dataclass(slots=True)
class SyncResult:
    """The outcome of ``sync``, ``apply``, ``upsert`` and ``delete``.

    ``seconds`` is wall time. ``tokens`` are exact for models with a price or a token limit, else estimated.
    """

    documents: DocumentCounts = field(default_factory=DocumentCounts)
    chunks: ChunkCounts = field(default_factory=ChunkCounts)
    embedded_texts: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0
    generation: int | None = None
    revision: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, chunks: ChunkCounts, failed: int) -> None:
        """Count what was written besides."""
        for counted in fields(ChunkCounts):
            setattr(self.chunks, counted.name, getattr(self.chunks, counted.name) + getattr(chunks, counted.name))
        self.documents.failed += failed

    def plus(self, build: SyncResult) -> SyncResult:
        """This sync and the build that followed it as one result: sums, and the build's generation."""
        both = SyncResult(replace(self.documents), replace(self.chunks))
        both.add(build.chunks, build.documents.failed)
        return SyncResult(
            both.documents,
            both.chunks,
            self.embedded_texts + build.embedded_texts,
            self.tokens + build.tokens,
            self.cost_usd + build.cost_usd,
            self.seconds + build.seconds,
            build.generation,
            build.revision,
            [*self.notes, *build.notes],
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON of DESIGN.md section 9, plus ``revision`` (the change log's position) and ``notes``."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result. ``score`` is higher for better; ``metadata`` is the catalog's, so never stale.

    A hit that reranking placed has the reranker's score, and the store's as ``store_score``; the two have different
    scales. Where ``store_score`` is None, ``score`` is the store's.
    """

    doc_id: str
    chunk_id: str
    score: float
    text: str
    metadata: dict[str, Any]
    revision: int
    generation: int
    space: str
    store_score: float | None = None


@dataclass(frozen=True, slots=True)
class Reranked:
    """What reranking did for one search: how many ``texts`` the reranker ``model`` scored, in ``milliseconds``.

    ``skipped`` tells why it did nothing, None where it did.
    """

    model: str
    texts: int = 0
    milliseconds: float = 0.0
    skipped: str | None = None


@dataclass(frozen=True, slots=True)
class RerankStats:
    """What reranking has done so far. ``searches`` = ``reranked`` + ``skipped`` + ``timeouts`` + ``failures``.

    ``active`` says whether searches are reranked at all, ``reason`` why (or why not). ``last_error`` and ``failed_at``
    are of the newest timeout or failure. ``depth`` is how many texts this process takes to fit ``budget_ms`` now.
    """

    model: str
    active: bool
    reason: str
    searches: int = 0
    reranked: int = 0
    skipped: int = 0
    timeouts: int = 0
    failures: int = 0
    last_error: str = ""
    failed_at: float | None = None
    depth: int = 0
    budget_ms: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a search answered as it did: times in milliseconds, and what the fence dropped, by reason.

    ``fallback`` tells why another way than the route's own was taken, None where it was not. ``rerank`` is what
    reranking did, None where none is configured or wanted. ``rescored`` is how many hits of the live generation the new
    model has scored for a merged list. ``mode`` is by what was searched: vector, words (keyword) or both (hybrid).
    """

    route: str
    embed_ms: float
    store_ms: float
    fence_ms: float
    rounds: int
    candidates: int
    dropped: dict[str, int]
    fallback: str | None = None
    rerank: Reranked | None = None
    rescored: int = 0
    mode: str = "vector"


@dataclass(slots=True)
class SearchResult:
    """The hits of one search, best first.

    They are of one generation and one space, which are the result's own, unless the route interleaves or merges two
    generations: then each hit names its own. ``query_id`` is what feedback refers to, None where nothing is logged.
    """

    generation: int
    space: str
    hits: list[Hit]
    explanation: Explanation
    query_id: str | None = None

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, position: int) -> Hit:
        return self.hits[position]

    def to_dict(self, *, explain: bool = False) -> dict[str, Any]:
        """The JSON of DESIGN.md section 9; with ``explain`` also how it came about."""
        result: dict[str, Any] = {
            "generation": self.generation,
            "space": self.space,
            "hits": [asdict(hit) for hit in self.hits],
        }
        if self.query_id is not None:
            result["query_id"] = self.query_id
        if explain:
            result["explanation"] = asdict(self.explanation)
        return result


@dataclass(frozen=True, slots=True)
class GenerationStatus:
    """One generation as ``status`` shows it.

    ``lag_seconds`` is the age of its oldest pending change; ``paused`` says who paused its backfill, and why.
    Everything that was changed at the sources before ``searchable_until``, in seconds since the epoch, is in it; None
    while no source has been read in full.
    """

    number: int
    state: str
    model: str
    dimensions: int
    space: str
    documents: int
    chunks: int
    pending: int
    failed: int
    lag_seconds: float
    paused: str | None = None
    searchable_until: float | None = None


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far behind search is. ``stale`` documents are searchable, but in an older revision.

    ``sources`` tells it of each source.
    """

    pending: int
    stale: int
    failed: int
    deleted_still_present: int
    oldest_pending_seconds: float
    source_to_searchable_seconds: Percentiles
    sources: list[SourceStatus] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A document that could not be processed, and why. ``generation`` is None when the source could not deliver it.

    Then ``source`` is its name (empty in letters of earlier versions).
    """

    doc_id: str
    generation: int | None
    revision: int
    reason: str
    attempts: int
    failed_at: float
    source: str = ""


@dataclass(frozen=True, slots=True)
class EvaluationStatus:
    """The last evaluation: what it was about, its verdict with the first reasons, and how long ago it was made.

    ``evaluated_at`` is in seconds since the epoch; ``against`` is None where the generation was measured alone.
    """

    generation: int
    against: int | None
    verdict: str
    evaluated_at: float
    age_seconds: float
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker as ``status`` shows it. One that is not ``alive`` has given no sign for a lease's time, or is dead."""

    host: str
    pid: int
    since: float
    seen_seconds: float
    documents: int
    generation: int | None
    alive: bool
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Whether search is fresh, complete, affordable and as good as it was.

    ``alarms`` are what the live generation's newest evaluation found wrong with it. ``schedule`` is what runs by the
    clock or follows sources, and who runs it; ``alerts`` are the alarms that it has raised, and their ends that nobody
    was told of yet.
    """

    alias: str
    live: int | None
    generations: list[GenerationStatus]
    freshness: Freshness
    cost_usd: float
    documents: int
    dead_letters: list[DeadLetter]
    notes: list[str]
    evaluation: EvaluationStatus | None = None
    alarms: list[str] = field(default_factory=list)
    reranking: RerankStats | None = None
    workers: list[WorkerStatus] = field(default_factory=list)
    schedule: ScheduleStatus = field(default_factory=ScheduleStatus)
    alerts: list[Alert] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of DESIGN.md section 9."""
        return asdict(self)


@dataclass(slots=True)
class VerifyReport:
    """What differs between catalog and store, counted in points (``stale``: in documents).

    ``missing`` are named by a placement but not in the store; ``orphans`` are in the store but nothing names them;
    ``stale`` documents are behind the change log; ``mixed_space`` points carry another space; ``wrong_payload`` points
    carry metadata, access or a document that the catalog does not confirm. The numbers are sums over ``generations``;
    ``generation`` is the live one; ``out_of_reach`` are those whose store could not be asked.
    """

    missing: int = 0
    orphans: int = 0
    stale: int = 0
    mixed_space: int = 0
    wrong_payload: int = 0
    repaired: int = 0
    consistent: bool = True
    generation: int | None = None
    points: int = 0
    details: list[str] = field(default_factory=list)
    generations: list[int] = field(default_factory=list)
    out_of_reach: list[int] = field(default_factory=list)
    embedded_texts: int = 0
    cost_usd: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The JSON of DESIGN.md section 9."""
        return asdict(self)


@dataclass(slots=True)
class GcReport:
    """What ``gc`` removed."""

    points: int = 0
    contents: int = 0
    changes: int = 0
    tombstones: int = 0
    maintenance: list[str] = field(default_factory=list)
    retired: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    embedded_texts: int = 0
    cost_usd: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class AdoptResult:
    """What ``adopt`` took over, from which collection of which store.

    ``agreement`` is the median cosine of ``checked`` vectors with what the model gives.
    """

    generation: int
    space: str
    documents: int
    chunks: int
    checked: int
    agreement: float
    embedded_texts: int
    skipped: int
    seconds: float
    collection: str = ""
    store: str = ""
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SwitchResult:
    """What ``promote`` and ``rollback`` did: the alias now points at generation ``live``, of this ``space``.

    ``evaluation`` is the id of the evaluation that a promotion rests on, ``forced`` whether the gate was overruled.
    ``rollout`` is the id of the rollout that was begun instead of a switch: ``live`` then still answers the others.
    """

    alias: str
    live: int
    previous: int | None
    reason: str
    space: str
    evaluation: int | None = None
    forced: bool = False
    notes: list[str] = field(default_factory=list)
    rollout: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PauseResult:
    """What ``pause`` and ``resume`` did: ``paused`` says who holds the backfill up and why, None when it may go on.

    ``documents`` are in the generation already, ``pending`` are not.
    """

    generation: int
    paused: str | None
    documents: int
    pending: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of ``doctor``: a named check, whether it passed, what was found, and what to do if it did not."""

    name: str
    passed: bool
    detail: str
    hint: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """All checks of ``doctor``; nothing was changed."""

    findings: list[Finding]

    @property
    def healthy(self) -> bool:
        """Whether every check passed."""
        return all(finding.passed for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"healthy": self.healthy, "findings": [asdict(finding) for finding in self.findings]}


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """One entry of the change log as ``history`` shows it."""

    revision: int
    doc_id: str
    kind: str
    changed_at: float
    restorable: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """What a long verb reports while it runs. ``total`` is None while unknown; ``note`` says what slows it down."""

    stage: str
    done: int
    total: int | None
    unit: str = "documents"
    embedded_texts: int = 0
    cost_usd: float = 0.0
    note: str = ""
