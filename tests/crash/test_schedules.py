"""Thousands of seeded schedules of crashing, stalling, lied-to processes; and the bugs that they find when planted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.crash.planted import BUGS, planted

from regen.testing.schedules import Call, Decision, Outcome, Schedule, Script, make_schedule, run, search_for, shrink
from regen.testing.schedules.clean import clean
from regen.testing.schedules.documents import RECIPES, VERSIONS
from regen.testing.schedules.world import world_of

FIRST: Final = {
    "commit_before_upsert": 95, "delete_before_commit": 178, "no_revision_check": 174, "no_fencing_token": 1134,
    "no_intent": 29, "garbage_forgotten": 101, "fence_skipped_on_one_route": 43, "alias_without_compare_and_swap": 119,
    "retained_not_updated": 213, "cache_without_space": 8, "tombstone_dropped_too_early": 13,
    "retry_that_duplicates": 135, "point_ids_reused": 19,
}  # fmt: skip
"""A seed that finds a planted bug."""
SOON_SHRUNK: Final = {"commit_before_upsert", "no_intent", "cache_without_space", "tombstone_dropped_too_early"}
"""Those whose schedules are cut down within seconds."""
MOST_LINES = 25
"""What a reader is shown of a shrunk schedule."""
PARTS = 5


@pytest.fixture(scope="module", autouse=True)
def _clean_systems() -> None:
    """What clean systems make is made before any bug is planted."""
    for recipe in RECIPES:
        for version in range(VERSIONS):
            clean(recipe, version)
    for setup in ("live", "ready", "switched"):
        world_of(setup)


@pytest.mark.parametrize("part", range(PARTS))
def test_schedules_end_well(part: int) -> None:
    """Whatever is interleaved, crashes, stalls, fails and lies: every search is right, and the end is a clean one."""
    assert not_well(range(part * 100, part * 100 + 100)) == ""


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_very_many_schedules_end_well(part: int) -> None:
    """Ten thousand of them."""
    assert not_well(range(part * 500, part * 500 + 500)) == ""


def not_well(seeds: range) -> str:
    """What the first schedule of these that does not end well tells; empty when all do."""
    found = search_for(seeds)
    return "" if found is None else shrink(found).told()


def test_the_same_seed_gives_the_same_trace() -> None:
    """Byte for byte, in other processes and under other hash seeds."""
    code = """if True:
        import hashlib
        from regen.testing.schedules import run
        for seed in range(40, 46):
            print(hashlib.sha256("\\n".join(run(seed).trace).encode()).hexdigest())
    """
    traces = [
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, cwd=Path(__file__).parents[2],
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert len(set(traces[0].split())) == 6
    assert traces[0] == traces[1]


def test_a_schedule_as_data_is_the_schedule_of_its_seed() -> None:
    """The decisions that a seed made, given as data, make the same run: so schedules can be cut down."""
    for seed in range(60, 65):
        drawn = run(seed)
        assert drawn.schedule.decisions
        assert run(drawn.schedule).trace == drawn.trace


def test_everything_happens() -> None:
    """No kind of happening, no setup and no call is left out by the seeds, and most calls return."""
    outcomes = [run(seed) for seed in range(60)]
    happened = {one.happening for outcome in outcomes for one in (outcome.schedule.decisions or {}).values()}
    assert happened == {"go", "jump", "crash", "crash after", "fail", "fail after", "lie"}
    assert {outcome.schedule.setup for outcome in outcomes} == {"live", "ready", "switched"}
    lines = [line.split(" | ")[1] for outcome in outcomes for line in outcome.trace if " | " in line]
    returned = [line.removeprefix("returned from ") for line in lines if line.startswith("returned")]
    assert set(returned) >= {
        "upsert", "delete", "sync", "sync_ids", "apply", "promote", "rollback", "retire", "gc", "verify", "search",
    }  # fmt: skip
    assert len(returned) > sum("raised" in line or "died" in line for line in lines)


def found_near(name: str) -> Outcome:
    """What finds a planted bug, near the seed that first did."""
    found = search_for(range(FIRST[name], FIRST[name] + 3))
    assert found is not None, "the schedules have changed: look for the first seed again, by the slow test"
    return found


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    """Near the seed that first found it, and by nothing but the bug."""
    with planted(name):
        found = found_near(name)
    assert not run(found.schedule).problems


@pytest.mark.parametrize(
    "name", [name if name in SOON_SHRUNK else pytest.param(name, marks=pytest.mark.slow) for name in BUGS]
)
def test_what_finds_a_planted_bug_can_be_read(name: str) -> None:
    """What is left of the schedule when all is taken out that the bug does not need; it still shows nothing else."""
    with planted(name):
        shrunk = shrink(found_near(name), 80)
        assert readable(shrunk), shrunk.told()
    assert not run(shrunk.schedule).problems


@pytest.mark.slow
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found_from_the_start(name: str) -> None:
    """Within two thousand schedules."""
    with planted(name):
        found = search_for(range(2_000))
    assert found is not None


def readable(outcome: Outcome) -> bool:
    """Whether what is told of a run is short, and says what is wrong."""
    lines = outcome.told().splitlines()
    return len(lines) <= MOST_LINES and any(line.startswith("wrong: ") for line in lines)


def test_a_schedule_of_ones_own() -> None:
    """A reconcile stalls just before its commit until its lease is lost; another has placed the document meanwhile."""
    scripts = (
        Script("slow", "A", (Call("upsert", (("p0", 3),)),)),
        Script("quick", "A", (Call("upsert", (("p0", 1),)), Call("search", ("all", None)))),
    )
    seen = run(Schedule(0, "live", scripts, decisions={})).trace
    step = next(line for line in seen if "slow" in line and line.endswith("catalog.commit_write"))
    number = int(step.split("#")[1].split()[0])
    outcome = run(Schedule(0, "live", scripts, decisions={("slow", number): Decision("jump", "quick", 40)}))
    assert not outcome.problems, outcome.told()
    assert "slow | upsert raised LeaseLost" in outcome.told()


@pytest.mark.parametrize("verb", ["gc", "verify"])
def test_who_lost_its_lease_deletes_nothing_of_its_successors(verb: str) -> None:
    """A gc or a repair that stalls before it looks at the store takes no point for an orphan that was written since."""
    scripts = (
        Script("old", "A", (Call(verb, (verb == "verify",)),)),
        Script("push", "A", (Call("upsert", (("p0", 3),)), Call("search", ("all", None)))),
    )
    seen = run(Schedule(0, "live", scripts, decisions={})).trace
    number = next(int(line.split("#")[1].split()[0]) for line in seen if "old" in line and line.endswith("store.scan"))
    outcome = run(Schedule(0, "live", scripts, decisions={("old", number): Decision("jump", "push", 40)}))
    assert not outcome.problems, outcome.told()
    assert f"old | {verb} raised LeaseLost" in outcome.told()
    assert not [line for line in outcome.trace if " old " in line and line.endswith("store.delete")]


def test_seeds_make_different_schedules() -> None:
    """A seed stands for one schedule, and others for others."""
    assert make_schedule(5) == make_schedule(5)
    assert len({str(make_schedule(seed)) for seed in range(100)}) == 100
