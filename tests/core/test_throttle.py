"""When a backfill makes room for searches: by measured times alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from regen.core.throttle import FIRST_WAIT, LEAST_BASELINE, LONGEST_WAIT, Throttle


def observed(ratio: float, baseline: float, *seconds: float) -> Throttle:
    """A throttle that has seen these times."""
    throttle = Throttle(ratio, baseline)
    for each in seconds:
        throttle.observe(each)
    return throttle


def test_nothing_waits_before_anything_is_measured() -> None:
    """Without a measurement nobody is slow."""
    throttle = Throttle(2.0, 0.01)
    assert (throttle.slow, throttle.next_wait(), throttle.words()) == (False, 0.0, None)


def test_the_limit_is_the_ratio_times_the_baseline() -> None:
    """Exactly as long as allowed is not too long; any longer is."""
    assert not observed(2.0, 0.01, 0.02).slow
    assert observed(2.0, 0.01, 0.0201).slow


def test_a_tiny_baseline_is_not_taken_at_its_word() -> None:
    """A store that answers in microseconds is not called slow for a millisecond of the interpreter's."""
    assert not observed(2.0, 0.00001, 2 * LEAST_BASELINE).slow
    assert observed(2.0, 0.00001, 2 * LEAST_BASELINE + 0.001).slow


def test_one_slow_search_among_quick_ones_is_no_reason_to_wait() -> None:
    """Times are smoothed: a spike of twice the limit passes, two in a row do not."""
    throttle = observed(2.0, 0.01, 0.01, 0.01, 0.03)
    assert not throttle.slow
    throttle.observe(0.03)
    assert throttle.slow


def test_waits_double_up_to_a_bound_and_begin_anew() -> None:
    """While searches suffer each wait is twice the last one; when they recover the next trouble begins small again."""
    throttle = observed(2.0, 0.01, 1.0)
    waits = [throttle.next_wait() for _ in range(8)]
    assert waits == [min(LONGEST_WAIT, FIRST_WAIT * 2**step) for step in range(8)]
    assert waits[-1] == LONGEST_WAIT
    for _ in range(20):
        throttle.observe(0.01)
    assert throttle.next_wait() == 0.0
    throttle.observe(1.0)
    assert throttle.next_wait() == FIRST_WAIT


def test_what_was_waited_is_told() -> None:
    """The result says how long, how often, and by what measure."""
    throttle = observed(2.0, 0.01, 0.05)
    throttle.note_wait(0.25)
    throttle.note_wait(0.5)
    assert throttle.words() == (
        "throttled: 0.8 s in 2 waits, because searches of the live generation took up to 50 ms; 20 ms are allowed: "
        "2 times the time before"
    )


@given(st.lists(st.floats(0.0, 100.0), max_size=50), st.floats(1.01, 10.0), st.floats(0.0, 1.0))
def test_every_wait_is_bounded_and_only_of_the_slow(times: list[float], ratio: float, baseline: float) -> None:
    """Whatever is measured, a wait ends, and there is one exactly while the smoothed time is above the limit."""
    throttle = Throttle(ratio, baseline)
    for each in times:
        throttle.observe(each)
        assert throttle.smoothed is not None
        assert 0.0 <= throttle.smoothed <= max(times) + 1e-9
        wait = throttle.next_wait()
        assert (wait > 0) == throttle.slow
        assert wait <= LONGEST_WAIT
