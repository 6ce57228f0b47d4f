"""The way to a promotion: an evaluation that the gate is met by, or somebody who overrules it and says why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from regen.core.results import Progress
from regen.engine.lifecycle import Approval
from regen.engine.pilot import PilotVerdict
from regen.errors import ConfigError, GateNotMet, NotFound, RegenError
from regen.evaluation.conditions import CheckCondition
from regen.evaluation.judged import JudgedCollection
from regen.evaluation.outcome import CheckResult, Evaluation
from regen.ports.catalog import Catalog, Generation
from regen.ports.rollouts import KeptEvaluation
from regen.quality.answering import is_about_answers
from regen.quality.checks import Context, run_checks
from regen.quality.evaluating import Evaluator
from regen.quality.settings import EvaluationSettings
from regen.quality.subject import Subject
from regen.serving.reading import ReadSide

OnProgress: TypeAlias = Callable[[Progress], None]
SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class QualitySide:
    """Evaluates generations and approves promotions."""

    alias: str
    catalog: Catalog
    configured: EvaluationSettings | None
    reader: ReadSide
    current: Callable[[], list[Generation]]

    @property
    def settings(self) -> EvaluationSettings:
        """What is configured, or the defaults."""
        return self.configured or EvaluationSettings()

    def evaluate(
        self, number: int | None, against: int | Literal["live"] | None, *, progress: OnProgress | None = None
    ) -> Evaluation:
        """Judge a generation (default: the newest that is ready, else the live one) against another.

        Raises NotFound, EvaluationError.
        """
        live = self.catalog.route(self.alias).live
        ready = [item.number for item in self.current() if item.state == "ready"]
        candidate = self._known(number if number is not None else ready[-1] if ready else live)
        other = live if against == "live" else against
        baseline = None if other is None or other == candidate.number else self._known(other)
        return self._evaluate(candidate, baseline, progress)[0]

    def _evaluate(
        self, candidate: Generation, baseline: Generation | None, progress: OnProgress | None
    ) -> tuple[Evaluation, int]:
        return self._evaluator().evaluate(
            self._subject(candidate), self._subject(baseline) if baseline else None, progress=progress
        )

    def approve(
        self,
        candidate: Generation,
        live: Generation | None,
        *,
        force: bool,
        reason: str,
        progress: OnProgress | None = None,
    ) -> Approval:
        """What a promotion may rest on: an evaluation that meets the gate, made now if there is none that still holds.

        With ``force`` the gate is overruled, for which a reason is needed. Raises GateNotMet, ConfigError.
        """
        if force and not reason.strip():
            raise ConfigError(
                "overruling the gate needs a reason", hint='`regen promote --force --reason "…"`; history keeps it'
            )
        kept = self._evaluator().kept(self._subject(candidate), self._subject(live) if live else None)
        if kept is not None and kept.verdict == "promote":
            return Approval(kept.id)
        if force:
            return Approval(kept.id if kept else None, forced=True)
        found, number = self._evaluate(candidate, live, progress)
        if found.met:
            return Approval(number)
        words = "cannot tell" if found.verdict == "cannot_tell" else found.verdict
        shown = "; ".join(found.reasons[:SHOWN])
        more = f"; and {len(found.reasons) - SHOWN} more" if len(found.reasons) > SHOWN else ""
        raise GateNotMet(
            f"the gate says {words} for generation {candidate.number}: {shown}{more}",
            hint=f"`regen evaluate {candidate.number} --report report.html` shows it in full; "
            '`regen promote --force --reason "…"` overrules the gate',
        )

    def standing(self, number: int) -> KeptEvaluation | None:
        """The evaluation that a promotion would rest on now, None where one would be made. Raises NotFound."""
        live, candidate = self.catalog.route(self.alias).live, self._known(number)
        baseline = self._subject(self._known(live)) if live not in {None, number} else None
        return self._evaluator().kept(self._subject(candidate), baseline)

    def judge_pilot(self, candidate: Generation, share: float) -> PilotVerdict:
        """Whether a slice answers the judged queries that it can answer as the gate asks.

        Too little to tell is no reason to stop: the whole generation is judged before it is promoted. Raises
        EvaluationError.
        """
        live = self.catalog.route(self.alias).live
        if not self.settings.collections or live is None:
            return PilotVerdict(True)
        # The checks do not run on a part, and no answers are judged; another seed, so that no promotion rests on what
        # a pilot was judged by.
        gate = tuple(
            item for item in self.settings.gate if not isinstance(item, CheckCondition) and not is_about_answers(item)
        )
        settings = dataclasses.replace(self.settings, gate=gate, answers={}, seed=self.settings.seed + 1)
        held = {facts.doc_id for page in self.catalog.placements(candidate.number) for facts, _ in page}
        judge = Evaluator(self.alias, self.catalog, settings, self._check)
        found, _ = judge.evaluate(self._subject(candidate), self._subject(self._known(live)), only=held)
        told = f"judged queries on {share:.3g} of the documents: {found.verdict.replace('_', ' ')}"
        return PilotVerdict(found.verdict != "hold", (told, *found.reasons[:SHOWN]))

    def check_live(self, names: Sequence[str]) -> list[CheckResult]:
        """Run just these checks on the live generation. Raises NotFound before there is one, ConfigError."""
        live = self._known(self.catalog.route(self.alias).live)
        context, _ = self._context(self._subject(live), None, self.settings.judged())
        return run_checks(context, names)

    def _known(self, number: int | None) -> Generation:
        current = {item.number: item for item in self.current()}
        if number is None or number not in current:
            what = "generation that could be evaluated yet" if number is None else f"generation {number}"
            raise NotFound(f"there is no {what}", hint=f"there are: {sorted(current) or 'none'}")
        return current[number]

    def _subject(self, generation: Generation) -> Subject:
        store, embedder = self.reader.store_of(generation), self.reader.embedder_for(generation)
        return Subject(generation, store, embedder, self.catalog, self.reader)

    def _evaluator(self) -> Evaluator:
        return Evaluator(self.alias, self.catalog, self.settings, self._check)

    def _check(
        self, candidate: Subject, baseline: Subject | None, collections: Sequence[JudgedCollection]
    ) -> list[CheckResult]:
        context, unreachable = self._context(candidate, baseline, collections)
        left_out = [CheckResult("reachable", passed=False, detail=text, gates=False) for text in unreachable]
        return [*run_checks(context), *left_out]

    def _context(
        self, candidate: Subject, baseline: Subject | None, collections: Sequence[JudgedCollection]
    ) -> tuple[Context, list[str]]:
        """What checks look at, and why generations that they should have looked at are not among it."""
        given = {subject.number: subject for subject in (candidate, baseline) if subject is not None}
        others, unreachable = [*given.values()], []
        for item in self.current():
            if item.number not in given:
                try:
                    others.append(self._subject(item))
                except RegenError as error:  # its model or store is gone: no reason to refuse another generation
                    unreachable.append(f"generation {item.number} could not be looked at: {error.message}")
        known = self.settings.known_queries()
        context = Context(candidate, baseline, others, self.catalog, collections, known, seed=self.settings.seed)
        return context, unreachable
