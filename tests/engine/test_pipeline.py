"""The pipeline between reading, embedding and writing: what overlaps, in which order, and what an error leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from regen.engine.pipeline import DEPTH, Finish, run_pipeline

PATIENCE = 10.0


def nothing() -> None:
    """Finish an item that was done when it was begun."""


def run(
    items: Iterator[int],
    begin: Callable[[int], Finish],
    consume: Callable[[int], None],
    halt: threading.Event | None = None,
) -> None:
    """Run a pipeline that nobody else halts."""
    run_pipeline(items, begin, consume, halt or threading.Event())


def test_everything_in_order() -> None:
    """Each item is begun, finished and consumed once, in the order in which it was produced."""
    trace: list[tuple[str, int]] = []

    def begin(item: int) -> Finish:
        return lambda: trace.append(("finish", item))

    run(iter(range(9)), begin, lambda item: trace.append(("consume", item)))
    assert trace == [step for item in range(9) for step in (("finish", item), ("consume", item))]


def test_the_next_items_are_begun_before_the_first_is_finished() -> None:
    """What is only started goes on for several items at once: the first is not waited for."""
    begun = [threading.Event() for _ in range(6)]

    def begin(item: int) -> Finish:
        begun[item].set()
        return lambda: None if item else _require(begun[DEPTH + 1])

    run(iter(range(6)), begin, lambda _: None)


def _require(event: threading.Event) -> None:
    assert event.wait(PATIENCE), "the later item was not begun"


def test_few_items_are_alive() -> None:
    """However slow the consumer is, no more than 2 * DEPTH + 3 items have been produced and not consumed."""
    produced = consumed = 0
    most = 0

    def items() -> Iterator[int]:
        nonlocal produced, most
        for item in range(60):
            produced += 1
            most = max(most, produced - consumed)
            yield item

    def consume(_: int) -> None:
        nonlocal consumed
        threading.Event().wait(0.001)
        consumed += 1

    run(items(), lambda _: nothing, consume)
    assert consumed == 60
    assert DEPTH < most <= 2 * DEPTH + 3


@pytest.mark.parametrize("when", ["begin", "finish"])
def test_what_was_begun_is_consumed_after_an_error(when: str) -> None:
    """An error while beginning or finishing begins nothing more; all that was begun is consumed, then it is raised."""
    begun: list[int] = []
    consumed: list[int] = []

    def begin(item: int) -> Finish:
        begun.append(item)
        if when == "begin" and item == 3:
            raise ValueError("no more")

        def finish() -> None:
            if item == 3:
                raise ValueError("no more")

        return finish

    with pytest.raises(ValueError, match="no more"):
        run(iter(range(1_000)), begin, consumed.append)
    assert consumed == begun
    assert 3 in consumed
    assert len(consumed) <= 3 + 2 * DEPTH + 3


def test_nothing_is_consumed_after_the_consumer_failed() -> None:
    """When nothing can be written any more, nothing else is tried."""
    consumed: list[int] = []

    def consume(item: int) -> None:
        consumed.append(item)
        if item == 2:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        run(iter(range(1_000)), lambda _: nothing, consume)
    assert consumed == [0, 1, 2]


def test_an_error_of_the_producer_lets_the_begun_end() -> None:
    """What was read before the source failed is finished and consumed, and the source's error is raised."""
    consumed: list[int] = []
    second = threading.Event()

    def items() -> Iterator[int]:
        yield from (0, 1)
        assert second.wait(PATIENCE)
        raise KeyboardInterrupt

    def begin(item: int) -> Finish:
        if item == 1:
            second.set()
        return nothing

    with pytest.raises(KeyboardInterrupt):
        run(items(), begin, consumed.append)
    assert consumed == [0, 1]


def test_somebody_else_halts() -> None:
    """When ``halt`` is set from outside, what was begun is consumed and no further item is begun."""
    halt = threading.Event()
    begun: list[int] = []
    consumed: list[int] = []

    def begin(item: int) -> Finish:
        begun.append(item)
        if item == 4:
            halt.set()
        return nothing

    run(iter(range(1_000)), begin, consumed.append, halt)
    assert begun == consumed == [0, 1, 2, 3, 4]
