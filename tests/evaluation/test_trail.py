"""The looks of a rollout are kept, and thinned without losing its beginning or its decisions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from regen.evaluation.rollout import Analysis, advance, start
from regen.evaluation.tallies import ArmTally, Measurement
from regen.evaluation.trail import MOST_LOOKS, extended, look, looks


def test_a_look_holds_the_intervals_that_were_judged() -> None:
    """At the weight that was measured, with open ends as None."""
    analysis = Analysis(
        success_condition="queries >= 5 and error_rate_delta < 0.5", failure_condition="latency_ratio > 9"
    )
    state = start(analysis)
    seen = Measurement(ArmTally(queries=100), ArmTally(queries=100))
    judged, action = advance(state, seen)
    [found] = looks({"trail": [look(7.0, judged, action)]})
    assert (found.at, found.queries) == (7.0, judged.seen.candidate.queries)
    low, high = found.values["error_rate_delta"]
    assert low is not None
    assert high is not None
    assert low < 0 < high
    assert None in found.values["latency_ratio"]


def test_a_state_without_a_trail_has_no_looks() -> None:
    """A rollout that was begun before looks were kept."""
    assert looks({"rollout": {}}) == []


@given(st.lists(st.sampled_from(["continue", "continue", "continue", "step_up"]), min_size=1, max_size=1500))
def test_it_stays_bounded(kinds: list[str]) -> None:
    """However long a rollout runs: bounded, in order, with the first look, the newest ones, and every step."""
    trail: list[dict[str, object]] = []
    for at, kind in enumerate(kinds):
        trail = [dict(item) for item in extended(trail, {"at": at, "kind": kind})]
    steps = kinds.count("step_up")
    assert len(trail) <= MOST_LOOKS + steps
    times = [int(str(item["at"])) for item in trail]
    assert times == sorted(set(times))
    assert times[0] == 0
    assert times[-1] == len(kinds) - 1
    assert sum(item["kind"] == "step_up" for item in trail) == steps
