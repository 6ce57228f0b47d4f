"""Fewer garbage collections while many small objects live briefly.

A sync makes hundreds of thousands of short-lived rows, chunks and tasks, none in a reference cycle. Python's collector
nevertheless walks all of them, and everything the program holds besides, again and again: a third of a first load's
time, measured by ``benchmarks/sync.py``. Collections are made rarer for the duration, not switched off.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

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
