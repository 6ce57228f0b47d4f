"""A small bounded pipeline: three stages overlap, order is kept, memory is bounded, the first error stops all."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
DEPTH: Final = 2
POLL_SECONDS: Final = 0.05
_END: Final = object()


def run_pipeline(produce: Iterable[T], transform: Callable[[T], None], consume: Callable[[T], None]) -> None:
    """Feed each produced item through ``transform`` and ``consume``, each stage in its own thread, items in order.

    At most ``2 * DEPTH + 3`` items are alive. The first exception is raised in the end. One of ``consume`` stops all at
    once; after one of the other stages no further item is begun, but those that ``transform`` has had, the one that it
    failed on included, are still consumed: what was paid for is not thrown away.
    """
    _Pipeline[T](transform, consume).run(produce)


class _Pipeline(Generic[T]):
    def __init__(self, transform: Callable[[T], None], consume: Callable[[T], None]) -> None:
        self._transform, self._consume = transform, consume
        self._halt = threading.Event()  # begin no further item
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
            self._errors.append(error)
            over.set()
            self._halt.set()

    def _relay(self) -> None:
        try:
            while (item := self._get(self._first, self._halt)) is not _END:
                try:
                    self._transform(item)
                finally:
                    self._put(self._second, item, self._stop)
        finally:
            self._put(self._second, _END, self._stop)

    def _drain(self) -> None:
        while (item := self._get(self._second, self._stop)) is not _END:
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
