"""The demo's gate: the larger model is measured before it answers, and the way back to the smaller is barred."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

import regen
from regen.cli.demo_bench import Bench
from regen.cli.demo_folder import REPORT
from regen.cli.demo_steps import Check, Step
from regen.cli.exits import ExitCode, code_of
from regen.cli.quantities import counted
from regen.core.results import Progress, SwitchResult
from regen.errors import GateNotMet
from regen.evaluation.html import render_html
from regen.evaluation.outcome import ALL, Comparison, Evaluation
from regen.evaluation.wording import VERDICTS, score, signed

OnProgress: TypeAlias = Callable[[Progress], None]
MEASURE: Final = "nDCG@10"


class Gatekeeper:
    """Evaluates and promotes as ``regen evaluate`` and ``regen promote`` do; ``folder`` is where the report goes."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self._bench = bench
        self._folder = folder
        self._found: Evaluation | None = None

    def collect(self, index: regen.Index) -> Step:
        """Judged queries, without which nothing could be told."""
        collected = self._bench.collect(index)
        return Step("queries", collected.told, checks=[
            Check(collected.count > 0, f"{counted(collected.count, 'judged query', 'judged queries')}: "
                                       "what the next model will be measured by"),
        ])  # fmt: skip

    def evaluate(self, index: regen.Index, number: int, progress: OnProgress | None) -> Step:
        """Measure what was built beside what is live, and write the report."""
        found = self._found = index.evaluate(number, progress=progress)
        path = self._folder / REPORT
        path.write_text(render_html(found), encoding="utf-8")
        row = _leading(found)
        expected = found.met or not self._bench.gate.must_win
        failed = [check.name for check in found.checks if not check.passed and check.gates]
        told = [f"{MEASURE} {score(row.baseline)} → {score(row.candidate)} on {row.queries} judged queries",
                f"difference {signed(row.delta)}; 95 % interval from {signed(row.ci_low)} to {signed(row.ci_high)}",
                f"report: {_shown(path)}"]  # fmt: skip
        passed = counted(len(found.checks), "check passed", "checks passed")
        verdict, done = (
            VERDICTS[found.verdict].title.lower(),
            f"generation {number} beside 1: the same queries and load",
        )
        return Step("evaluate", done, told=told, checks=[
            Check(expected, f"the gate ({MEASURE} {row.condition}) says: {verdict}"),
            Check(not failed, f"{passed} on live data" if not failed else f"checks failed: {', '.join(failed)}"),
        ])  # fmt: skip

    def promote(self, index: regen.Index, number: int, reason: str) -> tuple[SwitchResult, list[Check]]:
        """Through the gate if it is met; else it must refuse, and is overruled with a reason that history keeps."""
        assert self._found is not None
        if self._found.met:
            result = index.promote(number, reason=reason)
            return result, [Check(result.evaluation is not None and not result.forced, "the gate let it through")]
        refused = _refused(index, number)
        result = index.promote(number, force=True, reason=f"{reason}; the demo goes on")
        forced = "overruled with --force and a reason, which regen history keeps"
        return result, [Check(refused is not None, "regen promote refused it (exit code 3)"),
                        Check(result.forced, forced)]  # fmt: skip

    def refuse(self, index: regen.Index) -> Step:
        """The way back to the smaller model by promote, which must pass the gate; rollback would not have to."""
        refused = _refused(index, 1)
        done = "promote generation 1, the smaller model, as if it were an improvement"
        if refused is None:
            index.rollback(2, reason="the demo goes on")
            return Step("refuse", done, checks=[
                Check(not self._bench.gate.must_win, "the gate lets it: on these queries it is no worse"),
            ])  # fmt: skip
        live = index.status().live
        return Step("refuse", done, told=[refused.message], checks=[
            Check(code_of(refused) is ExitCode.CHANGES, "regen promote refuses it (exit code 3)"),
            Check(live == 2, f"generation {live} still answers"),
        ])  # fmt: skip


def _refused(index: regen.Index, number: int) -> GateNotMet | None:
    try:
        index.promote(number, reason="the demo tries it")
    except GateNotMet as error:
        return error
    return None


def _leading(found: Evaluation) -> Comparison:
    """The comparison that the gate is about."""
    return next(item for item in found.comparisons if item.condition is not None and item.slice == ALL)


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
