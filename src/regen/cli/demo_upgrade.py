"""The end of the demo: a generation of another model, built while documents change, switched to, left, returned to.

Two indexes are open, as in real life: the application's own, which goes on searching and syncing as if nothing were,
and the one of whoever changed the model in regen.yaml.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Final

import regen
from regen.cli.demo_bench import Bench
from regen.cli.demo_folder import LARGE_MODEL, MIDDLE_MODEL, SMALL_MODEL
from regen.cli.demo_gate import Gatekeeper
from regen.cli.demo_steps import Check, Step, embedded, found, quoted, rank_of
from regen.cli.quantities import count, counted, duration
from regen.core.plan import Plan
from regen.core.results import Progress, SwitchResult, SyncResult

MEANWHILE: Final = (
    "Nine herons drive the midnight train. The train belongs to these birds: the herons drive it, stoke its "
    "engine and punch its tickets. No other birds may drive the midnight train: the herons drive it."
)
MEANWHILE_SAYS, MEANWHILE_ASKED = "herons drive", "which birds drive the midnight train?"
AFTERWARDS: Final = (
    "Two foxes paint the harbour bridge. The bridge is the work of these animals: the foxes paint its "
    "rails, its lamps and its towers. No other animals may paint the harbour bridge: the foxes paint it."
)
AFTERWARDS_SAYS, AFTERWARDS_ASKED = "foxes paint", "which animals paint the harbour bridge?"
OnProgress = Callable[[Progress], None]
_K: Final = 10
_EDITED_TEXTS: Final = 3
_PATIENCE: Final = 60.0


@dataclass(slots=True)
class _Build:
    """An ``apply`` in a thread of its own, which stops in its middle until a document has been edited."""

    index: regen.Index
    plan: Plan
    progress: OnProgress | None
    begun: Event = field(default_factory=Event)
    edited: Event = field(default_factory=Event)
    result: SyncResult | None = None
    error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self.index.apply(self.plan, progress=self._report)
        except BaseException as error:  # noqa: BLE001 - raised again where the demo waits
            self.error = error
        finally:
            self.begun.set()

    def _report(self, report: Progress) -> None:
        if self.progress is not None:
            self.progress(report)
        if report.stage == "index":
            self.begun.set()
            self.edited.wait(_PATIENCE)


class Upgrade:
    """Moves the demo's index from a small model to a larger one and back, and looks whether anything is lost.

    ``edited`` is the document that is edited meanwhile; searches are asked of ``index``, which knows of no upgrade.
    The report of the evaluation goes to ``folder``.
    """

    def __init__(self, bench: Bench, index: regen.Index, edited: str, folder: Path) -> None:
        self._bench = bench
        self._index = index
        self._edited = edited
        self._gate = Gatekeeper(bench, folder)
        self._before: list[int | None] = []

    def steps(self, progress: OnProgress | None = None) -> Iterator[Step]:
        """All steps in order; at the end the larger model answers, and regen.yaml names it."""
        gate = self._gate
        yield gate.collect(self._index)
        with self._bench.reopen(LARGE_MODEL) as upgraded:
            plan = upgraded.plan()
            yield self._plan(plan)
            self._before = self._ranks()
            yield self._build(upgraded, plan, progress)
            yield gate.evaluate(upgraded, 2, progress)
            yield self._promote(upgraded)
            if self._bench.graded:
                yield self._compare()
            yield self._edit()
            yield self._rollback()
            yield self._forward(upgraded)
            yield gate.refuse(upgraded)
        yield self._smaller()

    # ── the steps ───────────────────────────────────────────────────────────────────────────────────────────

    def _plan(self, plan: Plan) -> Step:
        totals, decision = plan.totals, plan.decision
        must = "not asked" if decision is None else decision.must_embed
        why = "" if decision is None else f": {decision.grounds[-1]}"
        held = self._index.status().generations[0].chunks
        return Step("plan", f"regen.yaml now says {LARGE_MODEL} instead of {SMALL_MODEL}", checks=[
            Check(must == "always", f"must everything be embedded again? {must}{why}"),
            Check(0 < totals.texts_to_embed <= held,
                  f"{counted(totals.texts_to_embed, 'text')} to embed for {counted(held, 'chunk')}; nothing done yet"),
        ])  # fmt: skip

    def _build(self, upgraded: regen.Index, plan: Plan, progress: OnProgress | None) -> Step:
        build = _Build(upgraded, plan, progress)
        thread = Thread(target=build.run, name="build", daemon=True)
        thread.start()
        build.begun.wait(_PATIENCE)
        self._bench.append(self._edited, MEANWHILE)
        self._index.sync()
        during = self._index.search(MEANWHILE_ASKED, k=_K)
        build.edited.set()
        asked, elsewhere = self._ask_while(thread)
        if build.error is not None:
            raise build.error
        assert build.result is not None
        live = rank_of(during, self._edited, saying=MEANWHILE_SAYS)
        built = self._rank(MEANWHILE_ASKED, MEANWHILE_SAYS, generation=build.result.generation)
        searches = counted(asked, "search", "searches")
        return Step("build", "beside the live generation; in its middle a document is edited", build.result, [
            Check(during.generation == 1 and live is not None, f"live search, at once: the edit is {_told(live)}"),
            Check(elsewhere == 0, f"{searches} meanwhile, every one answered by generation 1"),
            Check(built is not None, f"in generation 2: the edit is {_told(built)}"),
            _as_planned(plan, build.result),
        ])  # fmt: skip

    def _promote(self, upgraded: regen.Index) -> Step:
        started = time.perf_counter()
        result, let_through = self._gate.promote(upgraded, 2, f"{LARGE_MODEL} instead of {SMALL_MODEL}")
        seconds = time.perf_counter() - started
        answered = self._index.search(MEANWHILE_ASKED, k=_K)
        rank = rank_of(answered, self._edited, saying=MEANWHILE_SAYS)
        spaces = {hit.space for hit in answered.hits}
        return Step("promote", f"generation {result.live} answers from now on ({duration(seconds)})", checks=[
            *let_through,
            Check(answered.generation == result.live == 2, "the application's open index is answered by generation 2"),
            Check(spaces == {result.space}, "the query was embedded by the new model, the hits are of its space"),
            Check(rank is not None, f"the edit made meanwhile is {_told(rank)}"),
        ])  # fmt: skip

    def _compare(self) -> Step:
        after, asked = self._ranks(), [question for question, _ in self._bench.graded]
        old, new = _mean_reciprocal_rank(self._before), _mean_reciprocal_rank(after)
        shown = len(self._bench.questions)
        told = [
            Check(now is not None, f"{quoted(question)}: {_place(was)} → {_place(now)}")
            for question, was, now in list(zip(asked, self._before, after, strict=True))[:shown]
        ]
        whole = f"{counted(len(asked), 'question')} with a known answer: MRR@{_K} {old:.3f} → {new:.3f}"
        return Step("compare", "the same questions, before and after", checks=[*told, Check(new >= old, whole)])

    def _edit(self) -> Step:
        self._bench.append(self._edited, AFTERWARDS)
        result = self._index.sync()
        pending = sum(item.pending for item in self._index.status().generations)
        return Step("edit more", f"{self._edited}: one more paragraph, now that generation 2 answers", result, [
            found(AFTERWARDS_ASKED, self._rank(AFTERWARDS_ASKED, AFTERWARDS_SAYS)),
            Check(pending == 0, f"both generations are in step, {embedded(result)}"),
        ])  # fmt: skip

    def _rollback(self) -> Step:
        result, seconds = _timed(lambda: self._index.rollback(reason="the demo goes back"))
        answered = self._index.search(AFTERWARDS_ASKED, k=_K)
        rank = rank_of(answered, self._edited, saying=AFTERWARDS_SAYS)
        meanwhile = self._rank(MEANWHILE_ASKED, MEANWHILE_SAYS)
        report = self._index.verify()
        return Step("rollback", f"back to generation {result.live} ({duration(seconds)})", checks=[
            Check(answered.generation == 1, "generation 1 answers again, with the old model"),
            Check(rank is not None, f"the edit made after the switch is {_told(rank)}"),
            Check(meanwhile is not None, f"the edit made during the build is {_told(meanwhile)}"),
            Check(report.consistent and report.generation == 1, f"{counted(report.points, 'point')} of it compared"),
        ])  # fmt: skip

    def _forward(self, upgraded: regen.Index) -> Step:
        started = time.perf_counter()
        result, _ = self._gate.promote(upgraded, 2, "and forward again")
        seconds = time.perf_counter() - started
        rank = self._rank(AFTERWARDS_ASKED, AFTERWARDS_SAYS)
        return Step("forward", f"generation {result.live} again ({duration(seconds)}), as fresh as it was", checks=[
            Check(rank is not None, f"the last edit is {_told(rank)}"),
            Check(len(self._index.switches()) == 4, "regen history tells of four switches: who, when, why"),
        ])  # fmt: skip

    def _smaller(self) -> Step:
        with self._bench.consider(MIDDLE_MODEL) as considered:
            plan = considered.plan()
        must = "not asked" if plan.decision is None else plan.decision.must_embed
        derived = sum(step.chunks for step in plan.steps if step.action == "derive_vectors")
        return Step("consider", f"{MIDDLE_MODEL}: vectors of half the size", checks=[
            Check(must == "not needed", f"must everything be embedded again? {must}: they are the beginnings of these"),
            Check(plan.totals.texts_to_embed == 0 < derived, f"0 texts to embed, {counted(derived, 'vector')} derived"),
        ])  # fmt: skip

    # ── how ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _ask_while(self, thread: Thread) -> tuple[int, int]:
        """Search without pause while a thread runs: how often, and how often another generation than 1 answered."""
        asked = elsewhere = 0
        while asked == 0 or thread.is_alive():
            elsewhere += self._index.search(MEANWHILE_ASKED, k=_K).generation != 1
            asked += 1
        return asked, elsewhere

    def _ranks(self) -> list[int | None]:
        """For each question with a known answer the rank of its first hit."""
        return [
            rank_of(self._index.search(question, k=_K), expected, children=True)
            for question, expected in self._bench.graded
        ]

    def _rank(self, question: str, saying: str, generation: int | None = None) -> int | None:
        return rank_of(self._index.search(question, k=_K, generation=generation), self._edited, saying=saying)


def _timed(switch: Callable[[], SwitchResult]) -> tuple[SwitchResult, float]:
    started = time.perf_counter()
    return switch(), time.perf_counter() - started


def _as_planned(plan: Plan, result: SyncResult) -> Check:
    """That a build embedded what was planned, but for the document that was edited meanwhile."""
    planned = plan.totals.texts_to_embed
    exact = abs(result.embedded_texts - planned) <= _EDITED_TEXTS
    return Check(exact, f"{embedded(result)}: the {count(planned)} that were planned, and the edit's")


def _told(rank: int | None) -> str:
    return f"found, rank {rank}" if rank else "NOT FOUND"


def _place(rank: int | None) -> str:
    return f"rank {rank}" if rank else f"not among the first {_K}"


def _mean_reciprocal_rank(ranks: list[int | None]) -> float:
    return sum(1 / rank for rank in ranks if rank) / len(ranks)
