"""Quantities as people write them: durations (``7d``), shares (``30%``), rates (``100/min``)."""

from __future__ import annotations

import re
from math import isfinite
from typing import Final

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])", re.IGNORECASE)
_DURATION: Final = re.compile(rf"(?:{_PART.pattern}\s*)+", re.IGNORECASE)

DURATION_EXAMPLES: Final = "90s, 30m, 12h, 7d or 2w (or several: 1d12h)"


def parse_duration(value: object) -> float:
    """``7d``, ``12h``, ``1h30m`` or a number of seconds, as seconds. Raises ValueError for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        seconds = sum(float(count) * _SECONDS[unit.lower()] for count, unit in _PART.findall(value))
    else:
        raise ValueError(f"not a duration: {value!r}; write {DURATION_EXAMPLES}")
    if seconds < 0 or not isfinite(seconds):
        raise ValueError(f"a duration cannot be {value!r}; write {DURATION_EXAMPLES}")
    return seconds


def parse_share(value: object) -> float:
    """``30%`` or 0.3, as a number from 0 to 1. Raises ValueError for anything else."""
    share: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        share = float(value)
    elif isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?\s*%", value.strip()):
        share = float(value.strip().rstrip("% ")) / 100
    if share is None or not 0 <= share <= 1:
        raise ValueError(f"not a share: {value!r}; write a number from 0 to 1, or a percentage such as 30%")
    return share


_PER: Final = {"s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0}


def parse_rate(value: object) -> float:
    """``100/min`` or ``2/s``, as a number per second. Raises ValueError for anything else, and for none at all."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*/\s*([a-z]+)", value.strip()) if isinstance(value, str) else None
    if found is None or found[2] not in _PER or not float(found[1]) > 0:
        raise ValueError(f"not a rate: {value!r}; write a number per s, min or h, such as 100/min")
    return float(found[1]) / _PER[found[2]]
