"""Quantities, times and untrusted text as the console's pages say them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup, escape

from regen.evaluation.wording import NOTHING, visible

MINUTE: Final = 60.0
HOUR: Final = 3_600.0
DAY: Final = 86_400.0


def duration(seconds: float | None) -> str:
    """``340 ms``, ``4.2 s``, ``3 min 20 s``, ``5 h 12 min``, ``9 d 3 h``; a dash for None."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < MINUTE:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    for large, small, unit, below in ((MINUTE, 1, "min", "s"), (HOUR, MINUTE, "h", "min")):
        if seconds < large * (60 if unit == "min" else 24):
            return _two(seconds, large, unit, small, below)
    return _two(seconds, DAY, "d", HOUR, "h")


def _two(seconds: float, large: float, unit: str, small: float, below: str) -> str:
    whole, rest = divmod(seconds, large)
    part = int(rest // small)
    return f"{int(whole)} {unit} {part} {below}" if part else f"{int(whole)} {unit}"


def coarse(seconds: float) -> str:
    """An age by its largest unit alone: ``40 s``, ``3 min``, ``5 h``, ``9 d``."""
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def ago(then: float, now: float) -> str:
    """``just now``, ``3 min ago``."""
    return "just now" if now - then < 2 else f"{coarse(now - then)} ago"


def clock(seconds: float) -> str:
    """``2026-03-01 12:00:07 UTC``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(seconds: float) -> str:
    """A moment as a machine reads it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def short_moment(seconds: float, span: float) -> str:
    """A moment on an axis that spans so many seconds: the time of day, or the day."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M" if span <= 2 * DAY else "%d %b")


def rate(per_second: float) -> str:
    """``120 documents/s``'s number: three significant digits."""
    if per_second >= 100:
        return f"{per_second:,.0f}"
    return f"{per_second:.1f}" if per_second >= 1 else f"{per_second:.2f}"


def share(part: float, whole: float) -> str:
    """``42 %`` of a whole, never 100 before all is done."""
    return f"{min(math.floor(100 * part / whole), 100)} %" if whole else NOTHING


def gist(text: str, longest: int = 320) -> str:
    """A text on one line, cut where it is too long."""
    return visible(text, longest)


def on_one_line(text: str) -> str:
    """A setting's text, its line ends made visible."""
    return text.replace("\n", "⏎")


def marked_up(text: str) -> Markup:
    """What regen says, with what stands between backquotes as code; everything in it is escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup().join(
        escape(part) if at % 2 == 0 else Markup("<code>{}</code>").format(part) for at, part in enumerate(parts)
    )


def sentences(*texts: str | None) -> str:
    """Texts as sentences: each begins large and ends with a stop."""
    told = [text.strip() for text in texts if text and text.strip()]
    return " ".join(f"{text[0].upper()}{text[1:].removesuffix('.')}." for text in told)


def plural(number: float, one: str, many: str | None = None) -> str:
    """``1 document``, ``1,204 documents``."""
    return f"{number:,.0f} {one if number == 1 else many or one + 's'}"
