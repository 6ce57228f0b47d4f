"""Checks on live data: each named, each able to fail, one file per subject.

A check looks at a sample, so its time is bounded whatever the corpus. What it cannot look at (no deletion on record, no
known queries) passes with a detail that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from regen.errors import ConfigError, RegenError
from regen.evaluation.outcome import CheckResult
from regen.quality.checks.context import Context
from regen.quality.checks.coverage import coverage
from regen.quality.checks.deleted import deleted_documents
from regen.quality.checks.fresh import current_preferred
from regen.quality.checks.known import known_queries
from regen.quality.checks.model import model_unchanged
from regen.quality.checks.permissions import permissions
from regen.quality.checks.recall import index_recall
from regen.quality.checks.recent import recent_documents
from regen.quality.checks.searches import searches

Check = Callable[[Context], CheckResult]
CHECKS: Final[dict[str, Check]] = {
    "coverage": coverage,
    "known_queries": known_queries,
    "recent_documents": recent_documents,
    "deleted_documents": deleted_documents,
    "permissions": permissions,
    "current_preferred": current_preferred,
    "index_recall": index_recall,
    "searches": searches,
    "model_unchanged": model_unchanged,
}
"""The checks by name, in the order in which they run."""
TRIES: Final = 3
"""How often a check is run that fails while documents are being written."""


def require_checks(names: Sequence[str]) -> None:
    """Raise ConfigError for a name that is no check's."""
    if unknown := [name for name in names if name not in CHECKS]:
        raise ConfigError(f"there is no check {unknown[0]!r}", hint=f"valid are {', '.join(CHECKS)}")


def run_checks(context: Context, names: Sequence[str] | None = None) -> list[CheckResult]:
    """Run the named checks (default: all). One that cannot be carried out because something failed has failed.

    A check reads catalog and store one after the other; what fails while they change is looked at again. Raises
    ConfigError for a name that is no check's.
    """
    require_checks(names or ())
    return [_settled(name, check, context) for name, check in CHECKS.items() if names is None or name in names]


def _settled(name: str, check: Check, context: Context) -> CheckResult:
    for _ in range(TRIES - 1):
        before = context.state()
        found = _carried_out(name, check, context)
        if found.passed or context.state() == before:
            return found
    return _carried_out(name, check, context)


def _carried_out(name: str, check: Check, context: Context) -> CheckResult:
    try:
        return check(context)
    except RegenError as error:
        return CheckResult(name, passed=False, detail=error.message, hint=error.hint)
    except Exception as error:  # noqa: BLE001 - a model or a store of the user's own may raise anything
        return CheckResult(name, passed=False, detail=f"{type(error).__name__}: {error}", hint="run `regen doctor`")


__all__ = ["CHECKS", "Context", "require_checks", "run_checks"]
