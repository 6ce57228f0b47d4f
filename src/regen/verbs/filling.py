"""How ``apply`` fills a generation by the configured strategy, and what searches do for it in the background."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from regen.core.results import SyncResult
from regen.engine.building import Builder
from regen.engine.desired import FINISHED, Desired
from regen.engine.executors import Engine, Executor
from regen.engine.on_read import Placer
from regen.engine.ray_cluster import RayCluster
from regen.engine.settings import MERGING, SERVING, Migration
from regen.engine.writing import OnProgress, WriteSide
from regen.errors import AliasMoved, CatalogBusy, ConfigError
from regen.monitoring import migrating
from regen.ports.catalog import Catalog, Generation
from regen.serving.on_read import OnRead
from regen.serving.reading import ReadSide

if TYPE_CHECKING:
    from regen.core.recipe import Recipe
    from regen.quality.migrating import MigrationSide
    from regen.quality.settings import EvaluationSettings


class FillingVerbs:
    """A generation is filled while another one serves; some strategies let it serve meanwhile."""

    alias: str
    _catalog: Catalog
    _writer: WriteSide
    _reader: ReadSide
    _builder: Builder
    _migration: Migration
    _evaluation: EvaluationSettings | None
    _on_read: OnRead | None = None
    _cluster: RayCluster

    @property
    def recipe(self) -> Recipe:
        """The recipe that the configuration asks for."""
        raise NotImplementedError

    def _executor(self, engine: Engine) -> Executor | None:
        """Who does what is to be embedded; None: this process, beside any workers. Raises ConfigError."""
        if engine == "threads":
            return None
        if engine != "ray":
            raise ConfigError(f"there is no engine {engine!r}", hint="threads or ray")
        self._cluster.require()
        return self._cluster

    def _fill(self, wanted: Desired, progress: OnProgress | None, executor: Executor | None = None) -> SyncResult:
        """Build what is wanted by the configured strategy; of ``on_read`` the first call only begins it."""
        target = wanted.fitting or self._writer.create(self.recipe)
        if target.state in FINISHED:  # somebody else has built it since that was decided
            return SyncResult(generation=target.number, revision=target.watermark)
        builder = replace(self._builder, executor=executor)
        if self._migration.strategy not in SERVING:
            return builder.build(target, progress)
        side, begins = self._migrating, wanted.begins_on_read(self._migration)
        begun = side.begin(target)
        if begins:
            return begun
        result = begun.plus(builder.build(target, side.watching(target, progress)))
        side.refresh(target)
        return result

    def _want(self, generation: int, ids: list[str]) -> None:
        """A search under ``on_read`` has returned documents that this generation lacks."""
        if self._on_read is None:
            self._on_read = OnRead(
                self._place, self._drain, per_second=self._migration.drain or 0.0, told=self._note_failure
            )
        self._on_read.want(generation, ids)

    def _place(self, generation: int, ids: list[str]) -> int:
        try:
            return Placer(self._writer).place(generation, ids).documents
        except (
            CatalogBusy
        ):  # somebody else writes this generation: a build brings them, and what it leaves stays pending
            return 0

    def _drain(self, generation: int, count: int) -> int:
        """Place the next documents that nobody has asked for; when none is left the generation becomes ready."""
        found = self._being_filled(generation)
        if found is None:
            return 0
        try:
            placed = Placer(self._writer).place_next(generation, count).documents
        except CatalogBusy:  # another process drains, or builds: its turn
            return 0
        if not placed and (left := self._being_filled(generation)) is not None:
            self._builder.build(left)
        return placed

    def _being_filled(self, number: int) -> Generation | None:
        current = {item.number: item for item in self._writer.current()}
        found = current.get(number)
        return found if found is not None and found.state == "building" and found.paused is None else None

    def _note_failure(self, generation: int, failure: str | None) -> None:
        """Let every process see why nothing is placed at present (I10)."""
        rollout = self._catalog.rollout(self.alias)
        if rollout is None or rollout.candidate != generation or rollout.kind not in MERGING:
            return
        state = {name: value for name, value in rollout.state.items() if name != "failure"}
        try:
            self._catalog.change_rollout(
                rollout, at=time.time(), state=state if failure is None else {**state, "failure": failure}
            )
        except AliasMoved:  # changed meanwhile: the next failure is noted
            return

    def _stop_filling(self) -> None:
        """Place what waits, and end the background. Idempotent."""
        if self._on_read is not None:
            self._on_read.close()

    def _filling_notes(self) -> list[str]:
        return [*migrating.notes(self._catalog, self.alias), *self._rescoring_notes()]

    def _rescoring_notes(self) -> list[str]:
        """Whether the new model is asked about what is still pending, where two generations are merged."""
        rollout, live = self._catalog.rollout(self.alias), self._catalog.route(self.alias).live
        current = {item.number: item for item in self._writer.current()}
        if rollout is None or rollout.kind not in MERGING or not {live, rollout.candidate} <= current.keys():
            return []
        rescoring = self._reader.rescoring
        if rescoring is None:
            why: str | None = "this configuration has no `migration: {strategy: rolling}`, or its rescore.texts is 0"
        else:
            why = rescoring.off(current[live or 0], current[rollout.candidate])
        if why is not None:
            return [f"{rollout.kind}: pending documents are not scored by the new model: {why}"]
        assert rescoring is not None
        told = f"{rollout.kind}: the best {rescoring.texts} pending hits of a search are scored by the new model"
        return [f"{told}, as far as {rescoring.budget_ms:g} ms allow"]

    @property
    def _migrating(self) -> MigrationSide:
        from regen.quality.migrating import MigrationSide  # noqa: PLC0415 - statistics are heavy: only who migrates
        from regen.quality.settings import EvaluationSettings  # noqa: PLC0415

        kind = self._migration.strategy
        assert kind in {"rolling", "on_read", "bridge"}
        judged = (self._evaluation or EvaluationSettings()).judged
        return MigrationSide(self.alias, self._writer, self._reader, kind, judged)
