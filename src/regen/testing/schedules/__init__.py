"""Crash schedules: processes that share a catalog and a store, interleaved step by step by a seed, and judged.

    outcome = run(17)                  # the schedule of a seed: who runs when, what crashes, what fails
    assert not outcome.problems, outcome.told()
    print(shrink(outcome).told())      # the shortest schedule found that shows the same kind of problem

Nothing is left to the system: time is simulated, one process runs at a time, and each call of a port is a step at which
another may go on, the clock may jump, the process may die, or the call may fail, before or after it has had its effect.
"""

from __future__ import annotations

from regen.testing.schedules.running import Outcome, run
from regen.testing.schedules.scripts import Call, Decision, Schedule, Script, make_schedule
from regen.testing.schedules.shrinking import search_for, shrink

__all__ = ["Call", "Decision", "Outcome", "Schedule", "Script", "make_schedule", "run", "search_for", "shrink"]
