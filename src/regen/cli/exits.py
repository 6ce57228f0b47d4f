"""Exit codes, and how an error becomes one."""

from __future__ import annotations

from enum import IntEnum

from regen.errors import GateNotMet, RegenError, StalePlan


class ExitCode(IntEnum):
    """What scripts may rely on (DESIGN.md section 9)."""

    FINE = 0
    ERROR = 1
    USAGE = 2
    CHANGES = 3
    STALE_PLAN = 4
    INTERRUPTED = 130


class UsageError(RegenError):
    """The command was called in a way that cannot work: wrong or missing options."""


def code_of(error: RegenError) -> ExitCode:
    """The exit code of an error."""
    if isinstance(error, StalePlan):
        return ExitCode.STALE_PLAN
    if isinstance(error, GateNotMet):
        return ExitCode.CHANGES
    return ExitCode.USAGE if isinstance(error, UsageError) else ExitCode.ERROR
