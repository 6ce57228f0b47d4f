"""Memory while many objects live briefly: fewer garbage collections, and what is freed goes back to the system.

A sync makes hundreds of thousands of short-lived rows, chunks and tasks, none in a reference cycle. Python's collector
nevertheless walks all of them, and everything the program holds besides, again and again: a third of a first load's
time, measured by ``benchmarks/sync.py``. Collections are made rarer for the duration, not switched off.

Freed blocks are another matter. Several threads hand texts, rows and vectors to each other, and glibc keeps what they
free in an arena for each thread: without being asked for it, a backfill's memory grows by 0.3 MB per thousand documents
though nothing is held (``benchmarks/backfill.py``).
"""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

YOUNG_OBJECTS: Final = 100_000
_lock = threading.Lock()
_inside = 0
_before = gc.get_threshold()


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Raise the collector's first threshold until the last of the nested or concurrent users has left."""
    global _before, _inside  # noqa: PLW0603 - the collector is one per process, and so is this count
    with _lock:
        if _inside == 0:
            _before = gc.get_threshold()
            if 0 < _before[0] < YOUNG_OBJECTS:
                gc.set_threshold(YOUNG_OBJECTS, *_before[1:])
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                gc.set_threshold(*_before)


def give_back() -> None:
    """Return freed memory to the system where the C library keeps it until asked (glibc); elsewhere do nothing.

    It takes a few milliseconds, so it is for every few batches and not for each.
    """
    _trim()(0)


@cache
def _trim() -> Callable[[int], Any]:
    try:
        trim: Callable[[int], Any] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # another C library: musl, macOS's, Windows's
        return lambda _: None
    return trim
