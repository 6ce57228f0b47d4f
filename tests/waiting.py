"""Waiting for what another thread, process or server does."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 240.0
"""Generous: what is claimed is that it comes to be, not how soon, and two cores may be busy with other things."""


def until(condition: Callable[[], object], what: str = "it comes to be", seconds: float = PATIENCE) -> None:
    """Return when a condition holds; fails when it does not for so long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)
