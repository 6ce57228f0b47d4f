"""When a job runs next: whatever is known of the past, and where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.cron import Cron
from regen.core.freshness import Percentiles, Target, impossible, missed
from regen.core.refresh import LAST_RETRY, Past, Policy, backoff, decide
from regen.errors import ConfigError

NOW = 1_800_000_000.0
BERLIN = ZoneInfo("Europe/Berlin")
EVERY_MINUTE = Cron("* * * * *", ZoneInfo("UTC"))
moments = st.one_of(st.none(), st.floats(NOW - 1e6, NOW + 1e6))
pasts = st.builds(
    Past, since=st.floats(NOW - 1e6, NOW + 1e6), started_at=moments, failures=st.integers(0, 2_000), failed_at=moments,
    pending_since=moments, changed_at=moments, asked=st.booleans(),
)  # fmt: skip
seconds = st.floats(0, 1e4)
policies = st.builds(
    Policy, cron=st.sampled_from([None, EVERY_MINUTE]), at_most_every=seconds, quiet_for=seconds, at_once=st.booleans()
)


@given(policies, pasts)
def test_whatever_is_known_the_wait_is_bounded(policy: Policy, past: Past) -> None:
    """Also after a crash that left half of it, and with a clock that was set back or forward."""
    found = decide(policy, past, NOW)
    wanted = past.asked or past.failures or past.pending_since is not None
    if found is None:
        assert not wanted
        assert policy.cron is None
        return
    assert found.at <= NOW + max(policy.patience, policy.at_most_every, LAST_RETRY, 60.0) + 1e-3
    if policy.cron is not None and not past.failures:
        assert found.at <= NOW + max(60.0, policy.at_most_every) + 1e-3


@given(policies, pasts)
def test_no_two_runs_are_closer_than_allowed(policy: Policy, past: Past) -> None:
    """Neither a change, nor the clock, nor a failure, nor a wish lets a job run more often than its policy says."""
    found = decide(policy, past, NOW)
    if found is not None and past.started_at is not None and past.started_at <= NOW:
        assert max(found.at, NOW) >= past.started_at + policy.at_most_every


@given(policies, pasts, st.floats(0, 1e5))
def test_waiting_until_then_is_enough(policy: Policy, past: Past, more: float) -> None:
    """At the moment that was named, and at any later one, it is time to run, if nothing has happened meanwhile.

    Unless times that lay ahead have been reached by then: they are believed from then on.
    """
    known = (past.since, past.started_at, past.failed_at, past.pending_since, past.changed_at)
    found = decide(policy, past, NOW)
    if found is None or any(at is not None and at > NOW for at in known):
        return
    later = max(found.at, NOW) + more
    again = decide(policy, past, later)
    assert again is not None
    assert again.at <= later


@given(st.lists(st.floats(0.01, 29.9), max_size=60))
def test_a_source_that_never_rests_is_not_waited_for_for_ever(gaps: list[float]) -> None:
    """Changes that follow each other within the quiet time put a run off, up to the patience."""
    policy = Policy(quiet_for=30.0, at_once=False)
    now = NOW
    for gap in gaps:
        now += gap
        found = decide(policy, Past(NOW, NOW - 1, pending_since=NOW, changed_at=now), now)
        assert found is not None
        assert found.at == min(now + 30.0, NOW + 300.0)
        assert (found.held == "") == (found.at <= now)


def test_a_missed_moment_is_made_up_for_once() -> None:
    """After ten missed hours one run is due, at once; after it the next full hour."""
    policy = Policy(Cron("0 * * * *", ZoneInfo("UTC")))
    hour = NOW - NOW % 3600
    found = decide(policy, Past(0.0, started_at=hour - 36_000 + 1), hour + 10)
    assert found is not None
    assert (found.at <= hour + 10, found.why) == (True, "due")
    after = decide(policy, Past(0.0, started_at=hour + 10), hour + 11)
    assert after is not None
    assert after.at == hour + 3600


def test_the_clock_wins_over_a_change() -> None:
    """When both are due the whole source is looked at, so that no scheduled run is lost."""
    found = decide(Policy(EVERY_MINUTE), Past(0.0, NOW - 100, pending_since=NOW - 90, changed_at=NOW - 90), NOW)
    assert found is not None
    assert found.why == "due"


def test_a_failure_is_retried_later_each_time() -> None:
    """Twice as long after each, up to ten minutes; and nothing else makes it run before."""
    waits = [backoff(failures) for failures in range(1, 12)]
    assert waits[:4] == [5.0, 10.0, 20.0, 40.0]
    assert waits == sorted(waits)
    assert waits[-1] == LAST_RETRY
    past = Past(0.0, NOW - 100, failures=3, failed_at=NOW - 1, pending_since=NOW, changed_at=NOW, asked=True)
    found = decide(Policy(EVERY_MINUTE), past, NOW)
    assert found is not None
    assert (found.at, found.why, found.held) == (NOW + 19, "retry", "has failed 3 times in a row")


def berlin(*parts: int, fold: int = 0) -> float:
    """A moment in Berlin, in seconds since the epoch."""
    return datetime(*parts, tzinfo=BERLIN, fold=fold).timestamp()  # type: ignore[arg-type, misc]


def runs(expression: str, start: float, end: float) -> list[str]:
    """The moments of an expression in Berlin, as UTC."""
    cron, found, at = Cron(expression, BERLIN), [], start
    while (at := cron.next_after(at) or end) < end:
        found.append(datetime.fromtimestamp(at, UTC).strftime("%H:%M"))
    return found


def test_an_hour_that_is_skipped() -> None:
    """Clocks go from 2 to 3: a job of half past two runs right after, one of every half hour keeps its distance."""
    day = berlin(2026, 3, 29), berlin(2026, 3, 29, 6)
    assert runs("30 2 * * *", *day) == ["01:00"]
    assert runs("*/30 * * * *", *day) == ["23:30", *(f"{h:02}:{m}" for h in range(4) for m in ("00", "30"))][:9]


def test_an_hour_that_comes_twice() -> None:
    """Clocks go back from 3 to 2: a job of half past two runs once, one of every half hour in both hours."""
    day = berlin(2026, 10, 25), berlin(2026, 10, 25, 5)
    assert runs("30 2 * * *", *day) == ["00:30"]
    assert len(runs("*/30 * * * *", *day)) == 11


@pytest.mark.parametrize("expression", ["30 2 * * *", "*/15 * * * *", "0 */3 * * *", "15 3 * * MON", "*/20 * * * * *"])
@given(moment=st.floats(berlin(2025, 1, 1), berlin(2028, 1, 1)))
def test_the_next_moment_is_always_later(expression: str, moment: float) -> None:
    """In any hour of any year: otherwise a job would run again and again."""
    found = Cron(expression, BERLIN).next_after(moment)
    assert found is not None
    assert moment < found <= moment + 8 * 86_400


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("", "0 fields"), ("* * * *", "4 fields"), ("@daily", "1 fields"), ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"), ("0 0 31 2 *", "day-of-month"), ("0 0 * 13 *", "month"), ("* * * * 8", "day-of-week"),
        ("*/0 * * * *", "minute"), ("a b c d e", "minute"), ("5-1 * * * *", "minute"),
        ("* * */20 * 1L", "never comes"),
    ],
)  # fmt: skip
def test_an_impossible_expression(expression: str, told: str) -> None:
    """It is refused with the field that is wrong, and an example."""
    with pytest.raises(ConfigError, match=told) as caught:
        Cron(expression, BERLIN)
    assert "for example" in str(caught.value.hint)


def test_a_patience_shorter_than_the_quiet_time() -> None:
    """It could never be quiet in time."""
    with pytest.raises(ConfigError, match="shorter than quiet_for"):
        Policy(quiet_for=60, wait_at_most=10)


def test_targets() -> None:
    """Each percentile is judged, what waits counts, and a policy that cannot meet a target is told."""
    target = Target(p50=1.0, p99=5.0)
    assert missed(target, Percentiles(0.5, 2.0, 4.0), 0.0) == ""
    assert missed(target, Percentiles(1.5, 2.0, 6.0), 0.0) == "p50 is 1.5 s, and may be 1 s; p99 is 6 s, and may be 5 s"
    assert "waiting for 60 s" in missed(target, Percentiles(), 60.0)
    assert list(impossible(target, Policy(), followed=True)) == []
    assert len(list(impossible(target, Policy(quiet_for=3.0), followed=True))) == 1
    assert "at most every 300 s" in next(impossible(target, Policy(at_most_every=300.0), followed=False))
