"""Index: the one facade that the Python API, the command line and the server all call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from regen import registry
from regen.assembly import (
    make_cache,
    make_cluster,
    make_feeds,
    make_models,
    make_reranking,
    make_rescoring,
    make_stores,
)
from regen.core.documents import Document
from regen.core.freshness import Target
from regen.core.plan import Plan
from regen.core.recipe import Chunking, Metric, Recipe
from regen.core.results import (
    AdoptResult,
    ChangeRecord,
    DoctorReport,
    DocumentCounts,
    GcReport,
    StatusReport,
    SwitchResult,
    SyncResult,
    VerifyReport,
)
from regen.engine import probes, upkeep
from regen.engine.adopting import adopt
from regen.engine.building import Builder
from regen.engine.desired import Desired, PlanMaker, desired, require_room_for
from regen.engine.evidence import Witness
from regen.engine.executors import Engine
from regen.engine.lifecycle import Approval
from regen.engine.planning import DryRun
from regen.engine.reprocessing import reprocess
from regen.engine.scan import add_outcome, checked
from regen.engine.settings import Limits, Migration
from regen.engine.writing import OnProgress, WriteSide
from regen.errors import StalePlan
from regen.monitoring import doctor, freshness
from regen.monitoring.alarms import Alerting
from regen.monitoring.scheduled import Jobs
from regen.ports import Embedder, ForeignColumns, Source, Store, VectorCache
from regen.ports.catalog import Catalog, Generation
from regen.ports.feeds import Feed
from regen.serving.querylog import QueryLog
from regen.serving.reading import ReadSide
from regen.serving.usage import UsageCounter
from regen.verbs.filling import FillingVerbs
from regen.verbs.generations import GenerationVerbs
from regen.verbs.insight import InsightVerbs
from regen.verbs.observing import ObservingVerbs
from regen.verbs.queries import QueryVerbs
from regen.verbs.rollouts import ROLLOUT_QUERIES, RolloutVerbs
from regen.verbs.scheduling import Schedule, ScheduleVerbs
from regen.verbs.searching import SearchVerbs
from regen.verbs.service import ServiceVerbs
from regen.verbs.syncing import SyncVerbs
from regen.verbs.working import WorkVerbs

if TYPE_CHECKING:
    from regen.evaluation.outcome import Evaluation
    from regen.quality.gating import QualitySide
    from regen.quality.settings import EvaluationSettings


class Index(
    ScheduleVerbs,
    SyncVerbs,
    SearchVerbs,
    FillingVerbs,
    GenerationVerbs,
    RolloutVerbs,
    QueryVerbs,
    InsightVerbs,
    WorkVerbs,
    ServiceVerbs,
    ObservingVerbs,
):
    """A vector index kept in step with its documents.

    Safe to use from several threads; of several processes on one catalog one writes at a time, the others wait, but
    for those that ``work``: they share.
    """

    def __init__(  # noqa: PLR0913 - keywords, each a block of regen.yaml
        self,
        *,
        embedder: Embedder | object | str,
        store: Store | str = "lancedb://.regen/vectors",
        catalog: Catalog | str = "sqlite:///.regen/catalog.db",
        source: Source | Mapping[str, Any] | None = None,
        sources: Sequence[Source | Mapping[str, Any] | Feed] = (),
        freshness: Target | None = None,
        schedule: Schedule | None = None,
        alerts: Alerting | None = None,
        alias: str = "default",
        text: str = "{text}",
        chunking: Chunking | None = None,
        metric: Metric = "cosine",
        index: Mapping[str, Any] | None = None,
        embedding: Mapping[str, Any] | None = None,
        filterable: Sequence[str] | None = None,
        limits: Limits | None = None,
        cache: VectorCache | str | Path | None = None,
        promote: Literal["manual", "auto"] = "manual",
        migration: Migration | None = None,
        evaluation: EvaluationSettings | None = None,
        keep_queries: float = 0.0,
        rollout: Mapping[str, Any] | None = None,
        rerank: Mapping[str, Any] | None = None,
        models: Mapping[str, Embedder | object] | None = None,
        ray: Mapping[str, Any] | None = None,
        reopen: Callable[[], Index] | None = None,
        root: str | Path = ".",
    ) -> None:
        """Put an index together from objects, or from names and settings as regen.yaml writes them.

        ``embedding`` overrides what the model says of itself (see ``assembly.OVERRIDES``). ``filterable`` limits the
        metadata keys that the store can filter by (None: learned). ``cache`` is an embedding cache, the path of one, or
        "auto": one for a model that costs money. ``promote="auto"`` makes what ``apply`` has built live, ``migration``
        says how it builds. ``evaluation`` says what a candidate is measured by, the gate included, ``rollout`` what a
        rollout is judged by. Queries are logged for ``keep_queries`` seconds (0: only during a rollout). ``models`` are
        models of older generations that no name finds. ``rerank`` names the ``model`` that orders candidates anew, by
        its name or as an object. ``sources`` are several; with a ``Feed`` one says when it is refreshed and how fresh
        it must be, ``freshness`` is the target of the others. ``schedule`` is what :meth:`scheduler` runs by the clock,
        ``alerts`` who is told of alarms. ``ray`` names the cluster of ``apply(engine="ray")``, whose actors call
        ``reopen`` to have this index. Relative paths start at ``root``. Raises ConfigError.
        """
        self._root, self._limits, self.alias = Path(root).absolute(), limits or Limits(), alias
        self._models = make_models(
            embedder, dict(embedding or {}), self._limits, self._root,
            text=text, chunking=chunking, metric=metric, index=index, others=models or {},
        )  # fmt: skip
        self._feeds = make_feeds(source, sources, self._root)
        self._target, self._schedule, self._alerting = freshness, schedule or Schedule(), alerts
        self._stores = make_stores(store, self._root)
        self._catalog = registry.make_catalog(catalog, self._root) if isinstance(catalog, str) else catalog
        self._migration, self._cluster = migration or Migration(), make_cluster(ray, reopen, catalog, store)
        self._made_cache = make_cache(cache, self._models.embedder, self._root, rerank, self._migration)
        self._cache = self._made_cache if cache is None or isinstance(cache, str | Path) else cache
        self._keep_queries, self._rollout_settings = keep_queries, dict(rollout or {})
        self._promote, self._evaluation = promote == "auto" or self._migration.bulk, evaluation
        self._join(None if filterable is None else frozenset(filterable))
        self._reader.reranking = make_reranking(rerank, alias, self._catalog, self._models, self._cache, self._root)

    def _join(self, filterable: frozenset[str] | None) -> None:
        """Put the sides that write and read together of the parts that were made."""
        catalog, models = self._catalog, self._models
        self._writer = WriteSide(self.alias, catalog, self._stores, models, self._limits, self._cache, filterable)
        self._usage = UsageCounter(catalog)
        self._reader = ReadSide(
            self.alias,
            catalog,
            self._stores.of,
            models.embedder_for,
            self._usage,
            QueryLog(catalog, self.alias),
            keep_queries=self._keep_queries > 0,
            on_logged=self._analyse_logged,
            place=self._want,
        )
        self._reader.rescoring = make_rescoring(self._migration, models, self._cache, self._root)
        judge = lambda *pilot: self._quality.judge_pilot(*pilot)  # noqa: E731, PLW0108 - heavy: only when it is asked
        self._builder = Builder(self._writer, self._migration, judge if self._evaluation else None)

    @property
    def recipe(self) -> Recipe:
        """The recipe that the configuration asks for."""
        return self._models.recipe

    @property
    def _store(self) -> Store:
        return self._stores.configured

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────────

    def apply(
        self,
        plan: Plan | None = None,
        *,
        allow_mass_delete: bool = False,
        engine: Engine = "threads",
        promote: bool = False,
        progress: OnProgress | None = None,
    ) -> SyncResult:
        """Run exactly a plan's steps (I9), or plan and run.

        Brings the documents in step; if the configuration asks for another recipe, builds its generation (or goes on
        building it) and leaves it ready, or live with ``promote`` (here or ``"auto"`` of the index), if the gate is
        met; else GateNotMet is raised, and what was built stays ready. Raises StalePlan when the world moved on,
        StoreError when the disk has no room for it; then nothing was begun. ``engine="ray"`` lets the actors of a Ray
        cluster do the first load, and fill what is built.
        """
        changes = None if plan is None else self._require_fresh(plan)
        allow = allow_mass_delete if plan is None else plan.allow_mass_delete
        executor = self._executor(engine)
        require_room_for(self._desired(), self._catalog, self._stores, self.recipe)

        def log() -> DocumentCounts:
            scanned = self._log_scanned(list(self._feeds), allow_mass_delete=allow, progress=progress, only=changes)
            scanned.raise_failures()
            return scanned.counts

        result = self._writer.run("apply", log, progress, executor=executor)
        wanted = self._desired()
        if wanted.path.path == "query" and wanted.live is not None:
            self._catalog.amend_recipe(wanted.live.number, self.recipe)
            self._reader.forget()
        if wanted.to_build:
            result = result.plus(self._fill(wanted, progress, executor))
            wanted = self._desired()
        if (promote or self._promote) and wanted.to_promote and wanted.fitting is not None:
            self.promote(
                wanted.fitting.number, reason=self._promotes_because or "apply was asked to", progress=progress
            )
        result.notes += [*self._desired().notes(), *self._filling_notes()]
        return result

    def evaluate(
        self,
        generation: int | None = None,
        *,
        against: int | Literal["live"] | None = "live",
        progress: OnProgress | None = None,
    ) -> Evaluation:
        """Measure a generation (default: the newest that is ready, else the live one) beside another one.

        The judged collections' queries, the checks and the latencies are judged by the gate, and what was found is
        kept: a promotion may rest on it. A configured reranker that was not judged yet on what is live is judged, too,
        and is off from then on unless it helps. Changes nothing else. Raises NotFound, EvaluationError.
        """
        found = self._quality.evaluate(generation, against, progress=progress)
        told = self._judge_reranker_anew(progress)
        return replace(found, notes=(*found.notes, told)) if told else found

    def promote(
        self,
        generation: int | None = None,
        *,
        canary: float | None = None,
        force: bool = False,
        reason: str = "",
        expected_version: int | None = None,
        progress: OnProgress | None = None,
    ) -> SwitchResult:
        """Make a ready generation (default: the newest) live, by compare-and-swap (I7); the former one is retained.

        The gate must be met: by a recent evaluation against the live generation, or one that is made now. ``force``
        overrules it, which needs a ``reason`` and is recorded. With ``canary`` that share of the callers (0 to 1) is
        answered by it first, see :meth:`begin_rollout`. ``expected_version`` is the alias's version that the decision
        was based on (default: as it is now). Raises GateNotMet, NotPromotable, AliasMoved, NotFound.
        """
        if canary is not None:
            return self._begin_canary(generation, canary, reason)

        def approve(candidate: Generation, live: Generation | None) -> Approval:
            return self._quality.approve(candidate, live, force=force, reason=reason, progress=progress)

        return self._writer.lifecycle.promote(
            generation, reason=reason or "promoted", expected=expected_version, approve=approve
        )

    def adopt(
        self,
        store: Store | str,
        *,
        collection: str | None = None,
        columns: ForeignColumns | None = None,
        progress: OnProgress | None = None,
    ) -> AdoptResult:
        """Take over a collection that regen did not build, as generation 1 in the index's own store; no text embedded.

        ``store`` may be another one, by URL. A sample is embedded to check that the vectors are the configured model's;
        the collection (default: the only foreign one) is only read. Raises ForeignVectors, StoreError, ConfigError.
        """
        return adopt(self._writer, store, collection, columns or ForeignColumns(), progress)

    def reprocess(self, ids: Iterable[str], progress: OnProgress | None = None) -> SyncResult:
        """Chunk and embed just these documents anew, in every complete generation. Raises NotFound."""
        return reprocess(self._writer, list(ids), progress)

    def restore(self, doc_id: str, revision: int) -> SyncResult:
        """Bring a document back as it was at a revision. Raises NotFound.

        It stays so until its source changes it; one that is pushed, until it is pushed otherwise.
        """
        past = self._catalog.past_state(doc_id, revision)
        if past.text is None:
            return self.delete([doc_id])
        document = Document(doc_id, past.text, past.metadata, past.access, past.version)
        found = checked(document, self._limits)
        if not self._is_pushed(past.source):
            found = found._replace(fingerprint=None)

        def log() -> DocumentCounts:
            logged = self._catalog.log(
                past.source, [found], content_keys=self._content_keys(), at=time.time(), restored=True
            )
            counts = DocumentCounts()
            add_outcome(counts, logged.outcomes[0])
            return counts

        return self._writer_run("restore", log, None)

    def replay(self, since: float, progress: OnProgress | None = None) -> SyncResult:
        """Write all points of documents changed since a time (seconds since the epoch) anew.

        For a vector store that was restored from a backup: vectors that are still there are reused.
        """
        result = self._writer.run(
            "replay", DocumentCounts, progress, lambda item: self._catalog.demand_replay(item.number, since)
        )
        result.notes += self._desired().notes()
        return result

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────

    def plan(
        self, *, allow_mass_delete: bool = False, sample: int | None = 0, progress: OnProgress | None = None
    ) -> Plan:
        """What would restore consistency, with exact counts and reasons. Changes nothing.

        ``sample`` is how many texts, beside the probe texts, the wanted model may be sent to measure what it changes
        (None: 200 if it runs in this process and costs nothing, else none).
        """
        witness = Witness(self.alias, self._catalog, self._models, self._stores, sample)
        return self._dry_run(allow_mass_delete, progress, witness).plan

    def status(self) -> StatusReport:
        """Whether search is fresh, complete and affordable."""
        notes = [*self._rollout_told(), *self._desired().notes(), *self._filling_notes(), *self._reranking_notes()]
        jobs = Jobs.of(self._catalog, self.alias, self._feeds, self._schedule.jobs, time.time())
        found = freshness.status(self._catalog, self.alias, jobs, target=self._target, notes=notes)
        alerts = self._catalog.alerts(self.alias)
        return replace(found, reranking=self.rerank_stats(), workers=self.workers(), alerts=alerts)

    def doctor(self) -> DoctorReport:
        """Check all of it, change nothing."""
        return doctor.examine(
            feeds=self._feeds,
            embedder=self._models.embedder,
            store=self._store,
            store_of=self._stores.of,
            catalog=self._catalog,
            recipe=self.recipe,
            generations=self._writer.current(),
            alias=self.alias,
            root=self._root,
            probe=lambda generation: probes.check(self._catalog, generation, self._models.embedder),
            astray=self._writer.lifecycle.astray,
        )

    def history(self, doc_id: str | None = None, limit: int = 50) -> list[ChangeRecord]:
        """The newest changes first, of one document or of all."""
        return self._catalog.history(doc_id, limit)

    # ── upkeep ──────────────────────────────────────────────────────────────────────────────────────────────

    def verify(self, *, repair: bool = False, progress: OnProgress | None = None) -> VerifyReport:
        """Compare catalog and store of every generation, point by point; with ``repair`` mend, and look again."""
        return upkeep.verify(self._writer, repair=repair, progress=progress)

    def gc(self, *, now: bool = False) -> GcReport:
        """Remove what is no longer needed; with ``now`` the change log's past too (nothing can be restored then)."""
        report = upkeep.collect(self._writer, now=now)
        self._catalog.forget_queries(time.time() - (self._keep_queries or ROLLOUT_QUERIES))
        return report

    def close(self) -> None:
        """Release files and connections. Idempotent."""
        self._stop_filling()
        self._writer.close()
        self._usage.flush()
        self._reader.close()
        if self._made_cache is not None:
            self._made_cache.close()
        self._models.release()
        self._stores.close()
        self._catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── how ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _writer_run(self, verb: str, log: Callable[[], DocumentCounts], progress: OnProgress | None) -> SyncResult:
        result = self._writer.run(verb, log, progress)
        result.notes += [*self._desired().notes(), *self._rollout_notes()]
        return result

    @property
    def _quality(self) -> QualitySide:
        from regen.quality.gating import QualitySide  # noqa: PLC0415 - statistics are heavy: only who measures

        return QualitySide(self.alias, self._catalog, self._evaluation, self._reader, self._writer.current)

    @property
    def _promotes_because(self) -> str:
        """Why ``apply`` promotes what it has built; empty when it does not."""
        why = "strategy bulk ends with the switch" if self._migration.bulk else "migration.promote is auto"
        return why if self._promote else ""

    def _desired(self) -> Desired:
        return desired(self._catalog, self.alias, self._writer.current(), self._models, self._stores)

    def _dry_run(self, allow_mass_delete: bool, progress: OnProgress | None, witness: Witness | None = None) -> DryRun:
        maker = PlanMaker(
            self._catalog, self._models, self._stores, self._cache, self._migration, self._promotes_because, witness
        )
        return maker.dry_run(
            self._scanners(progress),
            self._desired(),
            self._writer.current(),
            allow_mass_delete=allow_mass_delete,
        )

    def _require_fresh(self, plan: Plan) -> set[bytes]:
        """The changes that a plan covers, if it still describes the world. Raises StalePlan."""
        hint = "make a new plan with `regen plan --out FILE`, read it, and apply that"
        if plan.recipe != self.recipe.fingerprint:
            raise StalePlan("the recipe in the configuration is not the one that was planned for", hint=hint)
        head = self._catalog.head()
        if plan.catalog_revision != head:
            raise StalePlan(
                f"the plan was made at revision {plan.catalog_revision}, the catalog is at {head}", hint=hint
            )
        fresh = self._dry_run(plan.allow_mass_delete, None)
        if fresh.plan.source_digest != plan.source_digest:
            raise StalePlan("the source has changed since the plan was made", hint=hint)
        if not fresh.plan.does_the_same_as(plan):
            raise StalePlan("a generation has been built, promoted or retired since the plan was made", hint=hint)
        return fresh.changes
