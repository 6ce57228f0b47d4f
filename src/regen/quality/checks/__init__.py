"""Checks on live data: each named, each able to fail, one file per subject."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from regen.errors import RegenError
from regen.evaluation.outcome import CheckResult
from regen.quality.checks.context import Context
from regen.quality.checks.coverage import coverage

CHECKS: Final[dict[str, Callable[[Context], CheckResult]]] = {
    "coverage": coverage,
}
"""The checks by name, in the order in which they run."""


def run_checks(context: Context, names: Sequence[str] | None = None) -> list[CheckResult]:
    """Run the named checks (default: all). One that cannot be carried out because something failed has failed."""
    found = []
    for name, check in CHECKS.items():
        if names is None or name in names:
            try:
                found.append(check(context))
            except RegenError as error:
                found.append(CheckResult(name, passed=False, detail=error.message, hint=error.hint))
    return found


__all__ = ["CHECKS", "Context", "run_checks"]
