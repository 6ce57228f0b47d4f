"""Points in time as people write them: ``2026-03-01T12:00``, ``2h``, ``7d ago``."""

from __future__ import annotations

from datetime import datetime

from regen.cli.exits import UsageError


def parse_moment(text: str, now: float) -> float:
    """Seconds since the epoch of an ISO 8601 time (local unless it says otherwise) or of a duration before ``now``.

    Raises UsageError for anything else, and for the future.
    """
    from regen.config import parse_duration  # noqa: PLC0415 - brings pydantic; only when a moment is read

    written = text.strip()
    try:
        moment = now - parse_duration(written.removesuffix("ago").strip())
    except ValueError:
        moment = _iso(written)
    if moment > now:
        raise UsageError(f"--since {text!r} is in the future", hint="name a time before now")
    return moment


def _iso(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"--since {text!r} is neither a time nor a duration",
            hint="write 2h, 7d, 2026-03-01 or 2026-03-01T12:00+01:00",
        ) from None


def local(moment: float) -> str:
    """A moment in local time, to the second."""
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")
