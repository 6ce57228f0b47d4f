"""Delta debugging (Zeller and Hildebrandt, 2002) of schedules: what can be left out while the problem stays, is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from regen.testing.schedules.running import Outcome, run
from regen.testing.schedules.scripts import Call, Decision, Schedule, Script

T = TypeVar("T")


def search_for(seeds: Iterable[int]) -> Outcome | None:
    """The first schedule of these seeds with a problem; None when all end well."""
    return next((outcome for seed in seeds if (outcome := run(seed)).problems), None)


def shrink(outcome: Outcome, most_runs: int = 400) -> Outcome:
    """The smallest schedule found that shows a problem of the same kind (I1, I5, …), by at most so many runs."""
    return _Shrinking(outcome, most_runs).shrink()


def kinds(outcome: Outcome) -> frozenset[str]:
    """What kinds of problems a run shows."""
    return frozenset(problem.partition(":")[0] for problem in outcome.problems)


class _Shrinking:
    def __init__(self, outcome: Outcome, most_runs: int) -> None:
        self.best, self.wanted, self.left = outcome, kinds(outcome), most_runs

    def shrink(self) -> Outcome:
        size = None
        while size != self.best.schedule.size and self.left > 0:
            size = self.best.schedule.size
            self._fewer(lambda: self._same.scripts, self._with_scripts)
            for at in range(len(self._same.scripts)):
                self._fewer(partial(self._calls, at), partial(self._with_calls, at))
            self._fewer(lambda: list((self._same.decisions or {}).items()), self._with_decisions)
            for simpler in (replace(self._same, depth=0), replace(self._same, cached=False)):
                self._holds(simpler)
        return self.best

    @property
    def _same(self) -> Schedule:
        return self.best.schedule

    def _calls(self, at: int) -> Sequence[Call]:
        return self._same.scripts[at].calls

    def _with_calls(self, at: int, left: Sequence[Call]) -> Schedule:
        scripts = list(self._same.scripts)
        scripts[at] = replace(scripts[at], calls=tuple(left))
        return replace(self._same, scripts=tuple(scripts))

    def _with_scripts(self, left: Sequence[Script]) -> Schedule:
        return replace(self._same, scripts=tuple(left))

    def _with_decisions(self, left: Sequence[tuple[tuple[str, int], Decision]]) -> Schedule:
        return replace(self._same, decisions=dict(left))

    def _fewer(self, items: Callable[[], Sequence[T]], without: Callable[[Sequence[T]], Schedule]) -> None:
        """Leave out halves, quarters, … single items, whatever can be."""
        size = len(items())
        while size >= 1:
            at = 0
            while at < len(found := list(items())) and self.left > 0:
                if not self._holds(without(found[:at] + found[at + size :])):
                    at += size
            size //= 2

    def _holds(self, candidate: Schedule) -> bool:
        """Whether a smaller schedule shows the problem too; then it is the best so far."""
        if candidate == self._same:
            return False
        self.left -= 1
        outcome = run(candidate)
        if not kinds(outcome) & self.wanted:
            return False
        self.best = outcome
        return True
