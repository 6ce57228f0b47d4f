"""A small bounded pipeline: its stages overlap, order is kept, memory is bounded, the first error stops all."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, TypeAlias, TypeVar

T = TypeVar("T")
Finish: TypeAlias = Callable[[], None]
DEPTH: Final = 1
POLL_SECONDS: Final = 0.05
_END: Final = object()


def run_pipeline(
    produce: Iterable[T], begin: Callable[[T], Finish], consume: Callable[[T], None], halt: threading.Event
) -> None:
    """Begin each produced item, finish it by what ``begin`` returned for it, and consume it, items in order.

    Producing, beginning, and finishing with consuming each have a thread. So work that ``begin`` only starts goes on
    for up to ``DEPTH + 2`` items at once, and at most ``2 * DEPTH + 3`` items are alive.

    The first exception is raised in the end. One of ``consume`` stops all at once; after any other, or when somebody
    else sets ``halt``, no further item is begun, but those that were, the one that failed included, are still finished
    and consumed: what was paid for is not thrown away.
    """
    _Pipeline[T](begin, consume, halt).run(produce)


class _Pipeline(Generic[T]):
    def __init__(self, begin: Callable[[T], Finish], consume: Callable[[T], None], halt: threading.Event) -> None:
        self._begin, self._consume = begin, consume
        self._halt = halt  # begin no further item
        self._stop = threading.Event()  # nothing can be consumed any more
        self._errors: list[BaseException] = []
        self._first: queue.Queue[Any] = queue.Queue(DEPTH)
        self._second: queue.Queue[Any] = queue.Queue(DEPTH)

    def run(self, produce: Iterable[T]) -> None:
        threads = [self._start(self._relay, self._halt), self._start(self._drain, self._stop)]
        try:
            for item in produce:
                if not self._put(self._first, item, self._halt):
                    break
            self._put(self._first, _END, self._halt)
        except BaseException:
            self._halt.set()
            raise
        finally:
            for thread in threads:
                thread.join()
        if self._errors:
            raise self._errors[0]

    def _start(self, work: Callable[[], None], over: threading.Event) -> threading.Thread:
        thread = threading.Thread(target=self._guarded, args=(work, over), name=f"regen{work.__name__}", daemon=True)
        thread.start()
        return thread

    def _guarded(self, work: Callable[[], None], over: threading.Event) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            self._fail(error)
            over.set()

    def _fail(self, error: BaseException) -> None:
        self._errors.append(error)
        self._halt.set()

    def _relay(self) -> None:
        try:
            while (item := self._get(self._first, self._halt)) is not _END:
                finish = _nothing
                try:
                    finish = self._begin(item)
                finally:
                    self._put(self._second, (item, finish), self._stop)
        finally:
            self._put(self._second, _END, self._stop)

    def _drain(self) -> None:
        while (begun := self._get(self._second, self._stop)) is not _END:
            item, finish = begun
            try:
                finish()
            except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
                self._fail(error)
            self._consume(item)

    def _put(self, target: queue.Queue[Any], item: object, over: threading.Event) -> bool:
        while not over.is_set():
            try:
                target.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def _get(self, source: queue.Queue[Any], over: threading.Event) -> Any:
        while not over.is_set():
            try:
                return source.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
        return _END


def _nothing() -> None:
    """What finishes an item that could not be begun."""
