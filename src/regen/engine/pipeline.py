"""A small bounded pipeline: three stages overlap, order is kept, memory is bounded, the first error stops all."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

T = TypeVar("T")
DEPTH: Final = 2
_END: Final = object()


def run_pipeline(produce: Iterable[T], transform: Callable[[T], None], consume: Callable[[T], None]) -> None:
    """Feed each produced item through ``transform`` and ``consume``, each stage in its own thread, items in order.

    At most ``2 * DEPTH + 3`` items are alive. The first exception of any stage stops the others and is raised.
    """
    stop = threading.Event()
    errors: list[BaseException] = []
    first: queue.Queue[Any] = queue.Queue(DEPTH)
    second: queue.Queue[Any] = queue.Queue(DEPTH)

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
                errors.append(error)
                stop.set()

        return run

    def relay() -> None:
        while (item := _get(first, stop)) is not _END:
            transform(item)
            _put(second, item, stop)
        _put(second, _END, stop)

    def drain() -> None:
        while (item := _get(second, stop)) is not _END:
            consume(item)

    threads = [
        threading.Thread(target=guarded(relay), name="regen-transform", daemon=True),
        threading.Thread(target=guarded(drain), name="regen-consume", daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        for item in produce:
            if not _put(first, item, stop):
                break
        _put(first, _END, stop)
    except BaseException:
        stop.set()
        raise
    finally:
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def _put(target: queue.Queue[Any], item: object, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            target.put(item, timeout=0.05)
        except queue.Full:
            continue
        return True
    return False


def _get(source: queue.Queue[Any], stop: threading.Event) -> Any:
    while not stop.is_set():
        try:
            return source.get(timeout=0.05)
        except queue.Empty:
            continue
    return _END
