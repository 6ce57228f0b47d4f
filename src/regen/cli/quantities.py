"""Numbers as people read them."""

from __future__ import annotations

from typing import Final

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_DAY: Final = 86_400.0


def count(number: float) -> str:
    """``5,001``."""
    return f"{round(number):,}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 document``, ``5,001 documents``."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def money(dollars: float) -> str:
    """``$12.30``; small sums with enough digits to be seen."""
    if 0 < dollars < 0.0001:
        return "< $0.0001"
    return f"${dollars:,.4f}" if 0 < dollars < 1 else f"${dollars:,.2f}"


def duration(seconds: float) -> str:
    """``12 ms``, ``1.4 s``, ``2 min 5 s``, ``3 h 20 min``, ``4 d 2 h``."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else "< 1 ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    for unit, name, below, lower, factor in (
        (_MINUTE, "min", _HOUR, "s", 1),
        (_HOUR, "h", _DAY, "min", _MINUTE),
    ):
        if seconds < below:
            return f"{int(seconds // unit)} {name} {int(seconds % unit // factor)} {lower}"
    return f"{int(seconds // _DAY)} d {int(seconds % _DAY // _HOUR)} h"


def ago(then: float, now: float) -> str:
    """How long before ``now`` a moment was; both in seconds since the epoch."""
    passed = now - then
    return "just now" if passed < 1 else f"{duration(passed)} ago"
