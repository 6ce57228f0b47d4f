"""Saying what a check found, so that somebody can act on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from regen.evaluation.lines import some
from regen.evaluation.outcome import CheckResult

KEPT: Final = 100
"""How many documents a failed check names for whoever mends them."""


def passed(name: str, detail: str) -> CheckResult:
    """A check that found nothing wrong, or nothing to look at."""
    return CheckResult(name, passed=True, detail=detail)


def failed(name: str, problems: Sequence[str], hint: str, documents: Iterable[str] = ()) -> CheckResult:
    """A check that found something: the problems, joined, and the documents that they are about."""
    named = tuple(dict.fromkeys(documents))[:KEPT]
    return CheckResult(name, passed=False, detail="; ".join(problems), hint=hint, documents=named)


def examples(found: Sequence[str]) -> str:
    """How many there are, and the first of them: ``3 ('a', 'b', 'c')``."""
    return f"{len(found):,} ({some(found)})"
